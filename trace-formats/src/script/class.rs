//! What class and priority a task of a scenario has.

use super::word::{Word, Words};
use crate::{Error, Nanos, SchedPolicy};

/// Scheduling class of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `SCHED_OTHER` at a nice level.
    Fair(i32),
    /// `SCHED_BATCH` at a nice level.
    Batch(i32),
    /// `SCHED_IDLE` at a nice level.
    Idle(i32),
    /// `SCHED_FIFO` at a priority.
    Fifo(i32),
    /// `SCHED_RR` at a priority.
    Rr(i32),
    /// `SCHED_DEADLINE`.
    Deadline {
        /// CPU time per period.
        budget: Nanos,
        /// Relative deadline.
        deadline: Nanos,
        /// Period.
        period: Nanos,
    },
    /// The stop class, ahead of all others.
    Stop,
    /// Every parameter by itself, for what the others do not say.
    Exact(Parameters),
}

/// Scheduling parameters that need not fit together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Policy.
    pub policy: SchedPolicy,
    /// Nice level.
    pub nice: i32,
    /// Realtime priority.
    pub rt_priority: i32,
    /// Budget, or a fair task's own slice.
    pub runtime: Nanos,
    /// Relative deadline.
    pub deadline: Nanos,
    /// Period.
    pub period: Nanos,
}

impl Default for Class {
    fn default() -> Self {
        Self::Fair(0)
    }
}

/// How policies are called behind `params`.
const POLICIES: [(&str, SchedPolicy); 7] = [
    ("fair", SchedPolicy::Other),
    ("batch", SchedPolicy::Batch),
    ("idle", SchedPolicy::Idle),
    ("fifo", SchedPolicy::Fifo),
    ("rr", SchedPolicy::Rr),
    ("dl", SchedPolicy::Deadline),
    ("stop", SchedPolicy::Stop),
];

impl Class {
    /// Reads a class; `None`, and nothing read, when `word` is none.
    pub(super) fn read(word: Word<'_>, words: &mut Words<'_, '_>) -> Result<Option<Self>, Error> {
        Ok(Some(match word.text {
            "fair" => Self::Fair(0),
            "batch" => Self::Batch(0),
            "idle" => Self::Idle(0),
            "fifo" => Self::Fifo(words.integer(word, 1..=99)?),
            "rr" => Self::Rr(words.integer(word, 1..=99)?),
            "stop" => Self::Stop,
            "dl" => {
                let (budget, deadline) = (words.span(word)?, words.span(word)?);
                Self::Deadline { budget, deadline, period: words.span(word)? }
            }
            "params" => Self::Exact(parameters(word, words)?),
            _ => return Ok(None),
        }))
    }

    /// Reads the level behind `word`, which is `nice`.
    pub(super) fn at_nice(self, word: Word<'_>, words: &mut Words<'_, '_>) -> Result<Self, Error> {
        let nice = words.integer(word, -20..=19)?;
        Ok(match self {
            Self::Fair(_) => Self::Fair(nice),
            Self::Batch(_) => Self::Batch(nice),
            Self::Idle(_) => Self::Idle(nice),
            _ => return Err(word.error("`nice` belongs to fair, batch and idle tasks")),
        })
    }

    /// The class as it is read: its word, and its level where that is not 0.
    pub(super) fn text(self) -> (String, Option<i32>) {
        let level = |nice| Some(nice).filter(|nice| *nice != 0);
        let times = |spans: [Nanos; 3]| spans.map(|s| super::Millis::from(s).to_string()).join(" ");
        match self {
            Self::Fair(nice) => ("fair".to_owned(), level(nice)),
            Self::Batch(nice) => ("batch".to_owned(), level(nice)),
            Self::Idle(nice) => ("idle".to_owned(), level(nice)),
            Self::Fifo(priority) => (format!("fifo {priority}"), None),
            Self::Rr(priority) => (format!("rr {priority}"), None),
            Self::Stop => ("stop".to_owned(), None),
            Self::Deadline { budget, deadline, period } => {
                (format!("dl {}", times([budget, deadline, period])), None)
            }
            Self::Exact(p) => {
                let policy = POLICIES.iter().find(|(_, policy)| *policy == p.policy);
                let (name, (nice, priority)) =
                    (policy.map_or("fair", |(name, _)| name), (p.nice, p.rt_priority));
                let spans = times([p.runtime, p.deadline, p.period]);
                (format!("params {name} {nice} {priority} {spans}"), None)
            }
        }
    }
}

fn parameters(word: Word<'_>, words: &mut Words<'_, '_>) -> Result<Parameters, Error> {
    let name = words.argument(word, "a policy")?;
    let policy = POLICIES.iter().find(|(policy, _)| *policy == name.text).ok_or_else(|| {
        let there_are = POLICIES.map(|(policy, _)| policy).join(", ");
        name.error(format!("`{}` is no policy; there are {there_are}", name.text))
    })?;
    Ok(Parameters {
        policy: policy.1,
        nice: words.integer(word, i32::MIN..=i32::MAX)?,
        rt_priority: words.integer(word, i32::MIN..=i32::MAX)?,
        runtime: words.span(word)?,
        deadline: words.span(word)?,
        period: words.span(word)?,
    })
}
