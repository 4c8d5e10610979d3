//! A hand-written scenario as a demand. Total: what a parsed script says, a demand can say.

use crate::demand::{
    Arrival, Demand, DemandLock, Group, GroupIndex, InitialFair, LockIndex, Machine, Op,
    Preemption, SchedParams, SleepEnd, TaskDemand,
};
use crate::{
    CpuId, CpuSet, LockFlags, LockId, Names, Nanos, PrevState, SchedPolicy, TaskId, TaskInfo, Tid,
    Timestamp,
};
use trace_formats::script::{self, Script, Step};

impl Demand {
    /// The demand of a scenario.
    ///
    /// Tasks keep their order: task n of the script is [`TaskId`] n with thread id n + 1,
    /// lock n is [`LockIndex`] n. Unless the script says otherwise, all CPUs share one cache and
    /// one node, and each is a core of its own.
    /// It starts at zero and ends where the script says, else when all tasks,
    /// one after the other, would have ended.
    #[must_use]
    pub fn from_script(script: &Script) -> Self {
        let mut names = Names::default();
        let tasks: Vec<TaskDemand> =
            (0..).zip(&script.tasks).map(|(n, t)| task(n, t, &mut names)).collect();
        let locks = (0..script.locks.len()).map(|n| lock(n, script)).collect();
        let group = |g: &script::Group| Group {
            path: g.name.clone(),
            parent: g.parent.map(group_index),
            weight: g.weight,
        };
        let groups = script.groups.iter().map(group).collect();
        let end = script.machine.end.unwrap_or_else(|| one_after_the_other(&script.tasks));
        Self {
            machine: machine(&script.machine),
            tasks,
            locks,
            odd_affinities: Vec::new(),
            groups,
            names,
            latencies: crate::demand::Latencies::default(),
            stretches: Vec::new(),
            start: Timestamp(0),
            end,
        }
    }
}

fn machine(machine: &script::Machine) -> Machine {
    let shared_by = |n: u32| (0..machine.cpus).map(|cpu| cpu / n.max(1)).collect();
    Machine {
        cpus: (0..machine.cpus).map(CpuId).collect(),
        hz: machine.hz,
        tick_phase: machine.tick_phase,
        preemption: match machine.preemption {
            script::Preemption::None => Preemption::None,
            script::Preemption::Voluntary => Preemption::Voluntary,
            script::Preemption::Lazy => Preemption::Lazy,
            script::Preemption::Full => Preemption::Full,
        },
        hrtick: machine.hrtick,
        base_slice: machine.base_slice,
        core_of_cpu: shared_by(machine.cpus_per_core),
        llc_of_cpu: shared_by(machine.cpus_per_cache),
        node_of_cpu: shared_by(machine.cpus_per_node),
        // A scenario shows what balancing can do, not what it happens to do.
        newidle_of_cpu: vec![Some(1024); machine.cpus as usize],
        assumed: Vec::new(),
    }
}

/// Lock objects are a cache line apart in a made-up heap.
fn lock(n: usize, script: &Script) -> DemandLock {
    let kind = script.kinds.iter().find(|(lock, _)| *lock == n).map(|(_, kind)| kind);
    let flags = match kind {
        None => LockFlags::MUTEX,
        Some(script::LockKind::Rwsem) => LockFlags::WRITE,
        Some(script::LockKind::RtMutex) => LockFlags::RT,
    };
    let id = LockId(0xffff_8880_0000_0000 + 64 * n as u64);
    DemandLock { lock: id, flags: LockFlags(flags), has_preemption_points: false }
}

fn task(n: u32, task: &script::Task, names: &mut Names) -> TaskDemand {
    let sched = params(task);
    let tid = Tid(i32::try_from(n).map_or(i32::MAX, |n| n.saturating_add(1)));
    let mut ops: Vec<Op> = task.steps.iter().map(|&step| op(step)).collect();
    if ops.last() != Some(&Op::Exit) {
        ops.push(Op::Exit);
    }
    TaskDemand {
        info: TaskInfo {
            tid,
            comm: names.id(&task.name),
            prio: Some(sched.kernel_prio()),
            parent: None,
            ended: false,
        },
        arrival: match task.start {
            script::Start::At(time) => Arrival::At(time, task.cpu),
            script::Start::Asleep => Arrival::Asleep(task.cpu),
        },
        sched,
        affinity: Some(CpuSet::of(&task.allowed)),
        beside_affinity: None,
        group: task.group.map(group_index),
        holds: task.holds.iter().map(|&n| lock_index(n)).collect(),
        rounds: None,
        initial_fair: task.fair.map(|f| InitialFair {
            vruntime_ns: f.vruntime_ns,
            deadline_ns: f.deadline_ns,
            lag_ns: f.lag_ns,
        }),
        ops,
    }
}

fn params(task: &script::Task) -> SchedParams {
    let fair = |policy, nice| SchedParams { policy, nice, ..SchedParams::default() };
    let realtime =
        |policy, rt_priority| SchedParams { policy, rt_priority, ..SchedParams::default() };
    let mut params = match task.class {
        script::Class::Fair(nice) => fair(SchedPolicy::Other, nice),
        script::Class::Batch(nice) => fair(SchedPolicy::Batch, nice),
        script::Class::Idle(nice) => fair(SchedPolicy::Idle, nice),
        script::Class::Fifo(priority) => realtime(SchedPolicy::Fifo, priority),
        script::Class::Rr(priority) => realtime(SchedPolicy::Rr, priority),
        script::Class::Stop => fair(SchedPolicy::Stop, 0),
        script::Class::Deadline { budget, deadline, period } => SchedParams {
            policy: SchedPolicy::Deadline,
            runtime: budget,
            deadline,
            period,
            ..SchedParams::default()
        },
    };
    if let Some(slice) = task.slice {
        params.runtime = slice;
    }
    params
}

fn task_id(n: usize) -> TaskId {
    TaskId(u32::try_from(n).expect("a script has fewer than 2^32 tasks"))
}

fn group_index(n: usize) -> GroupIndex {
    GroupIndex(u32::try_from(n).expect("a script has fewer than 2^32 groups"))
}

fn lock_index(n: usize) -> LockIndex {
    LockIndex(u32::try_from(n).expect("a script has fewer than 2^32 locks"))
}

fn op(step: Step) -> Op {
    let sleep = |until| Op::Sleep { until, state: PrevState::Interruptible, on: None };
    match step {
        Step::Run(span) => Op::Compute(span),
        Step::Lock(n) => Op::Lock(lock_index(n)),
        Step::LockInterruptible(n) => Op::LockInterruptible(lock_index(n)),
        Step::Trylock(n) => Op::TryLock { lock: lock_index(n), acquired: true },
        Step::Unlock(n) => Op::Unlock(lock_index(n)),
        Step::Sleep(span) => sleep(SleepEnd::After(span)),
        Step::SleepUntil(time) => sleep(SleepEnd::At(time)),
        Step::Wait => Op::Wait { state: PrevState::Interruptible, on: None },
        Step::Wake(n) => Op::Wake { target: task_id(n) },
        Step::Signal(n) => Op::Signal { target: task_id(n) },
        Step::Yield => Op::Yield,
        Step::Exit => Op::Exit,
    }
}

fn one_after_the_other(tasks: &[script::Task]) -> Timestamp {
    let mut latest = Timestamp(0);
    let mut spans = Nanos(0);
    for task in tasks {
        if let script::Start::At(time) = task.start {
            latest = latest.max(time);
        }
        for step in &task.steps {
            match *step {
                Step::Run(span) | Step::Sleep(span) => spans += span,
                Step::SleepUntil(time) => latest = latest.max(time),
                _ => {}
            }
        }
    }
    latest + spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(text: &str) -> Demand {
        Demand::from_script(&script::parse(text).expect("valid"))
    }

    #[test]
    fn a_program_ends_with_one_exit() {
        let demand = demand("A at 1 lock m run 2 unlock m\nB run 1 exit");
        let m = LockIndex(0);
        let ops = [Op::Lock(m), Op::Compute(Nanos(2_000_000)), Op::Unlock(m), Op::Exit];
        assert_eq!(demand.tasks[0].ops, ops);
        assert_eq!(demand.tasks[0].arrival, Arrival::At(Timestamp(1_000_000), CpuId(0)));
        assert_eq!(demand.tasks[1].ops, [Op::Compute(Nanos(1_000_000)), Op::Exit]);
        assert_eq!(demand.end, Timestamp(4_000_000));
        assert_eq!(demand.names.text(demand.tasks[1].info.comm), "B");
    }

    #[test]
    fn classes_keep_their_numbers() {
        let demand = demand(
            "cpus 2\nA fifo 50 cpu 1 wait\nB dl 2 9 10 wake A\nC nice -5 slice 0.5 lag 1 asleep wait",
        );
        let prios: Vec<i32> = demand.tasks.iter().map(|t| t.sched.kernel_prio()).collect();
        assert_eq!(prios, [49, -1, 115]);
        assert_eq!(demand.tasks[0].affinity, Some(CpuSet::of(&[CpuId(1)])));
        assert_eq!(demand.tasks[1].ops[0], Op::Wake { target: TaskId(0) });
        let c = &demand.tasks[2];
        assert_eq!((c.sched.runtime, c.arrival), (Nanos(500_000), Arrival::Asleep(CpuId(0))));
        assert_eq!(c.initial_fair.map(|f| f.lag_ns), Some(1_000_000));
    }
}
