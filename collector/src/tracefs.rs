//! The tracefs of this kernel: where it is, what it offers, and whose an instance in it is.

use crate::refusal::Refusal;
use anyhow::{Result, bail};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Names of our instances begin with this; the recorder's process id and start time follow.
const PREFIX: &str = "resched.";

/// A mounted tracefs.
#[derive(Clone, Debug)]
pub struct Tracefs {
    root: PathBuf,
}

impl Tracefs {
    /// Finds it in a table of mounts such as `/proc/self/mounts`.
    ///
    /// # Errors
    ///
    /// When none is mounted; the message says how to mount it.
    pub fn find(mounts: &str) -> Result<Self> {
        let is_tracefs = |line: &&str| line.split(' ').nth(2) == Some("tracefs");
        let at = |line: &str| line.split(' ').nth(1).map(PathBuf::from);
        let mut found: Vec<PathBuf> = mounts.lines().filter(is_tracefs).filter_map(at).collect();
        // The one below debugfs is the same file system, mounted on first use.
        found.sort_by_key(|path| path.starts_with("/sys/kernel/debug"));
        match found.into_iter().next() {
            Some(root) => Ok(Self { root }),
            None => bail!(
                "no tracefs is mounted, and both recording engines take event numbers and formats \
                 from it; mount it with `mount -t tracefs none /sys/kernel/tracing`"
            ),
        }
    }

    /// One that lies at `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads a file of it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, with its name and `purpose`.
    pub fn read(&self, file: &str, purpose: &str) -> Result<String, Refusal> {
        read(&self.root.join(file), purpose)
    }

    /// The number of an event; `None` when this kernel does not have it.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn event_id(&self, system: &str, name: &str) -> Result<Option<u16>, Refusal> {
        let path = self.root.join("events").join(system).join(name).join("id");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Refusal::new(&path, "read", "know the event's number", error)),
        }
    }

    /// The format text of an event.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn event_format(&self, system: &str, name: &str) -> Result<String, Refusal> {
        self.read(&format!("events/{system}/{name}/format"), "describe the event in the recording")
    }
}

/// Whether a process still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alive {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// The name of the instance of this process.
#[must_use]
pub(crate) fn own_name(pid: u32, start_ticks: u64) -> String {
    format!("{PREFIX}{pid}.{start_ticks}")
}

/// Id and start time of the recorder whose instance has this name; `None` for others' instances.
pub(crate) fn recorder_of(name: &str) -> Option<(u32, u64)> {
    let (pid, start) = name.strip_prefix(PREFIX)?.split_once('.')?;
    Some((pid.parse().ok()?, start.parse().ok()?))
}

/// Start time of a process in clock ticks since boot, from `/proc/PID/stat`.
#[must_use]
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    start_of(&stat)
}

/// `None` for a process that has ended and whose parent has not asked how.
fn start_of(stat: &str) -> Option<u64> {
    // The name stands in parentheses and may hold any character, also these.
    let fields = stat.rsplit_once(')')?.1.trim_start();
    if fields.starts_with('Z') {
        return None;
    }
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// Whether the recorder of this id and start time runs.
#[must_use]
pub(crate) fn is_alive(pid: u32, start: u64) -> Alive {
    if start_ticks(pid) == Some(start) { Alive::Yes } else { Alive::No }
}

/// Reads a file of the kernel's.
pub(crate) fn read(path: &Path, purpose: &str) -> Result<String, Refusal> {
    // Some of them answer only one read, however small, so the first one must be large.
    let mut bytes = Vec::with_capacity(1 << 16);
    fs::File::open(path)
        .and_then(|mut file| {
            let mut first = vec![0; 1 << 16];
            let n = file.read(&mut first)?;
            bytes.extend_from_slice(&first[..n]);
            file.read_to_end(&mut bytes)
        })
        .map_err(|error| Refusal::new(path, "read", purpose, error))?;
    // What the kernel prints of itself is text, but names in it come from anybody.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn write(path: &Path, text: &str, purpose: &str) -> Result<(), Refusal> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|error| Refusal::new(path, "written", purpose, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracefs_is_found_where_it_is_mounted_first_beside_debugfs() {
        let mounts = "proc /proc proc rw 0 0\n\
                      tracefs /sys/kernel/debug/tracing tracefs rw 0 0\n\
                      nodev /sys/kernel/tracing tracefs rw,relatime 0 0\n";
        let found = Tracefs::find(mounts).expect("mounted");
        assert_eq!(found.root(), Path::new("/sys/kernel/tracing"));
        let error = Tracefs::find("proc /proc proc rw 0 0\n").expect_err("none").to_string();
        assert!(error.ends_with("`mount -t tracefs none /sys/kernel/tracing`"), "{error}");
    }

    #[test]
    fn a_process_that_has_ended_does_not_run() {
        let stat = |state: char| format!("7 (a ) b) {state}{} 4711 0", " 0".repeat(18));
        assert_eq!([start_of(&stat('S')), start_of(&stat('Z'))], [Some(4711), None]);
    }

    #[test]
    fn a_process_is_known_by_its_start_time_too() {
        let pid = std::process::id();
        let start = start_ticks(pid).expect("own stat");
        assert_eq!(is_alive(pid, start), Alive::Yes);
        assert_eq!(is_alive(pid, start + 1), Alive::No);
    }
}
