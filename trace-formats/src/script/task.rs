//! One task of a scenario: name, attributes, steps.

use super::parse::{Word, Words};
use super::{Class, FairPlace, Script, Start, Step, Task};
use crate::{CpuId, Error, Timestamp};

const ATTRIBUTES: &str = "fair, batch, idle, nice, fifo, rr, dl, stop, slice, cpu, allowed, at, asleep, \
                          in, holds, vruntime, deadline, lag";
const STEPS: &str = "run, lock, lock-interruptible, trylock, unlock, sleep, sleep-until, wait, \
                     wake, signal, yield, exit";

/// Reads a task; `names` are the names of all tasks, so that a wake can look ahead.
pub(super) fn read(
    words: &mut Words<'_, '_>,
    names: &[&str],
    script: &mut Script,
) -> Result<Task, Error> {
    let name = words.next().expect("a statement has a first word");
    if script.tasks.iter().any(|t| t.name == name.text) {
        return Err(name.error(format!("there is a task `{}` already", name.text)));
    }
    if !name.text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(name.error(format!("`{}`: a name is of letters, digits and _", name.text)));
    }
    let mut task = Task {
        name: name.text.to_owned(),
        class: Class::Fair(0),
        slice: None,
        cpu: CpuId(0),
        allowed: Vec::new(),
        start: Start::At(Timestamp(0)),
        fair: None,
        group: None,
        holds: Vec::new(),
        steps: Vec::new(),
    };
    while let Some(word) = words.peek() {
        words.next();
        if attribute(word, words, &mut task, script)? {
            continue;
        }
        let step = step(word, words, names, script)?;
        task.steps.push(step);
    }
    if task.allowed.is_empty() {
        task.allowed.push(task.cpu);
    }
    check(name, &task, script)?;
    Ok(task)
}

/// Reads one attribute; false when `word` must be a step.
fn attribute(
    word: Word<'_>,
    words: &mut Words<'_, '_>,
    task: &mut Task,
    script: &mut Script,
) -> Result<bool, Error> {
    match word.text {
        "fair" => task.class = Class::Fair(0),
        "batch" => task.class = Class::Batch(0),
        "idle" => task.class = Class::Idle(0),
        "nice" => {
            let nice = words.integer(word, -20..=19)?;
            task.class = match task.class {
                Class::Fair(_) => Class::Fair(nice),
                Class::Batch(_) => Class::Batch(nice),
                Class::Idle(_) => Class::Idle(nice),
                _ => return Err(word.error("`nice` belongs to fair, batch and idle tasks")),
            };
        }
        "fifo" => task.class = Class::Fifo(words.integer(word, 1..=99)?),
        "rr" => task.class = Class::Rr(words.integer(word, 1..=99)?),
        "stop" => task.class = Class::Stop,
        "dl" => {
            let (budget, deadline) = (words.span(word)?, words.span(word)?);
            task.class = Class::Deadline { budget, deadline, period: words.span(word)? };
        }
        "slice" => task.slice = Some(words.span(word)?),
        "cpu" => task.cpu = cpu(words.argument(word, "a CPU")?, script)?,
        "allowed" => {
            let list = words.argument(word, "CPUs, as in `0,1`")?;
            for text in list.text.split(',') {
                task.allowed.push(cpu(Word { line: list.line, text }, script)?);
            }
        }
        "at" => task.start = Start::At(Timestamp(words.span(word)?.0)),
        "asleep" => task.start = Start::Asleep,
        "in" => task.group = Some(group(words.argument(word, "a group")?, script)?),
        "holds" => task.holds.push(lock(words.argument(word, "a lock")?, script)),
        "vruntime" => place(task).vruntime_ns = words.millis(word)?.0,
        "deadline" => place(task).deadline_ns = words.millis(word)?.0,
        "lag" => place(task).lag_ns = words.millis(word)?.0,
        _ => return Ok(false),
    }
    if task.steps.is_empty() {
        return Ok(true);
    }
    Err(word.error(format!("`{}` stands after a step; attributes come first", word.text)))
}

fn place(task: &mut Task) -> &mut FairPlace {
    task.fair.get_or_insert_default()
}

fn cpu(word: Word<'_>, script: &Script) -> Result<CpuId, Error> {
    let number = word.text.parse().ok().filter(|&n: &u32| n < script.machine.cpus);
    number.map(CpuId).ok_or_else(|| {
        word.error(format!("`{}` is no CPU; there are {}", word.text, script.machine.cpus))
    })
}

pub(super) fn group(word: Word<'_>, script: &Script) -> Result<usize, Error> {
    let known = script.groups.iter().position(|group| group.name == word.text);
    known.ok_or_else(|| {
        word.error(format!("there is no group `{}`: `group {} weight 100`", word.text, word.text))
    })
}

pub(super) fn lock(word: Word<'_>, script: &mut Script) -> usize {
    if let Some(known) = script.locks.iter().position(|name| name == word.text) {
        return known;
    }
    script.locks.push(word.text.to_owned());
    script.locks.len() - 1
}

fn step(
    word: Word<'_>,
    words: &mut Words<'_, '_>,
    names: &[&str],
    script: &mut Script,
) -> Result<Step, Error> {
    Ok(match word.text {
        "run" => Step::Run(words.span(word)?),
        "lock" => Step::Lock(lock(words.argument(word, "a lock")?, script)),
        "lock-interruptible" => {
            Step::LockInterruptible(lock(words.argument(word, "a lock")?, script))
        }
        "trylock" => Step::Trylock(lock(words.argument(word, "a lock")?, script)),
        "unlock" => Step::Unlock(lock(words.argument(word, "a lock")?, script)),
        "sleep" => Step::Sleep(words.span(word)?),
        "sleep-until" => Step::SleepUntil(Timestamp(words.span(word)?.0)),
        "wait" => Step::Wait,
        "wake" => Step::Wake(other_task(word, words, names)?),
        "signal" => Step::Signal(other_task(word, words, names)?),
        "yield" => Step::Yield,
        "exit" => Step::Exit,
        other => {
            let number = super::Millis::from_text(other).is_some();
            let kind = if number { "out of place" } else { "unknown" };
            return Err(word.error(format!(
                "`{other}` is {kind}; attributes are {ATTRIBUTES}; steps are {STEPS}"
            )));
        }
    })
}

fn other_task(word: Word<'_>, words: &mut Words<'_, '_>, names: &[&str]) -> Result<usize, Error> {
    let name = words.argument(word, "a task")?;
    let target = names.iter().position(|&n| n == name.text);
    target.ok_or_else(|| name.error(format!("no task is `{}`", name.text)))
}

/// Refuses a task that no kernel could run as written.
fn check(name: Word<'_>, task: &Task, script: &Script) -> Result<(), Error> {
    let say = |what: String| Err(name.error(format!("task `{}` {what}", task.name)));
    if !task.allowed.contains(&task.cpu) {
        return say(format!("starts on CPU {}, where it is not allowed", task.cpu.0));
    }
    let begins_asleep =
        matches!(task.steps.first(), Some(Step::Sleep(_) | Step::SleepUntil(_) | Step::Wait));
    if task.start == Start::Asleep && !begins_asleep {
        return say("begins asleep; its first step must be sleep, sleep-until or wait".to_owned());
    }
    let mut held = task.holds.clone();
    for step in &task.steps {
        match *step {
            Step::Lock(m) | Step::LockInterruptible(m) | Step::Trylock(m) if held.contains(&m) => {
                return say(format!("locks `{}`, which it holds", script.locks[m]));
            }
            Step::Lock(m) | Step::LockInterruptible(m) | Step::Trylock(m) => held.push(m),
            Step::Unlock(m) => {
                let Some(at) = held.iter().position(|&h| h == m) else {
                    return say(format!("unlocks `{}`, which it does not hold", script.locks[m]));
                };
                held.remove(at);
            }
            _ => {}
        }
    }
    Ok(())
}
