//! Critical sections of programs, from the holds of the ledger.
//!
//! What the ledger saw stands where it saw it. Only what it left open is guessed: within its
//! bounds, by the CPU time of sections of the same lock whose both ends were seen.

use super::hidden;
use super::program::{Build, Place};
use super::{DemandNote, LockIndex, Op};
use crate::{Hold, NameId, TaskId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A task name and a lock: sections of both alike are taken to be alike.
pub(super) type Key = (NameId, LockIndex);

/// Fewest known sections that tell whether their task sleeps in them.
const FEWEST: usize = 5;

/// A hold and whose section it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) lock: LockIndex,
    pub(super) hold: Hold,
}

/// What is known of sections whose both ends were seen.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Their CPU times, sorted.
    lengths: BTreeMap<Key, Vec<u64>>,
    /// CPU times from a release to the next time that the same task asks for the lock, sorted;
    /// where they vary less than the lengths.
    gaps: BTreeMap<Key, Vec<u64>>,
    /// CPU times from one acquisition to the next of the same task: a section and a gap.
    turns: BTreeMap<Key, Vec<u64>>,
    /// Those of all tasks together, by lock.
    of_lock: BTreeMap<LockIndex, Vec<u64>>,
    /// Those in which their tasks do not sleep, where enough are known.
    awake: BTreeSet<Key>,
    /// Those in which a task has slept once, at least.
    slept_in: BTreeSet<Key>,
}

impl Known {
    /// Measures all holds of all tasks.
    ///
    /// `woken_by` says when a waiter was awake that its owner's release woke: until then the
    /// release took, which a release that wakes nobody does not.
    pub(super) fn of<'b>(
        tasks: impl Iterator<Item = (NameId, &'b Build, &'b [Held])>,
        woken_by: impl Fn(&Hold) -> Timestamp,
    ) -> Self {
        let mut known = Self::default();
        let mut slept_in: BTreeMap<Key, usize> = BTreeMap::new();
        for (name, build, holds) in tasks {
            known.measure((name, build), holds, &mut slept_in, &woken_by);
        }
        known.gaps.values_mut().for_each(|gaps| gaps.sort_unstable());
        for (key, lengths) in &mut known.lengths {
            lengths.sort_unstable();
            let slept = slept_in.get(key).copied().unwrap_or(0);
            if lengths.len() >= FEWEST && slept * 10 < lengths.len() {
                known.awake.insert(*key);
            }
        }
        for ((_, lock), lengths) in &known.lengths {
            known.of_lock.entry(*lock).or_default().extend(lengths);
        }
        known.of_lock.values_mut().for_each(|lengths| lengths.sort_unstable());
        known.slept_in.extend(slept_in.iter().filter(|(_, n)| **n > 0).map(|(key, _)| *key));
        let lengths = &known.lengths;
        known.gaps.retain(|key, gaps| {
            let is_steadier = |lengths| hidden::scatter(gaps) < hidden::scatter(lengths);
            gaps.len() >= FEWEST && lengths.get(key).is_none_or(|lengths| is_steadier(lengths))
        });
        known.limit_gaps();
        known
    }

    /// A gap is at most what the shortest sections leave of the shortest time between two
    /// acquisitions.
    ///
    /// A release that is seen wakes somebody, for whom its task then often leaves its CPU; one that
    /// wakes nobody is over sooner.
    fn limit_gaps(&mut self) {
        const SHORT_PERCENTILE: usize = 10;
        for (key, mut turns) in std::mem::take(&mut self.turns) {
            let Some(gaps) = self.gaps.get_mut(&key).filter(|_| turns.len() >= FEWEST) else {
                continue;
            };
            turns.sort_unstable();
            let short = |list: &[u64]| hidden::at_percentile(list, SHORT_PERCENTILE).unwrap_or(0);
            let section = self.lengths.get(&key).map_or(0, |lengths| short(lengths));
            let most = short(&turns).saturating_sub(section);
            gaps.iter_mut().for_each(|gap| *gap = (*gap).min(most));
        }
    }

    fn measure(
        &mut self,
        (name, build): (NameId, &Build),
        holds: &[Held],
        slept_in: &mut BTreeMap<Key, usize>,
        woken_by: &impl Fn(&Hold) -> Timestamp,
    ) {
        // Where each lock was seen to be released last.
        let mut released: BTreeMap<LockIndex, Place> = BTreeMap::new();
        let mut acquired: BTreeMap<LockIndex, Place> = BTreeMap::new();
        for Held { lock, hold } in holds {
            let key = (name, *lock);
            let was_released = released.remove(lock);
            let (from, to) = ends(build, hold);
            let was_acquired = acquired.remove(lock);
            if hold.acquired.is_seen {
                let turn = was_acquired.filter(|p| build.slept_between(*p, from).is_none());
                let turn = turn.map(|before| from.total.saturating_sub(before.total));
                self.turns.entry(key).or_default().extend(turn);
                acquired.insert(*lock, from);
            }
            if hold.released.is_seen {
                released.insert(*lock, build.place_at(woken_by(hold).0));
            }
            if let Some(before) = was_released.filter(|_| hold.acquired.is_seen)
                && build.slept_between(before, from).is_none()
            {
                self.gaps.entry(key).or_default().push(from.total.saturating_sub(before.total));
            }
            if !(hold.acquired.is_seen && hold.released.is_seen) {
                continue;
            }
            let slept = build.slept_between(from, to).is_some();
            // Nobody watched: it may have let go before it slept, and taken the lock again.
            if slept && !hold.is_watched {
                continue;
            }
            self.lengths.entry(key).or_default().push(to.total.saturating_sub(from.total));
            *slept_in.entry(key).or_default() += usize::from(slept);
        }
    }

    /// The length of a section: as those of the same task name, else as anybody's of this lock.
    fn typical(&self, key: Key, percentile: usize) -> Option<u64> {
        let of_lock = || self.of_lock.get(&key.1).filter(|lengths| lengths.len() >= FEWEST);
        hidden::at_percentile(self.lengths.get(&key).or_else(of_lock)?, percentile)
    }

    /// The same where a section would last up to the next sleep else: then one of any task says more
    /// than that.
    fn typical_at_end(&self, key: Key, percentile: usize) -> Option<u64> {
        let of_lock = || hidden::at_percentile(self.of_lock.get(&key.1)?, percentile);
        self.typical(key, percentile).or_else(of_lock)
    }

    /// Whether a section of this kind may not span a sleep: none that is known does.
    fn is_awake(&self, key: Key) -> bool {
        let few = |lengths: &Vec<u64>| lengths.len() < FEWEST;
        self.awake.contains(&key)
            || self.lengths.get(&key).is_none_or(few) && !self.slept_in.contains(&key)
    }

    /// The usual time between sections, where it varies less than their lengths.
    fn gap(&self, key: Key, percentile: usize) -> Option<u64> {
        hidden::at_percentile(self.gaps.get(&key)?, 100 - percentile.min(100))
    }

    /// Locks in whose sections tasks of this name do not sleep.
    pub(super) fn awake_of(&self, name: NameId) -> Vec<LockIndex> {
        let of_name = (name, LockIndex(0))..=(name, LockIndex(u32::MAX));
        self.awake.range(of_name).map(|(_, lock)| *lock).collect()
    }
}

fn ends(build: &Build, hold: &Hold) -> (Place, Place) {
    (build.place_at(hold.acquired.latest.0), build.place_at(hold.released.earliest.0))
}

/// The sections of one task as steps to be inserted.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// In the order of the program.
    pub(super) inserts: Vec<(Place, Op)>,
    /// Locks it has from the beginning.
    pub(super) holds: Vec<LockIndex>,
    pub(super) notes: BTreeMap<DemandNote, u64>,
}

/// Guesses what the ledger leaves open.
#[derive(Clone, Copy)]
pub(super) struct Guess<'k> {
    pub(super) known: &'k Known,
    pub(super) percentile: usize,
    /// When the trace begins.
    pub(super) start: u64,
    /// 0 for what is most likely.
    pub(super) seed: u64,
}

impl Guess<'_> {
    /// The sections of a task with this name.
    pub(super) fn sections(&self, name: NameId, build: &Build, holds: &[Held]) -> Sections {
        let mut s = Sections::default();
        let mut inserts: Vec<(Place, usize, Op)> = Vec::new();
        for (nth, held) in holds.iter().enumerate() {
            for section in self.split(name, build, *held, nth) {
                section.push_to(&mut inserts, &mut s);
            }
        }
        inserts.sort_by_key(|(place, n, _)| (*place, *n));
        s.inserts = inserts.into_iter().map(|(place, _, op)| (place, op)).collect();
        s
    }

    /// One hold as its sections: two where it is so long that the task let go of it in between.
    fn split(&self, name: NameId, build: &Build, held: Held, nth: usize) -> Vec<Section> {
        let Held { lock, hold } = held;
        let percentile = self.spread(nth);
        let typical = self.known.typical((name, lock), percentile);
        let is_awake = self.known.is_awake((name, lock));
        let gap = self.known.gap((name, lock), percentile);
        let gap = gap.filter(|_| build.asks_for(lock, hold.released.latest.0));
        let within = (self.seed != 0).then(|| self.spread(nth));
        let typical_at_end = self.known.typical_at_end((name, lock), percentile);
        let one = One { build, hold, typical, typical_at_end, gap, is_awake, within };
        let (from, to) = ends(build, &hold);
        let slept = build.slept_between(from, to).is_some();
        let held_for = to.total.saturating_sub(from.total);
        let median = self.known.typical((name, lock), 50);
        let is_too_long = median.map_or(slept, |t| held_for > t + t / 2);
        let section = |start, end| Section { lock, start, end };
        if hold.acquired.is_seen && hold.released.is_seen && is_too_long && !hold.is_watched {
            let first = one.end_after(from, from, to);
            let again = one.start_before(to, (hold.acquired.latest.0, hold.released.earliest.0));
            if first < again {
                let guessed = |place| End::Guessed(place);
                return vec![
                    section(End::InProgram, guessed(first)),
                    section(guessed(again), End::Seen(to)),
                ];
            }
        }
        let (start, end) = match (hold.acquired.is_seen, hold.released.is_seen) {
            (true, true) => (End::InProgram, End::Seen(to)),
            (true, false) => (End::InProgram, End::Guessed(one.end(from))),
            (false, true) if self.is_initial(build, &hold, from) => (End::Initial, End::Seen(to)),
            (false, true) => (End::Guessed(one.start(to)), End::Seen(to)),
            (false, false) if self.is_initial(build, &hold, from) => {
                (End::Initial, End::Guessed(one.end(from)))
            }
            (false, false) => {
                let (start, end) = one.around(from, to);
                (End::Guessed(start), End::Guessed(end))
            }
        };
        vec![section(start, end)]
    }

    /// The percentile of the `nth` guess: guessed lengths are spread as the known ones are, and not
    /// all the same. Steps of the golden ratio spread any number of guesses evenly.
    fn spread(&self, nth: usize) -> usize {
        const GOLDEN: usize = 618_034;
        let even = nth.wrapping_add(1).wrapping_mul(GOLDEN) % 1_000_000 / 10_000;
        (even + self.percentile / 2).saturating_sub(25).clamp(2, 98)
    }

    /// The task had the lock before the trace shows anything of it.
    fn is_initial(&self, build: &Build, hold: &Hold, from: Place) -> bool {
        hold.acquired.earliest.0 <= self.start
            && from == Place::default()
            && hold.acquired.latest > hold.acquired.earliest
            && build.total_at(hold.acquired.latest.0) == 0
    }
}

/// One hold, and what is usual of its kind.
struct One<'b> {
    build: &'b Build,
    hold: Hold,
    typical: Option<u64>,
    typical_at_end: Option<u64>,
    /// CPU time from its release to the moment at which its task asks for the lock again.
    gap: Option<u64>,
    is_awake: bool,
    /// Where within its bounds an end lies of which no more is known, in percent; `None`: where
    /// it is most likely.
    within: Option<usize>,
}

impl One<'_> {
    /// Where a section that ends at `end` began.
    fn start(&self, end: Place) -> Place {
        let edge = self.hold.acquired;
        self.start_before(end, (edge.earliest.0, edge.latest.0))
    }

    fn start_before(&self, end: Place, (earliest, latest): (u64, u64)) -> Place {
        let b = self.build;
        let (low, high) = (b.place_at(earliest), b.place_at(latest).min(end));
        let Some(typical) = self.typical else {
            // Mostly what a task wakes for begins with its section.
            let woken = b.woken_between(earliest, latest).map_or(high, |at| b.place_at(at));
            return self.doubted(woken.min(high), high);
        };
        let slept = if self.is_awake { b.slept_before(end) } else { 0 };
        let total = end.total.saturating_sub(typical).max(slept);
        b.place_behind(total).clamp(low.min(high), high)
    }

    /// Where a section that began at `start` ended.
    fn end(&self, start: Place) -> Place {
        let edge = self.hold.released;
        let b = self.build;
        let (low, high) = (b.place_at(edge.earliest.0), b.place_until(edge.latest.0));
        // Who sleeps on the way to the next attempt has mostly let go before.
        let sleeps = b.slept_between(start, high).is_some();
        let Some(gap) = self.gap.filter(|_| !sleeps) else {
            return self.end_after(start, low, high);
        };
        b.place_before(high.total.saturating_sub(gap)).clamp(low, high.max(low)).max(start)
    }

    fn end_after(&self, start: Place, low: Place, high: Place) -> Place {
        let b = self.build;
        let slept = b.slept_between(start, high);
        let typical = self.typical_at_end.map(|t| start.total + t);
        let total = match (typical, slept) {
            (Some(t), Some(slept)) if self.is_awake => t.min(slept),
            (Some(t), _) => t,
            (None, Some(slept)) => slept,
            (None, None) => return self.doubted(high.max(low), low).max(start),
        };
        b.place_before(total).clamp(low, high.max(low)).max(start)
    }

    /// The likely place of an end of which little is known; in every fourth case of a draw
    /// anywhere between that and a bound.
    fn doubted(&self, likely: Place, bound: Place) -> Place {
        const DOUBTED_PERCENT: usize = 25;
        let likely_percent = 100 - DOUBTED_PERCENT;
        let Some(beyond) = self.within.and_then(|p| p.checked_sub(likely_percent)) else {
            return likely;
        };
        let (low, high) = (likely.min(bound), likely.max(bound));
        let span =
            high.total.saturating_sub(low.total) / 100 * (beyond * 100 / DOUBTED_PERCENT) as u64;
        let total = if low == likely { low.total + span } else { high.total.saturating_sub(span) };
        self.build.place_behind(total).clamp(low, high)
    }

    /// A section of which only a part between two places is known.
    fn around(&self, from: Place, to: Place) -> (Place, Place) {
        let seen = to.total.saturating_sub(from.total);
        let b = self.build;
        let Some(typical) = self.typical else {
            let start = self.start(to);
            return (start, self.end(start).max(to));
        };
        // Where in a section it is seen is left to chance: in its middle, on average.
        let before = typical.saturating_sub(seen) / 2;
        let edge = self.hold.acquired;
        let low = b.place_at(edge.earliest.0).min(from);
        let start = b.place_behind(from.total.saturating_sub(before)).clamp(low, from);
        (start, self.end(start).max(to))
    }
}

/// One end of a section.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It is in the program already: the task contended.
    InProgram,
    /// The task had the lock from the beginning.
    Initial,
    Seen(Place),
    Guessed(Place),
}

struct Section {
    lock: LockIndex,
    start: End,
    end: End,
}

impl Section {
    fn push_to(&self, inserts: &mut Vec<(Place, usize, Op)>, s: &mut Sections) {
        let (lock, n) = (self.lock, inserts.len());
        let mut count = |note| *s.notes.entry(note).or_insert(0) += 1;
        match self.start {
            End::InProgram => {}
            End::Initial => {
                s.holds.push(lock);
                count(DemandNote::SectionStartGuessed);
            }
            End::Seen(place) => inserts.push((place, n, Op::Lock(lock))),
            End::Guessed(place) => {
                inserts.push((place, n, Op::Lock(lock)));
                count(DemandNote::SectionStartGuessed);
            }
        }
        match self.end {
            End::InProgram | End::Initial => {}
            End::Seen(place) => inserts.push((place, n + 1, Op::Unlock(lock))),
            End::Guessed(place) => {
                inserts.push((place, n + 1, Op::Unlock(lock)));
                count(DemandNote::SectionEndGuessed);
            }
        }
    }
}

/// The holds of each task, in the order of their ends.
pub(super) fn by_task(
    n_tasks: usize,
    holds: impl Iterator<Item = (LockIndex, Hold)>,
) -> Vec<Vec<Held>> {
    let mut list: Vec<Vec<Held>> = vec![Vec::new(); n_tasks];
    for (lock, hold) in holds {
        let TaskId(task) = hold.task;
        if let Some(of_task) = list.get_mut(task as usize) {
            of_task.push(Held { lock, hold });
        }
    }
    for of_task in &mut list {
        of_task.sort_by_key(|h| (h.hold.released.latest, h.hold.acquired.latest, h.lock));
    }
    list
}
