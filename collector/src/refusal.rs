//! What the kernel or the file system refused, what it was needed for, and the way out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One refused access.
///
/// Displays as `PATH: cannot be WRITTEN, to PURPOSE; WAY OUT`; the operating system's own
/// words are the source.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be {done}, to {purpose}; {}", path.display(), self.way_out())]
pub struct Refusal {
    /// The file.
    pub path: PathBuf,
    /// The participle of what was tried: `read`, `written`, `created`.
    pub done: &'static str,
    /// What it was needed for: follows `to`.
    pub purpose: String,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl Refusal {
    /// A refusal of `path`.
    pub fn new(
        path: &Path,
        done: &'static str,
        purpose: impl fmt::Display,
        source: io::Error,
    ) -> Self {
        Self { path: path.to_owned(), done, purpose: purpose.to_string(), source }
    }

    /// What the user can do.
    #[must_use]
    pub fn way_out(&self) -> &'static str {
        let is_missing = self.source.kind() == io::ErrorKind::NotFound;
        if is_missing && self.done == "created" && !is_tracefs(&self.path) {
            return "there is no such folder: make it, or write elsewhere with `-o`";
        }
        way_out(&self.source, &self.path, Privilege::own())
    }
}

/// As whom this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    Root,
    User,
}

impl Privilege {
    pub(crate) fn own() -> Self {
        if own_user() == 0 { Self::Root } else { Self::User }
    }
}

/// The user as whom this process opens files.
#[expect(unsafe_code, reason = "the C library has no safe form of it")]
pub(crate) fn own_user() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

fn is_tracefs(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tracing")
}

fn way_out(error: &io::Error, path: &Path, privilege: Privilege) -> &'static str {
    let is_tracefs = is_tracefs(path);
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) if privilege == Privilege::User => {
            "run it as root (`sudo resched record …`), or see `resched record --check`"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "something forbids it even to root (a container, lockdown, seccomp): \
             `resched record --check` says what this machine still offers"
        }
        Some(libc::ENOENT) if is_tracefs => {
            "this kernel does not have it, or tracefs is not mounted \
             (`mount -t tracefs none /sys/kernel/tracing`): see `resched record --check`"
        }
        Some(libc::ENOSPC | libc::EDQUOT) => {
            "the disk is full: free some space, or write elsewhere with `-o`"
        }
        Some(libc::ENOMEM) => "there is not enough memory: ask for less with `--buffer`",
        Some(libc::EBUSY) => "somebody else is using it: wait, or end the other recording",
        Some(libc::EROFS) => "it is mounted read-only: write elsewhere, or remount it",
        Some(libc::EMFILE | libc::ENFILE) => {
            "too many files are open: raise the limit with `ulimit -n`"
        }
        _ => "see `resched record --check`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_the_file_the_purpose_and_the_way_out() {
        let refusal = |errno| {
            let path = Path::new("/sys/kernel/tracing/instances/x/trace_clock");
            let source = io::Error::from_raw_os_error(errno);
            Refusal::new(path, "written", "choose the clock", source).to_string()
        };
        assert_eq!(
            refusal(libc::ENOENT),
            "/sys/kernel/tracing/instances/x/trace_clock: cannot be written, to choose the \
             clock; this kernel does not have it, or tracefs is not mounted (`mount -t tracefs \
             none /sys/kernel/tracing`): see `resched record --check`"
        );
        assert!(refusal(libc::ENOSPC).ends_with("or write elsewhere with `-o`"));
        let source = io::Error::from_raw_os_error(libc::ENOENT);
        let folder =
            Refusal::new(Path::new("/no/x.recording"), "created", "record into it", source);
        assert!(folder.to_string().ends_with("make it, or write elsewhere with `-o`"));
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        let path = Path::new("/x");
        assert!(way_out(&denied, path, Privilege::User).starts_with("run it as root"));
        assert!(way_out(&denied, path, Privilege::Root).starts_with("something forbids it even"));
    }
}
