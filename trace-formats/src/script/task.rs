//! One task of a scenario: name, attributes, steps.

use super::parse::Draft;
use super::word::{Word, Words};
use super::{Class, CpuList, Step, quote, step};
use crate::{CpuId, Error, Nanos, Tid, Timestamp};

/// One task of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its name, which no other task has.
    pub name: String,
    /// What the kernel calls it, when that is another name.
    pub comm: Option<String>,
    /// Its thread id, when that is not its place among the tasks, counted from 1.
    pub tid: Option<Tid>,
    /// The kernel priority that it was first seen with.
    pub priority: Priority,
    /// The task that forked it, as an index into [`super::Script::tasks`].
    pub parent: Option<usize>,
    /// Whether it is known to have ended.
    pub ended: bool,
    /// Its class and priority.
    pub class: Class,
    /// A fair task's own slice.
    pub slice: Option<Nanos>,
    /// The CPU it starts on, unless it is forked.
    pub cpu: CpuId,
    /// CPUs it may run on.
    pub allowed: Allowed,
    /// CPUs that it may run on as well, until [`Step::KeepAffinity`].
    pub at_first: Option<CpuList>,
    /// How it begins.
    pub start: Start,
    /// Its place in virtual time, when the scenario fixes one.
    pub fair: Option<FairPlace>,
    /// Its cgroup, as an index into [`super::Script::groups`].
    pub group: Option<usize>,
    /// Mutexes it holds at the start, as indexes into [`super::Script::locks`].
    pub holds: Vec<usize>,
    /// When its loop ends.
    pub until: Option<Timestamp>,
    /// Whether [`Task::fault`] is overlooked.
    pub as_recorded: bool,
    /// What it does.
    pub steps: Vec<Step>,
    /// Whether what it does after its last step is not known; else it exits.
    pub goes_on: bool,
}

/// The kernel priority that a task was first seen with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// That of its class.
    #[default]
    OfClass,
    /// Another one.
    Is(i32),
    /// None was seen.
    Unknown,
}

/// CPUs that a task may run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// That on which it starts; a forked task: all.
    #[default]
    Own,
    /// All.
    All,
    /// These.
    Listed(CpuList),
}

/// How a task begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Runnable at this time.
    At(Timestamp),
    /// Asleep; its first step is a sleep or a wait.
    Asleep,
    /// When another task forks it.
    Forked,
}

impl Default for Start {
    fn default() -> Self {
        Self::At(Timestamp(0))
    }
}

/// A fair task's place in virtual time; nanoseconds of CPU time at nice 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FairPlace {
    /// `vruntime`, relative to the queue's zero.
    pub vruntime_ns: i64,
    /// Virtual deadline, relative to the same zero.
    pub deadline_ns: i64,
    /// Lag saved while asleep; positive: the task is owed service.
    pub lag_ns: i64,
}

pub(super) const ATTRIBUTES: &str = "fair, batch, idle, nice, fifo, rr, dl, stop, params, slice, cpu, allowed, at-first, at, asleep, \
     forked, in, holds, vruntime, deadline, lag, comm, tid, prio, parent, ended, until, as-recorded";

/// Numbers of CPUs that a set can hold end here.
const SET_END: u32 = 1 << 20;
/// 64-bit words that the CPU sets of all tasks may take: short text must not fill the memory.
const MOST_SET_WORDS: u64 = 1 << 24;

/// Reads a task.
pub(super) fn read<'t>(words: &mut Words<'_, 't>, draft: &mut Draft<'t>) -> Result<Task, Error> {
    let name = words.next().expect("a statement has a first word");
    if !name.text.starts_with('"') && !quote::is_plain(name.text) {
        return Err(name.error(format!(
            "`{}`: a name is of letters, digits and _.-/: or stands in quotes",
            name.text
        )));
    }
    let start = Start::At(draft.script.machine.start);
    let mut task = Task { name: name.name()?.into_owned(), start, ..Task::default() };
    while let Some(word) = words.peek() {
        words.next();
        if attribute(word, words, &mut task, draft)? {
            continue;
        }
        if word.text == "..." {
            task.goes_on = true;
            words.end()?;
            break;
        }
        let step = step::read(word, words, draft)?;
        task.steps.push(step);
    }
    if let Some(fault) = task.fault(&draft.script).filter(|_| !task.as_recorded) {
        let way_out = "the attribute `as-recorded` takes it as it is";
        return Err(name.error(format!("task `{}` {fault}; {way_out}", task.name)));
    }
    Ok(task)
}

/// Reads one attribute; false when `word` must be a step.
fn attribute<'t>(
    word: Word<'t>,
    words: &mut Words<'_, 't>,
    task: &mut Task,
    draft: &mut Draft<'t>,
) -> Result<bool, Error> {
    if let Some(class) = Class::read(word, words)? {
        task.class = class;
        return in_front(word, task);
    }
    match word.text {
        "nice" => task.class = task.class.at_nice(word, words)?,
        "slice" => task.slice = Some(words.span(word)?),
        "cpu" => {
            let list = words.argument(word, "a CPU")?;
            let number = list.text.parse().ok().map(CpuId);
            let known = number.filter(|cpu| draft.script.machine.cpus.has(*cpu));
            task.cpu = known.ok_or_else(|| no_cpu(list, draft))?;
        }
        "allowed" => allowed(words.argument(word, "CPUs, as in `0,1`")?, task, draft)?,
        "at-first" => {
            let list = set(words.argument(word, "CPUs, as in `0,1`")?, None, draft)?;
            task.at_first = Some(list);
        }
        "at" => task.start = Start::At(Timestamp(words.span(word)?.0)),
        "asleep" => task.start = Start::Asleep,
        "forked" => task.start = Start::Forked,
        "in" => task.group = Some(draft.group(words.argument(word, "a group")?)?),
        "holds" => task.holds.push(draft.lock(words.argument(word, "a lock")?)?),
        "vruntime" => task.fair.get_or_insert_default().vruntime_ns = words.signed(word)?,
        "deadline" => task.fair.get_or_insert_default().deadline_ns = words.signed(word)?,
        "lag" => task.fair.get_or_insert_default().lag_ns = words.signed(word)?,
        "comm" => task.comm = Some(words.argument(word, "a name")?.name()?.into_owned()),
        "tid" => task.tid = Some(Tid(words.integer(word, i32::MIN..=i32::MAX)?)),
        "prio" => {
            task.priority = match words.next_if("unknown") {
                Some(_) => Priority::Unknown,
                None => Priority::Is(words.integer(word, i32::MIN..=i32::MAX)?),
            };
        }
        "parent" => task.parent = Some(draft.task(words.argument(word, "a task")?)?),
        "ended" => task.ended = true,
        "until" => task.until = Some(Timestamp(words.span(word)?.0)),
        "as-recorded" => task.as_recorded = true,
        _ => return Ok(false),
    }
    in_front(word, task)
}

/// True for an attribute in front of all steps.
fn in_front(word: Word<'_>, task: &Task) -> Result<bool, Error> {
    if task.steps.is_empty() {
        return Ok(true);
    }
    Err(word.error(format!("`{}` stands after a step; attributes come first", word.text)))
}

fn no_cpu(word: Word<'_>, draft: &Draft<'_>) -> Error {
    let cpus = &draft.script.machine.cpus;
    let text = word.text;
    if cpus.last().map(|last| u64::from(last.0) + 1) == Some(cpus.len()) {
        return word.error(format!("`{text}` is no CPU; there are {}", cpus.len()));
    }
    word.error(format!("`{text}` is no CPU; there are {cpus}"))
}

/// Reads CPUs that a task may run on; the machine need not have all of them.
fn allowed(word: Word<'_>, task: &mut Task, draft: &mut Draft<'_>) -> Result<(), Error> {
    if word.text == "all" {
        task.allowed = Allowed::All;
        return Ok(());
    }
    let before = match std::mem::take(&mut task.allowed) {
        Allowed::Listed(before) => Some(before),
        Allowed::Own | Allowed::All => None,
    };
    task.allowed = Allowed::Listed(set(word, before, draft)?);
    Ok(())
}

/// Reads CPUs of a set, beside those that it has.
fn set(word: Word<'_>, before: Option<CpuList>, draft: &mut Draft<'_>) -> Result<CpuList, Error> {
    let list = word.cpus()?;
    let last = list.last().map_or(0, |cpu| cpu.0);
    if last >= SET_END {
        return Err(word.error(format!("CPU {last} is none; numbers end at {}", SET_END - 1)));
    }
    let all = match before {
        Some(before) => before.and(list),
        None => list,
    };
    draft.set_words_used += u64::from(all.last().map_or(0, |cpu| cpu.0) / 64) + 1;
    if draft.set_words_used > MOST_SET_WORDS {
        return Err(word.error("the tasks of this file may run on too many CPUs: `allowed all`"));
    }
    Ok(all)
}
