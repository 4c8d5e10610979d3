//! Tasks that wait for each other for ever: a replay that stands still says so.
//!
//! A recording shows who ended each wait. In another order two tasks may come to wait for each
//! other, one for a wakeup and the other for a lock, and from then on nothing that they do is a
//! prediction.

use crate::buffer::Way;
use crate::engine::Engine;
use crate::state::{Phase, T};
use model::demand::{BufferIndex, LockIndex};
use model::{Op, TaskId, Timestamp};
use std::collections::BTreeMap;

/// Ops of unfinished programs that are searched for wakeups to come.
const MOST_OPS: usize = 50_000_000;
/// A stall in the last so many hundredths of the recording is its end.
const END_PERCENT: u64 = 5;
/// Of many tasks that wait these are named.
const NAMED: usize = 4;

/// What a task waits for at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    Lock(LockIndex),
    Wakeup,
    /// Bytes in a buffer, or room.
    Buffer(BufferIndex, Way),
}

/// Tasks whose programs still have what ends a wait.
#[derive(Debug, Default)]
struct ToCome {
    /// By the task that waits for a wakeup.
    wakers: Vec<Vec<usize>>,
    /// By buffer: who puts, and who takes.
    movers: BTreeMap<(BufferIndex, Way), Vec<usize>>,
}

impl Engine<'_> {
    /// Says which tasks wait for what only tasks that wait as well could end.
    pub(crate) fn report_stalls(&mut self) {
        let blocked: Vec<Option<Blocked>> =
            (0..self.tasks.len()).map(|t| self.blocked(t)).collect();
        let Some(to_come) = self.ends_to_come(&blocked) else { return };
        let ends_it = |t: usize| -> Vec<usize> {
            match blocked[t] {
                Some(Blocked::Lock(lock)) => {
                    let owner = self.locks[lock.index()].word.owner;
                    owner.map(|o| o as usize).into_iter().collect()
                }
                Some(Blocked::Wakeup) => to_come.wakers[t].clone(),
                Some(Blocked::Buffer(buffer, way)) => {
                    to_come.movers.get(&(buffer, way.opposite())).cloned().unwrap_or_default()
                }
                None => Vec::new(),
            }
        };
        let live = self.live(&blocked, &ends_it);
        let is_stuck = |t: &usize| !live[*t] && !ends_it(*t).is_empty();
        let stuck: Vec<usize> = (0..self.tasks.len()).filter(is_stuck).collect();
        // Who waited first began it.
        let Some(&first) = stuck.iter().min_by_key(|t| (self.tasks[**t].left_cpu, **t)) else {
            return;
        };
        let since = self.tasks[first].left_cpu;
        let span = self.demand.end.0.saturating_sub(self.demand.start.0);
        if self.demand.end.0.saturating_sub(since) * 100 < span * END_PERCENT {
            return;
        }
        let mut path = vec![first];
        while let Some(&next) = path.last().and_then(|t| ends_it(*t).first().copied()).as_ref()
            && !path.contains(&next)
            && path.len() < NAMED
        {
            path.push(next);
        }
        let links: Vec<String> =
            path.iter().filter_map(|t| self.link(*t, blocked[*t], ends_it(*t).first())).collect();
        let text = format!(
            "stall: from here on {} tasks wait for what none of them can end: {}",
            stuck.len(),
            links.join("; ")
        );
        self.note_stall(Timestamp(since), text);
    }

    fn blocked(&self, t: usize) -> Option<Blocked> {
        if let Some(lock) = self.lock_waited_for(t) {
            return Some(Blocked::Lock(lock));
        }
        if self.tasks[t].call.is_behind_wait() && self.tasks[t].asleep.is_some() {
            let op = T::try_from(t).ok().and_then(|t| self.op(t));
            return op.and_then(moves).map(|(buffer, way)| Blocked::Buffer(buffer, way));
        }
        self.tasks[t].awaits_wake.then_some(Blocked::Wakeup)
    }

    /// Whose programs still have what others wait for; `None` where there is too much to look at.
    fn ends_to_come(&mut self, blocked: &[Option<Blocked>]) -> Option<ToCome> {
        let wakers = vec![Vec::new(); self.tasks.len()];
        let mut to_come = ToCome { wakers, ..ToCome::default() };
        let looks_ahead =
            |b: &Option<Blocked>| matches!(b, Some(Blocked::Wakeup | Blocked::Buffer(..)));
        if !blocked.iter().any(looks_ahead) {
            return Some(to_come);
        }
        let mut n_read = 0;
        let mut ops = Vec::new();
        for t in 0..self.tasks.len() {
            let mut from = self.tasks[t].pc;
            loop {
                ops.clear();
                let task = TaskId(u32::try_from(t).ok()?);
                self.ends.programs.read(task, from, &mut ops);
                if ops.is_empty() {
                    break;
                }
                from += ops.len();
                n_read += ops.len();
                if n_read > MOST_OPS {
                    return None;
                }
                for op in &ops {
                    let list = match (op, moves(*op)) {
                        (Op::Wake { target }, _) => to_come.wakers.get_mut(target.index()),
                        (_, Some(moved)) => Some(to_come.movers.entry(moved).or_default()),
                        _ => None,
                    };
                    if let Some(list) = list
                        && list.last() != Some(&t)
                    {
                        list.push(t);
                    }
                }
            }
        }
        Some(to_come)
    }

    /// Who goes on, or will when somebody who goes on has come that far.
    fn live(
        &self,
        blocked: &[Option<Blocked>],
        ends_it: &impl Fn(usize) -> Vec<usize>,
    ) -> Vec<bool> {
        let n = self.tasks.len();
        let mut waits_on: Vec<Vec<usize>> = vec![Vec::new(); n];
        let mut live = vec![false; n];
        let mut open = Vec::new();
        for t in 0..n {
            let ends = ends_it(t);
            for &other in &ends {
                waits_on[other].push(t);
            }
            let is_free = matches!(blocked[t], Some(Blocked::Lock(_))) && ends.is_empty();
            let is_done = blocked[t].is_none() && self.tasks[t].phase == Phase::Done;
            if (blocked[t].is_none() && !is_done) || is_free {
                live[t] = true;
                open.push(t);
            }
        }
        while let Some(t) = open.pop() {
            for &waiter in &waits_on[t] {
                if !live[waiter] {
                    live[waiter] = true;
                    open.push(waiter);
                }
            }
        }
        live
    }

    /// `A (12) waits for mutex 0x1 of B (13)`.
    fn link(&self, t: usize, blocked: Option<Blocked>, by: Option<&usize>) -> Option<String> {
        let name = |t: usize| {
            let task = &self.tasks[t];
            format!("{} ({})", self.demand.names.text(task.comm), task.tid.0)
        };
        let by = name(*by?);
        Some(match blocked? {
            Blocked::Lock(lock) => {
                let address = self.demand.locks.get(lock.index()).map_or(0, |l| l.lock.0);
                format!("{} waits for lock {address:#x} of {by}", name(t))
            }
            Blocked::Wakeup => format!("{} waits to be woken by {by}", name(t)),
            Blocked::Buffer(buffer, way) => {
                let address = self.demand.buffers.get(buffer.index()).map_or(0, |b| b.address);
                let what = if way == Way::Put { "room" } else { "bytes" };
                format!("{} waits for {what} in {address:#x} of {by}", name(t))
            }
        })
    }
}

/// The buffer that an op moves bytes through and may wait for, and the way.
fn moves(op: Op) -> Option<(BufferIndex, Way)> {
    match op {
        Op::Put { buffer, .. } => Some((buffer, Way::Put)),
        Op::Take { buffer, .. } => Some((buffer, Way::Take)),
        _ => None,
    }
}
