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

use crate::{CpuId, Event, LockFlags, LockHolder, LockId, OwnerBits, Recording, SchedEvent, Tid};
use std::collections::{BTreeMap, BTreeSet};

/// `FUTEX_CMD_MASK`: without the flags for private words and the clock.
const COMMAND: u32 = !(128 | 256);
/// `FUTEX_WAIT` and `FUTEX_WAIT_BITSET`, which a timed wait is.
const WAITS: [u32; 2] = [0, 9];
/// `FUTEX_LOCK_PI` and `FUTEX_LOCK_PI2`: they return when the mutex is had.
const LOCKS: [u32; 2] = [6, 13];
/// `FUTEX_WAKE` and `FUTEX_UNLOCK_PI`.
const RELEASES: [u32; 2] = [1, 7];
/// `FUTEX_PRIVATE_FLAG`: without it threads of other processes may use the word too.
const PRIVATE: u32 = 128;
/// What the kernel keeps to itself: a signal interrupted the call, which begins again.
const RESTARTS: std::ops::RangeInclusive<i32> = -516..=-512;
/// `-EAGAIN`: the word had changed before the wait began. `-EINTR`: a signal came.
const CHANGED: i32 = -11;
const INTERRUPTED: i32 = -4;

/// A word of a program: the process and the address. A word that processes share is known by its
/// address alone, which children of one parent have in common.
type Word = (Tid, u64);

/// Where a word is that processes share.
const SHARED: Tid = Tid::IDLE;

/// What a task does on a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Wait {
        owner: Option<Tid>,
    },
    /// The same, and it has the mutex when it returns 0.
    Lock {
        owner: Option<Tid>,
    },
    Wake,
    Other,
}

/// A futex call, with what came of it.
#[derive(Clone, Copy, Debug)]
struct Futex {
    tid: Tid,
    process: Tid,
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
    let locks = mutexes(&calls, &recording.events);
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
                    command if LOCKS.contains(&command) => Call::Lock { owner },
                    command if RELEASES.contains(&command) => Call::Wake,
                    _ => Call::Other,
                };
                open.insert(event.tid, calls.len());
                let word = (if op & PRIVATE == 0 { SHARED } else { process }, uaddr);
                calls.push(Futex { tid: event.tid, process, word, call, begin: n, end: None });
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
fn mutexes(calls: &[Futex], events: &[Event]) -> BTreeMap<Word, LockId> {
    let has_shared = calls.iter().any(|call| call.word.0 == SHARED);
    let threads: BTreeSet<Tid> =
        events.iter().filter(|_| has_shared).map(|event| event.tid).collect();
    let process_of: BTreeMap<Tid, Tid> =
        calls.iter().map(|call| (call.tid, call.process)).collect();
    // How many waits there are, and how many name an owner.
    let mut waits: BTreeMap<Word, (usize, usize)> = BTreeMap::new();
    for call in calls {
        let (Call::Wait { owner } | Call::Lock { owner }) = call.call else { continue };
        // An owner releases with a call, unless it dies with a mutex that is robust.
        let is_thread = |owner: &Tid| {
            process_of.get(owner) == Some(&call.process)
                || call.word.0 == SHARED && threads.contains(owner)
        };
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
fn written(calls: &[Futex], locks: &BTreeMap<Word, LockId>) -> (Vec<(usize, SchedEvent)>, usize) {
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
            Call::Wait { owner } | Call::Lock { owner } => {
                let is_wait = |call: &Futex| matches!(call.call, Call::Wait { .. });
                let goes_on_with = |ret| {
                    let ends = is_wait(call) && (ret >= 0 || ret == CHANGED || ret == INTERRUPTED);
                    ends || RESTARTS.contains(&ret)
                };
                // Who tries again behind that did not get it; a wait in vain is one by itself.
                let again = follows[n].filter(|next| {
                    let next = &calls[*next];
                    call.end.is_none_or(|(_, ret)| goes_on_with(ret))
                        && next.word == call.word
                        && !matches!(next.call, Call::Wake | Call::Other)
                });
                if !goes_on[n] {
                    n_waits += 1;
                    beside.push((call.begin, SchedEvent::ContentionBegin { lock, flags }));
                }
                if let Some(owner) = owner.filter(|owner| *owner != call.tid) {
                    let holder =
                        LockHolder { tid: owner, prio: 0, is_on_cpu: false, cpu: CpuId::default() };
                    let owner = Some(holder);
                    let bits = OwnerBits::default();
                    beside.push((call.begin, SchedEvent::LockOwner { lock, flags, owner, bits }));
                }
                match (again, call.end) {
                    (Some(again), _) => goes_on[again] = true,
                    (None, Some((end, ret))) => {
                        let got_it = ret >= 0 || ret == CHANGED;
                        // It does not begin again: its task is gone.
                        let ret = if RESTARTS.contains(&ret) { INTERRUPTED } else { ret };
                        let ret = if got_it { 0 } else { ret };
                        beside.push((end, SchedEvent::ContentionEnd { lock, ret }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Timestamp};
    use expect_test::{Expect, expect};
    use std::fmt::Write;

    /// Lines as `7 wait a owner 8`, `7 wake a`, `7 ret 0`: thread, call, word. Threads 1 to 9 are of
    /// process 1, 11 to 19 of process 11; a word in capitals is one that processes share.
    fn recording(text: &str) -> Recording {
        let event = |(n, line): (usize, &str)| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |word: &str| word.parse::<i32>().expect("a number");
            let tid = Tid(number(words[0]));
            let kind = if words[1] == "ret" {
                SchedEvent::FutexEnd { ret: number(words[2]) }
            } else {
                let word = words[2].as_bytes()[0];
                let command = match words[1] {
                    "wait" => 0,
                    "timed" => 9,
                    "lock-pi" => 6,
                    "unlock-pi" => 7,
                    _ => 1,
                };
                SchedEvent::FutexBegin {
                    uaddr: u64::from(word.to_ascii_lowercase()),
                    op: command | if word.is_ascii_uppercase() { 0 } else { PRIVATE },
                    val: 2,
                    process: Some(Tid(tid.0 / 10 * 10 + 1)),
                    owner: words.get(4).map(|owner| Tid(number(owner))),
                }
            };
            let at = Timestamp(n as u64);
            Event { at, cpu: CpuId(0), context: Context::Task, tid, kind }
        };
        let events = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Recording { events: events.enumerate().map(event).collect(), ..Recording::default() }
    }

    fn check(text: &str, expected: &Expect) {
        let mut recording = recording(text);
        let n = resolve(&mut recording);
        let mut told = format!("{n} waits\n");
        for event in &recording.events {
            let (at, tid) = (event.at.0, event.tid.0);
            let _ = match event.kind {
                SchedEvent::ContentionBegin { .. } => writeln!(told, "{at} {tid} begins"),
                SchedEvent::ContentionEnd { ret, .. } => writeln!(told, "{at} {tid} ends {ret}"),
                SchedEvent::ContendedRelease { .. } => writeln!(told, "{at} {tid} releases"),
                SchedEvent::LockOwner { owner: Some(owner), .. } => {
                    writeln!(told, "{at} {tid} finds {}", owner.tid.0)
                }
                _ => Ok(()),
            };
        }
        expected.assert_eq(&told);
    }

    #[test]
    fn a_wait_goes_on_until_the_thread_has_the_mutex() {
        let text = "2 wait a owner 3\n3 wake a\n3 ret 1\n2 ret 0\n2 wait a owner 4\n4 wake a\n\
                    4 ret 1\n2 ret 0\n2 wake a\n2 ret 0";
        check(
            text,
            &expect![[r#"
            1 waits
            0 2 begins
            0 2 finds 3
            1 3 releases
            4 2 finds 4
            5 4 releases
            7 2 ends 0
            8 2 releases
        "#]],
        );
    }

    #[test]
    fn a_wait_in_vain_is_one_by_itself() {
        let text =
            "3 wake a\n3 ret 0\n2 timed a owner 3\n2 ret -110\n2 timed a owner 3\n2 ret -110";
        check(
            text,
            &expect![[r#"
            2 waits
            0 3 releases
            2 2 begins
            2 2 finds 3
            3 2 ends -110
            4 2 begins
            4 2 finds 3
            5 2 ends -110
        "#]],
        );
    }

    #[test]
    fn who_is_killed_waits_no_longer() {
        let text = "3 wake a\n3 ret 0\n2 wait a owner 3\n2 ret -512";
        check(
            text,
            &expect![[r#"
            1 waits
            0 3 releases
            2 2 begins
            2 2 finds 3
            3 2 ends -4
        "#]],
        );
    }

    #[test]
    fn words_that_name_no_thread_of_the_process_are_no_mutexes() {
        let other = "12 wake b\n12 ret 0\n2 wait a owner 12\n2 ret 0";
        let nobody = "3 wake a\n3 ret 0\n2 wait a\n2 ret 0";
        let itself = "3 wake a\n3 ret 0\n2 wait a owner 2\n2 ret 0";
        for text in [other, nobody, itself] {
            check(
                text,
                &expect![[r#"
                0 waits
            "#]],
            );
        }
    }

    #[test]
    fn processes_share_words_that_are_not_private() {
        let text = "12 wake A\n12 ret 0\n2 wait A owner 12\n12 wake A\n12 ret 1\n2 ret 0";
        check(
            text,
            &expect![[r#"
            1 waits
            0 12 releases
            2 2 begins
            2 2 finds 12
            3 12 releases
            5 2 ends 0
        "#]],
        );
    }

    #[test]
    fn an_owner_may_die_with_a_mutex_that_is_robust() {
        let text = "12 ret 0\n2 wait A owner 12\n2 ret 0";
        check(
            text,
            &expect![[r#"
            1 waits
            1 2 begins
            1 2 finds 12
            2 2 ends 0
        "#]],
        );
    }

    #[test]
    fn a_lock_that_inherits_is_had_when_the_call_returns() {
        let text = "3 unlock-pi a\n3 ret 0\n2 lock-pi a owner 3\n3 unlock-pi a\n3 ret 0\n2 ret 0\n\
                    2 unlock-pi a\n2 ret 0\n2 lock-pi a owner 3\n2 ret 0";
        check(
            text,
            &expect![[r#"
            2 waits
            0 3 releases
            2 2 begins
            2 2 finds 3
            3 3 releases
            5 2 ends 0
            6 2 releases
            8 2 begins
            8 2 finds 3
            9 2 ends 0
        "#]],
        );
    }
}
