//! Where a replay leaves its recording: the first decision that differs, and what it comes to.
//!
//! Times are compared loosely, decisions are not: a replay's costs are medians, so its clock
//! drifts by microseconds, and nobody decided that.
//!
//! Two kinds of sequences are walked side by side. Of each CPU: who ran, in which order, and for
//! how long. Of each task: how it waited for which lock, when it slept, on which CPU a wakeup put
//! it, and how long it computed in between. The first difference of each sequence counts, and of
//! these the one that is earliest in the recording.
//!
//! - Lengths differ when they are more than [`LOOSE_NS`] and a tenth of the longer one apart.
//! - CPUs that run the same tasks in another order and agree again within [`SLIP_NS`] have slipped;
//!   slips are counted, and are no difference.
//! - How long a CPU idles, or a task waits, is nobody's decision: it follows from others.

mod cpu;
mod task;
mod toll;

pub use toll::{Measure, Toll};

use model::Trace;
use model::{CpuId, Event, LockId, Names, Nanos, PrevState, Recording, SchedEvent, Tid, Timestamp};
use replay::{Decision, Rule};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Lengths this close are the same.
pub const LOOSE_NS: u64 = 100_000;
/// An order that is right again within this time has slipped.
pub const SLIP_NS: u64 = 100_000;

/// One side of the walk.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What happened, as events.
    pub recording: &'a Recording,
    /// The same, assembled.
    pub trace: &'a Trace,
    /// The rule behind each event, in their order; empty for a recording.
    pub decisions: &'a [Decision],
}

impl Side<'_> {
    fn decision(&self, event: usize) -> Decision {
        self.decisions.get(event).copied().unwrap_or_default()
    }
}

/// How a task waited for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Waiting {
    /// On its CPU.
    Spins,
    /// Off its CPU.
    Sleeps,
}

/// What one side did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum Act {
    /// A CPU came to a task, or to idle.
    ComesTo {
        /// Who; `None`: idle.
        task: Option<String>,
    },
    /// A task ran this long without interruption.
    Ran {
        /// Who; `None`: idle.
        task: Option<String>,
        /// How long.
        ns: u64,
        /// Why it ended.
        #[serde(serialize_with = "by_name")]
        end: Rule,
        /// Who came then; `None`: idle.
        next: Option<String>,
    },
    /// It went to sleep, by itself.
    Sleeps {
        /// CPU time since its last step.
        computed_ns: u64,
    },
    /// It was woken.
    Woken {
        /// Onto this CPU.
        cpu: u32,
        /// After this time, when it is known.
        slept_ns: Option<u64>,
        /// By whom, when that is known.
        by: Option<String>,
    },
    /// It waited for a lock.
    Waits {
        /// Which.
        lock: String,
        /// How.
        how: Waiting,
        /// CPU time since its last step.
        computed_ns: u64,
    },
    /// It ended.
    Ends {
        /// CPU time since its last step.
        computed_ns: u64,
    },
    /// Nothing more, up to the end.
    Nothing,
}

fn by_name<S: Serializer>(rule: &Rule, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(rule.name())
}

/// Where it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A CPU chose.
    Cpu(u32),
    /// A task's own sequence.
    Task(String),
}

/// The first decision that differs, of all or of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// When, in the recording.
    pub at_ns: u64,
    /// When, in the replay.
    pub replay_at_ns: u64,
    /// Where.
    pub place: Place,
    /// What the recording did.
    pub recorded: Act,
    /// What the replay did.
    pub replayed: Act,
    /// The rule that is behind the difference.
    #[serde(serialize_with = "by_name")]
    pub rule: Rule,
    /// What that rule follows.
    pub source: &'static str,
}

/// A recording and its replay, side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Divergence {
    /// The first decision that differs.
    pub first: Option<Difference>,
    /// Steps and turns that agree before it.
    pub agreed: u64,
    /// Orders that were right again at once, before it.
    pub slips: u64,
    /// What differs in the end, the most time first.
    pub tolls: Vec<Toll>,
    /// Where the tasks with the highest tolls part from the recording.
    pub partings: Vec<(String, Difference)>,
}

/// Tasks whose own first difference is told.
const PARTINGS: usize = 5;

/// Walks a recording and its replay side by side.
#[must_use]
pub fn divergence(recorded: Side<'_>, replayed: Side<'_>) -> Divergence {
    let who = Who::of(recorded.recording);
    let end = recorded.trace.end.0;
    let cpus = cpu::differences(recorded, replayed, &who);
    let tasks = task::differences(recorded, replayed, &who);
    // Of two at one time a task's own step is the cause of what its CPU does.
    let all = tasks.iter().map(|(_, d)| d).chain(cpus.iter().filter_map(|w| w.first.as_ref()));
    let first = all.min_by_key(|d| d.at_ns).cloned();
    let until = first.as_ref().map_or(end, |d| d.at_ns);
    let before = |times: &[u64]| times.iter().filter(|at| **at < until).count() as u64;
    let tolls = toll::tolls(recorded.trace, replayed.trace);
    let mut partings: Vec<(String, Difference)> = Vec::new();
    for toll in &tolls {
        let of_name = tasks.iter().filter(|(tid, _)| who.name(*tid) == toll.task);
        let earliest = of_name.map(|(_, d)| d).min_by_key(|d| d.at_ns);
        let is_told = partings.iter().any(|(name, _)| *name == toll.task);
        if let Some(earliest) = earliest.filter(|_| !is_told && partings.len() < PARTINGS) {
            partings.push((toll.task.clone(), earliest.clone()));
        }
    }
    Divergence {
        agreed: cpus.iter().map(|w| before(&w.agreed)).sum(),
        slips: cpus.iter().map(|w| before(&w.slips)).sum(),
        first,
        tolls,
        partings,
    }
}

/// Whether two lengths are too far apart to be the same.
fn differs(a: u64, b: u64) -> bool {
    a.abs_diff(b) > LOOSE_NS + a.max(b) / 10
}

/// Names of threads, as the recording gives them last.
struct Who<'a> {
    names: &'a Names,
    comms: BTreeMap<Tid, model::NameId>,
}

impl<'a> Who<'a> {
    fn of(recording: &'a Recording) -> Self {
        let mut comms = BTreeMap::new();
        for event in &recording.events {
            match event.kind {
                SchedEvent::Switch { prev, prev_comm, next, next_comm, .. } => {
                    comms.extend([(prev, prev_comm), (next, next_comm)]);
                }
                SchedEvent::Waking(w) | SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) => {
                    comms.insert(w.tid, w.comm);
                }
                _ => {}
            }
        }
        Self { names: &recording.names, comms }
    }

    fn name(&self, tid: Tid) -> &str {
        self.comms.get(&tid).map_or("", |comm| self.names.text(*comm))
    }

    /// `high (12)`; `None` for an idle task.
    fn full(&self, tid: Tid) -> Option<String> {
        (tid != Tid::IDLE).then(|| format!("{} ({})", self.name(tid), tid.0))
    }
}

/// Why a task left its CPU, as far as events alone say.
fn why_left(state: PrevState, in_lock: Option<LockId>, is_woken_now: Option<Nanos>) -> Rule {
    match state {
        PrevState::Dead => Rule::ProgramOver,
        state if !state.is_runnable() && in_lock.is_some() => Rule::LockSleeps,
        state if !state.is_runnable() => Rule::ProgramSleeps,
        // Who was woken a moment ago has preempted; who waited has been waited for.
        _ if is_woken_now.is_some_and(|ago| ago.0 < 5 * LOOSE_NS) => Rule::WakeupPreempts,
        _ => Rule::SliceEnds,
    }
}

/// The task an event belongs to, unless it comes from an interrupt.
fn own(event: &Event) -> Option<Tid> {
    let in_task = !matches!(event.context, model::Context::HardIrq | model::Context::SoftIrq);
    (in_task && event.tid != Tid::IDLE).then_some(event.tid)
}

fn cpu_number(cpu: CpuId) -> u32 {
    cpu.0
}

fn since(later: u64, earlier: u64) -> Nanos {
    Timestamp(later).since(Timestamp(earlier))
}
