//! Critical sections of closed loops that nobody contended, where only contention is recorded.
//!
//! A task that repeats its rounds takes its locks in each of them; the recording shows those that
//! somebody else wanted at the time. A replay moves the tasks against each other, so the others
//! matter as well.

use super::{LockIndex, Op};
use crate::{Nanos, PrevState};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Fewest rounds that must show a section before the others are taken to have it.
const FEWEST: usize = 5;
/// Fewest sections that make a place of their own.
const FEWEST_AT_A_PLACE: usize = 3;
/// And the fewest in a hundred of all.
const FEWEST_PERCENT: usize = 10;
/// How far the places of a section may scatter, as a share of a round in percent.
const SCATTER_PERCENT: u64 = 15;
/// How far its length may.
const LENGTH_SCATTER_PERCENT: u64 = 25;

const PERMILLE: u64 = 1000;
/// Rounds of less than the usual length by this factor are something else.
const SHORTEST: u64 = 3;

/// One section of a round, in CPU time from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    lock: u64,
    unlock: u64,
}

/// A round: its ops, where it begins, its CPU time, and the sections it shows.
struct Round {
    ops: Range<usize>,
    /// CPU time of the task when it begins.
    from: u64,
    length: u64,
    shown: BTreeMap<LockIndex, Vec<Shown>>,
    /// Locks of which it shows one end only.
    halves: BTreeSet<LockIndex>,
}

/// A moment of a section, measured from one end of its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Anchor {
    edge: Edge,
    is_from_start: bool,
}

/// One end of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Lock,
    Unlock,
}

impl Edge {
    fn of(self, shown: &Shown) -> u64 {
        match self {
            Self::Lock => shown.lock,
            Self::Unlock => shown.unlock,
        }
    }
}

impl Anchor {
    const ALL: [Self; 4] = [
        Self { edge: Edge::Lock, is_from_start: true },
        Self { edge: Edge::Lock, is_from_start: false },
        Self { edge: Edge::Unlock, is_from_start: true },
        Self { edge: Edge::Unlock, is_from_start: false },
    ];

    fn at(self, round: &Round, shown: &Shown) -> u64 {
        let at = self.edge.of(shown);
        if self.is_from_start { at } else { round.length.saturating_sub(at) }
    }
}

/// Where the rounds of a task have a section, as far as they agree.
struct Habit {
    lock: LockIndex,
    anchor: Anchor,
    at: u64,
    length: u64,
    /// The section grows with its round.
    is_share: bool,
    /// Length of a usual round.
    round: u64,
    /// How many rounds show it, and whether these are many enough to speak for themselves.
    n_shown: u64,
    is_frequent: bool,
    /// How far from its place it may be.
    near: u64,
}

impl Habit {
    /// Where a round would have this section: from and to, from the beginning of the round.
    ///
    /// In a round that was faster than usual everything was; a section that is always the same
    /// share of its round is longer in a longer one too.
    fn place(&self, round: &Round) -> (u64, u64) {
        let most = if self.is_share { u64::MAX } else { self.round };
        let scaled = |span: u64| scale(span, round.length.min(most), self.round);
        let length = scaled(self.length).min(round.length);
        let place = scaled(self.at);
        let is_from_start = self.anchor.is_from_start;
        let at = if is_from_start { place } else { round.length.saturating_sub(place) };
        let from = match self.anchor.edge {
            Edge::Lock => at,
            Edge::Unlock => at.saturating_sub(length),
        };
        let from = from.min(round.length - length);
        (from, from + length)
    }

    fn is_shown(&self, round: &Round) -> bool {
        let (lock, unlock) = self.place(round);
        let at = self.anchor.edge.of(&Shown { lock, unlock });
        let is_near = |shown: &Shown| self.anchor.edge.of(shown).abs_diff(at) <= self.near;
        round.halves.contains(&self.lock)
            || round.shown.get(&self.lock).is_some_and(|list| list.iter().any(is_near))
    }
}

/// A section that a round does not show, and that others let expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) lock: LockIndex,
    /// The habit that it is of, by its place among those of its task, and how many rounds show it.
    pub(super) habit: usize,
    pub(super) n_shown: u64,
    /// So many rounds show it that the others are not asked whether they refute it.
    pub(super) is_certain: bool,
    /// The ops of its round, and the CPU time of its task when that begins.
    round: Range<usize>,
    round_from: u64,
    /// CPU time of its task at its beginning and end.
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The sections that the rounds of a program must have and do not show, in their order.
///
/// # Source
///
/// Our own rule; `docs/decisions.md` says what it did to the figures.
pub(super) fn find(
    ops: &[Op],
    holds: &[LockIndex],
    percentile: usize,
    is_guessed: impl Fn(LockIndex) -> bool,
) -> Vec<Hidden> {
    let rounds = rounds(ops, holds);
    let habits: Vec<Habit> = locks(&rounds)
        .into_iter()
        .filter(|l| is_guessed(*l))
        .flat_map(|l| habits(&rounds, l, percentile))
        .collect();
    let mut hidden = Vec::new();
    for round in &rounds {
        let first = hidden.len();
        for (n, habit) in habits.iter().enumerate() {
            if habit.round > round.length.saturating_mul(SHORTEST) || habit.is_shown(round) {
                continue;
            }
            let (from, to) = habit.place(round);
            hidden.push(Hidden {
                lock: habit.lock,
                habit: n,
                n_shown: habit.n_shown,
                is_certain: habit.is_frequent,
                round: round.ops.clone(),
                round_from: round.from,
                from: round.from + from,
                to: round.from + to,
            });
        }
        hidden[first..].sort_by_key(|h| (h.from, h.to, h.lock));
    }
    hidden
}

/// Puts sections into a program, at their CPU times in their rounds.
pub(super) fn insert(ops: &mut Vec<Op>, hidden: &[Hidden]) {
    let mut out = Vec::with_capacity(ops.len() + 2 * hidden.len());
    let mut done = 0;
    for of_round in hidden.chunk_by(|a, b| a.round == b.round) {
        let Hidden { round, round_from, .. } = &of_round[0];
        out.extend_from_slice(&ops[done..round.start]);
        let mut inserts = Vec::with_capacity(2 * of_round.len());
        for h in of_round {
            inserts.push((h.from - round_from, 1u8, Op::Lock(h.lock)));
            inserts.push((h.to - round_from, 0, Op::Unlock(h.lock)));
        }
        inserts.sort_by_key(|(at, order, _)| (*at, *order));
        merge(&ops[round.clone()], &inserts, &mut out);
        done = round.end;
    }
    out.extend_from_slice(&ops[done..]);
    *ops = out;
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
    let mut total = 0;
    for (index, op) in ops.iter().enumerate() {
        match op {
            Op::Compute(span) => total += span.0,
            Op::Lock(_) | Op::TryLock { acquired: true, .. } => held += 1,
            Op::Unlock(_) => held = held.saturating_sub(1),
            Op::Sleep { on: None, state: PrevState::Interruptible, .. }
            | Op::Wait { on: None, state: PrevState::Interruptible }
                if held == 0 =>
            {
                if let Some((start, from)) = start {
                    rounds.push(round(ops, start..index, from));
                }
                start = Some((index + 1, total));
            }
            _ => {}
        }
    }
    rounds
}

fn round(ops: &[Op], range: Range<usize>, from: u64) -> Round {
    let mut length = 0;
    let mut shown: BTreeMap<LockIndex, Vec<Shown>> = BTreeMap::new();
    let mut open: BTreeMap<LockIndex, u64> = BTreeMap::new();
    let mut halves = BTreeSet::new();
    for op in &ops[range.clone()] {
        match op {
            Op::Compute(span) => length += span.0,
            Op::Lock(lock) | Op::TryLock { lock, .. } => {
                open.insert(*lock, length);
            }
            Op::Unlock(lock) => match open.remove(lock) {
                Some(at) => {
                    shown.entry(*lock).or_default().push(Shown { lock: at, unlock: length });
                }
                None => {
                    halves.insert(*lock);
                }
            },
            _ => {}
        }
    }
    halves.extend(open.into_keys());
    Round { ops: range, from, length, shown, halves }
}

fn locks(rounds: &[Round]) -> Vec<LockIndex> {
    let mut locks: Vec<LockIndex> = rounds.iter().flat_map(|r| r.shown.keys().copied()).collect();
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

/// The habits of a task with one lock: one for each place at which its rounds show it.
///
/// Rounds that take a lock at two places show the two separately, because each is seen only where
/// somebody else wanted the lock at the time.
fn habits(rounds: &[Round], lock: LockIndex, percentile: usize) -> Vec<Habit> {
    let of_round = |r| -> Vec<(&Round, Shown)> {
        let round: &Round = r;
        round.shown.get(&lock).into_iter().flatten().map(|s| (round, *s)).collect()
    };
    let shown: Vec<(&Round, Shown)> = rounds.iter().flat_map(of_round).collect();
    let Some(typical) = median(&mut rounds.iter().map(|r| r.length).collect::<Vec<_>>()) else {
        return Vec::new();
    };
    let is_frequent = shown.len() * 10 >= rounds.len() * 2;
    if is_frequent {
        // With one place, a round that shows the lock anywhere has had its section.
        let only = habit(&shown, lock, typical, percentile);
        return only
            .map(|only| Habit { near: u64::MAX, is_frequent, ..only })
            .into_iter()
            .collect();
    }
    let near = scale(typical, SCATTER_PERCENT, 100);
    let lengths = shown.iter().map(|(_, s)| s.unlock - s.lock).collect();
    let apart = near.min(middle(lengths).map_or(0, |(length, _)| length / 2));
    let anchors = Anchor::ALL.map(|anchor| places(&shown, anchor, apart));
    // What is seen exactly, the beginning of who waits or the end of whom others wait for,
    // scatters least.
    let Some((places, _)) = anchors.into_iter().min_by_key(|(_, scatter)| *scatter) else {
        return Vec::new();
    };
    places.iter().filter_map(|place| habit(place, lock, typical, percentile)).collect()
}

/// The sections in groups that lie apart by one of their moments, without groups of few, and by
/// how much all of them scatter.
fn places<'r>(
    shown: &[(&'r Round, Shown)],
    anchor: Anchor,
    apart: u64,
) -> (Vec<Vec<(&'r Round, Shown)>>, u64) {
    let at = |(round, shown): &(&Round, Shown)| anchor.at(round, shown);
    let mut sorted = shown.to_vec();
    sorted.sort_by_key(|one| (at(one), one.0.from));
    let fewest = FEWEST_AT_A_PLACE.max(shown.len() * FEWEST_PERCENT / 100);
    let groups = sorted.chunk_by(|a, b| at(b) - at(a) <= apart);
    let places: Vec<_> = groups.filter(|g| g.len() >= fewest).map(<[_]>::to_vec).collect();
    let n: usize = places.iter().map(Vec::len).sum();
    let scatter = |place: &Vec<(&Round, Shown)>| {
        let middle = middle(place.iter().map(at).collect());
        middle.map_or(0, |(_, scatter)| scatter.saturating_mul(place.len() as u64))
    };
    let sum: u64 = places.iter().map(scatter).sum();
    // Who is in no group scatters as far as can be.
    let alone = (shown.len() - n) as u64;
    (places, sum.saturating_add(alone.saturating_mul(apart)))
}

/// The habit that some shown sections of one lock have, if they have one.
fn habit(
    shown: &[(&Round, Shown)],
    lock: LockIndex,
    typical: u64,
    percentile: usize,
) -> Option<Habit> {
    if shown.len() < FEWEST {
        return None;
    }
    let (scatter, at, anchor) = anchor(shown)?;
    let mut lengths: Vec<u64> = shown.iter().map(|(_, s)| s.unlock - s.lock).collect();
    lengths.sort_unstable();
    let guessed = at_percentile(&lengths, percentile)?;
    let (length, length_scatter) = middle(lengths)?;
    let shares = shown.iter().map(|(r, s)| (s.unlock - s.lock) * PERMILLE / r.length.max(1));
    let (share, share_scatter) = middle(shares.collect())?;
    let scatters = |scatter: u64, of: u64| scatter * 100 > of * LENGTH_SCATTER_PERCENT;
    let is_share = share_scatter * length < length_scatter * share;
    let varies = scatters(length_scatter, length) && scatters(share_scatter, share);
    let near = scale(typical, SCATTER_PERCENT, 100);
    if varies || scatter > near {
        return None;
    }
    Some(Habit {
        lock,
        anchor,
        at,
        length: guessed,
        is_share,
        round: typical,
        n_shown: shown.len() as u64,
        is_frequent: false,
        near: near.max(length),
    })
}

/// The moment of a section that scatters least, and where it is.
fn anchor(shown: &[(&Round, Shown)]) -> Option<(u64, u64, Anchor)> {
    let measured = Anchor::ALL.into_iter().filter_map(|anchor| {
        let (at, scatter) = middle(shown.iter().map(|(r, s)| anchor.at(r, s)).collect())?;
        Some((scatter, at, anchor))
    });
    measured.min_by_key(|(scatter, ..)| *scatter)
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

    fn complete(ops: &mut Vec<Op>) -> usize {
        let hidden = find(ops, &[], 50, |_| true);
        insert(ops, &hidden);
        hidden.len()
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
        assert_eq!(complete(&mut ops), 1);
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
        assert_eq!(complete(&mut ops), 1);
        let n = ops.len();
        let section = [Op::Lock(M), run(4_000_000_000), Op::Unlock(M)];
        assert!(ops[n - 6..].windows(3).any(|w| w == section), "{:?}", &ops[n - 6..]);
    }

    /// A round takes the lock twice, and shows one of the two at most.
    #[test]
    fn each_place_is_a_habit_of_its_own() {
        let at =
            |before| [run(before), Op::Lock(M), run(20), Op::Unlock(M), run(80 - before), SLEEP];
        let mut ops = vec![SLEEP];
        for _ in 0..5 {
            ops.extend(at(20));
            ops.extend(at(60));
        }
        for _ in 0..45 {
            ops.extend([run(100), SLEEP]);
        }
        assert_eq!(complete(&mut ops), 10 + 2 * 45);
        let n = ops.len();
        let section = [Op::Lock(M), run(20), Op::Unlock(M)];
        let round = [&[run(20)][..], &section, &[run(20)], &section, &[run(20), SLEEP]].concat();
        assert_eq!(ops[n - round.len()..], round);
    }

    #[test]
    fn places_that_scatter_are_no_habit() {
        let mut ops = vec![SLEEP];
        for (before, after) in [(10, 900), (800, 100), (400, 500), (30, 10), (500, 450)] {
            ops.extend([run(before), Op::Lock(M), run(30), Op::Unlock(M), run(after), SLEEP]);
        }
        ops.extend([run(900), SLEEP]);
        assert_eq!(complete(&mut ops), 0);
    }
}
