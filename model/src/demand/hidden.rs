//! Critical sections of closed loops that nobody contended, where only contention is recorded.
//!
//! A task that repeats its rounds takes its locks in each of them; the recording shows those that
//! somebody else wanted at the time. A replay moves the tasks against each other, so the others
//! matter as well.

use super::{LockIndex, Op};
use crate::{Nanos, PrevState};
use std::collections::BTreeMap;
use std::ops::Range;

/// Fewest rounds that must show a section before the others are taken to have it.
const FEWEST: usize = 5;
/// How far the places of a section may scatter, as a share of a round in percent.
const SCATTER_PERCENT: u64 = 15;
/// How far its length may.
const LENGTH_SCATTER_PERCENT: u64 = 25;

const PERMILLE: u64 = 1000;
/// Rounds of less than the usual length by this factor are something else.
const SHORTEST: u64 = 3;

/// Where one round has one lock, in CPU time from its beginning.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    lock: Option<u64>,
    unlock: Option<u64>,
}

/// A round: its ops, its CPU time, and the locks it shows.
struct Round {
    ops: Range<usize>,
    length: u64,
    places: BTreeMap<LockIndex, Place>,
}

/// Where the rounds of a task have a section, as far as they agree.
struct Habit {
    lock: LockIndex,
    from_start: bool,
    at: u64,
    length: u64,
    /// The section grows with its round.
    is_share: bool,
    /// Length of a usual round.
    round: u64,
}

/// Puts the sections that most rounds must have into those that show none; returns how many.
///
/// # Source
///
/// Our own rule; `docs/decisions.md` says what it did to the figures.
pub(super) fn complete(
    ops: &mut Vec<Op>,
    holds: &[LockIndex],
    percentile: usize,
    is_guessed: impl Fn(LockIndex) -> bool,
) -> u64 {
    let rounds = rounds(ops, holds);
    let habits: Vec<Habit> = locks(&rounds)
        .into_iter()
        .filter(|l| is_guessed(*l))
        .filter_map(|l| habit(&rounds, l, percentile))
        .collect();
    if habits.is_empty() {
        return 0;
    }
    let mut count = 0;
    let mut out = Vec::with_capacity(ops.len());
    let mut done = 0;
    for round in &rounds {
        out.extend_from_slice(&ops[done..round.ops.start]);
        let missing = habits.iter().filter(|h| !round.places.contains_key(&h.lock));
        let mut inserts = Vec::new();
        for habit in missing.filter(|h| h.round <= round.length * SHORTEST) {
            // In a round that was faster than usual everything was; a section that is always the
            // same share of its round is longer in a longer one too.
            let most = if habit.is_share { u64::MAX } else { habit.round };
            let scaled = |span: u64| scale(span, round.length.min(most), habit.round);
            let length = scaled(habit.length).min(round.length);
            let place = scaled(habit.at);
            let at = if habit.from_start { place } else { round.length.saturating_sub(place) };
            let at = at.min(round.length - length);
            inserts.push((at, 1u8, Op::Lock(habit.lock)));
            inserts.push((at + length, 0, Op::Unlock(habit.lock)));
            count += 1;
        }
        inserts.sort_by_key(|(at, order, _)| (*at, *order));
        merge(&ops[round.ops.clone()], &inserts, &mut out);
        done = round.ops.end;
    }
    out.extend_from_slice(&ops[done..]);
    *ops = out;
    count
}

/// `span * by / of` without overflow: spans of seconds, multiplied, leave 64 bits.
fn scale(span: u64, by: u64, of: u64) -> u64 {
    let scaled = u128::from(span) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Cuts a program at the sleeps outside of critical sections, whoever ends them.
fn rounds(ops: &[Op], holds: &[LockIndex]) -> Vec<Round> {
    let mut held = holds.len();
    let mut rounds = Vec::new();
    let mut start = None;
    for (index, op) in ops.iter().enumerate() {
        match op {
            Op::Lock(_) | Op::TryLock { acquired: true, .. } => held += 1,
            Op::Unlock(_) => held = held.saturating_sub(1),
            Op::Sleep { on: None, state: PrevState::Interruptible, .. }
            | Op::Wait { on: None, state: PrevState::Interruptible }
                if held == 0 =>
            {
                if let Some(start) = start {
                    rounds.push(round(ops, start..index));
                }
                start = Some(index + 1);
            }
            _ => {}
        }
    }
    rounds
}

fn round(ops: &[Op], range: Range<usize>) -> Round {
    let mut length = 0;
    let mut places: BTreeMap<LockIndex, Place> = BTreeMap::new();
    for op in &ops[range.clone()] {
        match op {
            Op::Compute(span) => length += span.0,
            Op::Lock(lock) | Op::TryLock { lock, .. } => {
                places.entry(*lock).or_default().lock.get_or_insert(length);
            }
            Op::Unlock(lock) => {
                places.entry(*lock).or_default().unlock.get_or_insert(length);
            }
            _ => {}
        }
    }
    Round { ops: range, length, places }
}

fn locks(rounds: &[Round]) -> Vec<LockIndex> {
    let mut locks: Vec<LockIndex> = rounds.iter().flat_map(|r| r.places.keys().copied()).collect();
    locks.sort_unstable();
    locks.dedup();
    locks
}

/// The value at a percentile of a sorted list; 50 is the upper one of two middles.
pub(super) fn at_percentile(sorted: &[u64], percentile: usize) -> Option<u64> {
    let place = (sorted.len() * percentile.min(100) / 100).min(sorted.len().checked_sub(1)?);
    sorted.get(place).copied()
}

fn median(values: &mut [u64]) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// The median and the median distance from it.
fn middle(mut values: Vec<u64>) -> Option<(u64, u64)> {
    let middle = median(&mut values)?;
    let mut distances: Vec<u64> = values.iter().map(|v| v.abs_diff(middle)).collect();
    Some((middle, median(&mut distances)?))
}

/// The median distance from the median.
pub(super) fn scatter(values: &[u64]) -> Option<u64> {
    middle(values.to_vec()).map(|(_, scatter)| scatter)
}

/// The habit of a task with one lock, if it has one.
fn habit(rounds: &[Round], lock: LockIndex, percentile: usize) -> Option<Habit> {
    let shown: Vec<(&Round, Place)> =
        rounds.iter().filter_map(|r| Some((r, *r.places.get(&lock)?))).collect();
    if shown.len() < FEWEST || shown.len() * 10 < rounds.len() * 2 {
        return None;
    }
    let starts = shown.iter().filter_map(|(_, p)| p.lock).collect();
    let ends = shown.iter().filter_map(|(r, p)| Some(r.length - p.lock?)).collect();
    let mut lengths: Vec<u64> =
        shown.iter().filter_map(|(_, p)| p.unlock?.checked_sub(p.lock?)).collect();
    lengths.sort_unstable();
    let guessed = at_percentile(&lengths, percentile)?;
    let (from_start, scatter) = middle(starts)?;
    let (from_end, end_scatter) = middle(ends)?;
    let (length, length_scatter) = middle(lengths)?;
    let typical = median(&mut rounds.iter().map(|r| r.length).collect::<Vec<_>>())?;
    let shares = shown
        .iter()
        .filter_map(|(r, p)| Some(p.unlock?.checked_sub(p.lock?)? * PERMILLE / r.length.max(1)));
    let (share, share_scatter) = middle(shares.collect())?;
    let scatters = |scatter: u64, of: u64| scatter * 100 > of * LENGTH_SCATTER_PERCENT;
    let is_share = share_scatter * length < length_scatter * share;
    let varies = scatters(length_scatter, length) && scatters(share_scatter, share);
    if varies || scatter.min(end_scatter) * 100 > typical * SCATTER_PERCENT {
        return None;
    }
    let is_from_start = scatter <= end_scatter;
    let at = if is_from_start { from_start } else { from_end };
    Some(Habit { lock, from_start: is_from_start, at, length: guessed, is_share, round: typical })
}

/// One round with the inserted ops at their CPU times.
fn merge(round: &[Op], inserts: &[(u64, u8, Op)], out: &mut Vec<Op>) {
    let mut inserts = inserts.iter().peekable();
    let mut now = 0;
    for op in round {
        let Op::Compute(span) = op else {
            out.push(*op);
            continue;
        };
        let (mut left, end) = (span.0, now + span.0);
        while let Some((at, _, op)) = inserts.next_if(|(at, ..)| *at < end) {
            let before = at.saturating_sub(now).min(left);
            if before > 0 {
                out.push(Op::Compute(Nanos(before)));
            }
            (now, left) = (now + before, left - before);
            out.push(*op);
        }
        if left > 0 {
            out.push(Op::Compute(Nanos(left)));
        }
        now = end;
    }
    out.extend(inserts.map(|(.., op)| *op));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::SleepEnd;

    const SLEEP: Op =
        Op::Sleep { until: SleepEnd::After(Nanos(5)), state: PrevState::Interruptible, on: None };
    const M: LockIndex = LockIndex(0);

    fn run(span: u64) -> Op {
        Op::Compute(Nanos(span))
    }

    #[test]
    fn a_round_gets_the_section_that_the_others_show() {
        let shown = |before| vec![run(before), Op::Lock(M), run(30), Op::Unlock(M), SLEEP];
        let mut ops = vec![SLEEP];
        for before in [10, 80, 40, 200, 25] {
            ops.extend(shown(before));
        }
        ops.extend([run(130), SLEEP]);
        // The section ends its round, whatever comes before; the last round has none yet.
        assert_eq!(complete(&mut ops, &[], 50, |_| true), 1);
        let n = ops.len();
        assert_eq!(ops[n - 5..], [run(100), Op::Lock(M), run(30), Op::Unlock(M), SLEEP]);
    }

    /// Rounds of ten seconds: their products do not fit into 64 bits.
    #[test]
    fn long_rounds_are_scaled_too() {
        let mut ops = vec![SLEEP];
        for _ in 0..5 {
            ops.extend([run(2_000_000_000), Op::Lock(M), run(8_000_000_000), Op::Unlock(M), SLEEP]);
        }
        ops.extend([run(5_000_000_000), SLEEP]);
        assert_eq!(complete(&mut ops, &[], 50, |_| true), 1);
        let n = ops.len();
        let section = [Op::Lock(M), run(4_000_000_000), Op::Unlock(M)];
        assert!(ops[n - 6..].windows(3).any(|w| w == section), "{:?}", &ops[n - 6..]);
    }

    #[test]
    fn places_that_scatter_are_no_habit() {
        let mut ops = vec![SLEEP];
        for (before, after) in [(10, 900), (800, 100), (400, 500), (30, 10), (500, 450)] {
            ops.extend([run(before), Op::Lock(M), run(30), Op::Unlock(M), run(after), SLEEP]);
        }
        ops.extend([run(900), SLEEP]);
        assert_eq!(complete(&mut ops, &[], 50, |_| true), 0);
    }
}
