//! Futex calls into waits for the mutexes of programs.
//!
//! A thread that finds a mutex of glibc's taken waits in `FUTEX_WAIT` on its word; who releases a mutex
//! that somebody has waited for says so with `FUTEX_WAKE`. Between the two the recorder reads who
//! the owner is. That is as much as the kernel's own events tell of its mutexes, so it is written down
//! in their words: a wait begins and ends, with an owner, and a release. Whatever is made of those
//! holds of these too.
//!
//! # Source
//!
//! `nptl/lowlevellock.h` and `nptl/pthread_mutex_lock.c` of glibc: a word of 2 says that somebody may
//! wait, and the owner's thread number stands eight bytes behind it. `futex(2)`.

use crate::{
    CpuId, Event, LockFlags, LockHolder, LockId, OwnerBits, Recording, SchedEvent, Tid,
};
use std::collections::BTreeMap;

/// `FUTEX_CMD_MASK`: without the flags for private words and the clock.
const COMMAND: u32 = !(128 | 256);
/// `FUTEX_WAIT` and `FUTEX_WAIT_BITSET`, which a timed wait is.
const WAITS: [u32; 2] = [0, 9];
/// `FUTEX_WAKE`.
const WAKE: u32 = 1;
/// What the kernel keeps to itself: a signal interrupted the call, which begins again.
const RESTARTS: std::ops::RangeInclusive<i32> = -516..=-512;
/// `-EAGAIN`: the word had changed before the wait began.
const CHANGED: i32 = -11;

/// A word of a program: the process and the address.
type Word = (Tid, u64);

/// What a task does on a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Wait { owner: Option<Tid> },
    Wake,
    Other,
}

/// A futex call, with what came of it.
#[derive(Clone, Copy, Debug)]
struct Futex {
    tid: Tid,
    word: Word,
    call: Call,
    begin: usize,
    /// The event and the result; `None` while it goes on when the recording ends.
    end: Option<(usize, i32)>,
}

/// Writes waits for the mutexes of programs, and their releases, beside the futex calls of a
/// recording; returns how many waits.
///
/// Words are mutexes when most waits for them name an owner, and that is another thread of the same
/// process. Recordings without our recorder's `futex_begin` name none and are left as they are.
pub fn resolve(recording: &mut Recording) -> usize {
    let calls = calls(&recording.events);
    let locks = mutexes(&calls);
    if locks.is_empty() {
        return 0;
    }
    let (beside, n_waits) = written(&calls, &locks);
    let mut beside = beside.into_iter().peekable();
    let events = std::mem::take(&mut recording.events);
    recording.events.reserve(events.len() + beside.len());
    for (n, event) in events.into_iter().enumerate() {
        recording.events.push(event);
        while let Some((_, kind)) = beside.next_if(|(at, _)| *at == n) {
            recording.events.push(Event { kind, ..event });
        }
    }
    n_waits
}

/// All futex calls of which the process is told, in the order in which they begin.
fn calls(events: &[Event]) -> Vec<Futex> {
    let mut calls: Vec<Futex> = Vec::new();
    let mut open: BTreeMap<Tid, usize> = BTreeMap::new();
    for (n, event) in events.iter().enumerate() {
        match event.kind {
            SchedEvent::FutexBegin { uaddr, op, process: Some(process), owner, .. } => {
                let call = match op & COMMAND {
                    command if WAITS.contains(&command) => Call::Wait { owner },
                    WAKE => Call::Wake,
                    _ => Call::Other,
                };
                open.insert(event.tid, calls.len());
                let word = (process, uaddr);
                calls.push(Futex { tid: event.tid, word, call, begin: n, end: None });
            }
            SchedEvent::FutexEnd { ret } => {
                if let Some(call) = open.remove(&event.tid).and_then(|at| calls.get_mut(at)) {
                    call.end = Some((n, ret));
                }
            }
            SchedEvent::Exit { tid, .. } => {
                open.remove(&tid);
            }
            _ => {}
        }
    }
    calls
}

/// The words that are mutexes.
fn mutexes(calls: &[Futex]) -> BTreeMap<Word, LockId> {
    let process_of: BTreeMap<Tid, Tid> = calls.iter().map(|call| (call.tid, call.word.0)).collect();
    // How many waits there are, and how many name an owner.
    let mut waits: BTreeMap<Word, (usize, usize)> = BTreeMap::new();
    for call in calls {
        let Call::Wait { owner } = call.call else { continue };
        let is_thread = |owner: &Tid| process_of.get(owner) == Some(&call.word.0);
        let names_one = owner.filter(|owner| *owner != call.tid).is_some_and(|o| is_thread(&o));
        let counts = waits.entry(call.word).or_default();
        *counts = (counts.0 + 1, counts.1 + usize::from(names_one));
    }
    let is_mutex = |(_, (all, named)): &(&Word, &(usize, usize))| named * 2 > *all;
    let mut spaces: BTreeMap<u64, u32> = BTreeMap::new();
    let mut locks = BTreeMap::new();
    for (word, _) in waits.iter().filter(is_mutex) {
        let space = spaces.entry(word.1).or_default();
        locks.insert(*word, LockId::of_program(word.1, *space));
        *space += 1;
    }
    locks
}

/// What is written beside which event, in their order, and how many waits begin.
fn written(
    calls: &[Futex],
    locks: &BTreeMap<Word, LockId>,
) -> (Vec<(usize, SchedEvent)>, usize) {
    let mut next: BTreeMap<Tid, usize> = BTreeMap::new();
    // The next call of the same task.
    let mut follows = vec![None; calls.len()];
    for (n, call) in calls.iter().enumerate().rev() {
        follows[n] = next.insert(call.tid, n);
    }
    let flags = LockFlags(LockFlags::USER);
    let mut goes_on = vec![false; calls.len()];
    let (mut beside, mut n_waits) = (Vec::new(), 0);
    for (n, call) in calls.iter().enumerate() {
        let Some(lock) = locks.get(&call.word).copied() else { continue };
        match call.call {
            Call::Wake => beside.push((call.begin, SchedEvent::ContendedRelease { lock })),
            Call::Wait { owner } => {
                // Who tries again at once did not get it.
                let again = follows[n].filter(|next| {
                    let next = &calls[*next];
                    next.word == call.word && matches!(next.call, Call::Wait { .. })
                });
                if !goes_on[n] {
                    n_waits += 1;
                    beside.push((call.begin, SchedEvent::ContentionBegin { lock, flags }));
                }
                if let Some(owner) = owner.filter(|owner| *owner != call.tid) {
                    let holder = LockHolder {
                        tid: owner,
                        prio: 0,
                        is_on_cpu: false,
                        cpu: CpuId::default(),
                    };
                    let owner = Some(holder);
                    let bits = OwnerBits::default();
                    beside.push((
                        call.begin,
                        SchedEvent::LockOwner { lock, flags, owner, bits },
                    ));
                }
                match (again, call.end) {
                    (Some(again), _) => goes_on[again] = true,
                    (None, Some((end, ret))) => {
                        let got_it = ret >= 0 || ret == CHANGED;
                        if !RESTARTS.contains(&ret) {
                            let ret = if got_it { 0 } else { ret };
                            beside.push((end, SchedEvent::ContentionEnd { lock, ret }));
                        }
                    }
                    (None, None) => {}
                }
            }
            Call::Other => {}
        }
    }
    beside.sort_by_key(|(at, _)| *at);
    (beside, n_waits)
}
