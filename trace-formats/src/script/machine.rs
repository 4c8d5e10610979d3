//! The settings of a scenario's machine.

use super::parse::{Word, Words};
use super::{Group, LockKind, Machine, Preemption, Script, task};
use crate::{Error, Nanos, Timestamp};

/// What holds where the file is silent; the base slice waits for [`settle`].
pub(super) fn default() -> Machine {
    Machine {
        cpus: 1,
        cpus_per_core: 1,
        cpus_per_cache: 4096,
        cpus_per_node: 4096,
        hz: 1000,
        tick_phase: Nanos(0),
        hrtick: true,
        base_slice: Nanos(0),
        preemption: Preemption::Full,
        end: None,
    }
}

/// Fills in the base slice of a kernel on this many CPUs.
pub(super) fn settle(machine: &mut Machine) {
    if machine.base_slice == Nanos(0) {
        let factor = 1 + machine.cpus.min(8).ilog2();
        machine.base_slice = Nanos(700_000 * u64::from(factor));
    }
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
fn group(word: Word<'_>, words: &mut Words<'_, '_>, script: &Script) -> Result<Group, Error> {
    let name = words.argument(word, "a group's name")?;
    if script.groups.iter().any(|g| g.name == name.text) {
        return Err(name.error(format!("there is a group `{}` already", name.text)));
    }
    let mut group = Group { name: name.text.to_owned(), parent: None, weight: 100 };
    while let Some(next) = words.next() {
        match next.text {
            "in" => group.parent = Some(task::group(words.argument(next, "a group")?, script)?),
            "weight" => group.weight = words.integer(next, 1..=10_000)?.unsigned_abs(),
            other => {
                return Err(
                    next.error(format!("a group is `in` one and has a `weight`, not `{other}`"))
                );
            }
        }
    }
    Ok(group)
}

/// Reads one setting; false, and nothing read, when the statement is a task.
pub(super) fn read(words: &mut Words<'_, '_>, script: &mut Script) -> Result<bool, Error> {
    let Some(word) = words.peek() else { return Ok(false) };
    if !matches!(
        word.text,
        "cpus"
            | "per-core"
            | "per-cache"
            | "per-node"
            | "hz"
            | "tick-phase"
            | "hrtick"
            | "slice"
            | "preemption"
            | "end"
            | "group"
            | "rwsem"
            | "rt-mutex"
            | "not"
    ) {
        return Ok(false);
    }
    words.next();
    if let "rwsem" | "rt-mutex" = word.text {
        let kind = if word.text == "rwsem" { LockKind::Rwsem } else { LockKind::RtMutex };
        let lock = task::lock(words.argument(word, "a lock")?, script);
        script.kinds.push((lock, kind));
        words.end()?;
        return Ok(true);
    }
    if word.text == "group" {
        let group = group(word, words, script)?;
        script.groups.push(group);
        words.end()?;
        return Ok(true);
    }
    let machine = &mut script.machine;
    let natural = |n: i32| n.unsigned_abs();
    match word.text {
        "cpus" => machine.cpus = natural(words.integer(word, 1..=4096)?),
        "per-core" => machine.cpus_per_core = natural(words.integer(word, 1..=4096)?),
        "per-cache" => machine.cpus_per_cache = natural(words.integer(word, 1..=4096)?),
        "per-node" => machine.cpus_per_node = natural(words.integer(word, 1..=4096)?),
        "hz" => machine.hz = natural(words.integer(word, 1..=10_000)?),
        "tick-phase" => machine.tick_phase = words.span(word)?,
        "slice" => machine.base_slice = words.span(word)?,
        "end" => machine.end = Some(Timestamp(words.span(word)?.0)),
        "hrtick" => {
            let state = words.argument(word, "`on` or `off`")?;
            machine.hrtick = match state.text {
                "on" => true,
                "off" => false,
                other => return Err(state.error(format!("`hrtick` is on or off, not `{other}`"))),
            };
        }
        "preemption" => {
            machine.preemption = preemption(words.argument(word, "a preemption model")?)?;
        }
        _ => {
            words
                .next()
                .filter(|w| w.text == "yet:")
                .ok_or_else(|| word.error("`not` begins `not yet: REASON`, and nothing else"))?;
            let mut reason = Vec::new();
            while let Some(word) = words.next() {
                reason.push(word.text);
            }
            script.not_yet = Some(reason.join(" "));
        }
    }
    words.end()?;
    Ok(true)
}
