//! The policy that answers as the trace did: the self-test of demand and model.
//!
//! Every choice of the kernel is taken from the recording: who runs where and
//! when, how long it spun, when interrupts came, which waiter got a mutex.
//! Everything a program does is taken from the demand: its interactions happen
//! when its CPU time says so. If the demand is right, both give the recording
//! back to the nanosecond; the first place where they do not is returned.

use crate::Schedule;
use model::Nanos;
use model::demand::{Demand, Op};
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
    left: u64,
    /// How long its program ran.
    program: u64,
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
    let Decisions { stints, decided: mut events, expected, .. } = decisions(demand, recording);
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
fn decisions(demand: &Demand, recording: &Recording) -> Decisions {
    let start = recording.events.first().map_or(0, |e| e.at.0);
    let mut d = Decisions { start, ..Decisions::default() };
    let mut stretches = demand.stretches.iter();
    for event in &recording.events {
        d.tracker.observe(event);
        d.event(event, &mut stretches);
        d.tracker.settle(event);
    }
    let end = recording.events.last().map_or(start, |e| e.at.0);
    let open = std::mem::take(&mut d.open);
    d.stints.extend(open.into_values().map(|s| Stint { left: end, ..s }));
    d
}

#[derive(Default)]
struct Decisions {
    tracker: TaskTracker,
    start: u64,
    open: BTreeMap<CpuId, Stint>,
    spinning: BTreeMap<TaskId, u64>,
    in_mutex: BTreeSet<TaskId>,
    seen: BTreeSet<TaskId>,
    /// CPUs that have switched: what ran there is known from then on.
    switched: BTreeSet<CpuId>,
    stints: Vec<Stint>,
    decided: Vec<Event>,
    expected: Vec<Event>,
}

impl Decisions {
    fn event(&mut self, event: &Event, stretches: &mut std::slice::Iter<'_, Nanos>) {
        let at = event.at.0;
        let in_task = !matches!(event.context, Context::HardIrq | Context::SoftIrq);
        let current = self.tracker.id(event.tid).filter(|_| in_task);
        if let SchedEvent::Switch { prev, prev_state, next, .. } = event.kind {
            if let Some(task) = self.tracker.id(prev) {
                let program = stretches.next().map_or(u64::MAX, |span| span.0);
                self.leave(event, task, prev_state, program);
            }
            if let Some(task) = self.tracker.id(next) {
                if let Some(since) = self.spinning.get_mut(&task) {
                    *since = at;
                }
                self.seen.insert(task);
                self.open.insert(event.cpu, Stint::new(task, next, event.cpu, at));
            }
            self.switched.insert(event.cpu);
        } else if let Some(task) = current {
            let from = self.running_since(task, event);
            let new = || Stint::new(task, event.tid, event.cpu, from);
            self.open.entry(event.cpu).or_insert_with(new);
        }
        if let SchedEvent::Waking(w) | SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) = event.kind
        {
            self.seen.extend(self.tracker.id(w.tid));
        }
        let mut is_made = false;
        match (event.kind, current) {
            (SchedEvent::ContentionBegin { flags, .. }, Some(task))
                if flags.has(LockFlags::MUTEX) =>
            {
                self.in_mutex.insert(task);
                self.end_spin(task, event);
                if flags.has(LockFlags::SPIN) {
                    self.spinning.insert(task, at);
                }
            }
            (SchedEvent::ContentionEnd { .. }, Some(task)) => {
                self.in_mutex.remove(&task);
                self.end_spin(task, event);
            }
            (SchedEvent::MutexLock { .. } | SchedEvent::MutexUnlock { .. }, Some(_)) => {
                is_made = true;
            }
            _ => {}
        }
        if is_made { &mut self.expected } else { &mut self.decided }.push(*event);
    }

    fn leave(&mut self, event: &Event, task: TaskId, state: PrevState, program: u64) {
        let SchedEvent::Switch { prev, .. } = event.kind else { return };
        let open = self.open.remove(&event.cpu).filter(|s| s.task == task);
        let from = self.running_since(task, event);
        let mut s = open.unwrap_or_else(|| Stint::new(task, prev, event.cpu, from));
        s.left = event.at.0;
        s.state = state;
        s.program = program;
        s.in_mutex = self.in_mutex.contains(&task);
        if let Some(since) = self.spinning.get_mut(&task) {
            s.spins.push((*since, event.at.0));
            *since = event.at.0;
        }
        self.stints.push(s);
    }

    /// A task that is found running, without having come to its CPU, has run since the beginning
    /// when this is the first that is seen of it and of its CPU.
    fn running_since(&mut self, task: TaskId, event: &Event) -> u64 {
        let is_new = self.seen.insert(task) && !self.switched.contains(&event.cpu);
        if is_new { self.start } else { event.at.0 }
    }

    fn end_spin(&mut self, task: TaskId, event: &Event) {
        if let Some(since) = self.spinning.remove(&task)
            && let Some(s) = self.open.get_mut(&event.cpu)
        {
            s.spins.push((since, event.at.0));
        }
    }
}

impl Stint {
    fn new(task: TaskId, tid: Tid, cpu: CpuId, from: u64) -> Self {
        let (state, spins) = (PrevState::Runnable, Vec::new());
        Self { task, tid, cpu, from, left: from, program: u64::MAX, state, in_mutex: false, spins }
    }
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
    let mut budget = stint.program.min(stint.left.saturating_sub(stint.from));
    let (pc, left) = program;
    let mut spins = stint.spins.iter().copied().peekable();
    loop {
        // Spinning stands between two pieces of the program.
        while let Some((_, end)) = spins.next_if(|(begin, _)| *begin <= at) {
            at = at.max(end);
        }
        match ops.get(*pc) {
            Some(Op::Compute(_)) if *left > 0 => {
                let until_spin = spins.peek().map_or(u64::MAX, |(begin, _)| *begin - at);
                let step = (*left).min(budget).min(until_spin);
                (at, *left, budget) = (at + step, *left - step, budget - step);
                if *left > 0 && budget > 0 {
                    continue;
                }
                if *left > 0 && (stint.state.is_runnable() || stint.in_mutex) {
                    return Ok(());
                }
                if *left > 0 {
                    return Err(format!("leaves its CPU {left} ns before {:?}", ops.get(*pc + 1)));
                }
            }
            Some(op @ (Op::Sleep { .. } | Op::Wait { .. } | Op::Exit)) => {
                if stint.state.is_runnable() || stint.in_mutex {
                    // It gets there in a later stretch.
                    return if budget == 0 {
                        Ok(())
                    } else {
                        Err(format!("reaches {op:?} at {at}"))
                    };
                }
                *pc += 1;
                *left = compute_at(ops, *pc);
                return if at == stint.left {
                    Ok(())
                } else {
                    Err(format!("reaches {op:?} at {at}"))
                };
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
        Op::Lock(l) => SchedEvent::MutexLock { lock: lock(l)?, has_return: model::HasReturn::No },
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
