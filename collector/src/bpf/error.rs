//! Why a program could not be loaded or attached, and what can be done about it.

use super::btf::BtfError;
use super::rights::Rights;
use std::io;

/// A program cannot read what it was written to read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpfError {
    /// The kernel's types cannot be read or lack something.
    #[error(transparent)]
    Types(#[from] BtfError),
    /// The kernel said no.
    #[error(
        "cannot {step}: {}. {way_out}{}",
        io::Error::from_raw_os_error(*errno),
        indented(verifier)
    )]
    Refused {
        /// What was asked of the kernel.
        step: Step,
        /// Its answer, a number of `errno.h`.
        errno: i32,
        /// What the user can do.
        way_out: &'static str,
        /// The last lines of the verifier, if it was asked.
        verifier: String,
    },
    /// The kernel's locks do not look as these programs know them.
    #[error("{missing}. {way_out}")]
    OtherKernel {
        /// What was looked for and not found.
        missing: BtfError,
        /// What the user can do.
        way_out: &'static str,
    },
    /// Pointers of the kernel do not have 64 bits.
    #[error(
        "pointers of this kernel take {bytes} bytes; reading its locks with BPF works on 64-bit \
         kernels only. Record without lock owners"
    )]
    PointerWidth {
        /// The width found, in bytes; 0 if the kernel's types do not tell.
        bytes: u32,
    },
    /// Nothing here knows how this architecture passes arguments.
    #[error(
        "where functions of this architecture find their arguments is not known here; x86-64 and \
         arm64 are. Record with `--detail owner`"
    )]
    Architecture,
    /// More ids are needed than there are from the first one on.
    #[error("event ids from {first} on do not suffice for {count} events; the highest is 65535")]
    Ids {
        /// The first id that was to be used.
        first: u16,
        /// How many are needed.
        count: usize,
    },
}

/// One request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A map the programs write into.
    CreateMap,
    /// A program at a tracepoint.
    LoadAtTracepoint {
        /// The tracepoint.
        tracepoint: String,
    },
    /// A program at a function (fentry or fexit).
    LoadAtFunction {
        /// The function.
        function: String,
    },
    /// A loaded program starts to run.
    Attach {
        /// The tracepoint or function.
        place: String,
    },
    /// A ring receives the records of a CPU.
    SetOutput {
        /// The CPU.
        cpu: u32,
    },
    /// Counts are read back.
    ReadCounts,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CreateMap => write!(f, "create a BPF map"),
            Self::LoadAtTracepoint { tracepoint } => {
                write!(f, "load a BPF program for the tracepoint {tracepoint}")
            }
            Self::LoadAtFunction { function } => {
                write!(f, "load a BPF program for the kernel function {function}")
            }
            Self::Attach { place } => write!(f, "attach a BPF program to {place}"),
            Self::SetOutput { cpu } => write!(f, "give BPF programs a ring buffer for CPU {cpu}"),
            Self::ReadCounts => write!(f, "read the counters of the BPF programs"),
        }
    }
}

impl BpfError {
    pub(super) fn refused(step: Step, errno: i32) -> Self {
        Self::rejected(step, errno, "")
    }

    pub(super) fn rejected(step: Step, errno: i32, log: &str) -> Self {
        let way_out = way_out(&step, errno, Rights::of_this_process());
        Self::Refused { step, errno, way_out, verifier: tail(log) }
    }

    /// The kernel's answer, if it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Types(BtfError::Unreadable { source, .. }) => source.raw_os_error(),
            _ => None,
        }
    }
}

const MORE_RIGHTS: &str = "Run as root, or give the program the rights once: \
     sudo setcap cap_bpf,cap_perfmon+ep \"$(command -v resched)\" (in a container: start it with \
     --privileged or these two capabilities)";

fn way_out(step: &Step, errno: i32, rights: Rights) -> &'static str {
    match (errno, step) {
        (libc::EPERM | libc::EACCES, _) if rights != Rights::Enough => MORE_RIGHTS,
        (libc::EPERM, Step::LoadAtFunction { .. }) => {
            "The rights suffice, but the kernel is locked down or a security module forbids \
             programs that change kernel code. Record without --detail full, or on a kernel \
             with fprobe or kprobe events or without that restriction"
        }
        (libc::EPERM, _) => {
            "The rights suffice, but something above forbids it: a seccomp filter, a container's \
             user namespace, kernel lockdown or a security module. Run outside the container, or \
             record without lock owners"
        }
        (libc::ENOSYS, _) => {
            "The kernel has no BPF (CONFIG_BPF_SYSCALL) or a sandbox hides it. Record without \
             lock owners"
        }
        (libc::ENOENT, Step::Attach { .. }) => {
            "The kernel has no such tracepoint; contention_begin exists since Linux 5.19. Record \
             without lock owners"
        }
        (libc::EOPNOTSUPP | ENOTSUPP, Step::LoadAtFunction { .. } | Step::Attach { .. }) => {
            "This kernel or architecture cannot call programs from functions \
             (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, CONFIG_BPF_JIT). Record without --detail \
             full"
        }
        (libc::EBUSY, Step::Attach { .. }) => {
            "Another tracer holds the function. Stop it (bpftool link; cat \
             /sys/kernel/tracing/enabled_functions) and try again"
        }
        (libc::E2BIG, Step::Attach { .. } | Step::SetOutput { .. }) => {
            "A limit of the kernel is reached: too many programs at one function, or a CPU \
             number beyond those that existed when recording began"
        }
        (libc::EINVAL, Step::CreateMap) => {
            "BPF has ring buffers since Linux 5.8, and one for each CPU since Linux 5.10. Record \
             without lock owners"
        }
        (libc::ENOMEM, Step::CreateMap | Step::SetOutput { .. }) => {
            "There is no memory for the buffers of all CPUs. Record with a smaller `--buffer`, or \
             without lock owners"
        }
        (libc::ENOMEM, _) => "The kernel has no memory left for it. Free some and try again",
        (libc::EINVAL | libc::EACCES | libc::E2BIG, _) => {
            "This kernel does not know a part of the program. Record without lock owners, and \
             report the kernel version together with the lines below"
        }
        _ => "Record without lock owners",
    }
}

/// The kernel's own number for "not supported", which has no place in `errno.h`.
const ENOTSUPP: i32 = 524;

/// The last lines, where the verifier names the reason.
fn tail(log: &str) -> String {
    const LINES: usize = 12;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn indented(verifier: &str) -> String {
    verifier.lines().flat_map(|line| ["\n  verifier: ", line]).collect()
}

#[cfg(test)]
mod tests {
    use super::{BpfError, Step, tail, way_out};
    use crate::bpf::rights::Rights;

    fn tracepoint() -> Step {
        Step::LoadAtTracepoint { tracepoint: "contention_begin".into() }
    }

    #[test]
    fn a_user_without_rights_is_told_the_command_that_gives_them() {
        let text = way_out(&tracepoint(), libc::EPERM, Rights::Missing);
        assert!(text.contains("root") && text.contains("setcap cap_bpf,cap_perfmon+ep"), "{text}");
        assert_eq!(way_out(&tracepoint(), libc::EPERM, Rights::Unknown), text);
    }

    #[test]
    fn root_on_a_locked_kernel_is_not_sent_to_become_root() {
        let step = Step::LoadAtFunction { function: "mutex_lock".into() };
        let text = way_out(&step, libc::EPERM, Rights::Enough);
        assert!(text.contains("locked down") && !text.contains("setcap"), "{text}");
    }

    #[test]
    fn a_kernel_without_the_tracepoint_is_told_since_when_it_exists() {
        let step = Step::Attach { place: "contention_begin".into() };
        assert!(way_out(&step, libc::ENOENT, Rights::Enough).contains("5.19"));
    }

    #[test]
    fn the_message_says_what_why_and_what_to_do() {
        let error = BpfError::Refused {
            step: tracepoint(),
            errno: libc::EPERM,
            way_out: way_out(&tracepoint(), libc::EPERM, Rights::Missing),
            verifier: "invalid mem access".into(),
        };
        let text = error.to_string();
        assert!(text.starts_with(
            "cannot load a BPF program for the tracepoint contention_begin: \
             Operation not permitted (os error 1). Run as root"
        ));
        assert!(text.ends_with("\n  verifier: invalid mem access"), "{text}");
        assert_eq!(error.errno(), Some(libc::EPERM));
    }

    #[test]
    fn only_the_end_of_a_long_log_is_kept() {
        let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
        assert!(tail(&log).starts_with("line 88\n") && tail(&log).ends_with("line 99"));
    }
}
