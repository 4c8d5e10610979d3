//! What a killed recorder left switched on in the kernel, and the end of it.

use crate::dynamic;
use crate::tracefs::{self, Alive, Tracefs};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

/// A killed process counts as dead a moment before its last thread has closed its files, and
/// another recorder may be ending the same instance; so often is tried, after so long.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// What became of one thing that a dead recorder had left; displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    /// What was done, or what is still there.
    pub says: String,
    /// What the user can do, when it is still there.
    pub way_out: Option<String>,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { says, way_out } = self;
        match way_out {
            None => write!(f, "{says}"),
            Some(way_out) => write!(f, "{says}; {way_out}"),
        }
    }
}

/// Ends what dead recorders left in this kernel, where there is a tracefs that can be looked at.
pub(crate) fn end_here() -> Vec<Leftover> {
    let mounts = tracefs::read(Path::new("/proc/self/mounts"), "find tracefs");
    let mounted = mounts.map_err(anyhow::Error::from).and_then(|text| Tracefs::find(&text));
    mounted.map_or(Vec::new(), |tracefs| end(&tracefs, tracefs::is_alive))
}

/// Ends what dead recorders left: tracing in an instance of theirs, and dynamic events.
///
/// `is_alive` says whether the process of this id and start time (in clock ticks since boot)
/// still runs.
pub(crate) fn end(tracefs: &Tracefs, is_alive: impl Fn(u32, u64) -> Alive) -> Vec<Leftover> {
    let mut ended = instances(tracefs, &is_alive);
    // An event goes away only when no instance records it.
    ended.extend(dynamic::remove_leftovers(tracefs, is_alive).into_iter().map(|group| Leftover {
        says: format!("removed the dynamic events of a killed recorder ({group})"),
        way_out: None,
    }));
    ended
}

fn instances(tracefs: &Tracefs, is_alive: impl Fn(u32, u64) -> Alive) -> Vec<Leftover> {
    let folder = tracefs.root().join("instances");
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names: BTreeSet<String> = names.collect();
    names.iter().filter_map(|name| end_instance(&folder, name, &is_alive)).collect()
}

/// `None` when there is nothing to end: the instance is not ours, or its recorder lives.
fn end_instance(
    folder: &Path,
    name: &str,
    is_alive: impl Fn(u32, u64) -> Alive,
) -> Option<Leftover> {
    let (pid, start) = tracefs::recorder_of(name)?;
    if is_alive(pid, start) == Alive::Yes {
        return None;
    }
    let dir = folder.join(name);
    let was_on = fs::read_to_string(dir.join("tracing_on")).is_ok_and(|text| text.trim() == "1");
    match remove(&dir) {
        Ok(()) => {
            let ended = if was_on { "ended the tracing" } else { "removed the instance" };
            let says = format!("{ended} of killed recorder {pid} ({name})");
            Some(Leftover { says, way_out: None })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            let what = if was_on { "tracing" } else { "instance" };
            let says =
                format!("the {what} of killed recorder {pid} ({name}) cannot be ended ({error})");
            let way_out = format!(
                "end the program that reads it, which may be a recorder in a container, and \
                 remove it with `rmdir {}`",
                dir.display()
            );
            Some(Leftover { says, way_out: Some(way_out) })
        }
    }
}

/// Removes an instance.
///
/// The kernel switches its events off with it, and refuses while somebody has its files open:
/// so nothing is taken from a recorder that only seems dead, because its process id is that of
/// another namespace. It knows no such device while another process removes the same instance.
fn remove(dir: &Path) -> io::Result<()> {
    for _ in 1..TRIES {
        match fs::remove_dir(dir) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENODEV)) => {
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_instances_of_dead_recorders_are_ended() {
        let root = std::env::temp_dir().join(format!("resched-left-{}", std::process::id()));
        let instances = root.join("instances");
        for name in ["resched.10.5", "resched.11.5", "resched.12.5", "resched.x", "perfetto"] {
            fs::create_dir_all(instances.join(name)).expect("a writable directory");
        }
        // In a tracefs this file does not keep its folder from being removed; here it does.
        fs::write(instances.join("resched.12.5/tracing_on"), "1\n").expect("written");
        let is_alive = |pid, start| if (pid, start) == (11, 5) { Alive::Yes } else { Alive::No };
        let ended = end(&Tracefs::at(&root), is_alive);
        let lines: Vec<String> = ended.iter().map(Leftover::to_string).collect();
        assert_eq!(lines[0], "removed the instance of killed recorder 10 (resched.10.5)");
        let expected = "the tracing of killed recorder 12 (resched.12.5) cannot be ended (";
        assert!(lines[1].starts_with(expected), "{}", lines[1]);
        let way_out = format!("and remove it with `rmdir {}/resched.12.5`", instances.display());
        assert!(lines[1].ends_with(&way_out), "{}", lines[1]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        let mut left: Vec<_> = fs::read_dir(&instances)
            .expect("still there")
            .flatten()
            .map(|entry| entry.file_name().into_string().expect("text"))
            .collect();
        left.sort();
        assert_eq!(left, ["perfetto", "resched.11.5", "resched.12.5", "resched.x"]);
        fs::remove_dir_all(&root).expect("removable");
    }
}
