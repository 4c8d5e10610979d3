//! The text of a scenario's tasks.

use super::{Line, Quoted};
use crate::Nanos;
use crate::script::{
    Allowed, Asleep, Blocking, Class, FairPlace, Mark, Millis, Priority, Script, Start, Step, Task,
    lock,
};
use std::fmt::{self, Formatter};

impl Script {
    fn task_name(&self, task: usize) -> Quoted<'_> {
        Quoted(self.tasks.get(task).map_or("", |task| &task.name))
    }

    fn lock_name(&self, lock: usize) -> Quoted<'_> {
        Quoted(self.locks.get(lock).map_or("", |lock| &lock.name))
    }

    fn transfer(&self, word: &str, (buffer, bytes): (usize, u32), blocking: Blocking) -> String {
        let how = if blocking == Blocking::No { " nonblocking" } else { "" };
        format!("{word} {} {bytes}{how}", self.buffer_name(buffer))
    }

    fn buffer_name(&self, buffer: usize) -> Quoted<'_> {
        Quoted(self.buffers.get(buffer).map_or("", |buffer| &buffer.name))
    }

    /// One line if it fits, else the steps below the attributes, and each round on a line of its own.
    pub(super) fn write_task(&self, task: &Task, f: &mut Formatter<'_>) -> fmt::Result {
        let mut head = vec![Quoted(&task.name).to_string()];
        head.extend(self.identity(task));
        head.extend(self.attributes(task));
        let end = task.goes_on.then(|| "...".to_owned());
        let steps = || task.steps.iter().map(|step| self.step(step)).chain(end.clone());
        let mut line = Line { out: f, column: 0, gap: "  " };
        let fits = line.fits(head.iter().cloned().chain(steps()));
        head.iter().try_for_each(|item| line.item(item))?;
        for (n, text) in steps().enumerate() {
            let begins_round = matches!(
                task.steps.get(n),
                Some(Step::Mark(Mark::Round | Mark::RoundOnce | Mark::RoundsOver))
            );
            if begins_round || n == 0 && !fits {
                line.item_below(&text)?;
            } else {
                line.item(&text)?;
            }
        }
        writeln!(f)
    }

    /// Who a task is.
    fn identity(&self, task: &Task) -> Vec<String> {
        let mut items = Vec::new();
        items.extend(task.comm.as_ref().map(|comm| format!("comm {}", Quoted(comm))));
        items.extend(task.tid.map(|tid| format!("tid {}", tid.0)));
        items.extend(task.parent.map(|parent| format!("parent {}", self.task_name(parent))));
        if task.ended {
            items.push("ended".to_owned());
        }
        items
    }

    fn attributes(&self, task: &Task) -> Vec<String> {
        let mut items = sched_items(task.class, task.slice);
        if items.first().is_some_and(|class| class == "fair") {
            items.remove(0);
        }
        items.extend(match task.priority {
            Priority::OfClass => None,
            Priority::Is(prio) => Some(format!("prio {prio}")),
            Priority::Unknown => Some("prio unknown".to_owned()),
        });
        if task.cpu.0 != 0 {
            items.push(format!("cpu {}", task.cpu.0));
        }
        items.extend(match &task.allowed {
            Allowed::Own => None,
            Allowed::All => Some("allowed all".to_owned()),
            Allowed::Listed(cpus) => Some(format!("allowed {cpus}")),
        });
        items.extend(task.at_first.as_ref().map(|cpus| format!("at-first {cpus}")));
        items.extend(match task.start {
            Start::At(at) if at == self.machine.start => None,
            Start::At(at) => Some(format!("at {}", Millis::from(at))),
            Start::Asleep => Some("asleep".to_owned()),
            Start::Forked => Some("forked".to_owned()),
        });
        if let Some(group) = task.group.and_then(|group| self.groups.get(group)) {
            items.push(format!("in {}", Quoted(&group.name)));
        }
        items.extend(task.holds.iter().map(|lock| format!("holds {}", self.lock_name(*lock))));
        if let Some(place) = task.fair {
            items.extend(place_items(place));
        }
        items.extend(task.until.map(|until| format!("until {}", Millis::from(until))));
        if task.as_recorded {
            items.push("as-recorded".to_owned());
        }
        items
    }

    fn step(&self, step: &Step) -> String {
        let lock = |word: &str, lock: usize| format!("{word} {}", self.lock_name(lock));
        let task = |word: &str, task: usize| format!("{word} {}", self.task_name(task));
        let asleep = |text: String, asleep: &Asleep| text + &self.asleep(asleep);
        match step {
            Step::Run(span) => format!("run {}", Millis::from(*span)),
            Step::BusyWait(span) => format!("busy-wait {}", Millis::from(*span)),
            Step::Lock(m) => lock("lock", *m),
            Step::LockInterruptible(m) => lock("lock-interruptible", *m),
            Step::Trylock(m) => lock("trylock", *m),
            Step::TrylockFailed(m) => lock("trylock-failed", *m),
            Step::Unlock(m) => lock("unlock", *m),
            Step::Put(buffer, bytes, how) => self.transfer("put", (*buffer, *bytes), *how),
            Step::Take(buffer, bytes, how) => self.transfer("take", (*buffer, *bytes), *how),
            Step::Contend(m, flags) if self.locks.get(*m).is_some_and(|l| l.flags == *flags) => {
                lock("contend", *m)
            }
            Step::Contend(m, flags) => {
                format!("contend {} as {}", self.lock_name(*m), lock::flags_text(*flags))
            }
            Step::Contended(m, 0) => lock("contended", *m),
            Step::Contended(m, ret) => format!("{} ret {ret}", lock("contended", *m)),
            Step::Sleep(span, how) => asleep(format!("sleep {}", Millis::from(*span)), how),
            Step::SleepUntil(at, how) => asleep(format!("sleep-until {}", Millis::from(*at)), how),
            Step::SleepTicks { nth, after: Nanos(0), asleep: how } => {
                asleep(format!("sleep-ticks {nth}"), how)
            }
            Step::SleepTicks { nth, after, asleep: how } => {
                asleep(format!("sleep-ticks {nth} after {}", Millis::from(*after)), how)
            }
            Step::SleepEvery { period, phase, asleep: how } => {
                let (period, phase) = (Millis::from(*period), Millis::from(*phase));
                asleep(format!("sleep-every {period} {phase}"), how)
            }
            Step::Wait(how) => asleep("wait".to_owned(), how),
            Step::Wake(t) => task("wake", *t),
            Step::Signal(t) => task("signal", *t),
            Step::Fork(t) => task("fork", *t),
            Step::Set(class, slice) => format!("set {}", sched_items(*class, *slice).join(" ")),
            Step::KeepAffinity => "keep-affinity".to_owned(),
            Step::Yield => "yield".to_owned(),
            Step::Exit => "exit".to_owned(),
            Step::Mark(Mark::Round) => "round".to_owned(),
            Step::Mark(Mark::RoundOnce) => "round-once".to_owned(),
            Step::Mark(Mark::MayEnd) => "may-end".to_owned(),
            Step::Mark(Mark::RoundsOver) => "rounds-over".to_owned(),
        }
    }

    fn asleep(&self, asleep: &Asleep) -> String {
        let usual = Asleep::default();
        let mut text = String::new();
        if asleep.state != usual.state {
            text = format!(" {}", asleep.state.letter());
        }
        if let Some((lock, flags)) = asleep.on {
            text += &format!(" on {}", self.lock_name(lock));
            if self.locks.get(lock).is_some_and(|lock| lock.flags != flags) {
                text += &format!(" as {}", lock::flags_text(flags));
            }
        }
        text
    }
}

fn sched_items(class: Class, slice: Option<Nanos>) -> Vec<String> {
    let (class, nice) = class.text();
    let nice = nice.map(|nice| format!("nice {nice}"));
    let slice = slice.map(|slice| format!("slice {}", Millis::from(slice)));
    [Some(class), nice, slice].into_iter().flatten().collect()
}

fn place_items(place: FairPlace) -> Vec<String> {
    let item = |name: &str, ns: i64| format!("{name} {}", Millis::from(ns));
    let all =
        [("vruntime", place.vruntime_ns), ("deadline", place.deadline_ns), ("lag", place.lag_ns)];
    let mut items: Vec<String> =
        all.iter().filter(|(_, ns)| *ns != 0).map(|(name, ns)| item(name, *ns)).collect();
    if items.is_empty() {
        items.push(item("lag", 0));
    }
    items
}
