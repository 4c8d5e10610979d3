//! What a task of a scenario does, step by step.

use super::parse::Draft;
use super::word::{Word, Words};
use super::{Class, Millis, lock};
use crate::{Error, LockFlags, Nanos, PrevState, Timestamp};

/// One step of a task. Locks are indexes into [`super::Script::locks`], tasks into
/// [`super::Script::tasks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Compute.
    Run(Nanos),
    /// Compute until this span has passed, on a CPU or not.
    BusyWait(Nanos),
    /// Acquire a mutex.
    Lock(usize),
    /// Acquire a mutex unless a signal comes first.
    LockInterruptible(usize),
    /// Acquire a mutex or go on without it.
    Trylock(usize),
    /// The same, where it was not acquired: there is no section to run.
    TrylockFailed(usize),
    /// Release a mutex.
    Unlock(usize),
    /// Put so many bytes into a buffer, an index into [`super::Script::buffers`].
    Put(usize, u32, Blocking),
    /// Take so many bytes out of a buffer.
    Take(usize, u32, Blocking),
    /// Begin to wait for a lock that it does not acquire by itself, in this way.
    Contend(usize, LockFlags),
    /// That wait is over; 0 or `-errno`.
    Contended(usize, i32),
    /// Sleep for a span.
    Sleep(Nanos, Asleep),
    /// Sleep until a point.
    SleepUntil(Timestamp, Asleep),
    /// Sleep until behind a tick.
    SleepTicks {
        /// Which tick from now on; the next one is 1.
        nth: u32,
        /// How long behind it.
        after: Nanos,
        /// How it sleeps.
        asleep: Asleep,
    },
    /// Sleep until the next release of a periodic task.
    SleepEvery {
        /// Distance of two releases.
        period: Nanos,
        /// Any one release.
        phase: Timestamp,
        /// How it sleeps.
        asleep: Asleep,
    },
    /// Wait for one wake.
    Wait(Asleep),
    /// Wake another task.
    Wake(usize),
    /// Send a signal to another task.
    Signal(usize),
    /// Make a new task runnable.
    Fork(usize),
    /// Change class and priority; with a fair task's own slice.
    Set(Class, Option<Nanos>),
    /// From here on it may run only where it is `allowed`.
    KeepAffinity,
    /// Give up the CPU, stay runnable.
    Yield,
    /// End.
    Exit,
    /// No step: a place in a loop.
    Mark(Mark),
}

/// Whether a call waits where there is nothing to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// It waits.
    Yes,
    /// It goes on with less.
    No,
}

/// How a task sleeps, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// State meanwhile.
    pub state: PrevState,
    /// The lock that is waited for, and as what.
    pub on: Option<(usize, LockFlags)>,
}

impl Default for Asleep {
    fn default() -> Self {
        Self { state: PrevState::Interruptible, on: None }
    }
}

/// Places in a loop that goes on as long as there is time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A round begins that can be run once more.
    Round,
    /// A round begins that is run once.
    RoundOnce,
    /// From here on, the loop may end when its date has come.
    MayEnd,
    /// The loop's end.
    RoundsOver,
}

const STEPS: &str = "run, busy-wait, lock, lock-interruptible, trylock, trylock-failed, unlock, put, take, contend, contended, keep-affinity, sleep, \
                     sleep-until, sleep-ticks, sleep-every, wait, wake, signal, fork, set, yield, exit, round, \
                     round-once, may-end, rounds-over, ...";

/// States by their letter.
const STATES: [PrevState; 9] = [
    PrevState::Runnable,
    PrevState::Preempted,
    PrevState::Interruptible,
    PrevState::Uninterruptible,
    PrevState::IdleSleep,
    PrevState::Stopped,
    PrevState::Parked,
    PrevState::Dead,
    PrevState::Unknown,
];

/// Reads a step.
pub(super) fn read<'t>(
    word: Word<'t>,
    words: &mut Words<'_, 't>,
    draft: &mut Draft<'t>,
) -> Result<Step, Error> {
    let mut lock = |words: &mut Words<'_, 't>| draft.lock(words.argument(word, "a lock")?);
    Ok(match word.text {
        "run" => Step::Run(words.span(word)?),
        "busy-wait" => Step::BusyWait(words.span(word)?),
        "lock" => Step::Lock(lock(words)?),
        "lock-interruptible" => Step::LockInterruptible(lock(words)?),
        "trylock" => Step::Trylock(lock(words)?),
        "trylock-failed" => Step::TrylockFailed(lock(words)?),
        "unlock" => Step::Unlock(lock(words)?),
        "put" | "take" => transfer(word, words, draft)?,
        "contend" => {
            let lock = lock(words)?;
            let flags = match words.next_if("as") {
                Some(word) => lock::flags(words.argument(word, "flags, as in `read`")?)?,
                None => draft.script.locks[lock].flags,
            };
            Step::Contend(lock, flags)
        }
        "contended" => {
            let lock = lock(words)?;
            let ret = match words.next_if("ret") {
                Some(word) => words.integer(word, i32::MIN..=i32::MAX)?,
                None => 0,
            };
            Step::Contended(lock, ret)
        }
        "sleep" => Step::Sleep(words.span(word)?, asleep(words, draft)?),
        "sleep-until" => Step::SleepUntil(Timestamp(words.span(word)?.0), asleep(words, draft)?),
        "sleep-ticks" => {
            let nth = words.integer(word, 0..=i32::MAX)?.unsigned_abs();
            let after = match words.next_if("after") {
                Some(after) => words.span(after)?,
                None => Nanos(0),
            };
            Step::SleepTicks { nth, after, asleep: asleep(words, draft)? }
        }
        "sleep-every" => {
            let (period, phase) = (words.span(word)?, Timestamp(words.span(word)?.0));
            if period == Nanos(0) {
                return Err(word.error("`sleep-every 0` has no next release"));
            }
            Step::SleepEvery { period, phase, asleep: asleep(words, draft)? }
        }
        "wait" => Step::Wait(asleep(words, draft)?),
        "wake" => Step::Wake(draft.task(words.argument(word, "a task")?)?),
        "signal" => Step::Signal(draft.task(words.argument(word, "a task")?)?),
        "fork" => Step::Fork(draft.task(words.argument(word, "a task")?)?),
        "set" => set(word, words)?,
        "keep-affinity" => Step::KeepAffinity,
        "yield" => Step::Yield,
        "exit" => Step::Exit,
        "round" => Step::Mark(Mark::Round),
        "round-once" => Step::Mark(Mark::RoundOnce),
        "may-end" => Step::Mark(Mark::MayEnd),
        "rounds-over" => Step::Mark(Mark::RoundsOver),
        other => {
            let number = Millis::from_text(other).is_some();
            let kind = if number { "out of place" } else { "unknown" };
            return Err(word.error(format!(
                "`{other}` is {kind}; attributes are {}; steps are {STEPS}",
                super::task::ATTRIBUTES
            )));
        }
    })
}

/// Reads `BUFFER BYTES [nonblocking]`; `word` says which way.
fn transfer<'t>(
    word: Word<'t>,
    words: &mut Words<'_, 't>,
    draft: &Draft<'t>,
) -> Result<Step, Error> {
    let buffer = draft.buffer(words.argument(word, "a buffer")?)?;
    let bytes = words.integer(word, 1..=i32::MAX)?.unsigned_abs();
    let blocking = match words.next_if("nonblocking") {
        Some(_) => Blocking::No,
        None => Blocking::Yes,
    };
    let step = if word.text == "put" { Step::Put } else { Step::Take };
    Ok(step(buffer, bytes, blocking))
}

/// Reads `[STATE] [on LOCK [as FLAGS]]`.
fn asleep<'t>(words: &mut Words<'_, 't>, draft: &mut Draft<'t>) -> Result<Asleep, Error> {
    let mut asleep = Asleep::default();
    let by_letter = |word: Word<'_>| STATES.into_iter().find(|s| s.letter() == word.text);
    if let Some(state) = words.peek().and_then(by_letter) {
        words.next();
        asleep.state = state;
    }
    if let Some(on) = words.next_if("on") {
        let lock = draft.lock(words.argument(on, "a lock")?)?;
        let flags = match words.next_if("as") {
            Some(word) => lock::flags(words.argument(word, "flags, as in `read`")?)?,
            None => draft.script.locks[lock].flags,
        };
        asleep.on = Some((lock, flags));
    }
    Ok(asleep)
}

/// Reads a class with its `nice` and `slice`.
fn set(word: Word<'_>, words: &mut Words<'_, '_>) -> Result<Step, Error> {
    let name = words.argument(word, "a class, as in `set fifo 50`")?;
    let Some(mut class) = Class::read(name, words)? else {
        return Err(name.error(format!("`{}` is no class", name.text)));
    };
    if let Some(nice) = words.next_if("nice") {
        class = class.at_nice(nice, words)?;
    }
    let slice = match words.next_if("slice") {
        Some(slice) => Some(words.span(slice)?),
        None => None,
    };
    Ok(Step::Set(class, slice))
}
