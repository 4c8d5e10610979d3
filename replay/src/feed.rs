//! Programs, a stretch at a time, and where the schedule goes.
//!
//! The engine looks at the op a task is at and at nothing else, so neither a
//! program nor a schedule needs to be in memory as a whole.

use crate::decision::Decision;
use crate::engine::Engine;
use crate::state::T;
use model::{Demand, Event, Op, TaskId};
use std::fmt;

/// Ops that a task's window holds.
const WINDOW: usize = 64;

/// Where the programs of a demand come from.
///
/// Implemented by [`Demand`] itself; others read from a file, or make ops up.
pub trait Programs {
    /// Appends ops of `task` to `ops`, from op `from` on: at least one, unless the program is
    /// over there. Any number up to a few hundred is well.
    ///
    /// The same question must get the same ops each time: loops are read again, and an interrupted
    /// lock attempt is skipped by reading ahead.
    fn read(&mut self, task: TaskId, from: usize, ops: &mut Vec<Op>);
}

impl Programs for &Demand {
    fn read(&mut self, task: TaskId, from: usize, ops: &mut Vec<Op>) {
        let program = self.tasks.get(task.index()).map_or(&[][..], |t| &t.ops);
        let rest = program.get(from..).unwrap_or_default();
        ops.extend_from_slice(&rest[..rest.len().min(WINDOW)]);
    }
}

/// Both ends of a replay.
pub(crate) struct Ends<'d> {
    pub programs: &'d mut dyn Programs,
    pub sink: &'d mut dyn FnMut(Event, Decision),
}

impl fmt::Debug for Ends<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ends")
    }
}

/// The part of a program that a task is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    from: usize,
    ops: Vec<Op>,
}

impl Window {
    pub(crate) fn op(&self, pc: usize) -> Option<Op> {
        self.ops.get(pc.checked_sub(self.from)?).copied()
    }
}

impl Engine<'_> {
    /// Makes sure that the op at the task's place is in its window.
    pub(crate) fn read_ahead(&mut self, t: T) {
        let task = &mut self.tasks[t as usize];
        if task.window.op(task.pc).is_none() {
            task.window.from = task.pc;
            task.window.ops.clear();
            self.ends.programs.read(TaskId(t), task.pc, &mut task.window.ops);
        }
    }

    /// Moves on to behind the first `op` from here on, or to the end of the program.
    pub(crate) fn skip_behind(&mut self, t: T, op: Op) {
        loop {
            self.read_ahead(t);
            let task = &mut self.tasks[t as usize];
            let Some(next) = task.window.op(task.pc) else { return };
            task.pc += 1;
            if next == op {
                return;
            }
        }
    }
}
