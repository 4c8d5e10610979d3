//! What a task did, step by step: on both sides, until they differ.

use super::{Act, Difference, LOOSE_NS, Place, Side, Waiting, Who, cpu_number, differs, own};
use model::{Context, CpuId, Event, LockFlags, LockId, SchedEvent, Tid};
use replay::Rule;
use std::collections::BTreeMap;

/// One step.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: u64,
    what: What,
    /// CPU time since the step before, without waits for locks.
    computed: u64,
    /// What the replay says of it.
    rule: Rule,
    /// What woke it, if it is a wakeup.
    woken_by: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Sleeps,
    /// On which CPU, after how long, by whom.
    Woken(CpuId, Option<u64>, By),
    Waits(LockId, Waiting),
    Ends,
}

/// Who wakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum By {
    #[default]
    Unknown,
    /// A timer or a device.
    Interrupt,
    Task(Tid),
}

impl By {
    fn of(event: &Event) -> Self {
        match event.context {
            Context::Unknown => Self::Unknown,
            Context::Task if event.tid != Tid::IDLE => Self::Task(event.tid),
            _ => Self::Interrupt,
        }
    }

    fn fits(self, other: Self) -> bool {
        self == other || self == Self::Unknown || other == Self::Unknown
    }
}

/// A task while its steps are gathered.
#[derive(Clone, Debug, Default)]
struct Task {
    steps: Vec<Step>,
    on_cpu_since: Option<u64>,
    computed: u64,
    /// The lock it waits for, since when, how so far, and by which rule.
    waits: Option<(LockId, u64, Waiting, Rule)>,
    slept_at: Option<u64>,
    is_awake: bool,
    woken_by: Rule,
    waker: By,
}

impl Task {
    fn run_to(&mut self, at: u64) {
        if let Some(since) = self.on_cpu_since.as_mut() {
            if self.waits.is_none() {
                self.computed += at.saturating_sub(*since);
            }
            *since = at;
        }
    }

    fn step(&mut self, at: u64, what: What, rule: Rule) {
        let computed = std::mem::take(&mut self.computed);
        let woken_by = self.woken_by;
        self.steps.push(Step { at, what, computed, rule, woken_by });
    }
}

/// The first difference of every task that has one.
pub(super) fn differences(
    recorded: Side<'_>,
    replayed: Side<'_>,
    who: &Who<'_>,
) -> Vec<(Tid, Difference)> {
    let (mut a, mut b) = (steps(recorded), steps(replayed));
    if !recorded.trace.has("sched_wakeup") {
        // What is not recorded is not compared.
        let is_other = |step: &Step| !matches!(step.what, What::Woken(..));
        a.values_mut().chain(b.values_mut()).for_each(|task| task.steps.retain(is_other));
    }
    let late = recorded.trace.span().0 / 50;
    let end = recorded.trace.end.0.saturating_sub(late.max(1_000_000));
    let none = Task::default();
    let of = |(tid, task): (&Tid, &Task)| {
        let other = b.get(tid).unwrap_or(&none);
        let found = first(&task.steps, &other.steps, end)?;
        Some((*tid, difference(found, Place::Task(who.full(*tid)?), who)))
    };
    a.iter().filter_map(of).collect()
}

fn steps(side: Side<'_>) -> BTreeMap<Tid, Task> {
    let mut tasks: BTreeMap<Tid, Task> = BTreeMap::new();
    for (index, event) in side.recording.events.iter().enumerate() {
        let (at, decision) = (event.at.0, side.decision(index));
        match event.kind {
            SchedEvent::Switch { prev, prev_state, next, .. } => {
                let t = tasks.entry(prev).or_default();
                // Who was never seen coming has been there from the start.
                t.on_cpu_since.get_or_insert(side.trace.start.0);
                t.run_to(at);
                t.on_cpu_since = None;
                t.is_awake = prev_state.is_runnable();
                match (&mut t.waits, prev_state) {
                    (_, model::PrevState::Dead) => t.step(at, What::Ends, decision.cause),
                    (_, state) if state.is_runnable() => {}
                    (Some((_, _, how, rule)), _) => {
                        (*how, *rule) = (Waiting::Sleeps, Rule::LockSleeps);
                    }
                    (None, _) => {
                        t.slept_at = Some(at);
                        t.step(at, What::Sleeps, decision.cause);
                    }
                }
                let t = tasks.entry(next).or_default();
                t.on_cpu_since = Some(at);
                t.is_awake = true;
            }
            SchedEvent::Waking(w) => {
                let t = tasks.entry(w.tid).or_default();
                (t.woken_by, t.waker) = (decision.cause, By::of(event));
            }
            SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) => {
                let t = tasks.entry(w.tid).or_default();
                let slept = t.slept_at.take().map(|since| at.saturating_sub(since));
                let was_awake = std::mem::replace(&mut t.is_awake, true);
                // A task that arrives has been there in the recording; a wait for a lock is one step.
                let is_step = !was_awake && t.waits.is_none();
                if is_step && decision.choice != Rule::Arrives {
                    let by = std::mem::take(&mut t.waker);
                    t.step(at, What::Woken(w.target_cpu, slept, by), decision.choice);
                }
            }
            _ => lock_step(side, index, &mut tasks),
        }
    }
    tasks.remove(&Tid::IDLE);
    tasks
}

fn lock_step(side: Side<'_>, index: usize, tasks: &mut BTreeMap<Tid, Task>) {
    let event = &side.recording.events[index];
    let Some(tid) = own(event) else { return };
    let at = event.at.0;
    match event.kind {
        SchedEvent::ContentionBegin { lock, flags } => {
            let t = tasks.entry(tid).or_default();
            t.on_cpu_since.get_or_insert(at);
            t.run_to(at);
            let spins = (Waiting::Spins, Rule::LockSpins);
            let sleeps = (Waiting::Sleeps, Rule::LockSleeps);
            let (how, rule) = if flags.has(LockFlags::SPIN) { spins } else { sleeps };
            match &mut t.waits {
                Some((same, _, was, by)) if *same == lock => {
                    if how == Waiting::Sleeps {
                        (*was, *by) = (how, rule);
                    }
                }
                _ => t.waits = Some((lock, at, how, rule)),
            }
        }
        SchedEvent::ContentionEnd { .. } => {
            let t = tasks.entry(tid).or_default();
            t.run_to(at);
            if let Some((lock, since, how, rule)) = t.waits.take() {
                t.step(since, What::Waits(lock, how), rule);
            }
        }
        _ => {}
    }
}

type Pair<'s> = (Option<&'s Step>, Option<&'s Step>);

/// The first steps that differ; what only one side reaches near the end is no difference.
fn first<'s>(a: &'s [Step], b: &'s [Step], end: u64) -> Option<Pair<'s>> {
    // A wakeup that begins only one of them comes from before.
    let wakes = |steps: &[Step]| matches!(steps.first(), Some(Step { what: What::Woken(..), .. }));
    let (from_a, from_b) = match (wakes(a), wakes(b)) {
        (true, false) => (1, 0),
        (false, true) => (0, 1),
        _ => (0, 0),
    };
    let (a, b) = (&a[from_a..], &b[from_b..]);
    for n in 0..a.len().max(b.len()) {
        match (a.get(n), b.get(n)) {
            (Some(x), Some(y)) if same(x, y, n) => {}
            (Some(x), None) if x.at > end => return None,
            (None, Some(y)) if y.at > end => return None,
            pair => return Some(pair),
        }
    }
    None
}

/// The first step may have begun before the recording.
fn same(x: &Step, y: &Step, n: usize) -> bool {
    let is_same = match (x.what, y.what) {
        (What::Woken(on, slept, by), What::Woken(other, slept_too, by_too)) => {
            // Only a timer's wakeup has a length of its own, and that is for a date or a span.
            let slept = slept.zip(slept_too).filter(|(a, b)| differs(*a, *b));
            let is_later = slept.is_some() && x.at.abs_diff(y.at) > LOOSE_NS;
            on == other && by.fits(by_too) && !(y.woken_by == Rule::SleepEnds && is_later)
        }
        (one, other) => one == other,
    };
    is_same && (n == 0 || !differs(x.computed, y.computed))
}

fn act(step: Option<&Step>, who: &Who<'_>) -> Act {
    let Some(step) = step else { return Act::Nothing };
    let computed_ns = step.computed;
    match step.what {
        What::Sleeps => Act::Sleeps { computed_ns },
        What::Woken(cpu, slept_ns, by) => {
            let by = match by {
                By::Unknown => None,
                By::Interrupt => Some("an interrupt".to_owned()),
                By::Task(tid) => who.full(tid),
            };
            Act::Woken { cpu: cpu_number(cpu), slept_ns, by }
        }
        What::Waits(lock, how) => Act::Waits { lock: lock.to_string(), how, computed_ns },
        What::Ends => Act::Ends { computed_ns },
    }
}

fn difference((a, b): Pair<'_>, place: Place, who: &Who<'_>) -> Difference {
    let computed = |step: Option<&Step>| step.map_or(0, |s| s.computed);
    let rule = match (a.map(|s| s.what), b.map(|s| s.what)) {
        (Some(What::Woken(on, ..)), Some(What::Woken(other, ..))) if on == other => {
            b.map_or(Rule::Follows, |s| s.woken_by)
        }
        // A replay computes what was recorded, so it is another wait: of the earlier one, the other
        // side found the lock free.
        (Some(What::Waits(x, _)), Some(What::Waits(y, _)))
            if x == y && computed(a) + LOOSE_NS < computed(b) =>
        {
            Rule::LockFree
        }
        (Some(What::Waits(..)), Some(What::Waits(..))) if computed(b) + LOOSE_NS < computed(a) => {
            b.map_or(Rule::Follows, |s| s.rule)
        }
        (Some(x), Some(y)) if x == y => Rule::Computes,
        (Some(What::Waits(x, _)), Some(What::Waits(y, how))) if x == y => match how {
            Waiting::Spins => Rule::LockSpins,
            Waiting::Sleeps => Rule::LockSleeps,
        },
        (Some(What::Waits(..)), _) => Rule::LockFree,
        (_, Some(_)) => b.map_or(Rule::Follows, |s| s.rule),
        _ => Rule::ProgramOver,
    };
    let at = |step: Option<&Step>| step.map(|s| s.at);
    let (at_ns, replay_at_ns) = match (at(a), at(b)) {
        (Some(a), b) => (a, b.unwrap_or(a)),
        (None, b) => (b.unwrap_or(0), b.unwrap_or(0)),
    };
    Difference {
        at_ns,
        replay_at_ns,
        place,
        recorded: act(a, who),
        replayed: act(b, who),
        rule,
        source: rule.source(),
    }
}
