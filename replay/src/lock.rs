//! `mutex_lock` and `mutex_unlock` as a task walks through them (kernel model 3.2, 3.3).

use crate::engine::Engine;
use crate::rule::mutex::Want;
use crate::sched::Entry;
use crate::state::{Phase, T};
use crate::wake::Waker;
use model::demand::LockIndex;
use model::{Context, HasReturn, LockFlags, PrevState, SchedEvent};

const SPIN: u32 = LockFlags::SPIN | LockFlags::MUTEX;
const SLEEP: u32 = LockFlags::MUTEX;

/// What became of a spinner that looked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spin {
    Acquired,
    GoOn,
    /// The owner is off its CPU.
    OwnerLeft,
    /// This CPU must reschedule.
    Preempted,
}

impl Engine<'_> {
    /// Enters `mutex_lock`: true when the program goes on at once.
    pub(crate) fn lock(&mut self, cpu: usize, t: T, lock: LockIndex) -> bool {
        let kind = SchedEvent::MutexLock { lock: self.lock_id(lock), has_return: HasReturn::No };
        self.emit(cpu, Context::Task, kind);
        if self.locks[lock.index()].word.fast_lock(t) {
            return true;
        }
        self.emit_begin(cpu, lock, SPIN);
        if self.locks[lock.index()].word.try_lock(t, Want::Lock) {
            self.emit_end(cpu, lock);
            return true;
        }
        if self.may_spin(cpu, lock) {
            self.locks[lock.index()].osq.push_back(t);
            self.set_phase(t, Phase::Spin(lock));
            self.n_spinning += 1;
        } else {
            self.set_phase(t, Phase::Enqueue(lock));
        }
        false
    }

    fn may_spin(&self, cpu: usize, lock: LockIndex) -> bool {
        let owner = self.locks[lock.index()].word.owner;
        self.mechanisms.spinning
            && !self.must_resched(cpu)
            && owner.is_none_or(|o| self.task(o).on_cpu)
    }

    pub(crate) fn must_resched(&self, cpu: usize) -> bool {
        self.cpus[cpu].need_resched && self.cpus[cpu].resched_at <= self.now
    }

    pub(crate) fn set_phase(&mut self, t: T, phase: Phase) {
        self.tasks[t as usize].phase = phase;
    }

    /// Goes to sleep in the lock loop; the caller enters `schedule()`.
    fn publish_block(&mut self, t: T, lock: LockIndex) {
        let task = &mut self.tasks[t as usize];
        task.blocked_on = Some(lock);
        task.asleep = Some(PrevState::Uninterruptible);
        task.phase = Phase::Waiting(lock);
    }

    /// Step 3 and 4: last attempt, then the wait list.
    pub(crate) fn lock_enqueue(&mut self, cpu: usize, t: T, lock: LockIndex) -> bool {
        if self.locks[lock.index()].word.try_lock(t, Want::Lock) {
            self.emit_end(cpu, lock);
            self.set_phase(t, Phase::Program);
            return true;
        }
        let l = &mut self.locks[lock.index()];
        l.waiters.push_back(t);
        l.word.waiters = true;
        self.emit_begin(cpu, lock, SLEEP);
        self.publish_block(t, lock);
        self.schedule(cpu, Entry::Voluntary);
        false
    }

    /// Steps 5d to 5f, when a waiter runs again.
    pub(crate) fn lock_resume(&mut self, cpu: usize, t: T, lock: LockIndex) -> bool {
        let first = self.locks[lock.index()].waiters.front() == Some(&t);
        let want = if first { Want::Handoff } else { Want::Lock };
        if self.locks[lock.index()].word.try_lock(t, want) {
            self.lock_acquired(cpu, t, lock);
            return true;
        }
        if !first {
            self.publish_block(t, lock);
            self.schedule(cpu, Entry::Voluntary);
            return false;
        }
        self.tasks[t as usize].blocked_on = None;
        self.emit_begin(cpu, lock, SPIN);
        self.set_phase(t, Phase::SpinQueued(lock));
        self.n_spinning += 1;
        if self.mechanisms.spinning {
            match self.spin(cpu, t, lock) {
                Spin::GoOn => return false,
                Spin::Acquired => {
                    self.n_spinning -= 1;
                    self.lock_acquired(cpu, t, lock);
                    return true;
                }
                Spin::OwnerLeft | Spin::Preempted => {}
            }
        }
        self.n_spinning -= 1;
        self.set_phase(t, Phase::Requeue(lock));
        false
    }

    /// The head waiter sleeps again after spinning in vain.
    pub(crate) fn lock_requeue(&mut self, cpu: usize, t: T, lock: LockIndex) -> bool {
        self.emit_begin(cpu, lock, SLEEP);
        if self.locks[lock.index()].word.try_lock(t, Want::Lock) {
            self.lock_acquired(cpu, t, lock);
            return true;
        }
        self.publish_block(t, lock);
        self.schedule(cpu, Entry::Voluntary);
        false
    }

    /// Step 6, for a task on the wait list.
    fn lock_acquired(&mut self, cpu: usize, t: T, lock: LockIndex) {
        let l = &mut self.locks[lock.index()];
        l.waiters.retain(|&w| w != t);
        if l.waiters.is_empty() {
            l.word.waiters = false;
            l.word.handoff = false;
            l.word.pickup = false;
        }
        let task = &mut self.tasks[t as usize];
        task.blocked_on = None;
        task.asleep = None;
        task.phase = Phase::Program;
        self.emit_end(cpu, lock);
        self.stir(lock);
    }

    /// Kernel model 3.3.
    pub(crate) fn unlock(&mut self, cpu: usize, t: T, lock: LockIndex) {
        if let Some(at) = self.task(t).skipped.iter().position(|l| *l == lock) {
            self.tasks[t as usize].skipped.remove(at);
            return;
        }
        if self.locks[lock.index()].word.owner != Some(t) {
            let tid = self.task(t).tid.0;
            self.note(format!("task {tid} releases a mutex it does not own"));
            return;
        }
        let kind = SchedEvent::MutexUnlock { lock: self.lock_id(lock) };
        self.emit(cpu, Context::Task, kind);
        let word = &mut self.locks[lock.index()].word;
        if !word.waiters && !word.handoff {
            word.owner = None;
            self.stir(lock);
            return;
        }
        self.unlock_slow(cpu, t, lock);
    }

    fn unlock_slow(&mut self, cpu: usize, t: T, lock: LockIndex) {
        let m = self.mechanisms;
        let donor = if m.proxy_execution && m.handoff { self.task(t).blocked_donor } else { None };
        let hands_over = donor.is_some() || self.locks[lock.index()].word.handoff;
        if !hands_over {
            self.locks[lock.index()].word.owner = None;
        }
        let mut next = donor.filter(|&d| self.task(d).blocked_on == Some(lock));
        if next.is_some() {
            self.tasks[t as usize].blocked_donor = None;
        } else {
            next = self.locks[lock.index()].waiters.front().copied();
        }
        if let Some(n) = next {
            self.tasks[n as usize].blocked_on = None;
        }
        if !self.locks[lock.index()].waiters.is_empty() {
            let kind = SchedEvent::ContendedRelease { lock: self.lock_id(lock) };
            self.emit(cpu, Context::Task, kind);
        }
        if hands_over {
            let word = &mut self.locks[lock.index()].word;
            word.owner = next;
            word.pickup = next.is_some();
            word.handoff = false;
            self.out.handoffs += u64::from(next.is_some());
        }
        self.stir(lock);
        if let Some(n) = next {
            self.wake(n, Waker::Task(cpu));
        }
    }

    /// The lock's spinners have something to look at.
    pub(crate) fn stir(&mut self, lock: LockIndex) {
        if self.n_spinning > 0 {
            self.stirred.push(lock.index());
        }
    }

    /// An owner may have left its CPU: all spinners look again.
    pub(crate) fn stir_spinners(&mut self) {
        if self.n_spinning > 0 {
            let spun = |l: &crate::state::Lock| !l.osq.is_empty() || !l.waiters.is_empty();
            let all = (0..self.locks.len()).filter(|&l| spun(&self.locks[l]));
            self.stirred = all.collect();
        }
    }

    /// Lets the spinners of stirred locks look again; the queued head goes first.
    pub(crate) fn settle_spinners(&mut self) -> bool {
        if self.n_spinning == 0 {
            self.stirred.clear();
            return false;
        }
        let mut changed = false;
        let preempted = (0..self.cpus.len()).any(|c| self.cpus[c].dirty && self.must_resched(c));
        if preempted {
            self.stir_spinners();
        }
        let mut stirred = std::mem::take(&mut self.stirred);
        stirred.sort_unstable();
        stirred.dedup();
        for index in stirred {
            let lock = LockIndex(u32::try_from(index).expect("lock indexes fit 32 bits"));
            let head = self.locks[index].waiters.front().copied();
            if let Some(t) = head.filter(|&t| self.task(t).phase == Phase::SpinQueued(lock)) {
                changed |= self.spin_queued(t, lock);
            }
            while let Some(&t) = self.locks[index].osq.front() {
                if !self.spin_new(t, lock) {
                    break;
                }
                changed = true;
            }
            changed |= self.bail_out_behind(index, lock);
        }
        changed
    }

    fn spin_queued(&mut self, t: T, lock: LockIndex) -> bool {
        let cpu = self.task(t).cpu;
        match self.spin(cpu, t, lock) {
            Spin::GoOn => return false,
            Spin::Acquired => {
                self.run_program(cpu);
                self.n_spinning -= 1;
                self.lock_acquired(cpu, t, lock);
                self.next_op(t);
            }
            Spin::OwnerLeft | Spin::Preempted => {
                self.run_program(cpu);
                self.n_spinning -= 1;
                self.set_phase(t, Phase::Requeue(lock));
            }
        }
        self.cpus[cpu].dirty = true;
        true
    }

    /// The head of the spin queue looks again: true when it leaves the queue.
    fn spin_new(&mut self, t: T, lock: LockIndex) -> bool {
        let cpu = self.task(t).cpu;
        let outcome = self.spin(cpu, t, lock);
        if outcome == Spin::GoOn {
            return false;
        }
        self.run_program(cpu);
        self.n_spinning -= 1;
        self.locks[lock.index()].osq.pop_front();
        if outcome == Spin::Acquired {
            self.set_phase(t, Phase::Program);
            self.emit_end(cpu, lock);
            self.next_op(t);
        } else {
            self.set_phase(t, Phase::Enqueue(lock));
        }
        self.cpus[cpu].dirty = true;
        true
    }

    /// A spinner behind the head leaves when its CPU must reschedule.
    fn bail_out_behind(&mut self, index: usize, lock: LockIndex) -> bool {
        let leaving = |e: &Self, t: T| e.must_resched(e.task(t).cpu);
        let Some(position) = self.locks[index].osq.iter().skip(1).position(|&t| leaving(self, t))
        else {
            return false;
        };
        if let Some(t) = self.locks[index].osq.remove(position + 1) {
            let cpu = self.task(t).cpu;
            self.run_program(cpu);
            self.n_spinning -= 1;
            self.set_phase(t, Phase::Enqueue(lock));
            self.cpus[cpu].dirty = true;
        }
        true
    }

    fn spin(&mut self, cpu: usize, t: T, lock: LockIndex) -> Spin {
        if self.locks[lock.index()].word.try_lock(t, Want::Lock) {
            return Spin::Acquired;
        }
        if self.must_resched(cpu) {
            return Spin::Preempted;
        }
        match self.locks[lock.index()].word.owner {
            Some(o) if !self.task(o).on_cpu => Spin::OwnerLeft,
            _ => Spin::GoOn,
        }
    }
}
