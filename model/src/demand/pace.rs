//! Critical sections of loops that take a lock at a steady pace, where only contention is recorded.
//!
//! A task that moves many messages through a pipe takes its mutex once a call, and the recording
//! shows the calls that met somebody. Where those follow each other at one distance, the loop goes
//! on at that pace also where nobody met it.

use super::program::Build;
use super::{LockIndex, Op};
use crate::Nanos;
use std::collections::BTreeMap;

/// Fewest distances that make a pace.
const FEWEST: usize = 20;
/// The pace is the distance at this percentile: longer ones have something else in between.
const PERCENTILE: usize = 20;
/// Distances that are as long as that, up to these percents, keep to the pace.
const NEAR_PERCENT: u64 = 10;
/// So many of a hundred keep to it, at least, and so few are shorter.
const FEWEST_NEAR_PERCENT: usize = 30;
const MOST_SHORTER_PERCENT: usize = 10;
/// So many turns from one that is seen the loop is taken to go on.
const REACH: u64 = 100;

/// A section that is seen, in CPU time of its task.
#[derive(Clone, Copy, Debug)]
struct Seen {
    lock: LockIndex,
    from: u64,
    to: u64,
}

/// CPU time in which a task holds no lock and is in one op.
#[derive(Clone, Copy, Debug)]
struct Free {
    op: usize,
    from: u64,
    to: u64,
}

/// What a task does between two sleeps.
#[derive(Debug, Default)]
struct Stretch {
    from: u64,
    to: u64,
    seen: Vec<Seen>,
    free: Vec<Free>,
}

impl Stretch {
    fn up_to(mut self, to: u64) -> Self {
        self.seen.sort_by_key(|seen| seen.from);
        Self { to, ..self }
    }
}

/// How often a task takes a lock, and for how long, CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    turn: u64,
    length: u64,
}

/// A section to be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    from: u64,
    lock: LockIndex,
    pace: u64,
    length: u64,
}

/// When each lock is held, by the clock: two tasks never have one at a time.
type Taken = BTreeMap<LockIndex, BTreeMap<u64, u64>>;

/// A program: its ops, the locks it has from the beginning, and when it did what.
pub(super) type Program<'p> = (&'p mut Vec<Op>, &'p [LockIndex], &'p Build);

/// Puts the sections in that steady loops must have and do not show, and says how many.
///
/// # Source
///
/// Our own rule; `docs/decisions.md` says what it did to the figures.
pub(super) fn fill(programs: &mut [Program<'_>], is_guessed: impl Fn(LockIndex) -> bool) -> u64 {
    let cut = |(ops, holds, _): &Program<'_>| stretches(ops, holds);
    let all: Vec<Vec<Stretch>> = programs.iter().map(cut).collect();
    let paces: Vec<_> = all.iter().map(|list| paces(list, &is_guessed)).collect();
    if paces.iter().all(BTreeMap::is_empty) {
        return 0;
    }
    let mut taken = Taken::new();
    for (list, (_, _, build)) in all.iter().zip(&*programs) {
        for Seen { lock, from, to } in list.iter().flat_map(|stretch| &stretch.seen) {
            take(&mut taken, *lock, build, (*from, *to));
        }
    }
    let mut n = 0;
    for ((list, paces), (ops, _, build)) in all.iter().zip(&paces).zip(programs) {
        let mut placed: Vec<(usize, u64, Due)> = Vec::new();
        for stretch in list {
            place(stretch, &due(stretch, paces), build, &mut taken, &mut placed);
        }
        insert(ops, &placed);
        n += placed.len() as u64;
    }
    n
}

fn take(taken: &mut Taken, lock: LockIndex, build: &Build, (from, to): (u64, u64)) {
    if let (Some(from), Some(to)) = (build.time_at(from), build.time_at(to)) {
        taken.entry(lock).or_default().insert(from, to);
    }
}

/// Until when somebody has a lock at some time between two CPU times of a task, in its CPU time.
fn taken_until(
    taken: &Taken,
    lock: LockIndex,
    build: &Build,
    (from, to): (u64, u64),
) -> Option<u64> {
    let (from, to) = (build.time_at(from)?, build.time_at(to)?);
    let (_, until) = taken.get(&lock)?.range(..to).next_back()?;
    (*until > from).then(|| build.total_at(*until))
}

/// Cuts a program at its sleeps.
fn stretches(ops: &[Op], holds: &[LockIndex]) -> Vec<Stretch> {
    let mut list = Vec::new();
    let mut now = Stretch::default();
    let mut held: Vec<(LockIndex, u64)> = holds.iter().map(|lock| (*lock, 0)).collect();
    let mut total = 0;
    for (n, op) in ops.iter().enumerate() {
        match op {
            Op::Compute(span) => {
                if held.is_empty() {
                    now.free.push(Free { op: n, from: total, to: total + span.0 });
                }
                total += span.0;
            }
            Op::Lock(lock) | Op::TryLock { lock, acquired: true } => held.push((*lock, total)),
            Op::Unlock(lock) => {
                if let Some(at) = held.iter().rposition(|(l, _)| l == lock) {
                    let (lock, from) = held.remove(at);
                    if from >= now.from {
                        now.seen.push(Seen { lock, from, to: total });
                    }
                }
            }
            Op::Sleep { .. } | Op::Wait { .. } => {
                let next = Stretch { from: total, ..Stretch::default() };
                list.push(std::mem::replace(&mut now, next).up_to(total));
            }
            _ => {}
        }
    }
    list.push(now.up_to(total));
    list
}

/// The pace of each lock that has one.
fn paces(
    stretches: &[Stretch],
    is_guessed: &impl Fn(LockIndex) -> bool,
) -> BTreeMap<LockIndex, Pace> {
    let mut turns: BTreeMap<LockIndex, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
    for stretch in stretches {
        let mut last: BTreeMap<LockIndex, u64> = BTreeMap::new();
        for seen in stretch.seen.iter().filter(|seen| is_guessed(seen.lock)) {
            let (turns, lengths) = turns.entry(seen.lock).or_default();
            lengths.push(seen.to - seen.from);
            let before = last.insert(seen.lock, seen.from);
            turns.extend(before.and_then(|before| seen.from.checked_sub(before)));
        }
    }
    let pace = |(lock, (turns, lengths))| Some((lock, pace(turns, lengths)?));
    turns.into_iter().filter_map(pace).collect()
}

fn pace(mut turns: Vec<u64>, mut lengths: Vec<u64>) -> Option<Pace> {
    if turns.len() < FEWEST {
        return None;
    }
    turns.sort_unstable();
    lengths.sort_unstable();
    let turn = *turns.get(turns.len() * PERCENTILE / 100)?;
    let length = *lengths.get(lengths.len() / 2)?;
    let near = turn / 100 * NEAR_PERCENT;
    let n_shorter = turns.partition_point(|t| *t < turn - near);
    let n_near = turns.partition_point(|t| *t - turn.min(*t) <= near) - n_shorter;
    let is_steady = n_near * 100 >= turns.len() * FEWEST_NEAR_PERCENT
        && n_shorter * 100 <= turns.len() * MOST_SHORTER_PERCENT;
    (is_steady && length > 0 && length < turn).then_some(Pace { turn, length })
}

/// When the sections of a stretch would begin that it does not show, in their order.
fn due(stretch: &Stretch, paces: &BTreeMap<LockIndex, Pace>) -> Vec<Due> {
    let mut of_locks: BTreeMap<LockIndex, Vec<u64>> = BTreeMap::new();
    for seen in stretch.seen.iter().filter(|seen| paces.contains_key(&seen.lock)) {
        of_locks.entry(seen.lock).or_default().push(seen.from);
    }
    let mut list = Vec::new();
    for (lock, seen) in of_locks {
        let Some(Pace { turn, length }) = paces.get(&lock).copied() else { continue };
        let mut seen = seen.into_iter();
        let mut due = |from| list.push(Due { from, lock, pace: turn, length });
        let Some(first) = seen.next() else { continue };
        let before = (1..=REACH).map_while(|n| first.checked_sub(turn.checked_mul(n)?));
        before.take_while(|from| *from >= stretch.from).for_each(&mut due);
        let mut last = first;
        for next in seen {
            let n = (next - last).saturating_mul(100) / turn + NEAR_PERCENT;
            let n = n / 100;
            let (after, before) = (1..n.min(REACH + 1), n.saturating_sub(REACH).max(REACH + 1)..n);
            for k in after.chain(before) {
                due(last + (next - last) / n * k);
            }
            last = next;
        }
        let behind = (1..=REACH).map_while(|n| last.checked_add(turn.checked_mul(n)?));
        behind.take_while(|from| from.saturating_add(length) <= stretch.to).for_each(&mut due);
    }
    list.sort_unstable();
    list
}

/// Gives each section the first place that is free from its moment on: inside of one op, without a
/// lock, and neither while its task was off its CPU nor while another one had the lock: somebody
/// would have met it.
fn place(
    stretch: &Stretch,
    due: &[Due],
    build: &Build,
    taken: &mut Taken,
    placed: &mut Vec<(usize, u64, Due)>,
) {
    let mut free = stretch.free.iter().peekable();
    let mut done = 0;
    for due in due {
        let latest = due.from.saturating_add(due.pace / 2);
        while let Some(span) = free.peek() {
            let mut from = due.from.max(done).max(span.from);
            let refuted = |taken: &Taken, from: u64| {
                let until = from.saturating_add(due.length);
                let left = build.left_between(from, until);
                left.or_else(|| taken_until(taken, due.lock, build, (from, until)))
            };
            if let Some(later) = refuted(taken, from) {
                from = later.max(from);
            }
            if from.saturating_add(due.length) <= span.to {
                if from <= latest && refuted(taken, from).is_none() {
                    placed.push((span.op, from - span.from, *due));
                    done = from + due.length;
                    take(taken, due.lock, build, (from, done));
                }
                break;
            }
            if span.to > latest {
                break;
            }
            free.next();
        }
    }
}

/// Puts sections into ops: each into one, so long behind its beginning.
fn insert(ops: &mut Vec<Op>, placed: &[(usize, u64, Due)]) {
    let mut out = Vec::with_capacity(ops.len() + 4 * placed.len());
    let mut placed = placed.iter().peekable();
    for (n, op) in ops.iter().enumerate() {
        let Op::Compute(span) = op else {
            out.push(*op);
            continue;
        };
        let mut now = 0;
        let mut compute = |out: &mut Vec<Op>, until: u64| {
            if until > now {
                out.push(Op::Compute(Nanos(until - now)));
            }
            now = until;
        };
        while let Some((_, from, due)) = placed.next_if(|(op, ..)| *op == n) {
            compute(&mut out, *from);
            out.push(Op::Lock(due.lock));
            compute(&mut out, from + due.length);
            out.push(Op::Unlock(due.lock));
        }
        compute(&mut out, span.0);
    }
    *ops = out;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrevState;
    use expect_test::{Expect, expect};

    const WAIT: Op = Op::Wait { on: None, state: PrevState::Interruptible };
    const M: LockIndex = LockIndex(0);

    fn run(span: u64) -> Op {
        Op::Compute(Nanos(span))
    }

    fn section() -> [Op; 3] {
        [Op::Lock(M), run(40), Op::Unlock(M)]
    }

    /// A loop that is seen to take the lock every 100 ns, before and behind a sleep.
    fn steady() -> Vec<Op> {
        let round = [&section()[..], &[run(60)]].concat();
        [&round.repeat(25)[..], &[WAIT], &section()].concat()
    }

    /// What `behind` becomes, behind that.
    fn check(behind: &[Op], build: &Build, expect: Expect) {
        let mut ops = steady();
        let from = ops.len();
        ops.extend_from_slice(behind);
        fill(&mut [(&mut ops, &[], build)], |_| true);
        let word = |op: &Op| match op {
            Op::Compute(span) => span.0.to_string(),
            Op::Lock(_) => "(".to_owned(),
            Op::Unlock(_) => ")".to_owned(),
            _ => "|".to_owned(),
        };
        let words: Vec<String> = ops[from..].iter().map(word).collect();
        expect.assert_eq(&words.join(" "));
    }

    #[test]
    fn a_steady_loop_goes_on_where_nobody_meets_it() {
        let build = Build::default();
        check(
            &[&[run(260)][..], &section(), &[WAIT]].concat(),
            &build,
            expect!["60 ( 40 ) 60 ( 40 ) 60 ( 40 ) |"],
        );
        check(&[run(290), WAIT, run(300), WAIT], &build, expect!["60 ( 40 ) 60 ( 40 ) 90 | 300 |"]);
    }

    #[test]
    fn a_section_is_in_one_op_or_in_none() {
        let build = Build::default();
        // Behind the yield, which is near enough; the sleep is too far away.
        check(&[run(80), Op::Yield, run(90), WAIT], &build, expect!["80 | ( 40 ) 50 |"]);
        check(
            &[run(80), Op::Yield, run(30), Op::Yield, run(90)],
            &build,
            expect!["80 | 30 | ( 40 ) 10 ( 40 )"],
        );
    }

    #[test]
    fn who_left_its_cpu_was_in_no_section() {
        // 2540 ns up to here; the next section would begin at 2600.
        let mut build = Build::default();
        build.come(0);
        build.run_to(2_610);
        build.leave();
        build.come(9_000);
        build.run_to(9_500);
        check(&[run(140), WAIT], &build, expect!["70 ( 40 ) 30 |"]);
    }

    #[test]
    fn it_was_in_no_section_while_another_task_was() {
        let at_once = |until| {
            let mut build = Build::default();
            build.come(0);
            build.run_to(until);
            build
        };
        // The other one has it from 2590 to 2650.
        let mut other = vec![run(2_590), Op::Lock(M), run(60), Op::Unlock(M)];
        let mut ops = [steady(), vec![run(140), WAIT]].concat();
        let from = ops.len() - 2;
        let builds = [at_once(2_680), at_once(2_650)];
        let mut programs: [Program<'_>; 2] =
            [(&mut ops, &[], &builds[0]), (&mut other, &[], &builds[1])];
        assert_eq!(fill(&mut programs, |_| true), 0);
        ops[from] = run(150);
        let builds = [at_once(2_690), at_once(2_650)];
        let mut programs: [Program<'_>; 2] =
            [(&mut ops, &[], &builds[0]), (&mut other, &[], &builds[1])];
        assert_eq!(fill(&mut programs, |_| true), 1);
        assert_eq!(ops[from..], [run(110), Op::Lock(M), run(40), Op::Unlock(M), WAIT]);
    }

    #[test]
    fn it_reaches_no_farther_than_that() {
        let mut ops = [steady(), vec![run(1_000_000)]].concat();
        assert_eq!(fill(&mut [(&mut ops, &[], &Build::default())], |_| true), REACH);
    }

    #[test]
    fn a_loop_without_a_pace_is_left_alone() {
        let mut ops = Vec::new();
        for n in 0..30 {
            ops.extend(section());
            ops.push(run(60 + n * 35));
        }
        assert_eq!(fill(&mut [(&mut ops, &[], &Build::default())], |_| true), 0);
    }
}
