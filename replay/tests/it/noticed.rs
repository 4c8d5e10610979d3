//! The self-test can fail: `recorded` notices when a program does anything else than was recorded.

use crate::identity::{LITERAL, open};
use fixtures::Dice;
use model::demand::{Cover, Demand, SleepEnd};
use model::{History, Host, Nanos, Op, PrevState, Recording, SchedEvent};

/// Whether `recorded` notices a change of the demand of a fixture; the first divergence's words.
fn noticed(fixture: &str, change: impl FnOnce(&mut Demand) -> bool) -> String {
    let (recording, host) = open(&fixtures::path(fixture));
    noticed_in(&recording, host.as_ref(), change)
}

fn noticed_in(
    recording: &Recording,
    host: Option<&Host>,
    change: impl FnOnce(&mut Demand) -> bool,
) -> String {
    let (mut demand, _) = History::read(recording, host, Cover::default()).demand(LITERAL);
    assert_eq!(replay::recorded(&demand, recording).1, None);
    assert!(change(&mut demand), "nothing to change");
    let (_, divergence) = replay::recorded(&demand, recording);
    divergence.expect("a change of a program goes unnoticed").text
}

const FULL: &str = "recorded/classic3-full.dat";
const TWO_CPUS: &str = "recorded/affine-full-2cpus.dat";
const PIPE: &str = "recorded/pipe-inversion.perf.data";

/// The `n`th op that fits, and its program. What is last in a program was cut off by the end of the
/// recording, if it is no exit; how a sleep began that is first in one is not recorded.
fn nth(demand: &mut Demand, n: usize, fits: impl Fn(&Op) -> bool) -> Option<(&mut Vec<Op>, usize)> {
    let places = demand.tasks.iter().enumerate();
    let place = places
        .flat_map(|(task, t)| t.ops.iter().enumerate().map(move |(at, op)| (task, at, op)))
        .filter(|(task, at, op)| at + 1 < demand.tasks[*task].ops.len() || **op == Op::Exit)
        .filter(|(_, at, _)| *at > 0)
        .filter(|(.., op)| fits(op))
        .nth(n)
        .map(|(task, at, _)| (task, at))?;
    Some((&mut demand.tasks[place.0].ops, place.1))
}

/// Moves an op by a nanosecond: the work before it gets shorter, the work behind it longer.
fn shift(demand: &mut Demand, fits: impl Fn(&Op) -> bool) -> bool {
    let is_work = |op: Option<&Op>| matches!(op, Some(Op::Compute(span)) if span.0 > 1_000);
    for n in 0.. {
        let Some((ops, at)) = nth(demand, n, &fits) else { return false };
        if at == 0 || !is_work(ops.get(at - 1)) || !is_work(ops.get(at + 1)) {
            continue;
        }
        for (place, is_longer) in [(at - 1, false), (at + 1, true)] {
            if let Op::Compute(span) = &mut ops[place] {
                *span = Nanos(if is_longer { span.0 + 1 } else { span.0 - 1 });
            }
        }
        return true;
    }
    false
}

/// Takes an op out of a program.
fn drop_one(demand: &mut Demand, fits: impl Fn(&Op) -> bool) -> bool {
    let found = nth(demand, 0, fits);
    found.is_some_and(|(ops, at)| matches!(ops.remove(at), _))
}

#[test]
fn a_shifted_program_is_noticed() {
    let text = noticed(FULL, |demand| {
        let low = demand.tasks.iter().position(|t| demand.names.text(t.info.comm) == "low");
        let ops = &mut demand.tasks[low.expect("low")].ops;
        let long = ops.iter_mut().find_map(|op| match op {
            Op::Compute(span) if span.0 > 500_000 => Some(span),
            _ => None,
        });
        long.expect("a section").0 -= 1;
        true
    });
    assert!(text.ends_with("and its program does so 0.001 us earlier"), "{text}");
}

#[test]
fn a_release_that_moves_by_a_nanosecond_is_noticed() {
    let text = noticed(FULL, |d| shift(d, |op| matches!(op, Op::Unlock(_))));
    assert!(text.contains(" releases mutex 0x"), "{text}");
}

#[test]
fn a_wake_that_moves_by_a_nanosecond_is_noticed() {
    for fixture in [FULL, TWO_CPUS, PIPE] {
        let text = noticed(fixture, |d| shift(d, |op| matches!(op, Op::Wake { .. })));
        assert!(text.contains(" wakes "), "{text}");
        assert!(text.ends_with("and its program does so 0.001 us earlier"), "{text}");
    }
}

#[test]
fn a_step_that_is_missing_is_noticed() {
    let text = noticed(FULL, |d| drop_one(d, |op| matches!(op, Op::Fork { .. })));
    assert!(text.contains(" starts ") && text.ends_with("and its program does not"), "{text}");
    let text = noticed(FULL, |d| drop_one(d, |op| matches!(op, Op::Lock(_))));
    assert!(text.contains(" acquires mutex 0x"), "{text}");
    let text = noticed(FULL, |d| drop_one(d, |op| matches!(op, Op::Wake { .. })));
    assert!(text.contains(" wakes "), "{text}");
    let text = noticed(PIPE, |d| drop_one(d, |op| matches!(op, Op::Contend { .. })));
    assert!(text.contains(" begins to wait for lock 0x"), "{text}");
    let text = noticed(PIPE, |d| drop_one(d, |op| matches!(op, Op::Contended { .. })));
    assert!(text.contains(" gets lock 0x"), "{text}");
}

/// No recording of the repository has a trylock, so some calls are made into such.
#[test]
fn a_trylock_that_is_missing_is_noticed() {
    let (mut recording, host) = open(&fixtures::path(FULL));
    let mut calls = recording.events.iter_mut().rev().filter_map(|e| match e.kind {
        SchedEvent::MutexLock { lock, .. } => Some((&mut e.kind, lock)),
        _ => None,
    });
    let (kind, lock) = calls.nth(3).expect("calls");
    *kind = SchedEvent::MutexTrylock { lock, ret: 0 };
    let is_try = |op: &Op| matches!(op, Op::TryLock { .. });
    let text = noticed_in(&recording, host.as_ref(), |d| drop_one(d, is_try));
    assert!(text.contains(" in vain at ") && text.ends_with("and its program does not"), "{text}");
}

#[test]
fn a_step_that_the_recording_does_not_show_is_noticed() {
    let text = noticed(FULL, |demand| {
        let Some((ops, at)) = nth(demand, 0, |op| matches!(op, Op::Unlock(_))) else {
            return false;
        };
        ops.insert(at, ops[at]);
        true
    });
    assert!(text.contains("and the recording does not show it"), "{text}");
}

#[test]
fn a_priority_that_does_not_change_is_noticed() {
    let text = noticed(FULL, |d| drop_one(d, |op| matches!(op, Op::SetSched(_))));
    assert!(text.contains(" has priority "), "{text}");
}

#[test]
fn another_end_is_noticed() {
    let text = noticed(FULL, |demand| {
        let Some((ops, at)) = nth(demand, 0, |op| *op == Op::Exit) else { return false };
        ops[at] = Op::Wait { state: PrevState::Interruptible, on: None };
        true
    });
    assert!(text.contains(" for good, and its program "), "{text}");
    let text = noticed(FULL, |d| drop_one(d, |op| *op == Op::Exit));
    assert!(text.contains("and its program is at its end at "), "{text}");
}

#[test]
fn a_sleep_that_ends_otherwise_is_noticed() {
    let is_sleep = |op: &Op| matches!(op, Op::Sleep { .. });
    let text = noticed(FULL, |demand| {
        let Some((ops, at)) = nth(demand, 3, is_sleep) else { return false };
        let Op::Sleep { state, on, .. } = ops[at] else { return false };
        ops[at] = Op::Wait { state, on };
        true
    });
    assert!(text.contains(" is woken by an interrupt at "), "{text}");
    let text = noticed(FULL, |demand| {
        let is_wait = |op: &Op| matches!(op, Op::Wait { .. });
        let Some((ops, at)) = nth(demand, 3, is_wait) else { return false };
        let Op::Wait { state, on } = ops[at] else { return false };
        ops[at] = Op::Sleep { until: SleepEnd::After(Nanos(1)), state, on };
        true
    });
    assert!(text.contains(" is woken by "), "{text}");
    let text = noticed(FULL, |demand| {
        let is_light = |op: &Op| matches!(op, Op::Sleep { state: PrevState::Interruptible, .. });
        let Some((ops, at)) = nth(demand, 3, is_light) else { return false };
        if let Op::Sleep { state, .. } = &mut ops[at] {
            *state = PrevState::Uninterruptible;
        }
        true
    });
    assert!(text.contains("and its program sleeps where no signal wakes it"), "{text}");
}

/// At full detail every op of a program can be seen, so none may be missing or shorter.
#[test]
fn whatever_is_missing_or_shorter_is_noticed() {
    let mut dice = Dice::new(7);
    let (recording, host) = open(&fixtures::path(TWO_CPUS));
    let (demand, _) = model::demand::extract(&recording, host.as_ref());
    let ops = demand.tasks.iter().enumerate();
    let places: Vec<(usize, usize)> =
        ops.flat_map(|(task, t)| (0..t.ops.len()).map(move |at| (task, at))).collect();
    for _ in 0..200 {
        let (task, at) = places[dice.position(places.len())];
        let mut changed = demand.clone();
        let ops = &mut changed.tasks[task].ops;
        let op = ops[at];
        match op {
            Op::Compute(span) if dice.roll(2) == 0 => ops[at] = Op::Compute(Nanos(span.0 - 1)),
            _ => _ = ops.remove(at),
        }
        let (_, divergence) = replay::recorded(&changed, &recording);
        assert!(divergence.is_some(), "op {at} of task {task}, {op:?}, changes unnoticed");
    }
}

#[test]
fn a_divergence_speaks_to_people() {
    let text = noticed(FULL, |demand| {
        let Some((ops, at)) = nth(demand, 0, |op| *op == Op::Exit) else { return false };
        ops.insert(at, Op::Compute(Nanos(18_153)));
        true
    });
    assert!(text.contains(" leaves its CPU at "), "{text}");
    let end = "and its program computes 18.153 us longer before it exits";
    assert!(text.ends_with(end), "{text}");
}
