//! `mutex_lock` and `mutex_unlock` as a task walks through them (kernel model 3.2, 3.3).

use crate::decision::Rule;
use crate::engine::Engine;
use crate::rule::mutex::Want;
use crate::sched::Entry;
use crate::state::{Class, Discipline, Phase, Release, T};
use crate::wake::Waker;
use model::demand::LockIndex;
use model::{Context, HasReturn, LockFlags, Op, PrevState, SchedEvent};

/// `-EINTR`, as `contention_end` reports it.
const EINTR: i32 = -4;

/// How long the first waiter for an rwsem lets others steal it (`RWSEM_WAIT_TIMEOUT`).
const RWSEM_PATIENCE_NS: u64 = 4_000_000;

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
            self.tasks[t as usize].owns.push(lock);
            return true;
        }
        if self.locks[lock.index()].discipline == Discipline::Futex {
            // Nobody sees it go on.
            let is_taken = self.try_lock_of(t, lock, Want::Lock);
            if !is_taken {
                self.set_phase(t, Phase::Enqueue(lock));
            }
            return is_taken;
        }
        self.emit_spinning(cpu, lock);
        if self.try_lock_of(t, lock, Want::Lock) {
            self.emit_end(cpu, lock, Rule::LockTaken);
            // The lock's slow path; the program goes on behind it.
            let busy = &mut self.cpus[cpu].busy_until;
            *busy = (*busy).max(self.now + self.costs.lock_contended);
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

    /// One attempt, by the lock's own rule.
    pub(crate) fn try_lock_of(&mut self, t: T, lock: LockIndex, want: Want) -> bool {
        let taken = match self.locks[lock.index()].discipline {
            Discipline::Inherits => self.try_inherited(t, lock),
            Discipline::Mutex | Discipline::Sleeps | Discipline::Futex => {
                self.locks[lock.index()].word.try_lock(t, want)
            }
        };
        if taken {
            self.tasks[t as usize].owns.push(lock);
        }
        taken
    }

    fn emit_spinning(&mut self, cpu: usize, lock: LockIndex) {
        // The spinning of other locks than mutexes leaves no event.
        let flags = self.demand.locks[lock.index()].flags;
        if flags.has(LockFlags::MUTEX) {
            self.emit_begin(cpu, lock, LockFlags::SPIN | LockFlags::MUTEX);
        }
    }

    fn emit_sleeping(&mut self, cpu: usize, lock: LockIndex) {
        let flags = self.demand.locks[lock.index()].flags;
        let kind = if flags.has(LockFlags::MUTEX) { LockFlags::MUTEX } else { flags.0 };
        self.emit_begin(cpu, lock, kind);
    }

    fn may_spin(&self, cpu: usize, lock: LockIndex) -> bool {
        let owner = self.locks[lock.index()].word.owner;
        self.mechanisms.spinning
            && !self.must_resched(cpu)
            && match owner {
                Some(o) => self.task(o).on_cpu,
                None => self.locks[lock.index()].discipline != Discipline::Inherits,
            }
    }

    pub(crate) fn must_resched(&self, cpu: usize) -> bool {
        self.cpus[cpu].need_resched && self.cpus[cpu].resched_at <= self.now
    }

    pub(crate) fn set_phase(&mut self, t: T, phase: Phase) {
        self.tasks[t as usize].phase = phase;
    }

    /// Goes to sleep in the lock loop; the caller enters `schedule()`.
    fn publish_block(&mut self, t: T, lock: LockIndex) {
        let discipline = self.locks[lock.index()].discipline;
        let task = &mut self.tasks[t as usize];
        match discipline {
            Discipline::Mutex => task.blocked_on = Some(lock),
            Discipline::Inherits => task.waits_for = Some(lock),
            Discipline::Sleeps | Discipline::Futex => {}
        }
        let is_interruptible = task.interruptible || discipline == Discipline::Futex;
        let state = PrevState::Uninterruptible;
        task.asleep = Some(if is_interruptible { PrevState::Interruptible } else { state });
        task.phase = Phase::Waiting(lock);
        if discipline == Discipline::Inherits {
            self.waits_for_inherited(t, lock);
        }
    }

    /// A pending signal ends the attempt of a task on the wait list.
    fn interrupted(&mut self, cpu: usize, t: T, lock: LockIndex) -> bool {
        if !(self.task(t).signalled && self.task(t).interruptible) {
            return false;
        }
        self.leave_waiters(t, lock);
        let kind = SchedEvent::ContentionEnd { lock: self.lock_id(lock), ret: EINTR };
        self.emit(cpu, Context::Task, kind);
        let task = &mut self.tasks[t as usize];
        task.interruptible = false;
        task.signalled = false;
        // The section is skipped.
        self.skip_behind(t, Op::Unlock(lock));
        self.load_op(t);
        if let Some(owner) = self.locks[lock.index()].word.owner {
            self.inherit(owner);
        }
        true
    }

    /// Takes a task off the wait list, awake and with its program to go on.
    fn leave_waiters(&mut self, t: T, lock: LockIndex) {
        let l = &mut self.locks[lock.index()];
        l.waiters.retain(|&w| w != t);
        if l.waiters.is_empty() {
            l.word.waiters = false;
            l.word.handoff = false;
            l.word.pickup = false;
        }
        let task = &mut self.tasks[t as usize];
        task.blocked_on = None;
        task.waits_for = None;
        task.asleep = None;
        task.phase = Phase::Program;
        self.stir(lock);
    }

    /// A signal for `p`: it ends an interruptible wait for a lock.
    ///
    /// # Source
    ///
    /// Kernel model 2.6, last row: before 7.3 a queued donor is only marked runnable.
    pub(crate) fn signal(&mut self, p: T, waker: Waker) {
        let task = &mut self.tasks[p as usize];
        if !task.interruptible || task.asleep.is_none() {
            return;
        }
        task.signalled = true;
        let queued_donor = task.is_blocked && task.on_rq == crate::state::OnRq::Queued;
        let m = &self.mechanisms;
        if queued_donor && m.proxy_execution && m.gives_up == crate::mechanism::GivesUp::Head {
            self.tasks[p as usize].asleep = None;
        } else {
            self.rule = Rule::Signalled;
            self.wake(p, waker);
        }
    }

    /// Step 3 and 4: last attempt, then the wait list.
    pub(crate) fn lock_enqueue(&mut self, cpu: usize, t: T, lock: LockIndex) -> bool {
        if self.try_lock_of(t, lock, Want::Lock) {
            self.emit_end(cpu, lock, Rule::LockTaken);
            self.set_phase(t, Phase::Program);
            return true;
        }
        self.tasks[t as usize].waits_since = self.now;
        let l = &mut self.locks[lock.index()];
        l.waiters.push_back(t);
        l.word.waiters = true;
        self.emit_sleeping(cpu, lock);
        if self.interrupted(cpu, t, lock) {
            return false;
        }
        self.publish_block(t, lock);
        self.schedule(cpu, Entry::Voluntary);
        false
    }

    /// Steps 5d to 5f, when a waiter runs again.
    pub(crate) fn lock_resume(&mut self, cpu: usize, t: T, lock: LockIndex) -> bool {
        let first = self.locks[lock.index()].waiters.front() == Some(&t);
        let discipline = self.locks[lock.index()].discipline;
        // An rwsem's writer waits before it asks, unless it is realtime (kernel model 3.4).
        let patience = RWSEM_PATIENCE_NS.max(self.tick_ns().unsigned_abs());
        let is_impatient =
            self.task(t).class >= Class::Realtime || self.now - self.task(t).waits_since > patience;
        let asks = match discipline {
            Discipline::Mutex => true,
            Discipline::Futex => false,
            Discipline::Sleeps | Discipline::Inherits => is_impatient,
        };
        let want = if first && asks { Want::Handoff } else { Want::Lock };
        let word = &self.locks[lock.index()].word;
        let handed = word.pickup && word.owner == Some(t);
        if self.try_lock_of(t, lock, want) {
            let rule = if handed { Rule::LockHandedOver } else { Rule::LockTaken };
            self.lock_acquired(cpu, t, lock, rule);
            return true;
        }
        if self.interrupted(cpu, t, lock) {
            return false;
        }
        if !first || discipline != Discipline::Mutex {
            self.publish_block(t, lock);
            self.schedule(cpu, Entry::Voluntary);
            return false;
        }
        self.tasks[t as usize].blocked_on = None;
        self.emit_spinning(cpu, lock);
        self.set_phase(t, Phase::SpinQueued(lock));
        self.n_spinning += 1;
        if self.mechanisms.spinning {
            match self.spin(cpu, t, lock) {
                Spin::GoOn => return false,
                Spin::Acquired => {
                    self.n_spinning -= 1;
                    self.lock_acquired(cpu, t, lock, Rule::LockTakenSpinning);
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
        self.emit_sleeping(cpu, lock);
        if self.try_lock_of(t, lock, Want::Lock) {
            self.lock_acquired(cpu, t, lock, Rule::LockTaken);
            return true;
        }
        self.publish_block(t, lock);
        self.schedule(cpu, Entry::Voluntary);
        false
    }

    /// Step 6, for a task on the wait list.
    fn lock_acquired(&mut self, cpu: usize, t: T, lock: LockIndex, rule: Rule) {
        self.leave_waiters(t, lock);
        self.emit_end(cpu, lock, rule);
        self.inherit(t);
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
        self.tasks[t as usize].owns.retain(|l| *l != lock);
        let word = &mut self.locks[lock.index()].word;
        if !word.waiters && !word.handoff {
            word.owner = None;
            self.stir(lock);
            return;
        }
        if self.locks[lock.index()].discipline == Discipline::Inherits {
            return self.unlock_inherited(cpu, t, lock);
        }
        let hands_over = self.donor_of(t, lock).is_some() || self.locks[lock.index()].word.handoff;
        let decided = if hands_over { Release::HandOver } else { Release::Free };
        let window = self.mechanisms.unlock_window;
        if window.0 == 0 {
            return self.release(cpu, t, lock, decided);
        }
        self.set_phase(t, Phase::Releasing(lock, decided));
        self.tasks[t as usize].left = window.0;
    }

    /// The task on whose scheduling context an owner runs, where unlock looks at it.
    fn donor_of(&self, t: T, lock: LockIndex) -> Option<T> {
        let m = &self.mechanisms;
        let looks = m.proxy_execution
            && m.handoff
            && self.locks[lock.index()].discipline == Discipline::Mutex;
        self.task(t).blocked_donor.filter(|_| looks)
    }

    /// The slow path of unlock, behind the decision whether the mutex is given to somebody.
    pub(crate) fn release(&mut self, cpu: usize, t: T, lock: LockIndex, decided: Release) {
        let donor = self.donor_of(t, lock);
        let hands_over = decided == Release::HandOver;
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
            self.rule = Rule::LockReleased;
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
                self.lock_acquired(cpu, t, lock, Rule::LockTakenSpinning);
                self.locked(t);
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
            self.emit_end(cpu, lock, Rule::LockTakenSpinning);
            self.locked(t);
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
        if self.try_lock_of(t, lock, Want::Lock) {
            return Spin::Acquired;
        }
        if self.must_resched(cpu) {
            return Spin::Preempted;
        }
        match self.locks[lock.index()].word.owner {
            Some(o) if !self.task(o).on_cpu => Spin::OwnerLeft,
            // It is reserved for somebody who is not here.
            None if self.locks[lock.index()].discipline == Discipline::Inherits => Spin::OwnerLeft,
            _ => Spin::GoOn,
        }
    }
}
