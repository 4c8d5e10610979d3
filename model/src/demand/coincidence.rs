//! Assumed sections that the recording refutes: two tasks would have had one lock at a time.
//!
//! A section that nobody contends leaves no event. Where two tasks are assumed to be inside the
//! sections of one lock at one moment, one of them would have contended, and that leaves events.
//! So at least one of the two was not there: the one that fewer rounds show, most likely.

use super::LockIndex;
use super::hidden::Hidden;
use super::program::Build;
use std::collections::BTreeMap;

/// When an assumed section was, by the clock.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u64,
    to: u64,
    task: usize,
    /// Its place among those of its task.
    nth: usize,
    /// How much speaks for it: rounds that show its habit; all of them, where they are many.
    weight: u64,
}

/// Leaves out the sections of a habit that few rounds show and that is refuted more often than it
/// is shown.
///
/// # Source
///
/// Our own rule. How often a section is there is not said by the share of rounds that show it: a
/// lock that is hardly ever contended is hardly ever shown, although every round takes it. What
/// speaks against it is a round that passes its place while somebody else is in his.
pub(super) fn refute(builds: &[&Build], hidden: &mut [Vec<Hidden>]) {
    let mut refuted: Vec<Vec<bool>> = hidden.iter().map(|list| vec![false; list.len()]).collect();
    for spans in by_lock(builds, hidden).values_mut() {
        mark(spans, &mut refuted);
    }
    for (list, refuted) in hidden.iter_mut().zip(&refuted) {
        // Shown and refuted, by habit.
        let mut counts: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        for (h, is_refuted) in list.iter().zip(refuted) {
            let count = counts.entry(h.habit).or_insert((h.n_shown, 0));
            count.1 += u64::from(*is_refuted);
        }
        let is_none = |habit: usize| counts.get(&habit).is_some_and(|(shown, no)| no > shown);
        list.retain(|h| h.is_certain || !is_none(h.habit));
    }
}

fn by_lock(builds: &[&Build], hidden: &[Vec<Hidden>]) -> BTreeMap<LockIndex, Vec<Span>> {
    let mut spans: BTreeMap<LockIndex, Vec<Span>> = BTreeMap::new();
    for (task, (build, list)) in builds.iter().zip(hidden).enumerate() {
        for (nth, h) in list.iter().enumerate() {
            if let (Some(from), Some(to)) = (build.time_at(h.from), build.time_at(h.to)) {
                let weight = if h.is_certain { u64::MAX } else { h.n_shown };
                spans.entry(h.lock).or_default().push(Span { from, to, task, nth, weight });
            }
        }
    }
    spans
}

/// Marks the spans that overlap one of another task for which as much speaks, or more.
fn mark(spans: &mut [Span], refuted: &mut [Vec<bool>]) {
    spans.sort_unstable_by_key(|s| (s.from, s.to, s.task));
    // The span that lasts longest so far, and the longest of any other task.
    let (mut first, mut second): (Option<Span>, Option<Span>) = (None, None);
    for span in spans.iter() {
        for other in first.iter().chain(&second) {
            if other.task != span.task && other.to > span.from {
                refuted[span.task][span.nth] |= span.weight <= other.weight;
                refuted[other.task][other.nth] |= other.weight <= span.weight;
            }
        }
        let is_longer = |than: Option<Span>| than.is_none_or(|other| other.to < span.to);
        let is_of_first = first.is_some_and(|f| f.task == span.task);
        if is_longer(first) {
            if !is_of_first {
                second = first;
            }
            first = Some(*span);
        } else if !is_of_first && is_longer(second) {
            second = Some(*span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(spans: &[(usize, u64, u64)]) -> Vec<Vec<bool>> {
        let weighed: Vec<_> = spans.iter().map(|(task, from, to)| (*task, *from, *to, 1)).collect();
        marked_by_weight(&weighed)
    }

    fn marked_by_weight(spans: &[(usize, u64, u64, u64)]) -> Vec<Vec<bool>> {
        let n_tasks = spans.iter().map(|s| s.0 + 1).max().unwrap_or(0);
        let mut refuted: Vec<Vec<bool>> = vec![Vec::new(); n_tasks];
        let mut list = Vec::new();
        for (task, from, to, weight) in spans {
            let nth = refuted[*task].len();
            refuted[*task].push(false);
            list.push(Span { from: *from, to: *to, task: *task, nth, weight: *weight });
        }
        mark(&mut list, &mut refuted);
        refuted
    }

    #[test]
    fn two_at_once_are_both_in_doubt() {
        assert_eq!(marked(&[(0, 0, 10), (1, 5, 6), (0, 20, 30)]), [vec![true, false], vec![true]]);
        assert_eq!(marked(&[(0, 0, 10), (1, 10, 20)]), [vec![false], vec![false]]);
        assert_eq!(marked(&[(0, 0, 10), (1, 5, 20)]), [vec![true], vec![true]]);
    }

    #[test]
    fn the_one_for_which_less_speaks_is_in_doubt() {
        assert_eq!(marked_by_weight(&[(0, 0, 10, 9), (1, 5, 6, 3)]), [vec![false], vec![true]]);
        assert_eq!(marked_by_weight(&[(0, 0, 10, 3), (1, 5, 6, 9)]), [vec![true], vec![false]]);
    }

    #[test]
    fn a_long_one_is_remembered_behind_short_ones() {
        let marks = marked(&[(0, 0, 100), (1, 50, 60), (2, 70, 80)]);
        assert_eq!(marks, [vec![true], vec![true], vec![true]]);
    }
}
