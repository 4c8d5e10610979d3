//! Calls that move bytes through pipes and sockets: what a task waits for in them is the buffer,
//! and not whoever happened to fill it.

use super::extract::Extract;
use super::program::{Build, Step};
use super::{BufferIndex, BufferKind, DemandBuffer, DemandNote, LockIndex, Op};
use crate::{BufferId, BufferSize, Event, LockFlags, LockId, TaskId, Transfer};
use std::collections::{BTreeMap, BTreeSet};

/// A call while it is going on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) buffer: BufferIndex,
    way: Transfer,
    /// Bytes asked for.
    count: u32,
    is_nonblocking: bool,
    /// When it began, the first step that is part of it, and CPU time then.
    at: u64,
    step: usize,
    pub(super) total: u64,
    /// How often it waited, and how often it woke somebody.
    n_waits: u64,
    n_tells: u64,
    /// Its op is among the steps: it waited, or told somebody.
    is_placed: bool,
    /// Where it stands with the buffer's mutex, as far as only the call shows that.
    mutex: Section,
    /// It waits for the buffer.
    waits: bool,
}

impl Call {
    /// A step of an earlier time is put at index `n`.
    pub(super) fn inserted(&mut self, n: usize, at: u64) {
        self.step += usize::from(n < self.step || n == self.step && at < self.at);
    }

    /// The step at index `n` is taken out.
    pub(super) fn removed(&mut self, n: usize) {
        self.step -= usize::from(n < self.step);
    }
}

/// A section of a mutex whose own calls are not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// None, or it is over.
    None,
    /// It is on its way to the mutex since then: trace time, and CPU time of its task.
    Ahead(u64, u64),
    /// It has it since this CPU time.
    Held(u64),
}

/// Whether it is seen when a section ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Seen,
    Unseen,
}

/// The buffers of a recording, and what went through them.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    index: BTreeMap<BufferId, BufferIndex>,
    list: Vec<DemandBuffer>,
    /// Bytes in and out of each, and when: in when a call began, out when it ended.
    moved: Vec<Vec<(u64, i64)>>,
    /// Mutexes whose sections are known from the calls.
    shown: BTreeSet<LockIndex>,
    /// How often a task was taken off its CPU in a call on each, and just behind one.
    preempted: Vec<[u64; 2]>,
}

impl Buffers {
    /// Whether the calls show the sections of a mutex.
    pub(super) fn shows(&self, mutex: LockIndex) -> bool {
        self.shown.contains(&mutex)
    }

    /// Whether a request to reschedule is honoured inside of sections of a mutex that the calls
    /// show: else it waits for the call's end. `None` for other locks.
    pub(super) fn has_preemption_points(&self, mutex: LockIndex) -> Option<bool> {
        let of_mutex =
            self.list.iter().zip(&self.preempted).filter(|(b, _)| b.mutex == Some(mutex));
        let [inside, behind] = of_mutex.fold([0, 0], |sum, (_, n)| [sum[0] + n[0], sum[1] + n[1]]);
        self.shows(mutex).then_some(inside.saturating_mul(BEHIND_PER_INSIDE) > behind)
    }

    /// Whether a buffer is known that has this mutex.
    pub(super) fn has_mutex(&self, mutex: LockIndex) -> bool {
        self.list.iter().any(|buffer| buffer.mutex == Some(mutex))
    }

    /// The index of the next buffer.
    pub(super) fn next(&self) -> BufferIndex {
        BufferIndex(u32::try_from(self.list.len()).unwrap_or(u32::MAX))
    }

    /// Adds one that is concluded: it is known how full it was.
    pub(super) fn add(&mut self, buffer: DemandBuffer) {
        let before = i64::from(buffer.filled);
        self.list.push(buffer);
        self.moved.push(vec![(0, -before)]);
        self.preempted.push([0, 0]);
    }

    /// The buffers, with what must have been in each when the recording began.
    pub(super) fn finish(self) -> Vec<DemandBuffer> {
        let filled = |(mut buffer, mut moved): (DemandBuffer, Vec<(u64, i64)>)| {
            // Of one moment what goes in comes first.
            moved.sort_by_key(|(at, bytes)| (*at, std::cmp::Reverse(*bytes)));
            let (mut now, mut least) = (0_i64, 0_i64);
            for (_, bytes) in moved {
                now = now.saturating_add(bytes);
                least = least.min(now);
            }
            buffer.filled = u32::try_from(-least).unwrap_or(u32::MAX);
            buffer
        };
        self.list.into_iter().zip(self.moved).map(filled).collect()
    }
}

/// Where a section has no preemption points, a task is taken off its CPU inside of a call only on its
/// way to the mutex: that happens once in so many times at most, and else behind it.
const BEHIND_PER_INSIDE: u64 = 10;

/// A switch so soon behind a call was asked for in it, ns.
const BEHIND_NS: u64 = 5_000;

fn op(call: &Call, bytes: u32) -> Op {
    let Call { buffer, is_nonblocking, .. } = *call;
    match call.way {
        Transfer::Put => Op::Put { buffer, bytes, is_nonblocking },
        Transfer::Take => Op::Take { buffer, bytes, is_nonblocking },
    }
}

impl Extract<'_> {
    /// Records of calls on buffers were lost.
    pub(crate) fn lost_transfers(&mut self, n: u64) {
        self.notes.insert(DemandNote::TransfersLost, n);
    }

    fn buffer(
        &mut self,
        id: BufferId,
        way: Transfer,
        (size, mutex): (BufferSize, Option<LockId>),
    ) -> BufferIndex {
        let kind = match size {
            BufferSize::Pages(pages) => BufferKind::Pipe { pages },
            BufferSize::Packets(pages) => BufferKind::Packets { pages },
            BufferSize::Room(room) => BufferKind::Socket { room },
        };
        if let Some(known) = self.buffers.index.get(&id).copied() {
            // A program mostly sets it before it uses it, and the writing end decides on packets.
            if way == Transfer::Put
                && let Some(buffer) = self.buffers.list.get_mut(known.index())
            {
                buffer.kind = kind;
            }
            return known;
        }
        let index = BufferIndex(u32::try_from(self.buffers.list.len()).unwrap_or(u32::MAX));
        let mutex = mutex.map(|mutex| self.lock(mutex, LockFlags(LockFlags::MUTEX)));
        self.buffers.index.insert(id, index);
        self.buffers.list.push(DemandBuffer { address: id.address, kind, mutex, filled: 0 });
        self.buffers.moved.push(Vec::new());
        self.buffers.preempted.push([0, 0]);
        if !self.calls.is_complete {
            self.buffers.shown.extend(mutex);
        }
        index
    }

    /// A task leaves its CPU runnable.
    pub(super) fn preempted_in_call(&mut self, id: TaskId, at: u64) {
        let b = &self.builds[id.index()];
        let inside = b.call.filter(|call| !call.waits).map(|call| (call.buffer, 0));
        let ended = b.call_ended.filter(|(_, ended)| at.saturating_sub(*ended) <= BEHIND_NS);
        let found = inside.or(ended.map(|(buffer, _)| (buffer, 1)));
        if let Some((buffer, which)) = found
            && let Some(counts) = self.buffers.preempted.get_mut(buffer.index())
        {
            counts[which] += 1;
        }
    }

    /// The mutex of a buffer whose sections the calls show, because nothing else does.
    fn shown_mutex(&self, buffer: BufferIndex) -> Option<LockIndex> {
        let mutex = self.buffers.list.get(buffer.index())?.mutex?;
        self.buffers.shows(mutex).then_some(mutex)
    }

    pub(super) fn transfer_begin(
        &mut self,
        e: &Event,
        id: BufferId,
        way: Transfer,
        (count, is_nonblocking): (u32, bool),
        what: (BufferSize, Option<LockId>),
    ) {
        let buffer = self.buffer(id, way, what);
        let Some(b) = self.current(e) else { return };
        b.run_to(e.at.0);
        b.call = Some(Call {
            buffer,
            way,
            count,
            is_nonblocking,
            at: e.at.0,
            step: b.steps.len(),
            total: b.total,
            n_waits: 0,
            n_tells: 0,
            is_placed: false,
            mutex: Section::None,
            waits: true,
        });
        if let Some(task) = self.id(e.tid) {
            self.take_again(task, e.at.0);
        }
    }

    /// A call begins or goes on behind its wait: it is about to take the buffer's mutex.
    pub(super) fn take_again(&mut self, id: TaskId, at: u64) {
        let Some(call) = self.builds[id.index()].call.filter(|call| call.waits) else { return };
        let mutex = self.shown_mutex(call.buffer);
        let is_shown = mutex.is_some_and(|mutex| !self.called.contains(&mutex));
        let b = &mut self.builds[id.index()];
        let mutex = if is_shown { Section::Ahead(at, b.total) } else { Section::None };
        b.call = Some(Call { mutex, waits: false, ..call });
    }

    /// A task has begun to wait for a mutex, or has got it: perhaps that of its call.
    pub(super) fn reached(&mut self, id: TaskId, mutex: LockIndex) {
        let Some(call) = self.builds[id.index()].call else { return };
        if self.shown_mutex(call.buffer) == Some(mutex) && call.mutex != Section::None {
            let b = &mut self.builds[id.index()];
            b.call = Some(Call { mutex: Section::Held(b.total), ..call });
        }
    }

    /// A call leaves a record of its own when it takes the buffer's mutex.
    pub(super) fn shows_itself(&mut self, id: TaskId, mutex: LockIndex) {
        let Some(call) = self.builds[id.index()].call else { return };
        if self.shown_mutex(call.buffer) == Some(mutex) {
            self.builds[id.index()].call = Some(Call { mutex: Section::None, ..call });
        }
    }

    /// A record says that a mutex is released: whether it is that of a call of which nothing else has
    /// shown that it has it.
    pub(super) fn let_go_if_shown(&mut self, e: &Event, mutex: LockIndex) -> bool {
        let Some(id) = self.id(e.tid) else { return false };
        let Some(call) = self.builds[id.index()].call else { return false };
        let is_of_call =
            call.mutex != Section::None && self.shown_mutex(call.buffer) == Some(mutex);
        if is_of_call {
            self.builds[id.index()].run_to(e.at.0);
            self.let_go(id, e.at.0, End::Seen);
        }
        is_of_call
    }

    /// A call lets go of the buffer's mutex: now, where that is seen, else as long before its end or
    /// its sleep as others do.
    ///
    /// It takes the mutex as late as calls do that have to wait for it, where this one did not.
    pub(super) fn let_go(&mut self, id: TaskId, at: u64, end: End) {
        let Some(call) = self.builds[id.index()].call else { return };
        let enter = self.of_section.enter.0;
        let is_asleep = self.builds[id.index()].asleep.is_some();
        let behind = match is_asleep {
            true => self.of_calls.buffer_sleep.0.saturating_sub(enter),
            false => self.of_section.exit.0,
        };
        let mutex = self.shown_mutex(call.buffer);
        let b = &mut self.builds[id.index()];
        if let Some(mutex) = mutex {
            let since = match call.mutex {
                Section::None => None,
                Section::Held(since) => Some(since),
                Section::Ahead(began, total) => {
                    let since = total.saturating_add(enter).min(b.total);
                    let at = began.saturating_add(since - total).min(at);
                    let op = Op::Lock(mutex);
                    b.steps.push(Step { at, total: since, op, is_doubtful: false });
                    b.held.push(mutex);
                    Some(since)
                }
            };
            if let Some(since) = since {
                let total = match end {
                    End::Seen => b.total,
                    End::Unseen => b.total.saturating_sub(behind).max(since),
                };
                let op = Op::Unlock(mutex);
                b.steps.push(Step { at, total, op, is_doubtful: false });
                b.entered = None;
                if let Some(held) = b.held.iter().rposition(|l| *l == mutex) {
                    b.held.remove(held);
                }
            }
        }
        b.call = Some(Call { mutex: Section::None, waits: b.asleep.is_some(), ..call });
    }

    /// A mutex is released while others wait for it: perhaps that of a call.
    pub(super) fn released(&mut self, e: &Event, lock: LockId) {
        let Some(mutex) = self.lock_index.get(&lock).copied() else { return };
        let Some(id) = self.id(e.tid) else { return };
        let call = self.builds[id.index()].call;
        if call.is_some_and(|call| self.shown_mutex(call.buffer) == Some(mutex)) {
            self.builds[id.index()].run_to(e.at.0);
            self.let_go(id, e.at.0, End::Seen);
        }
    }

    /// A call wakes somebody who waits for the same buffer.
    pub(super) fn tell(&mut self, waker: TaskId, at: u64) {
        self.builds[waker.index()].run_to(at);
        self.let_go(waker, at, End::Seen);
        let b = &mut self.builds[waker.index()];
        let Some(call) = &mut b.call else { return };
        call.n_tells += 1;
        let call = *call;
        let has_mutex =
            self.buffers.list.get(call.buffer.index()).is_some_and(|b| b.mutex.is_some());
        if !has_mutex && !call.is_placed {
            b.push(at, op(&call, 0));
            b.call = Some(Call { is_placed: true, ..call });
        }
    }

    /// A call waited for the buffer from `since` on.
    pub(super) fn waited_for_buffer(&mut self, id: TaskId, since: u64) {
        let b = &mut self.builds[id.index()];
        let Some(call) = b.call else { return };
        if !call.is_placed {
            b.push(since, op(&call, 0));
        }
        b.call = Some(Call { is_placed: true, n_waits: call.n_waits + 1, ..call });
    }

    pub(super) fn transfer_end(&mut self, e: &Event, id: BufferId, ret: i32) {
        let at = e.at.0;
        let Some(task) = self.id(e.tid) else { return };
        let Some(b) = self.current(e) else { return };
        b.run_to(at);
        let Some(buffer) = self.buffers.index.get(&id).copied() else { return };
        self.let_go(task, at, End::Unseen);
        let call = self.builds[task.index()].call.take().filter(|call| call.buffer == buffer);
        let Some(call) = call else { return };
        self.builds[task.index()].call_ended = Some((buffer, at));
        let bytes = u32::try_from(ret).unwrap_or(0);
        if let Some(moved) = self.buffers.moved.get_mut(buffer.index()) {
            let bytes = i64::from(bytes);
            moved.push(match call.way {
                Transfer::Put => (call.at, bytes),
                Transfer::Take => (at, -bytes),
            });
        }
        let mutex = self.buffers.list.get(buffer.index()).and_then(|b| b.mutex);
        // Elsewhere it may find more, or less.
        let bytes = if call.is_nonblocking { call.count.max(bytes) } else { bytes };
        let b = &mut self.builds[task.index()];
        settle(b, &call, mutex, (at, bytes));
        if bytes > 0 {
            leave_out_costs(b, &call, &self.of_calls);
        }
    }
}

/// Leaves one section of the mutex in a call, with its op in it.
fn settle(b: &mut Build, call: &Call, mutex: Option<LockIndex>, (at, bytes): (u64, u32)) {
    let from = call.step.min(b.steps.len());
    let is_op = |op: Op| match op {
        Op::Put { buffer, bytes: 0, .. } | Op::Take { buffer, bytes: 0, .. } => {
            buffer == call.buffer
        }
        _ => false,
    };
    if bytes == 0 {
        // What ended its waits is not known any more: it went on with nothing.
        if let Some(placed) = (from..b.steps.len()).find(|n| is_op(b.steps[*n].op)) {
            b.remove(placed);
        }
        return;
    }
    let moves = op(call, bytes);
    let place_of = |b: &Build, wanted: Op| {
        (from..b.steps.len()).filter(|n| b.steps[*n].op == wanted).collect::<Vec<_>>()
    };
    // A wait that somebody else ended is no part of a section: it was put before that.
    let waited = b.steps[from..].iter().any(Step::leaves);
    if let Some(mutex) = mutex.filter(|_| !waited) {
        let (locks, unlocks) = (place_of(b, Op::Lock(mutex)), place_of(b, Op::Unlock(mutex)));
        let (behind, before) = (locks.get(1..), unlocks.split_last());
        let inner = behind.into_iter().flatten().chain(before.into_iter().flat_map(|(_, r)| r));
        let mut inner: Vec<usize> = inner.copied().collect();
        inner.sort_unstable();
        for n in inner.into_iter().rev() {
            b.remove(n);
        }
    }
    if let Some(placed) = (from..b.steps.len()).find(|n| is_op(b.steps[*n].op)) {
        b.steps[placed].op = moves;
        return;
    }
    let ends = mutex.map(|mutex| place_of(b, Op::Unlock(mutex))).unwrap_or_default();
    let end = if waited { ends.first() } else { ends.last() };
    match end.copied() {
        Some(n) => {
            let (at, total) = (b.steps[n].at, b.steps[n].total);
            b.insert(super::program::Place { step: n, total }, at, moves);
        }
        None => _ = b.push(at, moves),
    }
}

/// Takes what waiting and waking took out of a call's CPU time: a replay adds it where it waits or
/// wakes.
fn leave_out_costs(b: &mut Build, call: &Call, costs: &super::Latencies) {
    let is_op = |op: Op| match op {
        Op::Put { buffer, .. } | Op::Take { buffer, .. } => buffer == call.buffer,
        _ => false,
    };
    let from = call.step.min(b.steps.len());
    let placed = b.steps[from..].iter().find(|step| is_op(step.op)).map(|step| step.total);
    let (begin, end) = (call.total.min(b.total), b.total);
    let middle = placed.filter(|_| call.n_waits > 0).unwrap_or(begin).clamp(begin, end);
    let before = (middle - begin).saturating_sub(costs.buffer_sleep.0 * call.n_waits.min(1));
    let more_sleeps = costs.buffer_sleep.0.saturating_mul(call.n_waits.saturating_sub(1));
    let behind = (end - middle)
        .saturating_sub(more_sleeps)
        .saturating_sub(costs.buffer_wake.0.saturating_mul(call.n_waits))
        .saturating_sub(costs.buffer_tell.0.saturating_mul(call.n_tells));
    if before + behind == end - begin {
        return;
    }
    b.shorten(from, begin, |total| {
        if total <= middle {
            begin + (total - begin).min(before)
        } else {
            begin + before + (total - middle).min(behind)
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_preempted_where_calls_are_left_now_and_then() {
        let mutex = LockIndex(3);
        let points = |inside, behind| {
            let kind = BufferKind::Pipe { pages: 16 };
            let list = vec![DemandBuffer { address: 1, kind, mutex: Some(mutex), filled: 0 }];
            let shown = BTreeSet::from([mutex]);
            let preempted = vec![[inside, behind]];
            Buffers { list, shown, preempted, ..Buffers::default() }.has_preemption_points(mutex)
        };
        // A program that copies 64 KiB a call, twice; hackbench, twice.
        let seen = [(69, 42), (48, 48), (2, 7_037), (7, 4_444), (0, 0)];
        let said = seen.map(|(inside, behind)| points(inside, behind));
        assert_eq!(said, [Some(true), Some(true), Some(false), Some(false), Some(false)]);
        assert_eq!(Buffers::default().has_preemption_points(mutex), None);
    }
}
