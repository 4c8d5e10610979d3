//! How a recording shows a step of a program.

use super::decision::{Step, Told};
use super::play::Made;
use model::demand::{Demand, LockIndex};
use model::{
    Context, Event, HasReturn, LockFlags, LockId, SchedEvent, TaskId, Tid, Timestamp, WakeFields,
};

/// A step as an event. Names, priorities and CPUs that a wakeup shows are the kernel's.
pub(super) fn event_of(demand: &Demand, made: Made, e: &Event) -> Event {
    let id = |lock: LockIndex| demand.locks.get(lock.index()).map_or(LockId(0), |l| l.lock);
    let tid = |task: TaskId| demand.tasks[task.index()].info.tid;
    let woken = |w: WakeFields, task| WakeFields { tid: tid(task), ..w };
    let kind = match (e.kind, made.step) {
        (SchedEvent::MutexLock { has_return, .. }, Step::Lock(l) | Step::Fail(l)) => {
            SchedEvent::MutexLock { lock: id(l), has_return }
        }
        (SchedEvent::ContentionBegin { flags, .. }, Step::Lock(l) | Step::Fail(l)) => {
            SchedEvent::ContentionBegin { lock: id(l), flags }
        }
        (SchedEvent::ContendedRelease { .. }, Step::Unlock(l)) => {
            SchedEvent::ContendedRelease { lock: id(l) }
        }
        (_, Step::Unlock(l) | Step::Lock(l)) => SchedEvent::MutexUnlock { lock: id(l) },
        (_, Step::Try(l)) => SchedEvent::MutexTrylock { lock: id(l), ret: 1 },
        (_, Step::Fail(l)) => SchedEvent::MutexTrylock { lock: id(l), ret: 0 },
        (_, Step::Begin(l, flags)) => {
            SchedEvent::ContentionBegin { lock: id(l), flags: LockFlags(flags) }
        }
        (_, Step::End(l, ret)) => SchedEvent::ContentionEnd { lock: id(l), ret },
        (SchedEvent::WakeupNew(w), Step::Fork(child)) => SchedEvent::WakeupNew(woken(w, child)),
        (SchedEvent::Waking(w), Step::Wake(target)) => SchedEvent::Waking(woken(w, target)),
        // A step is looked for where an event of its kind is.
        (kind, Step::Fork(_) | Step::Wake(_)) => kind,
    };
    Event { at: Timestamp(made.at), cpu: made.cpu, tid: tid(made.task), kind, ..*e }
}

/// An event of the kind that shows such a step.
pub(super) fn bare(demand: &Demand, made: Made) -> Event {
    let (lock, no) = (LockId(0), LockFlags(0));
    let woken = |task: TaskId| {
        let info = &demand.tasks[task.index()].info;
        let prio = info.prio.unwrap_or_default();
        WakeFields { tid: info.tid, comm: info.comm, prio, target_cpu: made.cpu }
    };
    let kind = match made.step {
        Step::Lock(_) => SchedEvent::MutexLock { lock, has_return: HasReturn::No },
        Step::Try(_) | Step::Fail(_) => SchedEvent::MutexTrylock { lock, ret: 0 },
        Step::Unlock(_) => SchedEvent::MutexUnlock { lock },
        Step::Wake(task) => SchedEvent::Waking(woken(task)),
        Step::Fork(task) => SchedEvent::WakeupNew(woken(task)),
        Step::Begin(..) => SchedEvent::ContentionBegin { lock, flags: no },
        Step::End(..) => SchedEvent::ContentionEnd { lock, ret: 0 },
    };
    let (at, tid, context) = (Timestamp(made.at), Tid::IDLE, Context::Task);
    Event { at, cpu: made.cpu, context, tid, kind }
}

/// Whether a recording shows each such step. Where mutexes' calls are not recorded, an
/// acquisition or a release that nobody contends leaves no event.
pub(super) fn is_shown(demand: &Demand, told: &Told, step: Step) -> bool {
    match step {
        Step::Lock(lock) | Step::Unlock(lock) => {
            let lock = demand.locks.get(lock.index());
            told.shows_calls && lock.is_some_and(|l| l.flags.has(LockFlags::MUTEX))
        }
        _ => true,
    }
}
