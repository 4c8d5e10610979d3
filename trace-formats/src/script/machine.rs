//! The settings of a scenario's machine.

use super::parse::Words;
use super::{LockKind, Machine, Preemption, Script, task};
use crate::{Error, Nanos, Timestamp};

/// What holds where the file is silent; the base slice waits for [`settle`].
pub(super) fn default() -> Machine {
    Machine {
        cpus: 1,
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

/// Reads one setting; false, and nothing read, when the statement is a task.
pub(super) fn read(words: &mut Words<'_, '_>, script: &mut Script) -> Result<bool, Error> {
    let Some(word) = words.peek() else { return Ok(false) };
    if !matches!(
        word.text,
        "cpus"
            | "hz"
            | "tick-phase"
            | "hrtick"
            | "slice"
            | "preemption"
            | "end"
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
    let machine = &mut script.machine;
    let natural = |n: i32| n.unsigned_abs();
    match word.text {
        "cpus" => machine.cpus = natural(words.integer(word, 1..=4096)?),
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
            let model = words.argument(word, "a preemption model")?;
            machine.preemption = match model.text {
                "none" => Preemption::None,
                "voluntary" => Preemption::Voluntary,
                "lazy" => Preemption::Lazy,
                "full" => Preemption::Full,
                other => {
                    return Err(model.error(format!(
                        "`{other}` is no preemption model; there are full, lazy, voluntary, none"
                    )));
                }
            };
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
