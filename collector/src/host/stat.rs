//! `/proc/PID/task/TID/stat`: name, class and start of a thread.

/// `PF_KTHREAD`.
const KERNEL_THREAD: u32 = 0x0020_0000;
/// `PF_WQ_WORKER`.
const WORKER: u32 = 0x20;
/// Bytes of `task_struct.comm` without its end.
const COMM_BYTES: usize = 15;

/// What is read of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The name as events print it.
    pub(super) comm: String,
    pub(super) is_kernel_thread: bool,
    pub(super) nice: i32,
    /// Threads of the process; 0 for a process that is being reaped.
    pub(super) n_threads: u32,
    /// Clock ticks after boot.
    pub(super) start_time: u64,
    pub(super) rt_priority: i32,
    /// Number of the policy.
    pub(super) policy: u32,
}

/// Reads the line; `None` when it is not one.
///
/// The name stands in parentheses and may itself hold parentheses, blanks and line ends,
/// so it ends at the last closing one.
pub(super) fn parse(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|b| *b == b'(')?;
    let close = line.iter().rposition(|b| *b == b')')?;
    let name = line.get(open + 1..close)?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    // The first field after the name is number 3 in proc_pid_stat(5).
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let flags: u32 = field(9)?.parse().ok()?;
    Some(Stat {
        comm: comm(name, flags),
        is_kernel_thread: flags & KERNEL_THREAD != 0,
        nice: field(19)?.parse().ok()?,
        n_threads: field(20)?.parse().ok()?,
        start_time: field(22)?.parse().ok()?,
        rt_priority: field(40)?.parse().ok()?,
        policy: field(41)?.parse().ok()?,
    })
}

/// The name that events carry: here a kernel thread has its full name, and a worker also its work.
///
/// # Source
///
/// `proc_task_name` in `fs/proc/array.c` and `wq_worker_comm` in `kernel/workqueue.c`, Linux 7.3:
/// `+work` or `-work` follows the name of a worker. A rescuer's name, `kworker/R-queue`, has a
/// hyphen of its own.
fn comm(name: &[u8], flags: u32) -> String {
    let is_rescuer = name.starts_with(b"kworker/R-");
    let begins_work = |b: &u8| *b == b'+' || (*b == b'-' && !is_rescuer);
    let work = name.iter().position(begins_work).filter(|_| flags & WORKER != 0);
    let mut end = work.unwrap_or(name.len());
    if flags & KERNEL_THREAD != 0 {
        end = end.min(COMM_BYTES);
    }
    String::from_utf8_lossy(name.get(..end).unwrap_or(name)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, flags: u32) -> Vec<u8> {
        let zeros = "0 ".repeat(17);
        format!("7 ({name}) S 2 0 0 0 -1 {flags} 0 0 0 0 0 0 0 0 20 -5 3 0 812 {zeros}50 1 0 0\n")
            .into_bytes()
    }

    #[test]
    fn a_name_may_hold_anything() {
        for name in ["a) b", "(a", "x (y) S 1 2", "two\nlines", "", ")"] {
            let stat = parse(&line(name, 0)).expect(name);
            assert_eq!(
                (&*stat.comm, stat.nice, stat.n_threads, stat.start_time),
                (name, -5, 3, 812)
            );
            assert_eq!((stat.rt_priority, stat.policy, stat.is_kernel_thread), (50, 1, false));
        }
    }

    #[test]
    fn kernel_threads_are_named_as_in_events() {
        let named = |name, flags| parse(&line(name, flags | KERNEL_THREAD)).expect(name).comm;
        assert_eq!(named("kworker/0:1H-kblockd", WORKER), "kworker/0:1H");
        assert_eq!(named("kworker/u8:2+events_unbound", WORKER), "kworker/u8:2");
        assert_eq!(named("kworker/R-netns", WORKER), "kworker/R-netns");
        assert_eq!(named("kworker/R-mld+mld", WORKER), "kworker/R-mld");
        assert_eq!(named("kworker/R-long-queue-name", WORKER), "kworker/R-long-");
        assert_eq!(named("jbd2/nvme0n1p2-8", 0), "jbd2/nvme0n1p2-");
        assert_eq!(named("irq/45-timer", 0), "irq/45-timer");
    }

    #[test]
    fn what_is_cut_or_is_no_line_is_refused() {
        let whole = line("a", 0);
        for end in 0..whole.len() - 8 {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(parse(b")("), None);
        assert_eq!(parse(&[0xff; 300]), None);
    }
}
