//! Which events of locks a program makes, and which are the lock's answers.

use super::decision::{Part, Spin, Step};
use super::reader::{Contending, Reader};
use model::demand::LockIndex;
use model::{Event, LockFlags, LockId, SchedEvent, TaskId};

impl Reader<'_> {
    pub(super) fn lock_event(&mut self, e: &Event, task: TaskId) -> Part {
        let index = |r: &Self, lock: LockId| r.locks.get(&lock).copied();
        match e.kind {
            SchedEvent::ContentionBegin { lock, flags } => match index(self, lock) {
                Some(lock) => self.begin(e, task, lock, flags),
                None => Part::Decided,
            },
            SchedEvent::ContentionEnd { lock, ret } => match index(self, lock) {
                Some(lock) => self.end(e, task, lock, ret),
                None => Part::Decided,
            },
            SchedEvent::MutexLock { lock, .. } => {
                let Some(lock) = index(self, lock) else { return Part::Decided };
                self.entered.insert(task, lock);
                self.acquire(e, task, lock)
            }
            SchedEvent::MutexLockReturn { ret, .. } => {
                if ret != 0 {
                    self.fail(task);
                }
                Part::Decided
            }
            SchedEvent::MutexTrylock { lock, ret } => {
                let Some(lock) = index(self, lock) else { return Part::Decided };
                let step = if ret == 1 { Step::Try(lock) } else { Step::Fail(lock) };
                self.expect(e, task, step)
            }
            SchedEvent::MutexUnlock { lock } => {
                let Some(lock) = index(self, lock) else { return Part::Decided };
                self.entered.remove(&task);
                self.expect(e, task, Step::Unlock(lock))
            }
            _ => Part::Decided,
        }
    }

    /// Whether programs acquire such a lock themselves.
    fn is_own(&self, lock: LockIndex, flags: LockFlags) -> bool {
        let is_shared = flags.has(LockFlags::READ) || flags.has(LockFlags::PERCPU);
        flags.has(LockFlags::MUTEX) || self.owned.contains(&lock) && !is_shared
    }

    fn acquire(&mut self, e: &Event, task: TaskId, lock: LockIndex) -> Part {
        self.attempt.insert(task, self.told.expected.len());
        self.expect(e, task, Step::Lock(lock))
    }

    /// The latest attempt of a task did not get its lock.
    fn fail(&mut self, task: TaskId) {
        if let Some(attempt) = self.attempt.remove(&task)
            && let Step::Lock(lock) = self.told.expected[attempt].step
        {
            self.told.expected[attempt].step = Step::Fail(lock);
        }
    }

    fn begin(&mut self, e: &Event, task: TaskId, lock: LockIndex, flags: LockFlags) -> Part {
        let is_own = self.is_own(lock, flags);
        if !is_own && flags.has(LockFlags::SPIN) {
            // How long it spins for a spinlock is the machine's.
            return Part::Decided;
        }
        self.stop_spinning(e, task);
        let continues = self.contending.get(&task).is_some_and(|c| c.lock == lock);
        let entered = self.entered.remove(&task) == Some(lock);
        let spins = is_own.then_some(e.at.0);
        self.contending.insert(task, Contending { lock, is_own, spins });
        if !is_own {
            self.expect(e, task, Step::Begin(lock, flags.0))
        } else if continues || entered {
            Part::Decided
        } else {
            self.acquire(e, task, lock)
        }
    }

    fn end(&mut self, e: &Event, task: TaskId, lock: LockIndex, ret: i32) -> Part {
        let Some(c) = self.contending.get(&task).copied().filter(|c| c.lock == lock) else {
            return Part::Decided;
        };
        self.stop_spinning(e, task);
        self.contending.remove(&task);
        if !c.is_own {
            return self.expect(e, task, Step::End(lock, ret));
        }
        if ret != 0 {
            self.fail(task);
        }
        Part::Decided
    }

    fn stop_spinning(&mut self, e: &Event, task: TaskId) {
        let Some(c) = self.contending.get_mut(&task) else { return };
        if let (Some(from), Some(stint)) = (c.spins.take(), self.open.get_mut(&task)) {
            stint.spins.push(Spin { lock: c.lock, from, to: e.at.0 });
        }
    }
}
