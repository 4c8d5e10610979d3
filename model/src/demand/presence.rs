//! Who is on which CPU: the one reading of a recording that its demand and its replay share.

use crate::{Context, CpuId, Event, SchedEvent, TaskId, TaskTracker, Tid, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A task comes to a CPU or goes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A switch brings it.
    Came(TaskId),
    /// It is seen on a CPU to which no switch brought it; it has been there since.
    Found(TaskId, Timestamp),
    /// A switch takes it away.
    Left(TaskId),
    /// Somebody or something else is seen where it was, and no switch took it away.
    Vanished(TaskId),
}

/// Follows who is on which CPU while events are walked in order.
///
/// A recording whose switches are whole shows nothing but [`Turn::Came`] and [`Turn::Left`],
/// except for those who were on a CPU when it began.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    start: Option<Timestamp>,
    /// Per CPU that has shown anything: who is there, nobody when it idles.
    on: BTreeMap<CpuId, Option<TaskId>>,
    place: BTreeMap<TaskId, CpuId>,
    seen: BTreeSet<TaskId>,
}

impl Presence {
    /// What an event says of who is where, in this order: who vanished, who is found, who left,
    /// who came.
    ///
    /// Feed every event, after [`TaskTracker::observe`] and before [`TaskTracker::settle`].
    pub fn observe(&mut self, event: &Event, tracker: &TaskTracker) -> Vec<Turn> {
        self.start.get_or_insert(event.at);
        let mut turns = Vec::new();
        match event.kind {
            SchedEvent::Switch { prev, next, .. } => {
                self.find(event, tracker.id(prev), &mut turns);
                let (prev, next) = (tracker.id(prev), tracker.id(next));
                if next != prev {
                    self.vanish(next, &mut turns);
                }
                if let Some(prev) = prev {
                    self.place.remove(&prev);
                    turns.push(Turn::Left(prev));
                }
                if let Some(next) = next {
                    self.place.insert(next, event.cpu);
                    self.seen.insert(next);
                    turns.push(Turn::Came(next));
                }
                self.on.insert(event.cpu, next);
            }
            _ if in_task(event) => {
                let running = tracker.id(event.tid);
                // A thread id that no event has introduced says nothing.
                if running.is_some() || event.tid == Tid::IDLE {
                    self.find(event, running, &mut turns);
                }
            }
            _ => {}
        }
        if let SchedEvent::Waking(w) | SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) = event.kind
        {
            self.seen.extend(tracker.id(w.tid));
        }
        turns
    }

    /// Whether a task has been on a CPU or has been woken so far.
    #[must_use]
    pub fn has_seen(&self, task: TaskId) -> bool {
        self.seen.contains(&task)
    }

    /// Whether a task is on a CPU, as far as is known.
    #[must_use]
    pub fn is_on_cpu(&self, task: TaskId) -> bool {
        self.place.contains_key(&task)
    }

    /// `running` is on the event's CPU now.
    fn find(&mut self, event: &Event, running: Option<TaskId>, turns: &mut Vec<Turn>) {
        let before = self.on.insert(event.cpu, running);
        if before == Some(running) {
            return;
        }
        if let Some(task) = before.flatten() {
            self.vanish(Some(task), turns);
            self.on.insert(event.cpu, running);
        }
        let Some(task) = running else { return };
        self.vanish(running, turns);
        self.place.insert(task, event.cpu);
        // Who is the first that is seen on a CPU was there from the beginning, unless it was seen
        // before; who comes behind others came from nowhere, and nothing is known of it before.
        let is_first = self.seen.insert(task) && before.is_none();
        let since = self.start.filter(|_| is_first).unwrap_or(event.at);
        turns.push(Turn::Found(task, since));
    }

    fn vanish(&mut self, task: Option<TaskId>, turns: &mut Vec<Turn>) {
        let Some(task) = task else { return };
        if let Some(cpu) = self.place.remove(&task) {
            self.on.insert(cpu, None);
            turns.push(Turn::Vanished(task));
        }
    }
}

/// Whether an event was recorded by a task, and not by an interrupt on top of it.
fn in_task(event: &Event) -> bool {
    !matches!(event.context, Context::HardIrq | Context::SoftIrq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NameId, PrevState};

    const IDLE: i32 = 0;

    fn at(time: u64, cpu: u32, tid: i32, kind: SchedEvent) -> Event {
        let (at, tid) = (Timestamp(time), Tid(tid));
        Event { at, cpu: CpuId(cpu), context: Context::Task, tid, kind }
    }

    fn switch(time: u64, cpu: u32, prev: i32, next: i32) -> Event {
        let comm = NameId(0);
        let kind = SchedEvent::Switch {
            prev: Tid(prev),
            prev_comm: comm,
            prev_prio: 120,
            prev_state: PrevState::Runnable,
            next: Tid(next),
            next_comm: comm,
            next_prio: 120,
        };
        at(time, cpu, prev, kind)
    }

    fn exec(time: u64, cpu: u32, tid: i32) -> Event {
        at(time, cpu, tid, SchedEvent::Exec { tid: Tid(tid), old_tid: Tid(tid) })
    }

    fn turns(events: &[Event]) -> Vec<Turn> {
        let (mut presence, mut tracker) = (Presence::default(), TaskTracker::default());
        let mut turns = Vec::new();
        for event in events {
            tracker.observe(event);
            turns.extend(presence.observe(event, &tracker));
            tracker.settle(event);
        }
        turns
    }

    #[test]
    fn whole_switches_show_who_comes_and_who_leaves() {
        let (a, b) = (TaskId(0), TaskId(1));
        assert_eq!(
            turns(&[switch(5, 0, 1, 2), switch(7, 0, 2, 1), switch(9, 0, 1, IDLE)]),
            [
                Turn::Found(a, Timestamp(5)),
                Turn::Left(a),
                Turn::Came(b),
                Turn::Left(b),
                Turn::Came(a),
                Turn::Left(a),
            ]
        );
    }

    #[test]
    fn who_is_first_seen_on_a_cpu_was_there_from_the_beginning() {
        let (a, b) = (TaskId(0), TaskId(1));
        assert_eq!(
            turns(&[exec(5, 0, 1), exec(8, 1, 2)]),
            [Turn::Found(a, Timestamp(5)), Turn::Found(b, Timestamp(5))]
        );
    }

    #[test]
    fn who_left_without_a_switch_vanishes() {
        let (a, b, c) = (TaskId(0), TaskId(1), TaskId(2));
        assert_eq!(
            turns(&[switch(5, 0, IDLE, 1), exec(7, 0, 2), switch(8, 1, IDLE, 3), exec(9, 0, 3)]),
            [
                Turn::Came(a),
                Turn::Vanished(a),
                Turn::Found(b, Timestamp(7)),
                Turn::Came(c),
                Turn::Vanished(b),
                Turn::Vanished(c),
                Turn::Found(c, Timestamp(9)),
            ]
        );
    }
}
