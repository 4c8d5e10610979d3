//! Lock events: acquisitions, releases, and attempts that fail.

use super::extract::Extract;
use super::program::Contending;
use super::{DemandNote, LockIndex, Op};
use crate::{Event, LockFlags, LockId, LockKind};

/// What beside the kernel's mutexes a demand acquires and releases itself, and what it waits for by
/// itself.
///
/// Waits for all other locks are waits for whoever woke the waiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// Writers of rwsems.
    pub rwsem: bool,
    /// `rt_mutex`es, among them the kernel's side of PI futexes.
    pub pi_futex: bool,
    /// Mutexes of programs; else a wait for one is a wait for whoever ended it.
    pub user_locks: bool,
    /// Bytes and room in pipes and sockets, where their calls are recorded; else a wait for them is
    /// one for whoever ended it in the recording.
    pub buffers: bool,
}

impl Cover {
    /// Whether tasks acquire and release locks of this kind themselves.
    #[must_use]
    pub fn acquires(self, kind: LockKind) -> bool {
        match kind {
            LockKind::Mutex => true,
            LockKind::User => self.user_locks,
            LockKind::RwsemWrite => self.rwsem,
            LockKind::RtMutex | LockKind::RtRead | LockKind::RtWrite => self.pi_futex,
            _ => false,
        }
    }

    /// Whether a demand acquires and releases such a lock itself.
    pub(super) fn has(self, flags: LockFlags) -> bool {
        let rwsem = flags.has(LockFlags::WRITE) && !flags.has(LockFlags::PERCPU);
        flags.has(LockFlags::MUTEX)
            || self.user_locks && flags.has(LockFlags::USER)
            || self.rwsem && rwsem
            || self.pi_futex && flags.has(LockFlags::RT)
    }
}

impl Extract<'_> {
    pub(super) fn begin(&mut self, e: &Event, lock: LockId, flags: LockFlags) {
        let at = e.at.0;
        let is_mutex = self.cover.has(flags);
        if !is_mutex && flags.has(LockFlags::SPIN) {
            return;
        }
        let lock = self.lock(lock, flags);
        let Some(b) = self.current(e) else { return };
        b.run_to(at);
        let continues = b.contending.is_some_and(|c| c.lock == lock);
        if is_mutex && !continues && b.entered != Some(lock) {
            b.failed_entry = Some(b.push(at, Op::Lock(lock)));
            b.held.push(lock);
        }
        if !is_mutex {
            b.push(at, Op::Contend { lock, flags });
        }
        b.entered = None;
        // What a futex call takes no replay recreates: it is work on the way to the lock.
        let in_lock = is_mutex && !flags.has(LockFlags::USER);
        b.contending = Some(Contending { lock, flags, in_lock });
        if let Some(id) = self.id(e.tid) {
            self.reached(id, lock);
        }
    }

    /// Whether acquisitions and releases of a lock leave no events of their own.
    pub(super) fn hides_sections(&self, lock: LockId, flags: LockFlags) -> bool {
        let is_called = self.calls.is_complete || self.calls.of.contains(&lock);
        !(is_called && flags.has(LockFlags::MUTEX))
    }

    pub(super) fn end(&mut self, e: &Event, lock: LockId, ret: i32) {
        let at = e.at.0;
        let Some(index) = self.lock_index.get(&lock).copied() else { return };
        let Some(b) = self.current(e) else { return };
        b.run_to(at);
        let Some(was) = b.contending.filter(|c| c.lock == index) else { return };
        b.contending = None;
        if ret == 0
            && let Some(id) = self.id(e.tid)
        {
            self.reached(id, index);
        }
        let is_own = self.cover.has(was.flags);
        if was.flags.has(LockFlags::USER)
            && let Some(b) = self.current(e)
        {
            b.reach_lock();
        }
        if is_own && ret != 0 {
            self.lock_failed(e);
        } else if !is_own && let Some(b) = self.current(e) {
            b.push(at, Op::Contended { lock: index, ret });
        }
    }

    /// The latest lock attempt of this task failed: it is no acquisition.
    pub(super) fn lock_failed(&mut self, e: &Event) {
        self.count(DemandNote::LockAttemptFailed);
        let Some(b) = self.current(e) else { return };
        if let Some(at) = b.failed_entry.take()
            && let Some(step) = b.steps.get_mut(at)
            && let Op::Lock(lock) = step.op
        {
            step.op = Op::TryLock { lock, acquired: false };
            if let Some(held) = b.held.iter().rposition(|l| *l == lock) {
                b.held.remove(held);
            }
        }
    }

    pub(super) fn unlock(&mut self, e: &Event, lock: LockIndex) {
        let at = e.at.0;
        let Some(b) = self.current(e) else { return };
        b.run_to(at);
        b.push(at, Op::Unlock(lock));
        b.entered = None;
        match b.held.iter().rposition(|l| *l == lock) {
            Some(held) => {
                b.held.remove(held);
            }
            None => b.took_unseen(lock),
        }
    }
}
