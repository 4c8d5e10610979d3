//! Makes a schedule of decisions and steps, and compares it with the recording.

use super::Divergence;
use super::decision::{Expected, Part, Step, Stint, Told};
use super::play::{Ending, Made, Played, Then};
use super::show::{bare, event_of, is_shown};
use super::words::Words;
use model::demand::{Demand, Presence, Turn};
use model::{Event, PrevState, Recording, SchedEvent, TaskId, TaskTracker, Timestamp};
use std::collections::BTreeMap;

struct Weave<'a> {
    demand: &'a Demand,
    told: &'a Told,
    words: Words<'a>,
    tracker: TaskTracker,
    presence: Presence,
    /// Stretches and their endings that have not ended yet.
    stints: std::iter::Zip<std::slice::Iter<'a, Stint>, std::slice::Iter<'a, Ending>>,
    /// Priorities that each task may show when it next comes.
    came_with: BTreeMap<TaskId, Vec<Vec<i32>>>,
    /// What each task's program says that it is.
    state: Vec<Then>,
    /// Who is on a CPU and was woken before the wait that this ends.
    early: BTreeMap<TaskId, Timestamp>,
    /// How often each step was made and has not been found in the recording.
    made: BTreeMap<Made, u32>,
    /// Steps that the recording shows and no program makes at their time.
    missed: Vec<Made>,
    events: Vec<Event>,
    first: Option<Divergence>,
}

/// The schedule, and the first place where it is not the recording.
pub(super) fn weave(
    demand: &Demand,
    recording: &Recording,
    told: &Told,
    played: Played,
) -> (Vec<Event>, Option<Divergence>) {
    let Played { endings, made: steps, at_first: state } = played;
    let mut made = BTreeMap::new();
    for step in steps {
        *made.entry(step).or_insert(0) += 1;
    }
    let mut came_with: BTreeMap<TaskId, Vec<Vec<i32>>> = BTreeMap::new();
    for (stint, ending) in told.stints.iter().zip(&endings).rev() {
        came_with.entry(stint.task).or_default().push(ending.came_with.clone());
    }
    let mut w = Weave {
        demand,
        told,
        words: Words::new(demand, recording),
        tracker: TaskTracker::default(),
        presence: Presence::default(),
        stints: told.stints.iter().zip(&endings),
        came_with,
        state,
        early: BTreeMap::new(),
        made,
        missed: Vec::new(),
        events: Vec::with_capacity(recording.events.len()),
        first: None,
    };
    for (event, part) in recording.events.iter().zip(&told.parts) {
        w.tracker.observe(event);
        w.event(event, *part);
        w.tracker.settle(event);
    }
    w.rest();
    (w.events, w.first)
}

impl Weave<'_> {
    fn event(&mut self, e: &Event, part: Part) {
        let turns = self.presence.observe(e, &self.tracker);
        let (mut left, mut came) = (None, None);
        for turn in turns {
            match turn {
                Turn::Left(_) => left = self.end_stint(),
                Turn::Vanished(_) => _ = self.end_stint(),
                Turn::Came(task) => came = Some((task, self.come(task))),
                Turn::Found(task, _) => _ = self.come(task),
            }
        }
        match part {
            Part::Switch => self.switch(e, left, came),
            Part::Step(index) => self.step(e, index),
            Part::Interrupt(task) => self.interrupt(e, task),
            Part::Either(task, index) => match self.state[task.index()] {
                Then::Asleep(_) => self.interrupt(e, task),
                _ => self.step(e, index),
            },
            Part::Idle(task) => self.idle(e, task),
            Part::Decided => self.events.push(*e),
        }
    }

    fn diverge(&mut self, at: u64, task: TaskId, text: String) {
        if self.first.as_ref().is_none_or(|first| at < first.at.0) {
            let tid = self.demand.tasks[task.index()].info.tid;
            self.first = Some(Divergence { at: Timestamp(at), tid, text });
        }
    }

    fn end_stint(&mut self) -> Option<(TaskId, Vec<i32>, Then)> {
        let (stint, ending) = self.stints.next()?;
        self.state[stint.task.index()] = ending.then;
        if ending.then != Then::Waiting
            && let Some(woken) = self.early.remove(&stint.task)
        {
            if !matches!(ending.then, Then::Waits(_)) {
                let text = self.words.early(woken, stint.task);
                self.diverge(woken.0, stint.task, text);
            }
            self.state[stint.task.index()] = Then::Waiting;
        }
        if let Some(fault) = ending.fault {
            let text = self.words.fault(stint, fault);
            self.diverge(stint.left.min(fault.at(stint)), stint.task, text);
        }
        Some((stint.task, ending.left_with.clone(), ending.then))
    }

    fn come(&mut self, task: TaskId) -> Vec<i32> {
        self.state[task.index()] = Then::Waiting;
        self.came_with.get_mut(&task).and_then(Vec::pop).unwrap_or_default()
    }

    /// A switch as the decisions and the programs make it.
    fn switch(
        &mut self,
        e: &Event,
        left: Option<(TaskId, Vec<i32>, Then)>,
        came: Option<(TaskId, Vec<i32>)>,
    ) {
        let mut event = *e;
        let SchedEvent::Switch { prev_prio, prev_state, next_prio, .. } = &mut event.kind else {
            return;
        };
        if let Some((task, prios, then)) = left {
            let state = match then {
                Then::Waiting => *prev_state,
                Then::Asleep(state) | Then::Waits(state) => state,
                Then::Gone => PrevState::Dead,
            };
            let prio = shown(&prios, *prev_prio);
            if state != *prev_state {
                let text = self.words.state(task, e.at, *prev_state, state);
                self.diverge(e.at.0, task, text);
            }
            if prio != *prev_prio {
                let text = self.words.prio(task, e.at, *prev_prio, prio);
                self.diverge(e.at.0, task, text);
            }
            (*prev_state, *prev_prio) = (state, prio);
        }
        if let Some((task, prios)) = came {
            let prio = shown(&prios, *next_prio);
            if prio != *next_prio {
                let text = self.words.prio(task, e.at, *next_prio, prio);
                self.diverge(e.at.0, task, text);
            }
            *next_prio = prio;
        }
        self.events.push(event);
    }

    fn step(&mut self, e: &Event, index: usize) {
        let Expected { at, cpu, task, step } = self.told.expected[index];
        if let Step::Wake(target) = step {
            if self.presence.is_on_cpu(target) {
                self.early.insert(target, e.at);
            } else if !matches!(self.state[target.index()], Then::Waits(_)) {
                let text = self.words.wake(e.at, target, Some(task));
                self.diverge(at, target, text);
            }
            self.state[target.index()] = Then::Waiting;
        }
        let made = Made { at, cpu, task, step };
        match self.made.get_mut(&made) {
            Some(count) if *count > 0 => {
                *count -= 1;
                self.events.push(event_of(self.demand, made, e));
            }
            _ => {
                let text = self.words.missing(made, self.nearest(made));
                self.diverge(at, task, text);
                self.missed.push(made);
            }
        }
    }

    /// When the program really makes a step that it does not make at its time.
    fn nearest(&self, made: Made) -> Option<u64> {
        let of_it = |m: &&Made| m.task == made.task && m.step == made.step;
        let later = self.made.range(made..).filter(|(_, n)| **n > 0).map(|(m, _)| m).find(of_it);
        let earlier =
            self.made.range(..made).rev().filter(|(_, n)| **n > 0).map(|(m, _)| m).find(of_it);
        let near = [later, earlier].into_iter().flatten().map(|m| m.at);
        near.min_by_key(|at| at.abs_diff(made.at))
    }

    fn interrupt(&mut self, e: &Event, task: TaskId) {
        if matches!(self.state[task.index()], Then::Asleep(_)) {
            self.events.push(*e);
        } else {
            let text = self.words.wake(e.at, task, None);
            self.diverge(e.at.0, task, text);
        }
        self.state[task.index()] = Then::Waiting;
    }

    /// A wakeup that ends nothing: whoever is woken must be awake, or wait for a mutex.
    fn idle(&mut self, e: &Event, task: TaskId) {
        if self.state[task.index()] == Then::Waiting {
            self.events.push(*e);
        } else {
            let text = self.words.awake(e.at, task);
            self.diverge(e.at.0, task, text);
        }
    }

    /// Who is still on a CPU at the end, and steps that the recording does not show.
    fn rest(&mut self) {
        while self.end_stint().is_some() {}
        let made = std::mem::take(&mut self.made);
        let extra = made
            .iter()
            .filter(|(made, count)| **count > 0 && is_shown(self.demand, self.told, made.step));
        let extra: Vec<Made> = extra.map(|(made, _)| *made).collect();
        for (nth, made) in extra.into_iter().enumerate() {
            if nth == 0 {
                // It may be one that the recording shows later.
                let of_it = |m: &&Made| m.task == made.task && m.step == made.step;
                let text = match self.missed.iter().find(of_it).filter(|m| m.at > made.at) {
                    Some(missed) => self.words.missing(*missed, Some(made.at)),
                    None => self.words.extra(made),
                };
                self.diverge(made.at, made.task, text);
            }
            let event = event_of(self.demand, made, &bare(self.demand, made));
            let place = self.events.partition_point(|e| (e.at, e.cpu) <= (event.at, event.cpu));
            self.events.insert(place, event);
        }
    }
}

/// The priority that a switch shows, of those that may be in force at it.
fn shown(prios: &[i32], recorded: i32) -> i32 {
    let first = prios.first().copied().unwrap_or(recorded);
    if prios.contains(&recorded) { recorded } else { first }
}
