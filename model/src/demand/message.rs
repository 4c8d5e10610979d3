//! Pipes that only the calls of their mutexes show.
//!
//! A task that has released a mutex sleeps, and takes it again when it is woken by a task that has
//! just released it: that is a read from an empty pipe, or a write to a full one. Where nearly all
//! sleeps behind a mutex look so, each section of it is taken to move one message, into the pipe or
//! out of it by the side that its task is on.
//!
//! # Source
//!
//! `anon_pipe_read` and `anon_pipe_write` in `fs/pipe.c`: the mutex is released before the wait and
//! taken again behind it, and whoever ends the wait has released it before. The two sides wake each
//! other. A pipe is empty before it is full, so that the first sleeper reads.

use super::program::{Build, Step};
use super::transfer::Buffers;
use super::{BufferIndex, BufferKind, DemandBuffer, DemandLock, LockIndex, Op};
use crate::{PrevState, Transfer};
use std::collections::{BTreeMap, BTreeSet};

/// Fewest sleeps that show a pipe, and how many percent of them must look alike.
const FEWEST: usize = 10;
const ALIKE_PERCENT: usize = 90;
/// Of wakeups so many percent may be within one side: a reader that leaves something behind.
const WITHIN_PERCENT: u64 = 5;
/// Between the release of a mutex and a wakeup or a sleep there is no more CPU time, ns.
const NEAR_NS: u64 = 50_000;

/// A sleep behind a mutex, and who ended it where that one had released the mutex too.
#[derive(Clone, Copy, Debug)]
struct Sleep {
    task: usize,
    step: usize,
    since: u64,
    woken: u64,
    /// The task that woke it, and the step in which it did.
    waker: Option<(usize, usize)>,
    is_alike: bool,
}

/// Finds such pipes, and writes what goes through them into the programs; returns how many, and
/// what waits for them took.
pub(super) fn infer(
    builds: &mut [Build],
    locks: &[DemandLock],
    buffers: &mut Buffers,
) -> (u64, Costs) {
    let mut found = 0;
    let mut spans = Spans::default();
    let mut edits: Vec<BTreeMap<usize, Edit>> = vec![BTreeMap::new(); builds.len()];
    for (mutex, sleeps) in sleeps(builds) {
        if buffers.has_mutex(mutex) {
            continue;
        }
        let alike: Vec<Sleep> = sleeps.iter().filter(|s| s.is_alike).copied().collect();
        if alike.len() < FEWEST || alike.len() * 100 < sleeps.len() * ALIKE_PERCENT {
            continue;
        }
        let Some(mut sides) = sides(&alike) else { continue };
        let sections = sections(builds, mutex, &sides, &sleeps);
        if before(&sections, &turned(&sides)) < before(&sections, &sides) {
            sides = turned(&sides);
        }
        let buffer = buffers.next();
        edit(buffer, &sides, &sleeps, &sections, &mut edits);
        let moved = moved(&sections, &sides);
        sides.keys().for_each(|task| spans.observe(&builds[*task].steps, mutex, &edits[*task]));
        let (kind, filled) = measure(&moved, &sleeps, &sides);
        let address = locks.get(mutex.index()).map_or(0, |lock| lock.lock.0);
        buffers.add(DemandBuffer { address, kind, mutex: Some(mutex), filled });
        found += 1;
    }
    let costs = spans.finish();
    for (build, edits) in builds.iter_mut().zip(&edits) {
        apply(build, edits, costs);
    }
    (found, costs)
}

/// What a wait for a message, and its end, took beside moving it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Costs {
    pub(super) sleep: u64,
    pub(super) wake: u64,
    pub(super) tell: u64,
}

/// CPU time of sections and of what follows them, ns.
#[derive(Debug, Default)]
struct Spans {
    section: Vec<u64>,
    before_sleep: Vec<u64>,
    behind_sleep: Vec<u64>,
    /// From a release to the next acquisition, without and with a wakeup between.
    gap: Vec<u64>,
    gap_with_wakeup: Vec<u64>,
}

impl Spans {
    fn observe(&mut self, steps: &[Step], mutex: LockIndex, edits: &BTreeMap<usize, Edit>) {
        let mut began: Option<u64> = None;
        let mut slept: Option<u64> = None;
        for (n, step) in steps.iter().enumerate() {
            match (step.op, edits.get(&n)) {
                (Op::Lock(lock), None) if lock == mutex => began = Some(step.total),
                (Op::Wait { .. }, Some(_)) => {
                    if let Some(began) = began.take() {
                        self.before_sleep.push(step.total - began);
                    }
                    slept = Some(step.total);
                }
                (Op::Unlock(lock), edit) if lock == mutex && edit != Some(&Edit::Gone) => {
                    match (slept.take(), began.take()) {
                        (Some(slept), _) => self.behind_sleep.push(step.total - slept),
                        (None, Some(began)) => self.section.push(step.total - began),
                        (None, None) => {}
                    }
                    let rest = steps[n + 1..].iter().enumerate();
                    let wakes = |m: &usize| edits.get(&(n + 1 + *m)) == Some(&Edit::Gone);
                    let next = rest.clone().find(|(m, _)| !wakes(m));
                    if let Some((skipped, next)) = next
                        && matches!(next.op, Op::Lock(_))
                    {
                        let gap = next.total - step.total;
                        if skipped == 0 { &mut self.gap } else { &mut self.gap_with_wakeup }
                            .push(gap);
                    }
                }
                _ => {}
            }
        }
    }

    fn finish(self) -> Costs {
        let enough = self.section.len() >= FEWEST && self.behind_sleep.len() >= FEWEST;
        if !enough {
            return Costs::default();
        }
        let section = median(self.section);
        let tell = if self.gap_with_wakeup.len() < FEWEST || self.gap.is_empty() {
            0
        } else {
            median(self.gap_with_wakeup).saturating_sub(median(self.gap))
        };
        Costs {
            sleep: median(self.before_sleep),
            wake: median(self.behind_sleep).saturating_sub(section),
            tell,
        }
    }
}

fn median(mut spans: Vec<u64>) -> u64 {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or(0)
}

/// All sleeps between a release of a mutex and its next acquisition, by mutex.
fn sleeps(builds: &[Build]) -> BTreeMap<LockIndex, Vec<Sleep>> {
    let mut wakes: BTreeMap<(usize, u64), (usize, usize)> = BTreeMap::new();
    for (task, build) in builds.iter().enumerate() {
        for (n, step) in build.steps.iter().enumerate() {
            if let Op::Wake { target } = step.op {
                wakes.insert((target.index(), step.at), (task, n));
            }
        }
    }
    let mut found: BTreeMap<LockIndex, Vec<Sleep>> = BTreeMap::new();
    for (task, build) in builds.iter().enumerate() {
        for (n, three) in build.steps.windows(3).enumerate() {
            let Some(mutex) = sleeps_behind(three) else { continue };
            let since = three[1].at;
            let woken = build.woken_after(since);
            let waker = woken.and_then(|at| wakes.get(&(task, at)).copied());
            let is_alike = waker.is_some_and(|(waker, n)| {
                has_just_released(&builds[waker].steps, n, mutex) && waker != task
            });
            let woken = woken.unwrap_or(since);
            let sleep = Sleep { task, step: n + 1, since, woken, waker, is_alike };
            found.entry(mutex).or_default().push(sleep);
        }
    }
    found
}

/// The mutex that is released before a sleep and taken again at once behind it.
fn sleeps_behind(steps: &[Step]) -> Option<LockIndex> {
    let [before, sleep, behind] = steps else { return None };
    match (before.op, sleep.op, behind.op) {
        (
            Op::Unlock(mutex),
            Op::Wait { state: PrevState::Interruptible, on: None },
            Op::Lock(again),
        ) if mutex == again
            && sleep.total - before.total <= NEAR_NS
            && behind.total - sleep.total <= NEAR_NS =>
        {
            Some(mutex)
        }
        _ => None,
    }
}

/// Whether the wakeup at step `n` stands right behind a release of this mutex.
fn has_just_released(steps: &[Step], n: usize, mutex: LockIndex) -> bool {
    let before = steps[..n].iter().rev().find(|step| !matches!(step.op, Op::Wake { .. }));
    before.is_some_and(|before| {
        before.op == Op::Unlock(mutex) && steps[n].total - before.total <= NEAR_NS
    })
}

/// The side of each task; `None` where the two sides do not wake each other.
fn sides(sleeps: &[Sleep]) -> Option<BTreeMap<usize, Transfer>> {
    let mut times: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for sleep in sleeps {
        let Some((waker, _)) = sleep.waker else { continue };
        *times.entry((waker.min(sleep.task), waker.max(sleep.task))).or_default() += 1;
    }
    let all: u64 = times.values().sum();
    // The rarest pairs may be of one side; who wakes whom often is not.
    let mut pairs: Vec<_> = times.into_iter().collect();
    pairs.sort_by_key(|(pair, times)| (std::cmp::Reverse(*times), *pair));
    let first = sleeps.iter().min_by_key(|sleep| (sleep.since, sleep.task))?;
    let mut sides = BTreeMap::from([(first.task, Transfer::Take)]);
    let other = |side| if side == Transfer::Put { Transfer::Take } else { Transfer::Put };
    loop {
        let next = pairs.iter().find_map(|((a, b), _)| match (sides.get(a), sides.get(b)) {
            (Some(side), None) => Some((*b, other(*side))),
            (None, Some(side)) => Some((*a, other(*side))),
            _ => None,
        });
        let Some((task, side)) = next else { break };
        sides.insert(task, side);
    }
    let within = pairs.iter().filter(|((a, b), _)| sides.get(a) == sides.get(b));
    let within: u64 = within.map(|(_, times)| times).sum();
    (within * 100 <= all * WITHIN_PERCENT).then_some(sides)
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Gone,
    /// It becomes this.
    Is(Op),
    /// This comes before it.
    Behind(Op),
}

/// A section of a mutex that moves a message: from its acquisition to its last release.
#[derive(Clone, Debug)]
struct Section {
    /// The step of each release in it; all but the last stand before a sleep.
    releases: Vec<usize>,
    /// When it ends.
    at: u64,
    /// CPU time at its beginning and its end.
    began: u64,
    ended: u64,
    /// It waited, or woke somebody.
    is_sure: bool,
}

/// The sections of each task that move messages.
fn sections(
    builds: &[Build],
    mutex: LockIndex,
    sides: &BTreeMap<usize, Transfer>,
    sleeps: &[Sleep],
) -> BTreeMap<usize, Vec<Section>> {
    let asleep: BTreeSet<(usize, usize)> = sleeps.iter().map(|s| (s.task, s.step)).collect();
    let wakes: BTreeSet<(usize, usize)> = sleeps.iter().filter_map(|s| s.waker).collect();
    let of_task = |task: usize| {
        let steps = &builds[task].steps;
        let mut list: Vec<Section> = Vec::new();
        let (mut began, mut releases) = (None, Vec::new());
        for (n, step) in steps.iter().enumerate() {
            if step.op == Op::Lock(mutex) {
                began.get_or_insert(step.total);
            } else if step.op == Op::Unlock(mutex) {
                releases.push(n);
                if asleep.contains(&(task, n + 1)) {
                    continue;
                }
                let woken = (n + 1..)
                    .take_while(|n| steps.get(*n).is_some_and(|s| matches!(s.op, Op::Wake { .. })));
                let tells = woken.into_iter().any(|n| wakes.contains(&(task, n)));
                let is_sure = releases.len() > 1 || tells;
                list.push(Section {
                    releases: std::mem::take(&mut releases),
                    at: step.at,
                    began: began.take().unwrap_or(step.total),
                    ended: step.total,
                    is_sure,
                });
            }
        }
        without_ends(list)
    };
    sides.keys().map(|task| (*task, of_task(*task))).collect()
}

/// Leaves out what stands apart at the beginning and at the end: a pipe is set up and closed under
/// its mutex too.
fn without_ends(mut list: Vec<Section>) -> Vec<Section> {
    /// So many times the usual gap stands apart.
    const APART: u64 = 10;
    let gaps = list.windows(2).map(|two| two[1].began.saturating_sub(two[0].ended));
    let apart = median(gaps.collect()).saturating_mul(APART).max(NEAR_NS);
    let is_apart = |two: &[Section]| two[1].began.saturating_sub(two[0].ended) > apart;
    if let Some(sure) = list.iter().rposition(|section| section.is_sure) {
        let end = list[sure..].windows(2).position(is_apart);
        list.truncate(end.map_or(list.len(), |n| sure + n + 1));
    }
    if let Some(sure) = list.iter().position(|section| section.is_sure) {
        let begin = list[..=sure].windows(2).rposition(is_apart);
        list.drain(..begin.map_or(0, |n| n + 1));
    }
    list
}

fn turned(sides: &BTreeMap<usize, Transfer>) -> BTreeMap<usize, Transfer> {
    let other = |side| if side == Transfer::Put { Transfer::Take } else { Transfer::Put };
    sides.iter().map(|(task, side)| (*task, other(*side))).collect()
}

/// When messages went in and out, in order.
fn moved(
    sections: &BTreeMap<usize, Vec<Section>>,
    sides: &BTreeMap<usize, Transfer>,
) -> Vec<(u64, i64)> {
    let way = |task| if sides.get(task) == Some(&Transfer::Put) { 1 } else { -1 };
    let of_task = |(task, list): (_, &Vec<Section>)| {
        let way = way(task);
        list.iter().map(move |section| (section.at, way)).collect::<Vec<_>>()
    };
    let mut moved: Vec<(u64, i64)> = sections.iter().flat_map(of_task).collect();
    moved.sort_unstable();
    moved
}

/// Messages that must have been in the pipe before: of two ways to see it, the one with fewer is
/// right, because a pipe begins empty.
fn before(sections: &BTreeMap<usize, Vec<Section>>, sides: &BTreeMap<usize, Transfer>) -> i64 {
    let mut now = 0;
    let fill = moved(sections, sides).into_iter().map(|(_, way)| {
        now += way;
        now
    });
    -fill.fold(0, i64::min)
}

/// Marks what changes in the programs.
fn edit(
    buffer: BufferIndex,
    sides: &BTreeMap<usize, Transfer>,
    sleeps: &[Sleep],
    sections: &BTreeMap<usize, Vec<Section>>,
    edits: &mut [BTreeMap<usize, Edit>],
) {
    for sleep in sleeps.iter().filter(|sleep| sides.contains_key(&sleep.task)) {
        if let Some((waker, step)) = sleep.waker {
            edits[waker].insert(step, Edit::Gone);
        }
    }
    for (task, list) in sections {
        let (is_nonblocking, bytes) = (false, 1);
        let op = match sides.get(task) {
            Some(Transfer::Put) => Op::Put { buffer, bytes, is_nonblocking },
            _ => Op::Take { buffer, bytes, is_nonblocking },
        };
        let edits = &mut edits[*task];
        for section in list {
            let [sleeps @ .., last] = &section.releases[..] else { continue };
            for (n, release) in sleeps.iter().enumerate() {
                edits.insert(*release, Edit::Gone);
                edits.insert(release + 1, if n == 0 { Edit::Is(op) } else { Edit::Gone });
                edits.insert(release + 2, Edit::Gone);
            }
            if sleeps.is_empty() {
                edits.insert(*last, Edit::Behind(op));
            }
        }
    }
}

/// How many messages fit, and how many were in the pipe when the recording began.
fn measure(
    moved: &[(u64, i64)],
    sleeps: &[Sleep],
    sides: &BTreeMap<usize, Transfer>,
) -> (BufferKind, u32) {
    let mut fill = Vec::with_capacity(moved.len());
    let (mut now, mut least) = (0_i64, 0_i64);
    for &(at, way) in moved {
        now += way;
        least = least.min(now);
        fill.push((at, now));
    }
    let fill_at = |at: u64| {
        let after = fill.partition_point(|(then, _)| *then <= at);
        let now = after.checked_sub(1).map_or(0, |n| fill[n].1);
        u32::try_from(now - least).unwrap_or(0)
    };
    let writes = sleeps.iter().filter(|s| sides.get(&s.task) == Some(&Transfer::Put));
    let (mut full, mut left) = (Vec::new(), Vec::new());
    for sleep in writes {
        full.push(fill_at(sleep.since));
        left.push(fill_at(sleep.woken));
    }
    full.sort_unstable();
    left.sort_unstable();
    let Some(room) = full.get(full.len() / 2).copied() else {
        return (BufferKind::Messages { room: u32::MAX, step: 1 }, filled(least));
    };
    let room = room.max(1);
    let step = room.saturating_sub(left[left.len() / 2]).clamp(1, room);
    (BufferKind::Messages { room, step }, filled(least))
}

fn filled(least: i64) -> u32 {
    u32::try_from(-least).unwrap_or(u32::MAX)
}

/// Changes a program, and keeps what points to its steps. What waiting and waking took is left out:
/// a replay adds it where it waits or wakes.
fn apply(build: &mut Build, edits: &BTreeMap<usize, Edit>, costs: Costs) {
    if edits.is_empty() {
        return;
    }
    let mut now = Vec::with_capacity(build.steps.len());
    let mut index = Vec::with_capacity(build.steps.len());
    // CPU time up to which so much is left out.
    let mut gone = vec![(0, 0)];
    // What may be left out before the next steps that stay, and CPU time at the last one.
    let (mut less, mut last) = (0_u64, 0_u64);
    for (n, step) in build.steps.iter().enumerate() {
        let edit = edits.get(&n);
        let is_wait = matches!(step.op, Op::Wait { .. }) && edit.is_some();
        if is_wait {
            less += costs.sleep;
        }
        if edit == Some(&Edit::Gone) && !is_wait {
            less += if matches!(step.op, Op::Wake { .. }) { costs.tell } else { 0 };
            index.push(now.len());
            continue;
        }
        let before = gone.last().map_or(0, |(_, gone)| *gone);
        let out = less.min(step.total - last);
        gone.push((step.total, before + out));
        last = step.total;
        // What did not fit before a wait may still be left out behind it.
        less = if is_wait { costs.wake } else { 0 };
        index.push(now.len());
        let total = step.total - before - out;
        match edit {
            Some(Edit::Gone) => {}
            Some(Edit::Is(op)) => now.push(Step { op: *op, total, ..*step }),
            Some(Edit::Behind(op)) => {
                now.push(Step { op: *op, total, ..*step });
                now.push(Step { total, ..*step });
                if let Some(index) = index.last_mut() {
                    *index += 1;
                }
            }
            None => now.push(Step { total, ..*step }),
        }
    }
    for sleep in &mut build.timer_sleeps {
        sleep.step = index.get(sleep.step).copied().unwrap_or(now.len());
    }
    build.steps = now;
    build.shorten(usize::MAX, 0, |total| {
        let after = gone.partition_point(|(until, _)| *until < total);
        let (until, most) = gone.get(after).or(gone.last()).copied().unwrap_or((0, 0));
        let least = after.checked_sub(1).map_or(0, |n| gone[n].1);
        // Within an interval its end is what is left out.
        let rest = until.saturating_sub(total);
        total - (most.saturating_sub(rest)).max(least).min(total)
    });
}
