//! Tables: what notebooks and queries get. Times in nanoseconds, points on the trace's clock.

mod columns;
mod event_tables;
mod lock_tables;
mod task_tables;

use crate::need::{Missing, Question};
use arrow::array::RecordBatch;
use model::Trace;
use std::fmt;
use std::str::FromStr;

/// A table that can be made of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableName {
    /// One row per lock wait, taken apart.
    LockWaits,
    /// One row per response.
    Responses,
    /// One row per task name with responses.
    ResponseSummary,
    /// One row per task.
    Tasks,
    /// One row per lock that was waited for.
    Locks,
    /// One row per stretch of a lock with one owner, waited for or not.
    Owners,
    /// One row per uninterrupted stretch of inversion.
    Inversions,
    /// Inversions summed up by waiter, kind of lock, owner and who ran instead.
    InversionSummary,
    /// One row per change of runqueue.
    Migrations,
    /// One row per wakeup.
    Wakeups,
    /// One row per stretch of a task runnable without a CPU.
    RunDelays,
    /// One row per stretch of a task in one state.
    Intervals,
    /// One row per stretch in which one task ran on another one's scheduling context.
    Donations,
    /// One row per kind of oddity.
    Notes,
    /// One row per loss of events.
    Losses,
}

impl TableName {
    /// All tables.
    pub const ALL: [Self; 15] = [
        Self::LockWaits,
        Self::Responses,
        Self::ResponseSummary,
        Self::Tasks,
        Self::Locks,
        Self::Owners,
        Self::Inversions,
        Self::InversionSummary,
        Self::Migrations,
        Self::Wakeups,
        Self::RunDelays,
        Self::Intervals,
        Self::Donations,
        Self::Notes,
        Self::Losses,
    ];

    /// Its name, as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LockWaits => "lock_waits",
            Self::Responses => "responses",
            Self::ResponseSummary => "response_summary",
            Self::Tasks => "tasks",
            Self::Locks => "locks",
            Self::Owners => "owners",
            Self::Inversions => "inversions",
            Self::InversionSummary => "inversion_summary",
            Self::Migrations => "migrations",
            Self::Wakeups => "wakeups",
            Self::RunDelays => "run_delays",
            Self::Intervals => "intervals",
            Self::Donations => "donations",
            Self::Notes => "notes",
            Self::Losses => "losses",
        }
    }

    /// What a trace must be able to answer to have this table.
    #[must_use]
    pub fn question(self) -> Option<Question> {
        match self {
            Self::LockWaits | Self::Locks => Some(Question::LockWaits),
            Self::Owners | Self::Inversions | Self::InversionSummary => Some(Question::Owners),
            Self::Responses | Self::ResponseSummary | Self::Wakeups | Self::RunDelays => {
                Some(Question::Wakeups)
            }
            Self::Tasks | Self::Intervals | Self::Donations => Some(Question::Schedule),
            Self::Migrations => Some(Question::Migrations),
            Self::Notes | Self::Losses => None,
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No table has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no table {name}; there are {}", TableName::ALL.map(TableName::name).join(", "))]
pub struct UnknownTable {
    /// What was asked for.
    pub name: String,
}

impl FromStr for TableName {
    type Err = UnknownTable;

    fn from_str(name: &str) -> Result<Self, UnknownTable> {
        let found = Self::ALL.into_iter().find(|t| t.name() == name);
        found.ok_or_else(|| UnknownTable { name: name.to_owned() })
    }
}

/// Makes a table. Rows are in order of time or of task and lock.
///
/// # Errors
///
/// When the trace lacks the events that the table is made of.
pub fn table(trace: &Trace, name: TableName) -> Result<RecordBatch, Missing> {
    if let Some(question) = name.question() {
        question.ask(trace)?;
    }
    Ok(match name {
        TableName::LockWaits => lock_tables::lock_waits(trace),
        TableName::Locks => lock_tables::locks(trace),
        TableName::Owners => lock_tables::owners(trace),
        TableName::Inversions => lock_tables::inversions(trace),
        TableName::InversionSummary => lock_tables::inversion_summary(trace),
        TableName::Responses => task_tables::responses(trace),
        TableName::ResponseSummary => task_tables::response_summary(trace),
        TableName::Tasks => task_tables::tasks(trace),
        TableName::RunDelays => task_tables::run_delays(trace),
        TableName::Intervals => task_tables::intervals(trace),
        TableName::Migrations => event_tables::migrations(trace),
        TableName::Wakeups => event_tables::wakeups(trace),
        TableName::Donations => event_tables::donations(trace),
        TableName::Notes => event_tables::notes(trace),
        TableName::Losses => event_tables::losses(trace),
    })
}
