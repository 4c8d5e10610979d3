//! The machine that is recorded: what `TRACE.host.json` says of it.
//!
//! A [`Snapshot`] is taken before the recording begins and another when it is over;
//! [`Snapshot::finish`] makes one sidecar of the two. Nothing here fails: what cannot be
//! read is left out and listed in the sidecar's `unreadable`.

mod boot;
mod calls;
mod cgroup;
mod kernel;
mod list;
mod locks;
mod merge;
mod source;
mod stat;
mod task;
mod topology;

pub use calls::{Attributes, Calls};
pub use locks::{lock_names, name_locks};
pub use task::{TaskReading, read_tasks};

use source::Sources;
use std::path::{Path, PathBuf};
use trace_formats::Host;

/// Where the machine is looked at.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/boot`, which may have the kernel's build options.
    pub boot: PathBuf,
    /// `/lib/modules`, which may have them too.
    pub modules: PathBuf,
    /// What only system calls tell.
    pub calls: Calls,
}

impl Default for Roots {
    /// This machine.
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
            boot: "/boot".into(),
            modules: "/lib/modules".into(),
            calls: Calls::live(),
        }
    }
}

impl Roots {
    /// Another machine's files, copied below `folder`; no system call is made.
    #[must_use]
    pub fn below(folder: &Path) -> Self {
        Self {
            proc: folder.join("proc"),
            sys: folder.join("sys"),
            boot: folder.join("boot"),
            modules: folder.join("lib/modules"),
            calls: Calls::refused(),
        }
    }
}

/// Reads what a machine is and how its scheduler is set, but none of its tasks.
#[must_use]
pub fn read_machine(roots: &Roots) -> Host {
    let mut sources = Sources::new(roots);
    let mut host = Host::default();
    kernel::read(&mut sources, &mut host);
    topology::read(&mut sources, &mut host);
    for (path, error) in &sources.unreadable {
        host.add_unreadable(path, error);
    }
    host
}

/// A machine and its tasks at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Everything but tasks and cgroups.
    pub machine: Host,
    /// Tasks and cgroups.
    pub tasks: TaskReading,
}

impl Snapshot {
    /// Reads the machine, then its tasks.
    ///
    /// Take it before events are recorded, or the reading is in the recording.
    #[must_use]
    pub fn take(roots: &Roots) -> Self {
        let mut machine = read_machine(roots);
        let tasks = read_tasks(roots, &machine);
        if machine.base_slice_ns.is_none() {
            machine.base_slice_ns = tasks.common_slice_ns;
            if machine.base_slice_ns.is_some() {
                let how = "slice of most user tasks, from sched_getattr";
                machine.derived.insert("base_slice_ns".to_owned(), how.to_owned());
            }
        }
        Self { machine, tasks }
    }

    /// The sidecar of a recording that began at this snapshot and was over at `end`.
    ///
    /// Values are those of the start. What differed at the end is in `at_end` of the machine, of
    /// a cgroup, of a task; tasks and cgroups that are new at the end are added, and tasks that
    /// took over a tid are `successors` of the first that had it.
    #[must_use]
    pub fn finish(self, end: Self) -> Host {
        merge::merge(self, end)
    }
}

#[cfg(test)]
mod tests;
