//! What only system calls tell, behind functions that a test can replace.

use std::io;

/// Scheduling attributes of a task: `struct sched_attr` of `sched_getattr(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Number of the policy.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nanoseconds: a deadline task's budget, a fair task's slice; 0 for others and older kernels.
    pub runtime_ns: u64,
    /// Relative deadline, nanoseconds; 0 unless a deadline task.
    pub deadline_ns: u64,
    /// Period, nanoseconds; 0 unless a deadline task.
    pub period_ns: u64,
}

/// The system calls a reading makes.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// Attributes of a thread.
    pub attributes: fn(tid: i32) -> io::Result<Attributes>,
    /// CPUs a thread may run on, of those online.
    pub affinity: fn(tid: i32) -> io::Result<Vec<u32>>,
    /// Length of a timer tick, nanoseconds.
    pub tick_ns: fn() -> io::Result<u64>,
}

impl Calls {
    /// Asks this kernel.
    #[must_use]
    pub fn live() -> Self {
        Self { attributes, affinity, tick_ns }
    }

    /// Asks nobody: every call is refused, and files alone must do.
    #[must_use]
    pub fn refused() -> Self {
        fn refuse<T>() -> io::Result<T> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        Self { attributes: |_| refuse(), affinity: |_| refuse(), tick_ns: refuse }
    }
}

/// `struct sched_attr`, its second published form.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// `SCHED_ATTR_SIZE_VER0`: what every kernel since 3.14 fills in.
const FIRST_SIZE: u32 = 48;
/// `SCHED_ATTR_SIZE_VER1`.
const OUR_SIZE: u32 = 56;
const _: () = assert!(size_of::<RawAttributes>() == OUR_SIZE as usize);

#[expect(unsafe_code, reason = "libc has no wrapper for sched_getattr")]
fn attributes(tid: i32) -> io::Result<Attributes> {
    let mut raw = RawAttributes::default();
    // SAFETY: the kernel writes at most the given size, which is that of `raw`, a struct of plain
    // integers that lives through the call.
    let result = unsafe {
        libc::syscall(libc::SYS_sched_getattr, tid, &raw mut raw, OUR_SIZE, 0 as libc::c_uint)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if raw.size < FIRST_SIZE {
        return Err(io::Error::other(format!("sched_getattr filled in {} bytes", raw.size)));
    }
    Ok(Attributes {
        policy: raw.policy,
        flags: raw.flags,
        runtime_ns: raw.runtime,
        deadline_ns: raw.deadline,
        period_ns: raw.period,
    })
}

/// Words of a mask of 8192 CPUs, the most that Linux can be built for.
const MASK_WORDS: usize = 8192 / libc::c_ulong::BITS as usize;

#[expect(unsafe_code, reason = "libc's own mask ends at 1024 CPUs")]
fn affinity(tid: i32) -> io::Result<Vec<u32>> {
    let mut mask: [libc::c_ulong; MASK_WORDS] = [0; MASK_WORDS];
    // SAFETY: the kernel writes at most the given number of bytes, which is the size of `mask`.
    let written = unsafe {
        libc::syscall(libc::SYS_sched_getaffinity, tid, size_of_val(&mask), &raw mut mask)
    };
    if written < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut cpus = Vec::new();
    for (first, word) in (0..).step_by(libc::c_ulong::BITS as usize).zip(mask) {
        cpus.extend((0..libc::c_ulong::BITS).filter(|bit| word >> bit & 1 == 1).map(|b| first + b));
    }
    Ok(cpus)
}

#[expect(unsafe_code, reason = "std has no clock_getres")]
fn tick_ns() -> io::Result<u64> {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `resolution` is a valid timespec that the kernel fills in.
    let result = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    u64::try_from(resolution.tv_nsec).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_for_this_thread() {
        let calls = Calls::live();
        let own = (calls.attributes)(0).expect("own attributes");
        assert!(own.policy <= 7, "{own:?}");
        assert!(!(calls.affinity)(0).expect("own affinity").is_empty());
        let tick = (calls.tick_ns)().expect("coarse clock");
        assert!((100_000..=20_000_000).contains(&tick), "{tick}");
        let gone = (calls.attributes)(i32::MAX).expect_err("no such thread");
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
    }
}
