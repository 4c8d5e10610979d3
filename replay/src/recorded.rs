//! The policy that answers as the trace did: the self-test of demand and model.
//!
//! What the kernel decided is taken from the recording (`decision`): who runs where and when, how
//! long a task spun, when interrupts came, who got a lock. What programs do is taken from the
//! demand (`play`): they lock, wake, fork, begin to wait and go to sleep when their CPU time says
//! so, and nobody tells them what the recording shows. Both together are the schedule, which is
//! compared with the recording event by event (`weave`). If the demand is right it is the
//! recording, to the nanosecond; the first place where it is not is returned, in words (`words`).

mod contention;
mod decision;
mod play;
mod reader;
mod show;
mod weave;
mod words;

use crate::Schedule;
use model::demand::Demand;
use model::{Event, Recording, Tid, Timestamp};
use std::fmt;

/// Where a program and the recording part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// When.
    pub at: Timestamp,
    /// Whose program.
    pub tid: Tid,
    /// What the recording shows and what the program does instead.
    pub text: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Plays the demand along the recorded decisions.
///
/// The schedule is made of the recorded decisions and of what the programs do; the second value is
/// the first place at which it is not the recording, if there is one.
#[must_use]
pub fn recorded(demand: &Demand, recording: &Recording) -> (Schedule, Option<Divergence>) {
    if let Some(divergence) = words::left_out(demand, recording) {
        return (schedule(recording, Vec::new()), Some(divergence));
    }
    let told = reader::read(demand, recording);
    let played = play::play(demand, &told);
    let (events, divergence) = weave::weave(demand, recording, &told, played);
    (schedule(recording, events), divergence)
}

/// These events as a schedule, with the recording's names.
fn schedule(recording: &Recording, events: Vec<Event>) -> Schedule {
    let recording = Recording {
        events,
        names: recording.names.clone(),
        cpus: recording.cpus.clone(),
        span: recording.span,
        ..Recording::default()
    };
    let counts = crate::ProxyCounts::default();
    Schedule { recording, counts, times: Vec::new(), notes: Vec::new() }
}
