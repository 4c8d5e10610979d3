//! The policy that answers as the trace did: the self-test of demand and model.
//!
//! Every choice of the kernel is taken from the recording: who runs where and
//! when, how long it spun, when interrupts came, which waiter got a mutex.
//! Everything a program does is taken from the demand: its interactions happen
//! when its CPU time says so. If the demand is right, both give the recording
//! back to the nanosecond; the first place where they do not is returned.

use crate::Schedule;
use model::demand::{Demand, Op, SwitchCauses};
use model::{
    Context, CpuId, Event, LockFlags, PrevState, Recording, SchedEvent, TaskId, TaskTracker, Tid,
    Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
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
        write!(f, "{} task {}: {}", self.at, self.tid.0, self.text)
    }
}

/// One stretch of a task on a CPU.
#[derive(Clone, Debug)]
struct Stint {
    task: TaskId,
    tid: Tid,
    cpu: CpuId,
    from: u64,
    /// The program stops here; the kernel's own work follows until the switch.
    to: u64,
    left: u64,
    /// The latest interaction in it.
    acted: u64,
    state: PrevState,
    /// It ends inside `mutex_lock`.
    in_mutex: bool,
    /// Spans in which the task spun.
    spins: Vec<(u64, u64)>,
}

/// Plays the demand along the recorded decisions.
///
/// The schedule holds the recorded decisions and what the programs did; the second value is the
/// first event of the recording that the programs do not make, if any.
#[must_use]
pub fn recorded(demand: &Demand, recording: &Recording) -> (Schedule, Option<Divergence>) {
    let (stints, mut events, expected) = decisions(recording);
    let mut programs: Vec<(usize, u64)> = demand.tasks.iter().map(|_| (0, 0)).collect();
    for (program, task) in programs.iter_mut().zip(&demand.tasks) {
        // A task that was asleep when the recording began is past its first wait.
        let asleep = matches!(task.arrival, model::demand::Arrival::Asleep(_));
        program.0 = usize::from(asleep);
        program.1 = compute_at(&task.ops, program.0);
    }
    let mut made = Vec::new();
    let mut divergence: Option<Divergence> = None;
    for stint in &stints {
        let Some(program) = programs.get_mut(stint.task.index()) else { continue };
        if let Err(text) = play(demand, stint, program, &mut made)
            && divergence.as_ref().is_none_or(|d| d.at.0 > stint.left)
        {
            divergence = Some(Divergence { at: Timestamp(stint.left), tid: stint.tid, text });
        }
    }
    let key = |e: &Event| (e.at, e.cpu);
    made.sort_by_key(key);
    let missed = first_difference(&expected, &made);
    divergence = match (divergence, missed) {
        (Some(d), Some(m)) => Some(if m.at < d.at { m } else { d }),
        (d, m) => d.or(m),
    };
    events.extend(made);
    events.sort_by_key(key);
    let recording = Recording {
        events,
        names: recording.names.clone(),
        cpus: recording.cpus.clone(),
        span: recording.span,
        ..Recording::default()
    };
    let schedule = Schedule {
        recording,
        counts: crate::ProxyCounts::default(),
        times: Vec::new(),
        notes: Vec::new(),
    };
    (schedule, divergence)
}

/// Splits a recording into stretches on a CPU, the kernel's choices, and what programs must make.
fn decisions(recording: &Recording) -> (Vec<Stint>, Vec<Event>, Vec<Event>) {
    let mut tracker = TaskTracker::default();
    let mut causes = SwitchCauses::new(&recording.names);
    let mut open: BTreeMap<CpuId, Stint> = BTreeMap::new();
    let mut spinning: BTreeMap<TaskId, u64> = BTreeMap::new();
    let mut in_mutex: BTreeSet<TaskId> = BTreeSet::new();
    let (mut stints, mut decided, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let start = recording.events.first().map_or(0, |e| e.at.0);
    for event in &recording.events {
        tracker.observe(event);
        let overhead = causes.observe(event).map_or(0, |(_, span)| span.0);
        let at = event.at.0;
        let in_task = !matches!(event.context, Context::HardIrq | Context::SoftIrq);
        let current = tracker.id(event.tid).filter(|_| in_task);
        if let Some(task) = current
            && !matches!(event.kind, SchedEvent::Switch { .. })
        {
            let s = open
                .entry(event.cpu)
                .or_insert_with(|| stint(task, event.tid, event.cpu, start));
            if is_interaction(&event.kind) {
                s.acted = at;
            }
        }
        let mut is_made = false;
        match event.kind {
            SchedEvent::Switch { prev, prev_state, next, .. } => {
                if let Some(task) = tracker.id(prev) {
                    let mut s = open.remove(&event.cpu).filter(|s| s.task == task).unwrap_or_else(
                        || stint(task, prev, event.cpu, start),
                    );
                    s.left = at;
                    s.state = prev_state;
                    s.in_mutex = in_mutex.contains(&task);
                    s.to = if prev_state.is_runnable() { s.acted.max(at.saturating_sub(overhead)) } else { at };
                    if let Some(since) = spinning.get_mut(&task) {
                        s.spins.push((*since, at));
                        *since = at;
                    }
                    stints.push(s);
                }
                if let Some(task) = tracker.id(next) {
                    if let Some(since) = spinning.get_mut(&task) {
                        *since = at;
                    }
                    open.insert(event.cpu, stint(task, next, event.cpu, at));
                }
            }
            SchedEvent::ContentionBegin { flags, .. } if flags.has(LockFlags::MUTEX) => {
                if let Some(task) = current {
                    in_mutex.insert(task);
                    end_spin(&mut spinning, &mut open, task, event);
                    if flags.has(LockFlags::SPIN) {
                        spinning.insert(task, at);
                    }
                }
            }
            SchedEvent::ContentionEnd { .. } => {
                if let Some(task) = current {
                    in_mutex.remove(&task);
                    end_spin(&mut spinning, &mut open, task, event);
                }
            }
            SchedEvent::MutexLock { .. } | SchedEvent::MutexUnlock { .. } => {
                is_made = current.is_some();
            }
            _ => {}
        }
        if is_made { expected.push(*event) } else { decided.push(*event) }
        tracker.settle(event);
    }
    let end = recording.events.last().map_or(start, |e| e.at.0);
    stints.extend(open.into_values().map(|s| Stint { to: end, left: end, ..s }));
    (stints, decided, expected)
}

/// Whether an event of a task's own context ends a piece of its work.
fn is_interaction(kind: &SchedEvent) -> bool {
    matches!(
        kind,
        SchedEvent::MutexLock { .. }
            | SchedEvent::MutexUnlock { .. }
            | SchedEvent::MutexTrylock { .. }
            | SchedEvent::ContendedRelease { .. }
            | SchedEvent::Waking(_)
            | SchedEvent::WakeupNew(_)
    )
}

fn end_spin(
    spinning: &mut BTreeMap<TaskId, u64>,
    open: &mut BTreeMap<CpuId, Stint>,
    task: TaskId,
    event: &Event,
) {
    if let Some(since) = spinning.remove(&task)
        && let Some(s) = open.get_mut(&event.cpu)
    {
        s.spins.push((since, event.at.0));
    }
}

fn stint(task: TaskId, tid: Tid, cpu: CpuId, from: u64) -> Stint {
    Stint { task, tid, cpu, from, to: from, left: from, acted: from, state: PrevState::Runnable, in_mutex: false, spins: Vec::new() }
}

fn compute_at(ops: &[Op], pc: usize) -> u64 {
    match ops.get(pc) {
        Some(Op::Compute(span)) => span.0,
        _ => 0,
    }
}

/// Runs a program through one stretch; `Err` says how it fails to end where the stretch does.
fn play(
    demand: &Demand,
    stint: &Stint,
    program: &mut (usize, u64),
    made: &mut Vec<Event>,
) -> Result<(), String> {
    let ops = &demand.tasks[stint.task.index()].ops;
    let mut at = stint.from;
    let (pc, left) = program;
    let mut spins = stint.spins.iter().copied().peekable();
    loop {
        // Spinning stands between two pieces of the program.
        while let Some((_, end)) = spins.next_if(|(begin, _)| *begin <= at) {
            at = at.max(end);
        }
        match ops.get(*pc) {
            Some(Op::Compute(_)) => {
                let bound = spins.peek().map_or(stint.to, |(begin, _)| (*begin).min(stint.to));
                let step = (*left).min(bound.saturating_sub(at));
                at += step;
                *left -= step;
                if *left > 0 && at < stint.to {
                    continue;
                }
                if *left > 0 {
                    return if stint.state.is_runnable() || stint.in_mutex {
                        Ok(())
                    } else {
                        let op = ops.get(*pc + 1);
                        Err(format!("leaves its CPU {left} ns of work before {op:?}"))
                    };
                }
            }
            Some(op @ (Op::Sleep { .. } | Op::Wait { .. } | Op::Exit)) => {
                if at == stint.to && !stint.state.is_runnable() {
                    *pc += 1;
                    *left = compute_at(ops, *pc);
                    return Ok(());
                }
                return if at >= stint.to { Ok(()) } else { Err(format!("reaches {op:?} at {at}")) };
            }
            Some(op) => made.extend(event_of(demand, stint, at, op)),
            None => return Ok(()),
        }
        *pc += 1;
        *left = compute_at(ops, *pc);
    }
}

/// The event that a step of a program makes.
fn event_of(demand: &Demand, stint: &Stint, at: u64, op: &Op) -> Option<Event> {
    let lock = |l: &model::demand::LockIndex| demand.locks.get(l.index()).map(|l| l.lock);
    let kind = match op {
        Op::Lock(l) => {
            SchedEvent::MutexLock { lock: lock(l)?, has_return: model::HasReturn::No }
        }
        Op::Unlock(l) => SchedEvent::MutexUnlock { lock: lock(l)? },
        _ => return None,
    };
    let at = Timestamp(at);
    Some(Event { at, cpu: stint.cpu, context: Context::Task, tid: stint.tid, kind })
}

/// The first expected event that was not made at its time by its task.
fn first_difference(expected: &[Event], made: &[Event]) -> Option<Divergence> {
    let what = |e: &Event| match e.kind {
        SchedEvent::MutexLock { lock, .. } => (0, lock),
        SchedEvent::MutexUnlock { lock } => (1, lock),
        _ => (2, model::LockId(0)),
    };
    let key = |e: &Event| (e.at, e.cpu, e.tid, what(e));
    let made: BTreeSet<_> = made.iter().map(key).collect();
    expected.iter().find(|e| !made.contains(&key(e))).map(|e| Divergence {
        at: e.at,
        tid: e.tid,
        text: format!("the program does not make {:?}", e.kind),
    })
}
