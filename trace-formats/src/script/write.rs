//! The text of a scenario.

mod machine;
mod task;

use super::quote::Quoted;
use super::{Buffer, BufferKind, Group, Lock, Script, Step, Task, lock};
use std::fmt::{self, Display, Formatter};

/// Columns of a line.
const COLUMNS: usize = 100;

impl Display for Script {
    /// Writes a scenario so that [`super::parse`] reads it as the same; what holds anyway is left
    /// out.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.machine.fmt(f)?;
        if let Some(reason) = &self.not_yet {
            writeln!(f, "not yet: {reason}")?;
        }
        for group in &self.groups {
            write_group(group, &self.groups, f)?;
        }
        if !self.locks_follow_from_tasks() {
            self.locks.iter().try_for_each(|lock| write_lock(lock, f))?;
        }
        self.buffers.iter().try_for_each(|buffer| self.write_buffer(buffer, f))?;
        if !self.tasks.is_empty() {
            writeln!(f)?;
        }
        self.tasks.iter().try_for_each(|task| self.write_task(task, f))?;
        for block in &self.expectations {
            writeln!(f, "\n-- expect {}", block.policies.join(", "))?;
            block.lines.iter().try_for_each(|(_, line)| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

/// Words that wrap onto indented lines.
struct Line<'f, 'w> {
    out: &'f mut Formatter<'w>,
    column: usize,
    gap: &'static str,
}

impl Line<'_, '_> {
    /// Adds words that belong together.
    fn item(&mut self, item: &str) -> fmt::Result {
        let width = item.chars().count();
        if self.column == 0 {
            self.column = width;
            return self.out.write_str(item);
        }
        if self.column + self.gap.len() + width > COLUMNS {
            return self.item_below(item);
        }
        self.column += self.gap.len() + width;
        write!(self.out, "{}{item}", self.gap)
    }

    /// Whether all these fit on one line.
    fn fits(&self, mut items: impl Iterator<Item = String>) -> bool {
        // There is no gap behind the last one.
        let mut room = COLUMNS + self.gap.len();
        items.all(|item| {
            let width = item.chars().count() + self.gap.len();
            let fits = width <= room;
            room = room.saturating_sub(width);
            fits
        })
    }

    /// Adds words at the beginning of a line.
    fn item_below(&mut self, item: &str) -> fmt::Result {
        const INDENT: &str = "    ";
        self.column = INDENT.len() + item.chars().count();
        write!(self.out, "\n{INDENT}{item}")
    }
}

fn list(f: &mut Formatter<'_>, name: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let mut line = Line { out: f, column: 0, gap: " " };
    line.item(name)?;
    for item in items {
        line.item(&item)?;
    }
    writeln!(f)
}

fn write_group(group: &Group, groups: &[Group], f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "group {}", Quoted(&group.name))?;
    if let Some(parent) = group.parent.and_then(|p| groups.get(p)) {
        write!(f, " in {}", Quoted(&parent.name))?;
    }
    if group.weight != Group::DEFAULT_WEIGHT {
        write!(f, " weight {}", group.weight)?;
    }
    writeln!(f)
}

fn write_lock(lock: &Lock, f: &mut Formatter<'_>) -> fmt::Result {
    let (kind, is_whole) = lock.kind();
    write!(f, "{kind} {}", Quoted(&lock.name))?;
    if let Some(address) = lock.address {
        write!(f, " {address}")?;
    }
    if !is_whole {
        write!(f, " flags {}", lock::flags_text(lock.flags))?;
    }
    if lock.is_preempted {
        write!(f, " preempted")?;
    }
    writeln!(f)
}

impl Script {
    fn write_buffer(&self, buffer: &Buffer, f: &mut Formatter<'_>) -> fmt::Result {
        let is_socket = matches!(buffer.kind, BufferKind::Socket { .. });
        let kind = if is_socket { "socket" } else { "pipe" };
        write!(f, "{kind} {}", Quoted(&buffer.name))?;
        if let Some(address) = buffer.address {
            write!(f, " {address:#x}")?;
        }
        match buffer.kind {
            BufferKind::PIPE | BufferKind::SOCKET => {}
            BufferKind::Pipe { pages } => write!(f, " {pages} pages")?,
            BufferKind::Packets { pages } => write!(f, " {pages} packets")?,
            BufferKind::Messages { room, step: 1 } => write!(f, " {room} messages")?,
            BufferKind::Messages { room, step } => write!(f, " {room} messages by {step}")?,
            BufferKind::Socket { room } => write!(f, " {room} bytes")?,
        }
        if let Some(lock) = buffer.mutex.and_then(|lock| self.locks.get(lock)) {
            write!(f, " mutex {}", Quoted(&lock.name))?;
        }
        if buffer.filled > 0 {
            write!(f, " filled {}", buffer.filled)?;
        }
        writeln!(f)
    }

    /// Whether the tasks mention all locks in their order, and there is no more to say of them.
    fn locks_follow_from_tasks(&self) -> bool {
        let mut next = 0;
        let of_buffers = self.buffers.iter().filter_map(|buffer| buffer.mutex);
        for lock in of_buffers.chain(self.tasks.iter().flat_map(mentioned)) {
            if lock > next {
                return false;
            }
            next += usize::from(lock == next);
        }
        next == self.locks.len() && self.locks.iter().all(Lock::is_plain)
    }
}

/// Locks that a task mentions, in the order of its text.
fn mentioned(task: &Task) -> impl Iterator<Item = usize> {
    let of_step = |step: &Step| match step {
        Step::Lock(m)
        | Step::LockInterruptible(m)
        | Step::Trylock(m)
        | Step::TrylockFailed(m)
        | Step::Unlock(m)
        | Step::Contend(m, _)
        | Step::Contended(m, _) => Some(*m),
        Step::Sleep(_, asleep)
        | Step::SleepUntil(_, asleep)
        | Step::SleepEvery { asleep, .. }
        | Step::Wait(asleep) => asleep.on.map(|(lock, _)| lock),
        _ => None,
    };
    task.holds.iter().copied().chain(task.steps.iter().filter_map(of_step))
}
