//! A demand as a scenario.

use super::{machine, rounds, sched, usual_address, usual_buffer, usual_tid};
use crate::demand::{
    Arrival, BufferKind, Demand, DemandBuffer, DemandLock, LockIndex, Op, SleepEnd, TaskDemand,
};
use crate::{CpuId, CpuSet, LockFlags, PrevState, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use trace_formats::script::{
    self, Allowed, Asleep, Blocking, Buffer, CpuList, FairPlace, Group, Lock, Priority, Script,
    Start, Step, Task,
};

impl Demand {
    /// The scenario that says this demand; [`Demand::from_script`] gives it back, without its
    /// [`Demand::stretches`] and [`Demand::odd_affinities`], which no schedule depends on.
    ///
    /// A task is called as the kernel calls it where no other task is called so; locks, which have
    /// no names, are numbered.
    #[must_use]
    pub fn to_script(&self) -> Script {
        let groups = self.groups.iter().map(|g| Group {
            name: g.path.clone(),
            parent: g.parent.map(|parent| parent.index()),
            weight: g.weight,
        });
        let mut script = Script {
            machine: machine::write(self),
            groups: groups.collect(),
            locks: self.locks.iter().enumerate().map(|(n, l)| lock(n, l)).collect(),
            buffers: self.buffers.iter().enumerate().map(|(n, b)| buffer(n, b)).collect(),
            ..Script::default()
        };
        let names = names(self).into_iter();
        script.tasks = self
            .tasks
            .iter()
            .enumerate()
            .zip(names)
            .map(|((n, t), name)| task(self, n, t, name))
            .collect();
        let faults: Vec<bool> = script.tasks.iter().map(|t| t.fault(&script).is_some()).collect();
        for (task, has_fault) in script.tasks.iter_mut().zip(faults) {
            task.as_recorded = has_fault;
        }
        script
    }
}

fn lock(n: usize, lock: &DemandLock) -> Lock {
    let name = if lock.flags.has(LockFlags::MUTEX) {
        "m"
    } else if lock.flags.has(LockFlags::RT) {
        "rt"
    } else if lock.flags.has(LockFlags::READ) || lock.flags.has(LockFlags::WRITE) {
        "rw"
    } else {
        "lock"
    };
    Lock {
        name: format!("{name}{n}"),
        flags: lock.flags,
        is_preempted: lock.has_preemption_points,
        address: Some(lock.lock).filter(|address| *address != usual_address(n)),
    }
}

fn buffer(n: usize, buffer: &DemandBuffer) -> Buffer {
    let (name, kind) = match buffer.kind {
        BufferKind::Pipe { pages } => ("pipe", script::BufferKind::Pipe { pages }),
        BufferKind::Packets { pages } => ("pipe", script::BufferKind::Packets { pages }),
        BufferKind::Messages { room, step } => {
            ("pipe", script::BufferKind::Messages { room, step })
        }
        BufferKind::Socket { room } => ("socket", script::BufferKind::Socket { room }),
    };
    Buffer {
        name: format!("{name}{n}"),
        address: Some(buffer.address).filter(|address| *address != usual_buffer(n)),
        kind,
        mutex: buffer.mutex.map(|lock| lock.index()),
        filled: buffer.filled,
    }
}

/// A name for every task that no other one has.
fn names(demand: &Demand) -> Vec<String> {
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    let comms: Vec<&str> = demand.tasks.iter().map(|t| demand.names.text(t.info.comm)).collect();
    comms.iter().for_each(|comm| *times.entry(comm).or_default() += 1);
    let is_unique = |comm: &str| !comm.is_empty() && times.get(comm) == Some(&1);
    let mut taken: BTreeSet<String> =
        comms.iter().filter(|comm| is_unique(comm)).map(|comm| (*comm).to_owned()).collect();
    let mut name = |(comm, task): (&&str, &TaskDemand)| {
        if is_unique(comm) {
            return (*comm).to_owned();
        }
        let called = if comm.is_empty() { "task" } else { comm };
        let numbered = format!("{called}.{}", task.info.tid.0);
        let mut name = numbered.clone();
        // A thread id is used again, and a name may be any other's with a number.
        for again in 2_u32.. {
            if taken.insert(name.clone()) {
                break;
            }
            name = format!("{numbered}.{again}");
        }
        name
    };
    comms.iter().zip(&demand.tasks).map(&mut name).collect()
}

fn task(demand: &Demand, n: usize, task: &TaskDemand, name: String) -> Task {
    let (class, slice) = sched::class(task.sched);
    let comm = demand.names.text(task.info.comm);
    let (start, cpu) = match task.arrival {
        Arrival::At(time, cpu) => (Start::At(time), cpu),
        Arrival::Asleep(cpu) => (Start::Asleep, cpu),
        Arrival::Forked => (Start::Forked, CpuId(0)),
    };
    let (steps, goes_on) = steps(task);
    Task {
        comm: Some(comm.to_owned()).filter(|comm| *comm != name),
        name,
        tid: Some(task.info.tid).filter(|tid| *tid != usual_tid(n)),
        priority: match task.info.prio {
            None => Priority::Unknown,
            Some(prio) if prio == task.sched.kernel_prio() => Priority::OfClass,
            Some(prio) => Priority::Is(prio),
        },
        parent: task.info.parent.map(TaskId::index),
        ended: task.info.ended,
        class,
        slice,
        cpu,
        allowed: allowed(task.affinity.as_ref(), start, cpu),
        at_first: task.beside_affinity.as_ref().map(|set| CpuList::of(set.cpus())),
        start,
        fair: task.initial_fair.map(|f| FairPlace {
            vruntime_ns: f.vruntime_ns,
            deadline_ns: f.deadline_ns,
            lag_ns: f.lag_ns,
        }),
        group: task.group.map(|group| group.index()),
        holds: task.holds.iter().map(|lock| lock.index()).collect(),
        until: task.rounds.as_ref().and_then(|rounds| rounds.until),
        as_recorded: false,
        steps,
        goes_on,
    }
}

fn allowed(affinity: Option<&CpuSet>, start: Start, cpu: CpuId) -> Allowed {
    match affinity {
        None if start == Start::Forked => Allowed::Own,
        None => Allowed::All,
        Some(set) if start != Start::Forked && *set == CpuSet::of(&[cpu]) => Allowed::Own,
        Some(set) => Allowed::Listed(CpuList::of(set.cpus())),
    }
}

/// The steps of a program with the places of its loop, and whether it goes on behind them.
fn steps(task: &TaskDemand) -> (Vec<Step>, bool) {
    let marks = task.rounds.as_ref().map(rounds::marks).unwrap_or_default();
    let ops = match &task.ops[..] {
        // A task exits after its last step.
        [rest @ .., Op::Exit]
            if rest.last() != Some(&Op::Exit) && marks.iter().all(|(at, _)| *at <= rest.len()) =>
        {
            rest
        }
        all => all,
    };
    let mut marks = marks.into_iter().peekable();
    let mut steps = Vec::new();
    for (n, op) in ops.iter().enumerate() {
        while let Some((_, mark)) = marks.next_if(|(at, _)| *at <= n) {
            steps.push(Step::Mark(mark));
        }
        steps.push(step(*op));
    }
    steps.extend(marks.map(|(_, mark)| Step::Mark(mark)));
    (steps, task.ops.last() != Some(&Op::Exit))
}

fn step(op: Op) -> Step {
    let asleep = |state: PrevState, on: Option<(LockIndex, LockFlags)>| Asleep {
        state,
        on: on.map(|(lock, flags)| (lock.index(), flags)),
    };
    let blocking = |is_nonblocking| if is_nonblocking { Blocking::No } else { Blocking::Yes };
    match op {
        Op::Compute(span) => Step::Run(span),
        Op::BusyWait(span) => Step::BusyWait(span),
        Op::Lock(lock) => Step::Lock(lock.index()),
        Op::LockInterruptible(lock) => Step::LockInterruptible(lock.index()),
        Op::TryLock { lock, acquired: true } => Step::Trylock(lock.index()),
        Op::TryLock { lock, acquired: false } => Step::TrylockFailed(lock.index()),
        Op::Unlock(lock) => Step::Unlock(lock.index()),
        Op::Put { buffer, bytes, is_nonblocking } => {
            Step::Put(buffer.index(), bytes, blocking(is_nonblocking))
        }
        Op::Take { buffer, bytes, is_nonblocking } => {
            Step::Take(buffer.index(), bytes, blocking(is_nonblocking))
        }
        Op::Contend { lock, flags } => Step::Contend(lock.index(), flags),
        Op::Contended { lock, ret } => Step::Contended(lock.index(), ret),
        Op::Wake { target } => Step::Wake(target.index()),
        Op::Signal { target } => Step::Signal(target.index()),
        Op::Fork { child } => Step::Fork(child.index()),
        Op::Wait { state, on } => Step::Wait(asleep(state, on)),
        Op::Sleep { until, state, on } => {
            let asleep = asleep(state, on);
            match until {
                SleepEnd::After(span) => Step::Sleep(span, asleep),
                SleepEnd::At(time) => Step::SleepUntil(time, asleep),
                SleepEnd::Tick { nth, after } => Step::SleepTicks { nth, after, asleep },
                SleepEnd::Period { phase, period } => Step::SleepEvery { period, phase, asleep },
            }
        }
        Op::SetSched(params) => {
            let (class, slice) = sched::class(params);
            Step::Set(class, slice)
        }
        Op::KeepAffinity => Step::KeepAffinity,
        Op::Yield => Step::Yield,
        Op::Exit => Step::Exit,
    }
}
