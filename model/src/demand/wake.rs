//! Wakeups: what a task waited for is over, and who ended it.

use super::extract::Extract;
use super::program::{Asleep, EarlyWake};
use super::sleep::TimerSleep;
use super::{Arrival, DemandNote, Op, SleepEnd};
use crate::{Context, CpuId, Event, Nanos, PrevState, SchedEvent, TaskId, Tid};

impl Extract<'_> {
    pub(super) fn waking(&mut self, e: &Event, target: Tid) {
        let Some(id) = self.id(target) else { return };
        let at = e.at.0;
        let b = &self.builds[id.index()];
        if b.arrival.is_none() {
            self.first_wake(e, id);
            return;
        }
        let Some(asleep) = b.asleep else {
            self.early_wake(e, id);
            return;
        };
        if asleep.in_mutex {
            self.builds[id.index()].asleep = None;
            return;
        }
        let Some(waker) = self.waker(e, target, asleep.timer) else {
            self.wake_by_interrupt(id, at, e.context);
            return;
        };
        self.wake_by_task(waker, id, at);
    }

    /// A task wakes somebody who is still on a CPU. If that one does not go to sleep before it
    /// arrives on a runqueue, nothing has ended by this.
    fn early_wake(&mut self, e: &Event, id: TaskId) {
        let waker = self.id(e.tid).filter(|w| *w != id && e.context == Context::Task);
        let early = waker.filter(|_| self.presence.is_on_cpu(id)).map(|waker| {
            let w = &mut self.builds[waker.index()];
            w.run_to(e.at.0);
            EarlyWake { waker, buffer: None, at: e.at.0, place: w.place() }
        });
        let early = early.map(|early| {
            let both = [early.waker, id].map(|t| self.builds[t.index()].call.map(|c| c.buffer));
            let buffer = both[0].filter(|_| both[0] == both[1]);
            if buffer.is_some() {
                self.tell(early.waker, e.at.0);
            }
            EarlyWake { buffer, ..early }
        });
        self.builds[id.index()].early_wake = early;
    }

    /// Who was woken on its way to sleep arrives: its wait was over before it began.
    fn arrive_early(&mut self, id: TaskId) {
        let b = &mut self.builds[id.index()];
        let Some(EarlyWake { waker, buffer, at, place }) = b.early_wake.take() else { return };
        let Some(asleep) = b.asleep.take_if(|asleep| !asleep.in_mutex) else { return };
        if buffer.is_some() && asleep.in_call == buffer {
            self.waited_for_buffer(id, asleep.since);
            self.builds[id.index()].wakes.push(asleep.since);
            return;
        }
        b.push(asleep.since, Op::Wait { state: asleep.state, on: asleep.on });
        b.wakes.push(asleep.since);
        self.builds[waker.index()].insert(place, at, Op::Wake { target: id });
    }

    /// The task that wakes, when a task does.
    pub(super) fn waker(
        &mut self,
        e: &Event,
        target: Tid,
        timer: Option<(u64, u64, u64)>,
    ) -> Option<TaskId> {
        match e.context {
            Context::HardIrq | Context::SoftIrq => None,
            Context::Task => self.id(e.tid),
            Context::Unknown => {
                self.count(DemandNote::WakerContextGuessed);
                // Who waits for a mutex wakes nobody: an interrupt came.
                let spins = |id: &TaskId| self.builds[id.index()].is_in_lock();
                let id = self.id(e.tid).filter(|id| timer.is_none() && !spins(id))?;
                let name = self.tracker.tasks()[id.index()].comm;
                (!self.interrupts.wake(target, name)).then_some(id)
            }
        }
    }

    pub(super) fn wake_by_task(&mut self, waker: TaskId, id: TaskId, at: u64) {
        let asleep = self.builds[id.index()].asleep;
        if let Some(Asleep { in_call: Some(buffer), since, .. }) = asleep
            && self.builds[waker.index()].call.is_some_and(|call| call.buffer == buffer)
        {
            self.tell(waker, at);
            self.waited_for_buffer(id, since);
            let b = &mut self.builds[id.index()];
            b.asleep = None;
            b.wakes.push(at);
            return;
        }
        let w = &mut self.builds[waker.index()];
        w.run_to(at);
        w.push(at, Op::Wake { target: id });
        let b = &mut self.builds[id.index()];
        if let Some(asleep) = b.asleep.take() {
            b.push(asleep.since, Op::Wait { state: asleep.state, on: asleep.on });
        }
        b.wakes.push(at);
    }

    pub(super) fn wake_by_interrupt(&mut self, id: TaskId, at: u64, context: Context) {
        let b = &mut self.builds[id.index()];
        let Some(asleep) = b.asleep.take() else { return };
        if asleep.in_mutex {
            return;
        }
        let armed = asleep.timer.filter(|(expiry, ..)| at >= *expiry && at < expiry + 10_000_000);
        let span = match armed {
            // From the arming of its timer, less what it still ran before it slept.
            Some((_, since, total)) => {
                at.saturating_sub(since).saturating_sub(b.total.saturating_sub(total))
            }
            None => at.saturating_sub(asleep.since),
        };
        let until = SleepEnd::After(Nanos(span));
        let step = b.push(asleep.since, Op::Sleep { until, state: asleep.state, on: asleep.on });
        let expiry = armed.map(|(expiry, ..)| expiry);
        b.timer_sleeps.push(TimerSleep {
            step,
            since: asleep.since,
            woken: at,
            expiry,
            by_softirq: context == Context::SoftIrq,
        });
        b.wakes.push(at);
    }

    /// The trace's first word about a task is that it is woken.
    pub(super) fn first_wake(&mut self, e: &Event, id: TaskId) {
        let at = e.at.0;
        let SchedEvent::Waking(fields) = e.kind else { return };
        let waker = self.waker(e, fields.tid, None).filter(|w| *w != id);
        let b = &mut self.builds[id.index()];
        b.arrival = Some(Arrival::Asleep(fields.target_cpu));
        let state = PrevState::Interruptible;
        b.asleep = Some(Asleep::new(at, state));
        match waker {
            Some(waker) => self.wake_by_task(waker, id, at),
            None => {
                b.asleep = None;
                b.push(at, Op::Sleep { until: SleepEnd::At(e.at), state, on: None });
                b.wakes.push(at);
            }
        }
        self.sched_change(id, fields.prio, at);
    }

    /// A wakeup whose waking was not seen while the task slept.
    pub(super) fn wakeup(&mut self, e: &Event, target: Tid) {
        let Some(id) = self.id(target) else { return };
        if self.builds[id.index()].arrival.is_none() {
            let SchedEvent::Wakeup(fields) = e.kind else { return };
            let b = &mut self.builds[id.index()];
            b.arrival = Some(Arrival::At(e.at, fields.target_cpu));
            b.wakes.push(e.at.0);
        }
        self.arrive_early(id);
        self.wake_by_interrupt(id, e.at.0, Context::Unknown);
    }

    pub(super) fn wakeup_new(&mut self, e: &Event, target: Tid, cpu: CpuId) {
        let Some(id) = self.id(target) else { return };
        let at = e.at.0;
        let parent = self.id(e.tid).filter(|p| *p != id);
        let b = &mut self.builds[id.index()];
        if b.arrival.is_some() {
            return;
        }
        b.wakes.push(at);
        match parent {
            Some(parent) => {
                b.arrival = Some(Arrival::Forked);
                let p = &mut self.builds[parent.index()];
                p.run_to(at);
                p.push(at, Op::Fork { child: id });
            }
            None => b.arrival = Some(Arrival::At(e.at, cpu)),
        }
    }
}
