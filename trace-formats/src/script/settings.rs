//! The settings of a scenario, one a line, as they are read.

use super::parse::Draft;
use super::word::{Word, Words};
use super::{CpuList, Group, Latencies, Machine, Preemption, Sharing, buffer, lock};
use crate::{Error, Nanos, Timestamp};

/// Most CPUs of a machine.
const MOST_CPUS: u64 = 4096;

/// Words that begin a setting.
pub(super) const SETTINGS: [&str; 26] = [
    "cpus",
    "per-core",
    "per-cache",
    "per-node",
    "cores",
    "caches",
    "nodes",
    "hz",
    "tick-phase",
    "hrtick",
    "slice",
    "preemption",
    "newidle",
    "passes-over-halted",
    "latency",
    "assumed",
    "start",
    "end",
    "group",
    "mutex",
    "rwsem",
    "rt-mutex",
    "user-mutex",
    "pipe",
    "socket",
    "not",
];

/// Fills in the base slice, and checks what needs the whole machine.
pub(super) fn settle(draft: &mut Draft<'_>) -> Result<(), Error> {
    let machine = &mut draft.script.machine;
    let cpus = machine.cpus.len();
    if machine.base_slice == Nanos(0) {
        machine.base_slice = Machine::usual_slice(cpus);
    }
    for word in &draft.to_check {
        let listed = match (word.text, &machine.cores, &machine.caches, &machine.nodes) {
            ("cores", Sharing::Listed(list), ..)
            | ("caches", _, Sharing::Listed(list), _)
            | ("nodes", .., Sharing::Listed(list)) => list.len(),
            ("newidle", ..) if machine.newidle.len() > 1 => machine.newidle.len(),
            ("end", ..) if machine.end.is_some_and(|end| end < machine.start) => {
                return Err(word.error("the end is before the start"));
            }
            _ => continue,
        };
        if listed as u64 != cpus {
            let text = word.text;
            return Err(word.error(format!("`{text}` needs {cpus} numbers, one for each CPU")));
        }
    }
    Ok(())
}

/// Reads one setting; false, and nothing read, when the statement is a task.
pub(super) fn read<'t>(words: &mut Words<'_, 't>, draft: &mut Draft<'t>) -> Result<bool, Error> {
    let Some(word) = words.peek() else { return Ok(false) };
    if !SETTINGS.contains(&word.text) {
        return Ok(false);
    }
    words.next();
    match word.text {
        "rwsem" | "rt-mutex" | "user-mutex" | "mutex" => lock::read(word, words, draft)?,
        "pipe" | "socket" => buffer::read(word, words, draft)?,
        "group" => group(word, words, draft)?,
        "not" => draft.script.not_yet = Some(reason(word, words)?),
        "cores" | "caches" | "nodes" | "newidle" | "end" => {
            draft.to_check.push(word);
            setting(word, words, &mut draft.script.machine)?;
        }
        _ => setting(word, words, &mut draft.script.machine)?,
    }
    words.end()?;
    Ok(true)
}

fn setting(word: Word<'_>, words: &mut Words<'_, '_>, machine: &mut Machine) -> Result<(), Error> {
    match word.text {
        "cpus" => machine.cpus = cpus(word, words)?,
        "per-core" => machine.cores = per(word, words)?,
        "per-cache" => machine.caches = per(word, words)?,
        "per-node" => machine.nodes = per(word, words)?,
        "cores" => machine.cores = Sharing::Listed(numbers(words)?),
        "caches" => machine.caches = Sharing::Listed(numbers(words)?),
        "nodes" => machine.nodes = Sharing::Listed(numbers(words)?),
        "newidle" => machine.newidle = chances(word, words)?,
        "hz" => machine.hz = words.integer(word, 1..=100_000)?.unsigned_abs(),
        "tick-phase" => machine.tick_phase = words.span(word)?,
        "slice" => machine.base_slice = words.span(word)?,
        "start" => machine.start = Timestamp(words.span(word)?.0),
        "end" => machine.end = Some(Timestamp(words.span(word)?.0)),
        "latency" => latencies(words, &mut machine.latencies)?,
        "assumed" => {
            let what = words.argument(word, "what is assumed, in quotes")?;
            machine.assumed.push(what.name()?.into_owned());
        }
        "hrtick" => machine.hrtick = on_or_off(word, words)?,
        "passes-over-halted" => machine.passes_over_halted = on_or_off(word, words)?,
        "preemption" => {
            machine.preemption = preemption(words.argument(word, "a preemption model")?)?;
        }
        other => return Err(word.error(format!("`{other}` begins no setting"))),
    }
    Ok(())
}

fn on_or_off(word: Word<'_>, words: &mut Words<'_, '_>) -> Result<bool, Error> {
    let state = words.argument(word, "`on` or `off`")?;
    match state.text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(state.error(format!("`{}` is on or off, not `{other}`", word.text))),
    }
}

/// Reads how many CPUs there are, or which.
fn cpus(word: Word<'_>, words: &mut Words<'_, '_>) -> Result<CpuList, Error> {
    if words.peek().is_none_or(|next| !next.text.contains(['-', ','])) {
        return Ok(CpuList::first(words.integer(word, 1..=4096)?.unsigned_abs()));
    }
    let list = words.argument(word, "CPUs")?;
    let cpus = list.cpus()?;
    if cpus.len() > MOST_CPUS {
        return Err(list.error(format!("{} CPUs are more than {MOST_CPUS}", cpus.len())));
    }
    Ok(cpus)
}

fn per(word: Word<'_>, words: &mut Words<'_, '_>) -> Result<Sharing, Error> {
    Ok(Sharing::Per(words.integer(word, 1..=1 << 16)?.unsigned_abs()))
}

fn numbers(words: &mut Words<'_, '_>) -> Result<Vec<u32>, Error> {
    let mut numbers = Vec::new();
    while let Some(word) = words.next() {
        let number = word.text.parse().ok();
        numbers.push(number.ok_or_else(|| word.error(format!("`{}` is no number", word.text)))?);
    }
    Ok(numbers)
}

/// Reads one chance for all CPUs, or one for each; `?` is one that is not known.
fn chances(word: Word<'_>, words: &mut Words<'_, '_>) -> Result<Vec<Option<u32>>, Error> {
    let mut chances = Vec::new();
    while let Some(word) = words.next() {
        let number = word.text.parse().ok().map(Some);
        let chance = if word.text == "?" { Some(None) } else { number };
        chances.push(
            chance.ok_or_else(|| {
                word.error(format!("`{}` is neither a number nor `?`", word.text))
            })?,
        );
    }
    if chances.is_empty() {
        return Err(word.error("`newidle` needs a number of 1024, or one for each CPU"));
    }
    Ok(chances)
}

fn latencies(words: &mut Words<'_, '_>, latencies: &mut Latencies) -> Result<(), Error> {
    while let Some(word) = words.next() {
        let latency = match word.text {
            "wake-busy" => &mut latencies.wake_busy,
            "wake-idle" => &mut latencies.wake_idle,
            "wake-deep" => &mut latencies.wake_deep,
            "slice-end" => &mut latencies.slice_end,
            "lock-contended" => &mut latencies.lock_contended,
            "lock-sleep" => &mut latencies.lock_sleep,
            "lock-wake" => &mut latencies.lock_wake,
            "buffer-sleep" => &mut latencies.buffer_sleep,
            "buffer-wake" => &mut latencies.buffer_wake,
            "buffer-tell" => &mut latencies.buffer_tell,
            other => {
                return Err(word.error(format!(
                    "`{other}` is no latency; there are wake-busy, wake-idle, wake-deep, slice-end, \
                     lock-contended, lock-sleep, lock-wake, buffer-sleep, buffer-wake, buffer-tell"
                )));
            }
        };
        *latency = words.span(word)?;
    }
    Ok(())
}

fn preemption(model: Word<'_>) -> Result<Preemption, Error> {
    Ok(match model.text {
        "none" => Preemption::None,
        "voluntary" => Preemption::Voluntary,
        "lazy" => Preemption::Lazy,
        "full" => Preemption::Full,
        other => {
            return Err(model.error(format!(
                "`{other}` is no preemption model; there are full, lazy, voluntary, none"
            )));
        }
    })
}

/// Reads `NAME [in PARENT] weight N`.
fn group<'t>(
    word: Word<'t>,
    words: &mut Words<'_, 't>,
    draft: &mut Draft<'t>,
) -> Result<(), Error> {
    let name = draft.name_group(words.argument(word, "a group's name")?)?;
    let mut group = Group { name, parent: None, weight: Group::DEFAULT_WEIGHT };
    while let Some(next) = words.next() {
        match next.text {
            "in" => {
                let parent = words.argument(next, "a group")?;
                let index = draft.group(parent)?;
                if index == draft.script.groups.len() {
                    return Err(parent.error("a group is in no group of its own"));
                }
                group.parent = Some(index);
            }
            "weight" => group.weight = words.integer(next, 1..=10_000)?.unsigned_abs(),
            other => {
                return Err(
                    next.error(format!("a group is `in` one and has a `weight`, not `{other}`"))
                );
            }
        }
    }
    draft.script.groups.push(group);
    Ok(())
}

fn reason(word: Word<'_>, words: &mut Words<'_, '_>) -> Result<String, Error> {
    words
        .next()
        .filter(|w| w.text == "yet:")
        .ok_or_else(|| word.error("`not` begins `not yet: REASON`, and nothing else"))?;
    let mut reason = Vec::new();
    while let Some(word) = words.next() {
        reason.push(word.text);
    }
    Ok(reason.join(" "))
}
