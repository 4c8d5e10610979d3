//! The same task in two traces: by name and position, not by thread id.

use model::{TaskId, Trace};
use std::collections::BTreeMap;
use std::fmt;

/// A task's identity across traces: the n-th of its name, in order of thread ids, from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct TaskKey {
    /// Name.
    pub name: String,
    /// Position among tasks of that name.
    pub position: usize,
}

impl fmt::Display for TaskKey {
    /// The name, with `#2` and so on behind it from the second on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            0 => write!(f, "{}", self.name),
            n => write!(f, "{}#{}", self.name, n + 1),
        }
    }
}

/// Keys of all tasks of a trace, indexed by [`TaskId`].
#[must_use]
pub fn keys(trace: &Trace) -> Vec<TaskKey> {
    let mut order: Vec<TaskId> = trace.tasks().map(|(id, _)| id).collect();
    order.sort_by_key(|id| (trace.task(*id).info.tid, *id));
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut keys: Vec<TaskKey> =
        vec![TaskKey { name: String::new(), position: 0 }; trace.tasks.len()];
    for id in order {
        let name = trace.name(id);
        let next = seen.entry(name).or_insert(0);
        keys[id.index()] = TaskKey { name: name.to_owned(), position: *next };
        *next += 1;
    }
    keys
}

/// The task of `b` that is `task` of `a`; `None` when `b` has no such task.
#[must_use]
pub fn counterpart(a: &Trace, task: TaskId, b: &Trace) -> Option<TaskId> {
    let name = a.name(task);
    let position = by_thread_id(a, name).iter().position(|id| *id == task)?;
    by_thread_id(b, name).get(position).copied()
}

/// The tasks of one name, in the order of their positions.
fn by_thread_id(trace: &Trace, name: &str) -> Vec<TaskId> {
    let mut tasks: Vec<TaskId> =
        trace.tasks().map(|(id, _)| id).filter(|id| trace.name(*id) == name).collect();
    tasks.sort_by_key(|id| (trace.task(*id).info.tid, *id));
    tasks
}
