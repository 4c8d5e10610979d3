//! A running task takes its program's steps until one needs time.

use crate::decision::Rule;
use crate::engine::Engine;
use crate::group::Goes;
use crate::sched::Entry;
use crate::state::{Class, Phase, T, Task, TimerKind};
use crate::wake::Waker;
use model::demand::{Arrival, LockIndex, SleepEnd};
use model::{Context, Nanos, Op, PrevState, SchedEvent, SchedParams, TaskId};

/// Whether the recording has a critical section after a trylock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Follows,
    Absent,
}

/// Steps that one task may take at one instant: many times more than any recording has.
pub(crate) const MOST_STEPS: u32 = 200_000;
/// How often each recorded round is repeated at most: what a replay costs is bounded by its input.
const MOST_REPEATS: usize = 1_000;

/// Why a loop must not go on as long as there is time, if so; counts its passes.
fn ends_early(task: &mut Task, rounds: usize, now: u64) -> Option<&'static str> {
    if rounds == 0 {
        return Some("none of its rounds can be repeated");
    }
    if task.repeated >= rounds.saturating_mul(MOST_REPEATS) {
        return Some("it has gone round a thousand times as often as in the recording");
    }
    if task.repeated.is_multiple_of(rounds) {
        if task.repeated > 0 && task.passed_at == now {
            return Some("its rounds take no time");
        }
        task.passed_at = now;
    }
    None
}

impl Engine<'_> {
    /// Runs the zero-length steps of the task on `cpu`: true when anything happened.
    pub(crate) fn step(&mut self, cpu: usize) -> bool {
        self.run_program(cpu);
        let mut any = false;
        while let Some(t) = self.cpus[cpu].running {
            if self.cpus[cpu].stalled_from.is_some() || self.cpus[cpu].busy_until > self.now {
                break;
            }
            // A spinner told to reschedule goes through schedule() before it queues.
            let entering = matches!(self.task(t).phase, Phase::Enqueue(_) | Phase::Requeue(_));
            if entering && self.must_resched(cpu) {
                break;
            }
            if !self.step_once(cpu, t) {
                break;
            }
            any = true;
        }
        any
    }

    /// One step: false when the task needs time.
    fn step_once(&mut self, cpu: usize, t: T) -> bool {
        let phase = self.task(t).phase;
        match phase {
            Phase::Program if self.is_endless(t) => {
                let tid = self.task(t).tid.0;
                self.note(format!("the program of task {tid} ends: its steps take no time"));
                self.leave(cpu, t, PrevState::Runnable);
                true
            }
            Phase::Program => self.step_program(cpu, t),
            Phase::Spin(_) | Phase::SpinQueued(_) => false,
            Phase::Releasing(lock, decided) => {
                if self.task(t).left > 0 {
                    return false;
                }
                self.set_phase(t, Phase::Program);
                self.load_op(t);
                self.release(cpu, t, lock, decided);
                self.give_notice(cpu, t);
                self.leave_kernel(cpu);
                true
            }
            Phase::Enqueue(lock) => {
                if self.lock_enqueue(cpu, t, lock) {
                    self.locked(t);
                }
                true
            }
            Phase::Waiting(lock) => {
                if self.lock_resume(cpu, t, lock) {
                    self.locked(t);
                }
                true
            }
            Phase::Requeue(lock) => {
                if self.lock_requeue(cpu, t, lock) {
                    self.locked(t);
                }
                true
            }
            Phase::Done => {
                self.schedule(cpu, Entry::Voluntary);
                true
            }
        }
    }

    /// Moves on to the next op of the program.
    pub(crate) fn next_op(&mut self, t: T) {
        self.tasks[t as usize].pc += 1;
        self.load_op(t);
    }

    /// It has the lock: the program goes on, or the call that had let go of it.
    pub(crate) fn locked(&mut self, t: T) {
        if std::mem::take(&mut self.tasks[t as usize].call.relocks) {
            return;
        }
        self.next_op(t);
    }

    /// Sets the CPU time of a compute op when the program reaches it.
    pub(crate) fn load_op(&mut self, t: T) {
        self.read_ahead(t);
        if let Some(Op::Compute(span)) = self.op(t) {
            self.tasks[t as usize].left = span.0;
        }
    }

    /// A round of a closed loop is over: the next one, once more an earlier one, or the loop's end.
    fn end_round(&mut self, t: T) {
        let Some(rounds) = &self.demand.tasks[t as usize].rounds else { return };
        let task = &mut self.tasks[t as usize];
        let is_over = rounds.until.is_some_and(|until| until.0 <= self.now);
        if is_over && task.pc >= rounds.own_from {
            task.pc = rounds.end();
            task.seam = usize::MAX;
        } else if task.repeated == 0
            && let Some(seam) = rounds.seam_after(task.pc)
        {
            task.seam = seam;
        } else if let Some(why) = ends_early(task, rounds.repeatable.len(), self.now) {
            (task.pc, task.seam) = (rounds.end(), usize::MAX);
            let tid = task.tid.0;
            self.note(format!("the loop of task {tid} ends: {why}"));
        } else {
            let round = &rounds.repeatable[task.repeated % rounds.repeatable.len()];
            (task.pc, task.seam) = (round.start, round.end);
            task.repeated += 1;
        }
        self.load_op(t);
    }

    /// Counts a step without time; a program of nothing else is given up.
    fn is_endless(&mut self, t: T) -> bool {
        let task = &mut self.tasks[t as usize];
        if task.stepped_at != self.now {
            (task.stepped_at, task.steps) = (self.now, 0);
        }
        task.steps += 1;
        task.steps > MOST_STEPS
    }

    fn step_program(&mut self, cpu: usize, t: T) -> bool {
        if self.task(t).pc == self.task(t).seam {
            self.end_round(t);
        }
        let Some(op) = self.op(t) else {
            // What the task asks for next is not in the recording: it stops, still runnable.
            self.leave(cpu, t, PrevState::Runnable);
            return true;
        };
        match op {
            Op::Compute(_) => {
                if self.task(t).left > 0 {
                    return false;
                }
                self.next_op(t);
            }
            Op::BusyWait(span) => return self.busy_wait(t, span),
            Op::Signal { target } => {
                self.next_op(t);
                if let Ok(p) = T::try_from(target.index()) {
                    self.signal(p, Waker::Task(cpu));
                }
            }
            Op::Lock(lock) | Op::LockInterruptible(lock) => {
                let interruptible = matches!(op, Op::LockInterruptible(_));
                self.tasks[t as usize].interruptible = interruptible;
                if self.lock(cpu, t, lock) {
                    self.next_op(t);
                }
            }
            Op::TryLock { lock, acquired } => {
                let recorded = if acquired { Section::Follows } else { Section::Absent };
                self.try_lock(cpu, t, lock, recorded);
            }
            Op::Unlock(lock) => {
                self.next_op(t);
                self.unlock(cpu, t, lock);
                if self.task(t).phase == Phase::Program {
                    self.give_notice(cpu, t);
                }
                self.leave_kernel(cpu);
            }
            Op::Put { .. } | Op::Take { .. } => self.transfer(cpu, t, op),
            Op::Wake { target } => {
                self.next_op(t);
                self.wake_target(target, Waker::Task(cpu));
            }
            Op::Contend { .. } | Op::Contended { .. } => self.other_lock(cpu, t, op),
            Op::Wait { state, .. } => self.wait(cpu, t, state),
            Op::Sleep { until, state, .. } => self.sleep(cpu, t, until, state),
            Op::Fork { child } => {
                self.next_op(t);
                self.fork(cpu, child);
            }
            Op::SetSched(params) => {
                self.next_op(t);
                self.set_sched(cpu, t, params);
            }
            Op::KeepAffinity => {
                self.next_op(t);
                self.keep_affinity(cpu, t);
            }
            Op::Yield => {
                self.next_op(t);
                self.yield_now(cpu, t);
            }
            Op::Exit => self.leave(cpu, t, PrevState::Dead),
        }
        true
    }

    /// A wait for a lock that the demand does not acquire begins or ends; in between it sleeps.
    fn other_lock(&mut self, cpu: usize, t: T, op: Op) {
        self.next_op(t);
        match op {
            Op::Contend { lock, flags } => self.emit_begin(cpu, lock, flags.0),
            Op::Contended { lock, ret } => self.emit_contended(cpu, lock, ret, Rule::SleepEnds),
            _ => {}
        }
    }

    fn leave(&mut self, cpu: usize, t: T, state: PrevState) {
        let task = &mut self.tasks[t as usize];
        task.phase = Phase::Done;
        task.asleep = Some(state);
        self.schedule(cpu, Entry::Voluntary);
    }

    fn try_lock(&mut self, cpu: usize, t: T, lock: LockIndex, recorded: Section) {
        let taken = self.try_lock_of(t, lock, crate::rule::mutex::Want::Lock);
        let kind = SchedEvent::MutexTrylock { lock: self.lock_id(lock), ret: i32::from(taken) };
        self.emit(cpu, Context::Task, kind);
        if recorded == Section::Follows && !taken {
            self.tasks[t as usize].skipped.push(lock);
        }
        if taken && recorded == Section::Absent {
            // The recording has no section to run: give it back.
            self.unlock(cpu, t, lock);
        }
        self.next_op(t);
    }

    fn wait(&mut self, cpu: usize, t: T, state: PrevState) {
        self.next_op(t);
        if self.task(t).wakes_early > 0 {
            self.tasks[t as usize].wakes_early -= 1;
            return;
        }
        self.tasks[t as usize].awaits_wake = true;
        self.go_to_sleep(cpu, t, state);
    }

    fn sleep(&mut self, cpu: usize, t: T, until: SleepEnd, state: PrevState) {
        let end = match until {
            SleepEnd::After(span) => self.now.saturating_add(span.0),
            SleepEnd::At(at) => at.0,
            SleepEnd::Period { phase, period } => Self::next_release(self.now, phase.0, period),
            SleepEnd::Tick { nth, after } => self.behind_tick(nth, after),
        };
        self.next_op(t);
        if end <= self.now {
            return;
        }
        self.arm_sleep(t, end);
        self.go_to_sleep(cpu, t, state);
    }

    fn arm_sleep(&mut self, t: T, end: u64) {
        self.tasks[t as usize].sleep_generation += 1;
        let generation = self.task(t).sleep_generation;
        self.arm(end, TimerKind::Wake(t, generation));
    }

    fn go_to_sleep(&mut self, cpu: usize, t: T, state: PrevState) {
        self.tasks[t as usize].asleep = Some(state);
        self.schedule(cpu, Entry::Voluntary);
    }

    pub(crate) fn wake_target(&mut self, target: TaskId, waker: Waker) {
        let Ok(p) = T::try_from(target.index()) else { return };
        if !self.tasks.get(target.index()).is_some_and(|t| t.awaits_wake) {
            if let Some(task) = self.tasks.get_mut(target.index()) {
                task.wakes_early += 1;
            }
            return;
        }
        self.tasks[target.index()].awaits_wake = false;
        self.rule = Rule::ProgramWakes;
        self.wake(p, waker);
    }

    pub(crate) fn timer_wake(&mut self, t: T, generation: u32) {
        if self.task(t).sleep_generation == generation {
            let cpu = self.task(t).cpu;
            self.rule = Rule::SleepEnds;
            self.wake(t, Waker::Interrupt(cpu));
        }
    }

    /// A task that was runnable when the recording began, or appears in it out of nowhere.
    pub(crate) fn arrive(&mut self, t: T) {
        if !self.may_come(t) {
            return;
        }
        let cpu = self.allowed_or_first(t, self.task(t).cpu);
        self.load_op(t);
        self.wake_new(t, cpu, Waker::Interrupt(cpu), Rule::Arrives);
    }

    /// The first release after `now` of a task with releases at `phase` plus multiples of `period`.
    fn next_release(now: u64, phase: u64, period: Nanos) -> u64 {
        let period = period.0.max(1);
        if now < phase {
            phase - (phase - now - 1) / period * period
        } else {
            phase.saturating_add(((now - phase) / period + 1).saturating_mul(period))
        }
    }

    /// When a timer that counts jiffies ends, `after` behind the `nth` tick from now.
    fn behind_tick(&self, nth: u32, after: Nanos) -> u64 {
        let period = self.tick_ns().unsigned_abs();
        let more = period.saturating_mul(u64::from(nth.saturating_sub(1)));
        self.next_tick_after(self.now).saturating_add(more).saturating_add(after.0)
    }

    /// Computes until a date that is counted from the first moment here: true when it has come.
    fn busy_wait(&mut self, t: T, span: Nanos) -> bool {
        let now = self.now;
        let date = self.tasks[t as usize].busy_to.get_or_insert(now.saturating_add(span.0));
        if *date > now {
            return false;
        }
        self.tasks[t as usize].busy_to = None;
        self.next_op(t);
        true
    }

    /// A task that was asleep when the recording began: its first op says what ends that.
    pub(crate) fn begin_asleep(&mut self, t: T) {
        match self.op(t) {
            Some(Op::Sleep { until, state, .. }) => {
                let end = match until {
                    SleepEnd::After(span) => self.now.saturating_add(span.0),
                    SleepEnd::At(at) => at.0,
                    SleepEnd::Period { phase, period } => {
                        Self::next_release(self.now, phase.0, period)
                    }
                    SleepEnd::Tick { nth, after } => self.behind_tick(nth, after),
                };
                self.tasks[t as usize].asleep = Some(state);
                self.next_op(t);
                self.arm_sleep(t, end.max(self.now));
            }
            Some(Op::Wait { state, .. }) => {
                self.tasks[t as usize].asleep = Some(state);
                self.tasks[t as usize].awaits_wake = true;
                self.next_op(t);
            }
            _ => {}
        }
    }

    /// A demand may say that a task comes twice; who is here or was here does not come again.
    fn may_come(&self, t: T) -> bool {
        let is_here = matches!(self.demand.tasks[t as usize].arrival, Arrival::Asleep(_));
        let task = self.task(t);
        !is_here && !task.is_queued() && task.ran_on.is_none()
    }

    fn fork(&mut self, cpu: usize, child: TaskId) {
        let Ok(p) = T::try_from(child.index()) else { return };
        if !self.may_come(p) {
            return;
        }
        self.load_op(p);
        self.tasks[p as usize].wake_cpu = cpu;
        self.tasks[p as usize].cpu = cpu;
        let dest = self.select_idlest(p, cpu);
        self.wake_new(p, dest, Waker::Task(cpu), Rule::PlaceNew);
    }

    fn set_sched(&mut self, cpu: usize, t: T, params: SchedParams) {
        self.account(cpu);
        let class = crate::state::Task::class_of(params.policy);
        let old = self.task(t).class;
        if class == old && class == Class::Fair {
            self.count_in_groups(cpu, t, Goes::Out);
            self.tasks[t as usize].sched = params;
            self.tasks[t as usize].prio = params.kernel_prio();
            self.count_in_groups(cpu, t, Goes::In);
            self.fair_reweight(cpu, t);
            return;
        }
        let is_donor = self.cpus[cpu].donor == Some(t);
        if is_donor {
            self.put_donor(cpu, t);
        }
        self.dequeue_to_move(cpu, t);
        let task = &mut self.tasks[t as usize];
        task.sched = params;
        task.prio = params.kernel_prio();
        task.class = class;
        task.fair.relative_deadline = false;
        if class != Class::Deadline {
            task.dl.throttled = false;
        }
        if class == Class::Deadline {
            self.dl_wake(t);
        }
        self.enqueue(cpu, t);
        if is_donor {
            self.set_donor(cpu, t);
            self.cpus[cpu].next_class = class;
        }
        self.resched(cpu, 0, Rule::ClassChanges);
    }

    /// Kernel model 5.11.
    fn yield_now(&mut self, cpu: usize, t: T) {
        self.account(cpu);
        let donor = self.cpus[cpu].donor.unwrap_or(t);
        match self.task(donor).class {
            Class::Fair => self.fair_yield(cpu, donor),
            Class::Realtime => {
                let prio = self.task(donor).prio;
                if let Some(list) = self.cpus[cpu].rt.get_mut(&prio)
                    && list.front() == Some(&donor)
                {
                    list.rotate_left(1);
                }
            }
            Class::Stop | Class::Deadline | Class::Idle => {}
        }
        self.resched(cpu, 0, Rule::Yields);
    }
}
