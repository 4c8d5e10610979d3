//! A scenario as a demand.

use super::{
    buffer_index, group_index, lock_index, machine, rounds, sched, task_id, usual_address,
    usual_buffer, usual_tid,
};
use crate::demand::{
    Arrival, BufferKind, Demand, DemandBuffer, DemandLock, Group, InitialFair, Op, SleepEnd,
    TaskDemand,
};
use crate::{CpuId, CpuSet, Names, Nanos, TaskInfo, Timestamp};
use trace_formats::script::{
    self, Allowed, Asleep, Blocking, CpuList, Priority, Script, Start, Step,
};

impl Demand {
    /// The demand of a scenario.
    ///
    /// Tasks keep their order: task n of the script is [`crate::TaskId`] n, lock n is
    /// [`crate::demand::LockIndex`] n. Unless the script says otherwise, task n has thread id
    /// n + 1, all CPUs share one cache and one node, and each is a core of its own.
    /// It ends where the script says, else when all tasks, one after the other, would have ended.
    #[must_use]
    pub fn from_script(script: &Script) -> Self {
        let mut names = Names::default();
        let tasks: Vec<TaskDemand> =
            script.tasks.iter().enumerate().map(|(n, t)| task(n, t, &mut names)).collect();
        let lock = |(n, lock): (usize, &script::Lock)| DemandLock {
            lock: lock.address.unwrap_or_else(|| usual_address(n)),
            flags: lock.flags,
            has_preemption_points: lock.is_preempted,
        };
        let buffer = |(n, buffer): (usize, &script::Buffer)| DemandBuffer {
            address: buffer.address.unwrap_or_else(|| usual_buffer(n)),
            kind: match buffer.kind {
                script::BufferKind::Pipe { pages } => BufferKind::Pipe { pages },
                script::BufferKind::Packets { pages } => BufferKind::Packets { pages },
                script::BufferKind::Messages { room, step } => BufferKind::Messages { room, step },
                script::BufferKind::Socket { room } => BufferKind::Socket { room },
            },
            mutex: buffer.mutex.map(lock_index),
            filled: buffer.filled,
        };
        let group = |g: &script::Group| Group {
            path: g.name.clone(),
            parent: g.parent.map(group_index),
            weight: g.weight,
        };
        let end = script.machine.end.unwrap_or_else(|| one_after_the_other(script));
        Self {
            machine: machine::read(&script.machine),
            tasks,
            locks: script.locks.iter().enumerate().map(lock).collect(),
            buffers: script.buffers.iter().enumerate().map(buffer).collect(),
            odd_affinities: Vec::new(),
            groups: script.groups.iter().map(group).collect(),
            names,
            latencies: machine::read_latencies(&script.machine.latencies),
            stretches: Vec::new(),
            start: script.machine.start,
            end,
        }
    }
}

fn task(n: usize, task: &script::Task, names: &mut Names) -> TaskDemand {
    let sched = sched::params(task.class, task.slice);
    let mut ops: Vec<Op> = task.steps.iter().filter_map(op).collect();
    if ops.last() != Some(&Op::Exit) && !task.goes_on {
        ops.push(Op::Exit);
    }
    TaskDemand {
        info: TaskInfo {
            tid: task.tid.unwrap_or_else(|| usual_tid(n)),
            comm: names.id(task.comm.as_ref().unwrap_or(&task.name)),
            prio: match task.priority {
                Priority::OfClass => Some(sched.kernel_prio()),
                Priority::Is(prio) => Some(prio),
                Priority::Unknown => None,
            },
            parent: task.parent.map(task_id),
            ended: task.ended,
        },
        arrival: match task.start {
            Start::At(time) => Arrival::At(time, task.cpu),
            Start::Asleep => Arrival::Asleep(task.cpu),
            Start::Forked => Arrival::Forked,
        },
        sched,
        affinity: match &task.allowed {
            Allowed::Own if task.start != Start::Forked => Some(CpuSet::of(&[task.cpu])),
            Allowed::Own | Allowed::All => None,
            Allowed::Listed(list) => Some(set(list)),
        },
        beside_affinity: task.at_first.as_ref().map(set),
        group: task.group.map(group_index),
        holds: task.holds.iter().map(|&n| lock_index(n)).collect(),
        rounds: rounds::read(&task.steps, task.until),
        initial_fair: task.fair.map(|f| InitialFair {
            vruntime_ns: f.vruntime_ns,
            deadline_ns: f.deadline_ns,
            lag_ns: f.lag_ns,
        }),
        ops,
    }
}

fn set(list: &CpuList) -> CpuSet {
    CpuSet::of(&list.iter().collect::<Vec<CpuId>>())
}

/// The op that a step asks for; none of a place in a loop.
fn op(step: &Step) -> Option<Op> {
    let on = |asleep: Asleep| asleep.on.map(|(lock, flags)| (lock_index(lock), flags));
    let sleep = |until, asleep: Asleep| Op::Sleep { until, state: asleep.state, on: on(asleep) };
    Some(match *step {
        Step::Run(span) => Op::Compute(span),
        Step::BusyWait(span) => Op::BusyWait(span),
        Step::Lock(n) => Op::Lock(lock_index(n)),
        Step::LockInterruptible(n) => Op::LockInterruptible(lock_index(n)),
        Step::Trylock(n) => Op::TryLock { lock: lock_index(n), acquired: true },
        Step::TrylockFailed(n) => Op::TryLock { lock: lock_index(n), acquired: false },
        Step::Unlock(n) => Op::Unlock(lock_index(n)),
        Step::Put(n, bytes, how) => {
            Op::Put { buffer: buffer_index(n), bytes, is_nonblocking: how == Blocking::No }
        }
        Step::Take(n, bytes, how) => {
            Op::Take { buffer: buffer_index(n), bytes, is_nonblocking: how == Blocking::No }
        }
        Step::Contend(n, flags) => Op::Contend { lock: lock_index(n), flags },
        Step::Contended(n, ret) => Op::Contended { lock: lock_index(n), ret },
        Step::Sleep(span, how) => sleep(SleepEnd::After(span), how),
        Step::SleepUntil(time, how) => sleep(SleepEnd::At(time), how),
        Step::SleepTicks { nth, after, asleep } => sleep(SleepEnd::Tick { nth, after }, asleep),
        Step::SleepEvery { period, phase, asleep } => {
            sleep(SleepEnd::Period { phase, period }, asleep)
        }
        Step::Wait(how) => Op::Wait { state: how.state, on: on(how) },
        Step::Wake(n) => Op::Wake { target: task_id(n) },
        Step::Signal(n) => Op::Signal { target: task_id(n) },
        Step::Fork(n) => Op::Fork { child: task_id(n) },
        Step::Set(class, slice) => Op::SetSched(sched::params(class, slice)),
        Step::KeepAffinity => Op::KeepAffinity,
        Step::Yield => Op::Yield,
        Step::Exit => Op::Exit,
        Step::Mark(_) => return None,
    })
}

fn one_after_the_other(script: &Script) -> Timestamp {
    let mut latest = script.machine.start;
    let mut spans = Nanos(0);
    for task in &script.tasks {
        if let Start::At(time) = task.start {
            latest = latest.max(time);
        }
        for step in &task.steps {
            match *step {
                Step::Run(span) | Step::BusyWait(span) | Step::Sleep(span, _) => spans += span,
                // A tick a hundredth of a second is the slowest there is.
                Step::SleepTicks { nth, after, .. } => {
                    spans += Nanos(u64::from(nth).saturating_mul(10_000_000)) + after;
                }
                Step::SleepEvery { period, .. } => spans += period,
                Step::SleepUntil(time, _) => latest = latest.max(time),
                _ => {}
            }
        }
    }
    latest + spans
}
