//! One walk over the events of a recording: what happened, and what each task did.
//!
//! A survey says first which events there are. Then every event is looked at once, by all who
//! make something of it: the assembly of the [`Trace`] with its ledger of lock owners, the
//! programs of the tasks, and what is measured of the machine. Programs get their critical
//! sections from the ledger, when all of it is known.

use crate::assemble::Assemble;
use crate::demand::{
    Choices, Cover, DemandNote, Extract, Latencies, Measures, Programs, TransferCosts, Unbroken,
    Wakers, cpus,
};
use crate::{
    CpuId, Demand, Event, Host, LockFlags, LockId, Lost, LostWhat, Recording, SchedEvent,
    TaskTracker, Timestamp, Trace,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a recording says, and what can be asked of it again and again.
#[derive(Debug)]
pub struct History {
    /// What happened.
    pub trace: Trace,
    programs: Programs,
}

impl History {
    /// Reads a recording; locks that `cover` names are acquired and released by the tasks
    /// themselves.
    ///
    /// Total: what the trace leaves open is noted, in the trace and with each demand.
    #[must_use]
    pub fn read(recording: &Recording, host: Option<&Host>, cover: Cover) -> Self {
        // What is missing would be waited for without end.
        let is_own = |lost: &&Lost| lost.what == LostWhat::OwnRecords;
        let n_lost = recording.lost.iter().filter(is_own).count();
        let is_whole = n_lost == 0;
        let buffers = cover.buffers && is_whole;
        let user_locks = cover.user_locks && is_whole;
        let cover = Cover { buffers, user_locks, ..cover };
        let mut wakers = Wakers::default();
        let mut unbroken = Unbroken::default();
        let mut transfers = TransferCosts::default();
        let survey = Survey::of(recording, |event| {
            wakers.observe(event);
            transfers.observe(event);
            unbroken.observe(event.at);
        });
        let (start, end) = unbroken.bounds();
        let mut tracker = TaskTracker::default();
        let mut assembly = Assemble::new(recording, host, &survey);
        let mut measures = Measures::new(&recording.names, host);
        let calls = survey.calls.clone();
        let mut programs = Extract::new(&recording.names, host, (start, calls), cover);
        if survey.has_transfers && n_lost > 0 {
            programs.lost_transfers(n_lost as u64);
        }
        programs.interrupts = wakers.finish();
        let mut of_calls = Latencies::default();
        if cover.buffers {
            programs.of_section = transfers.finish(&mut of_calls);
        }
        programs.of_calls = of_calls;
        programs.has_yields = survey.has_yields && is_whole;
        let mut n_left_out = 0;
        for event in &recording.events {
            tracker.observe(event);
            assembly.observe(event, &mut tracker);
            let overhead = measures.observe(event);
            if (start..=end).contains(&event.at) {
                programs.observe(event, overhead, &mut tracker);
            } else {
                n_left_out += 1;
            }
            tracker.settle(event);
        }
        let cpus = cpus(recording, &survey.cpus, host);
        let (machine, latencies) = measures.finish(cpus, host);
        let latencies = Latencies {
            buffer_sleep: of_calls.buffer_sleep,
            buffer_wake: of_calls.buffer_wake,
            buffer_tell: of_calls.buffer_tell,
            ..latencies
        };
        let tasks = tracker.tasks().to_vec();
        let trace = assembly.finish(tracker);
        let programs =
            programs.finish(&trace, tasks, (machine, latencies), (start, end), n_left_out);
        Self { trace, programs }
    }

    /// What each task asked for, and what was guessed of it.
    #[must_use]
    pub fn demand(&self, choices: Choices) -> (Demand, BTreeMap<DemandNote, u64>) {
        self.programs.demand(choices)
    }
}

/// Assembles a recording, or a replayed schedule, into a trace.
///
/// With a sidecar, tasks have the scheduling parameters that it names.
/// Never fails; see [`Trace::notes`].
#[must_use]
pub fn assemble(recording: &Recording, host: Option<&Host>) -> Trace {
    let survey = Survey::of(recording, |_| ());
    let mut tracker = TaskTracker::default();
    let mut assembly = Assemble::new(recording, host, &survey);
    for event in &recording.events {
        tracker.observe(event);
        assembly.observe(event, &mut tracker);
        tracker.settle(event);
    }
    assembly.finish(tracker)
}

/// Which events a recording has: what must be known before the first one is understood.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    pub(crate) start: Timestamp,
    pub(crate) has_waking: bool,
    pub(crate) calls: Calls,
    pub(crate) has_yields: bool,
    pub(crate) has_transfers: bool,
    pub(crate) shows_donors: bool,
    pub(crate) cpus: BTreeSet<CpuId>,
}

/// Which mutexes leave records of every call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    /// Those that do, from their first record on.
    pub(crate) of: BTreeSet<LockId>,
    /// All do: some left records before anybody waited for them.
    pub(crate) is_complete: bool,
}

impl Survey {
    fn of(recording: &Recording, mut also: impl FnMut(&Event)) -> Self {
        let start = recording.events.first().map_or(Timestamp(0), |e| e.at);
        let mut survey = Self { start, ..Self::default() };
        let mut last = None;
        let mut waited_for = BTreeSet::new();
        for event in &recording.events {
            also(event);
            if last.replace(event.cpu) != Some(event.cpu) {
                survey.cpus.insert(event.cpu);
            }
            match event.kind {
                SchedEvent::Waking(_) => survey.has_waking = true,
                SchedEvent::TransferBegin { .. } => survey.has_transfers = true,
                SchedEvent::ContentionBegin { lock, flags } if flags.has(LockFlags::MUTEX) => {
                    waited_for.insert(lock);
                }
                SchedEvent::MutexLock { lock, .. }
                | SchedEvent::MutexTrylock { lock, .. }
                | SchedEvent::MutexUnlock { lock } => {
                    survey.calls.of.insert(lock);
                    survey.calls.is_complete |= !waited_for.contains(&lock);
                }
                // What records futex calls records yields as well.
                SchedEvent::Yield | SchedEvent::FutexBegin { process: Some(_), .. } => {
                    survey.has_yields = true;
                }
                SchedEvent::Donor { .. } => survey.shows_donors = true,
                _ => {}
            }
        }
        survey
    }
}
