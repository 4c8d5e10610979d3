//! Priority inheritance: an owner runs at least as urgently as its most urgent waiter.

use crate::decision::Rule;
use crate::engine::Engine;
use crate::state::{Class, T, Task};
use crate::wake::Waker;
use model::demand::LockIndex;
use model::{Context, SchedEvent};

/// How urgent a task is for the order of waiters: priority, then deadline; less is more urgent.
///
/// All fair tasks are equal: nice levels are not inherited.
type Urgency = (i32, i64);

/// Priority of every fair task among waiters.
const FAIR: i32 = 120;

fn urgency(task: &Task) -> Urgency {
    match task.class {
        Class::Stop => (-2, 0),
        Class::Deadline => (-1, task.dl.deadline),
        Class::Realtime => (task.prio, 0),
        Class::Fair | Class::Idle => (FAIR, 0),
    }
}

/// What a task is by itself.
fn own(task: &Task) -> (Class, i32) {
    (Task::class_of(task.sched.policy), task.sched.kernel_prio())
}

impl Engine<'_> {
    /// The most urgent waiter of a lock; of equals, the one that came first.
    fn top_waiter(&self, lock: LockIndex) -> Option<T> {
        let waiters = self.locks[lock.index()].waiters.iter().copied();
        // `min_by_key` keeps the first of equals.
        waiters.min_by_key(|&w| urgency(self.task(w)))
    }

    /// An attempt to take the lock: a free one is reserved for its top waiter, and only a more
    /// urgent task may steal it.
    ///
    /// # Source
    ///
    /// Kernel model 2.6, P5; `try_to_take_rt_mutex` in `kernel/locking/rtmutex.c`.
    pub(crate) fn try_inherited(&mut self, t: T, lock: LockIndex) -> bool {
        if self.locks[lock.index()].word.owner.is_some() {
            return false;
        }
        let may = self
            .top_waiter(lock)
            .is_none_or(|top| top == t || urgency(self.task(t)) < urgency(self.task(top)));
        if may {
            self.locks[lock.index()].word.owner = Some(t);
        }
        may
    }

    /// A waiter goes to sleep: the owner inherits; a lock that is free meanwhile is its top
    /// waiter's, who must be awake to take it.
    pub(crate) fn waits_for_inherited(&mut self, t: T, lock: LockIndex) {
        if let Some(owner) = self.locks[lock.index()].word.owner {
            return self.inherit(owner);
        }
        if let Some(top) = self.top_waiter(lock).filter(|&top| top != t) {
            let cpu = self.task(t).cpu;
            self.rule = Rule::LockReleased;
            self.wake(top, Waker::Task(cpu));
        }
    }

    /// Gives up the lock: the owner's priority falls first, then the top waiter is woken.
    pub(crate) fn unlock_inherited(&mut self, cpu: usize, t: T, lock: LockIndex) {
        let top = self.top_waiter(lock);
        self.locks[lock.index()].word.owner = None;
        self.inherit(t);
        if top.is_some() {
            let kind = SchedEvent::ContendedRelease { lock: self.lock_id(lock) };
            self.emit(cpu, Context::Task, kind);
        }
        self.stir(lock);
        if let Some(top) = top {
            self.rule = Rule::LockReleased;
            self.wake(top, Waker::Task(cpu));
        }
    }

    /// Brings a task's priority in line with its own and its waiters', along the chain of owners.
    ///
    /// # Source
    ///
    /// Kernel model 2.6, P5; `rt_mutex_adjust_prio` and `rt_mutex_setprio`.
    pub(crate) fn inherit(&mut self, t: T) {
        let mut x = t;
        // As long as `max_lock_depth`, or once around all tasks.
        for _ in 0..self.tasks.len() {
            if !self.inherit_one(x) {
                return;
            }
            let waits_for = self.task(x).waits_for;
            let Some(owner) = waits_for.and_then(|l| self.locks[l.index()].word.owner) else {
                return;
            };
            x = owner;
        }
        let tid = self.task(t).tid.0;
        self.note(format!("deadlock: the locks of task {tid} wait for each other in a cycle"));
    }

    /// True when the priority of `x` changed.
    fn inherit_one(&mut self, x: T) -> bool {
        let inherited = |e: &Self| {
            let owned = e.task(x).owns.iter();
            let inherits = owned
                .filter(|l| e.locks[l.index()].discipline == crate::state::Discipline::Inherits);
            inherits.filter_map(|l| e.top_waiter(*l)).min_by_key(|&w| urgency(e.task(w)))
        };
        let task = self.task(x);
        let (class, prio) = own(task);
        let deadline = if task.dl.boosted { i64::MAX } else { task.dl.deadline };
        let mine = match class {
            Class::Stop => (-2, 0),
            Class::Deadline => (-1, deadline),
            Class::Realtime => (prio, 0),
            Class::Fair | Class::Idle => (FAIR, 0),
        };
        let donor = inherited(self).filter(|&w| urgency(self.task(w)) < mine);
        let (class, prio) = match donor {
            Some(w) => (self.task(w).class, self.task(w).prio),
            None => (class, prio),
        };
        if (class, prio) == (self.task(x).class, self.task(x).prio) {
            return false;
        }
        self.set_prio(x, class, prio, donor);
        true
    }

    /// Moves a task to another class or priority, where it is.
    fn set_prio(&mut self, x: T, class: Class, prio: i32, donor: Option<T>) {
        let cpu = self.task(x).cpu;
        self.account(cpu);
        let old = self.task(x).prio;
        let kind = SchedEvent::PiSetprio {
            tid: self.task(x).tid,
            comm: self.task(x).comm,
            old_prio: old,
            new_prio: prio,
        };
        self.emit(cpu, Context::Task, kind);
        self.finish_delayed(x);
        let queued = self.task(x).is_queued();
        let is_donor = self.cpus[cpu].donor == Some(x);
        if is_donor {
            self.put_donor(cpu, x);
        }
        if queued {
            self.dequeue_to_move(cpu, x);
        }
        let deadline = donor.map(|w| self.task(w).sched.deadline);
        let now = i64::try_from(self.now).unwrap_or(i64::MAX);
        let task = &mut self.tasks[x as usize];
        (task.class, task.prio) = (class, prio);
        task.fair.relative_deadline = false;
        let was_boosted = std::mem::replace(&mut task.dl.boosted, false);
        if class == Class::Deadline
            && let Some(deadline) = deadline
        {
            task.dl.boosted = true;
            task.dl.throttled = false;
            task.dl.deadline = now + i64::try_from(deadline.0).unwrap_or(i64::MAX);
        } else if class == Class::Deadline && was_boosted {
            self.dl_wake(x);
        }
        if queued {
            self.enqueue(cpu, x);
            if prio > old {
                self.rt_to_head(cpu, x);
            }
        }
        if is_donor {
            self.set_donor(cpu, x);
            self.cpus[cpu].next_class = class;
            if prio > old {
                self.resched(cpu, 0, Rule::Inherits);
            }
        } else if queued {
            self.wakeup_preempt(cpu, x, crate::fair::Join::Again);
        }
    }
}
