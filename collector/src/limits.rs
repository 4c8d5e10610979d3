//! Limits that a recorder raises for itself, and not for the command that it records.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What a process may use: open files, and locked memory.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    files: libc::rlimit,
    locked: libc::rlimit,
}

impl Limits {
    /// Those of this process as they are now; `None` where they cannot be read.
    pub(crate) fn own() -> Option<Self> {
        Some(Self { files: read(libc::RLIMIT_NOFILE)?, locked: read(libc::RLIMIT_MEMLOCK)? })
    }

    /// Lets a command begin with them.
    #[expect(unsafe_code, reason = "between fork and exec only a few calls are allowed")]
    pub(crate) fn give_to(self, command: &mut Command) {
        let Self { files, locked } = self;
        // SAFETY: setrlimit may be called there, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                write(libc::RLIMIT_NOFILE, &files)?;
                write(libc::RLIMIT_MEMLOCK, &locked)
            });
        }
    }
}

/// Raises the limit of open files as far as it goes: each event of each CPU is one.
pub(crate) fn allow_many_files() {
    if let Some(limit) = read(libc::RLIMIT_NOFILE) {
        // A refusal shows when a file is opened.
        let _ = write(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur: limit.rlim_max, ..limit });
    }
}

/// Lifts the limit of locked memory as far as it goes: Linux 5.10 and older count maps there.
pub(crate) fn allow_locked_memory() {
    let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // A refusal shows when a map is made.
    let _ = write(libc::RLIMIT_MEMLOCK, &all);
}

#[expect(unsafe_code, reason = "the C library has no safe form of it")]
fn read(resource: libc::__rlimit_resource_t) -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    (result == 0).then_some(limit)
}

#[expect(unsafe_code, reason = "the C library has no safe form of it")]
fn write(resource: libc::__rlimit_resource_t, limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: the structure outlives the call.
    let result = unsafe { libc::setrlimit(resource, limit) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_begins_with_the_limits_of_before() {
        let before = Limits { files: libc::rlimit { rlim_cur: 37, rlim_max: 41 }, ..own() };
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -Sn; ulimit -Hn"]);
        before.give_to(&mut command);
        let output = command.output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "37\n41\n");
    }

    fn own() -> Limits {
        Limits::own().expect("limits can be read")
    }
}
