//! The order in which locks nest. Programs that ran did not deadlock; guessed sections must not
//! make them.

use super::{LockIndex, Op};
use std::collections::{BTreeMap, BTreeSet};

/// A lock and one that is taken while it is held.
type Nesting = (LockIndex, LockIndex);

/// Shortens guessed sections that would nest against the order in which the locks mostly nest:
/// the outer one ends before the inner one begins. Returns how many it shortened.
///
/// # Source
///
/// Our own rule. Whoever nests two locks both ways can deadlock with himself, so of two orders the
/// rarer one is taken for a guess that went wrong.
pub(super) fn untangle(
    programs: &mut [(&mut Vec<Op>, &[LockIndex])],
    is_guessed: impl Fn(LockIndex) -> bool,
) -> u64 {
    let mut counts: BTreeMap<Nesting, u64> = BTreeMap::new();
    for (ops, holds) in programs.iter() {
        nestings(ops, holds, |nesting| *counts.entry(nesting).or_insert(0) += 1);
    }
    let mut against = against_the_order(&counts);
    against.retain(|(outer, _)| is_guessed(*outer));
    if against.is_empty() {
        return 0;
    }
    programs.iter_mut().map(|(ops, holds)| shorten(ops, holds, &against)).sum()
}

fn nestings(ops: &[Op], holds: &[LockIndex], mut found: impl FnMut(Nesting)) {
    let mut held = holds.to_vec();
    for op in ops {
        match op {
            Op::Lock(lock) | Op::TryLock { lock, acquired: true } => {
                held.iter().filter(|outer| *outer != lock).for_each(|outer| found((*outer, *lock)));
                held.push(*lock);
            }
            Op::Unlock(lock) => {
                if let Some(at) = held.iter().rposition(|l| l == lock) {
                    held.remove(at);
                }
            }
            _ => {}
        }
    }
}

/// The nestings that would close a cycle, when the most frequent ones are accepted first.
fn against_the_order(counts: &BTreeMap<Nesting, u64>) -> BTreeSet<Nesting> {
    let mut by_count: Vec<(&Nesting, &u64)> = counts.iter().collect();
    by_count.sort_by_key(|(nesting, count)| (std::cmp::Reverse(**count), **nesting));
    let mut inside: BTreeMap<LockIndex, BTreeSet<LockIndex>> = BTreeMap::new();
    let mut against = BTreeSet::new();
    for (&(outer, inner), _) in by_count {
        if reaches(&inside, inner, outer) {
            against.insert((outer, inner));
        } else {
            inside.entry(outer).or_default().insert(inner);
        }
    }
    against
}

fn reaches(
    inside: &BTreeMap<LockIndex, BTreeSet<LockIndex>>,
    from: LockIndex,
    to: LockIndex,
) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(lock) = open.pop() {
        if lock == to {
            return true;
        }
        if seen.insert(lock) {
            open.extend(inside.get(&lock).into_iter().flatten());
        }
    }
    false
}

fn shorten(ops: &mut Vec<Op>, holds: &[LockIndex], against: &BTreeSet<Nesting>) -> u64 {
    let mut held = holds.to_vec();
    let mut ended: Vec<LockIndex> = Vec::new();
    let mut out = Vec::with_capacity(ops.len());
    let mut count = 0;
    for op in ops.drain(..) {
        match op {
            Op::Lock(lock) | Op::TryLock { lock, acquired: true } => {
                held.retain(|outer| {
                    let stays = !against.contains(&(*outer, lock));
                    if !stays {
                        out.push(Op::Unlock(*outer));
                        ended.push(*outer);
                        count += 1;
                    }
                    stays
                });
                held.push(lock);
            }
            Op::Unlock(lock) => {
                if let Some(at) = held.iter().rposition(|l| *l == lock) {
                    held.remove(at);
                } else if let Some(at) = ended.iter().position(|l| *l == lock) {
                    ended.remove(at);
                    continue;
                }
            }
            _ => {}
        }
        out.push(op);
    }
    *ops = out;
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LockIndex = LockIndex(0);
    const B: LockIndex = LockIndex(1);
    const C: LockIndex = LockIndex(2);

    fn nested(outer: LockIndex, inner: LockIndex) -> Vec<Op> {
        vec![Op::Lock(outer), Op::Lock(inner), Op::Unlock(inner), Op::Unlock(outer)]
    }

    #[test]
    fn the_rarer_order_is_a_wrong_guess() {
        let (mut often, mut once) = (nested(A, B).repeat(3), nested(B, A));
        let before = often.clone();
        assert_eq!(untangle(&mut [(&mut often, &[]), (&mut once, &[])], |_| true), 1);
        assert_eq!(often, before);
        assert_eq!(once, [Op::Lock(B), Op::Unlock(B), Op::Lock(A), Op::Unlock(A)]);
    }

    #[test]
    fn a_cycle_of_three_is_cut_where_it_is_rarest() {
        let mut programs = [nested(A, B).repeat(2), nested(B, C), nested(C, A).repeat(2)];
        let mut all: Vec<(&mut Vec<Op>, &[LockIndex])> =
            programs.iter_mut().map(|p| (p, &[][..])).collect();
        assert_eq!(untangle(&mut all, |_| true), 1);
        assert_eq!(programs[1], [Op::Lock(B), Op::Unlock(B), Op::Lock(C), Op::Unlock(C)]);
    }

    #[test]
    fn an_order_that_everybody_keeps_stays() {
        let mut program = [nested(A, B), nested(B, C)].concat();
        let before = program.clone();
        assert_eq!(untangle(&mut [(&mut program, &[])], |_| true), 0);
        assert_eq!(program, before);
    }
}
