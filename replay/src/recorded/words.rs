//! Says for people where a program and the recording part.

use super::Divergence;
use super::decision::{Step, Stint};
use super::play::{Fault, Made};
use model::demand::Demand;
use model::{Event, Nanos, Op, PrevState, Recording, TaskId, Timestamp};

/// A recording with a silence that its clock does not carry through is in the demand in part only.
pub(super) fn left_out(demand: &Demand, recording: &Recording) -> Option<Divergence> {
    let is_outside = |e: &&Event| e.at < demand.start || e.at > demand.end;
    let first = recording.events.iter().find(is_outside)?;
    let count = recording.events.iter().filter(is_outside).count();
    let (at, start, end) = (first.at, demand.start, demand.end);
    let text = format!(
        "{count} recorded events, the first at {at}, lie beyond minutes of silence and are in no \
         program; programs begin at {start} and end at {end}"
    );
    Some(Divergence { at, tid: first.tid, text })
}

/// The sentences of one comparison.
pub(super) struct Words<'a> {
    demand: &'a Demand,
    /// What makes the recording doubtful.
    doubt: String,
}

impl Fault {
    /// When the program and the recording part.
    pub(super) fn at(self, stint: &Stint) -> u64 {
        match self {
            Self::Longer(..) => stint.left,
            Self::Earlier(at, _) | Self::Ends(at) => at,
        }
    }
}

impl<'a> Words<'a> {
    pub(super) fn new(demand: &'a Demand, recording: &Recording) -> Self {
        let doubt = match recording.lost.first() {
            Some(lost) => format!("; the recording lost events after {}", lost.after),
            None => String::new(),
        };
        Self { demand, doubt }
    }

    fn task(&self, task: TaskId) -> String {
        let info = &self.demand.tasks[task.index()].info;
        format!("{}/{}", self.demand.names.text(info.comm), info.tid.0)
    }

    fn step(&self, step: Step) -> String {
        let lock = |l: model::demand::LockIndex| {
            self.demand.locks.get(l.index()).map_or(String::new(), |l| format!("{:#x}", l.lock.0))
        };
        match step {
            Step::Lock(l) => format!("acquires mutex {}", lock(l)),
            Step::Fail(l) => format!("tries to acquire mutex {} in vain", lock(l)),
            Step::Try(l) => format!("acquires mutex {} by trying", lock(l)),
            Step::Unlock(l) => format!("releases mutex {}", lock(l)),
            Step::Wake(task) => format!("wakes {}", self.task(task)),
            Step::Fork(task) => format!("starts {}", self.task(task)),
            Step::Begin(l, _) => format!("begins to wait for lock {}", lock(l)),
            Step::End(l, 0) => format!("gets lock {}", lock(l)),
            Step::End(l, _) => format!("gives lock {} up", lock(l)),
        }
    }

    /// What a program does at one of its ops, or behind it if nothing can be seen of that one.
    fn op(&self, task: TaskId, place: usize) -> String {
        let ops = self.demand.tasks[task.index()].ops.get(place..).unwrap_or_default();
        let seen = ops.iter().find_map(|op| match op {
            Op::Sleep { .. } => Some("goes to sleep".to_owned()),
            Op::Wait { .. } => Some("waits to be woken".to_owned()),
            Op::Exit => Some("exits".to_owned()),
            op => Step::of(op).map(|step| self.step(step)),
        });
        seen.unwrap_or_else(|| "ends".to_owned())
    }

    pub(super) fn fault(&self, stint: &Stint, fault: Fault) -> String {
        let (task, left) = (self.task(stint.task), Timestamp(stint.left));
        let doubt = &self.doubt;
        match fault {
            Fault::Longer(span, place) => {
                let (span, then) = (micros(span), self.op(stint.task, place));
                format!(
                    "{task} leaves its CPU at {left}, and its program computes {span} longer \
                     before it {then}{doubt}"
                )
            }
            Fault::Earlier(at, place) => {
                let (at, then) = (Timestamp(at), self.op(stint.task, place));
                format!("{task} is on its CPU until {left}, and its program {then} at {at}{doubt}")
            }
            Fault::Ends(at) => {
                let at = Timestamp(at);
                format!(
                    "{task} leaves its CPU at {left}, and its program is at its end at {at}{doubt}"
                )
            }
        }
    }

    pub(super) fn missing(&self, made: Made, really: Option<u64>) -> String {
        let (task, at, step) = (self.task(made.task), Timestamp(made.at), self.step(made.step));
        let program = match really {
            Some(when) if when > made.at => format!("does so {} later", micros(when - made.at)),
            Some(when) => format!("does so {} earlier", micros(made.at - when)),
            None => "does not".to_owned(),
        };
        format!("{task} {step} at {at}, and its program {program}{}", self.doubt)
    }

    pub(super) fn extra(&self, made: Made) -> String {
        let (task, at, step) = (self.task(made.task), Timestamp(made.at), self.step(made.step));
        format!(
            "the program of {task} {step} at {at}, and the recording does not show it{}",
            self.doubt
        )
    }

    pub(super) fn state(
        &self,
        task: TaskId,
        at: Timestamp,
        recorded: PrevState,
        program: PrevState,
    ) -> String {
        let (task, doubt) = (self.task(task), &self.doubt);
        let (recorded, program) = (leaving(recorded).0, leaving(program).1);
        format!("{task} leaves its CPU at {at} {recorded}, and its program {program}{doubt}")
    }

    pub(super) fn prio(&self, task: TaskId, at: Timestamp, recorded: i32, program: i32) -> String {
        let (task, doubt) = (self.task(task), &self.doubt);
        format!(
            "{task} has priority {recorded} at {at}, and priority {program} by its program{doubt}"
        )
    }

    /// A wakeup by a task, or by an interrupt, that the sleeper's program does not end by.
    pub(super) fn wake(&self, at: Timestamp, task: TaskId, by: Option<TaskId>) -> String {
        let (who, doubt) = (self.task(task), &self.doubt);
        let by = by.map_or_else(|| "an interrupt".to_owned(), |by| self.task(by));
        format!("{who} is woken by {by} at {at}, and its program does not wait for that{doubt}")
    }

    /// A wakeup on the way to a wait that the program does not begin.
    pub(super) fn early(&self, at: Timestamp, task: TaskId) -> String {
        let (who, doubt) = (self.task(task), &self.doubt);
        format!("{who} is woken at {at} on its way to sleep, and its program does not wait{doubt}")
    }

    pub(super) fn awake(&self, at: Timestamp, task: TaskId) -> String {
        let (who, doubt) = (self.task(task), &self.doubt);
        format!("{who} is awake when it is woken at {at}, and its program sleeps{doubt}")
    }
}

/// What somebody does who leaves a CPU in this state: as an infinitive, and as a verb.
fn leaving(state: PrevState) -> (&'static str, &'static str) {
    match state {
        PrevState::Runnable | PrevState::Preempted => ("to run on later", "runs on"),
        PrevState::Dead => ("for good", "exits"),
        PrevState::Interruptible => {
            ("to sleep where signals wake it", "sleeps where signals wake it")
        }
        PrevState::Uninterruptible => {
            ("to sleep where no signal wakes it", "sleeps where no signal wakes it")
        }
        _ => ("to sleep in another way", "sleeps in another way"),
    }
}

/// A span in microseconds: `18.153 us`.
fn micros(span: u64) -> String {
    format!("{}.{:03} us", Nanos(span).0 / 1000, span % 1000)
}
