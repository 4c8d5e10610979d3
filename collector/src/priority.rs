//! Who goes first: the recorder's own threads, or they could not empty the buffers in time.

use anyhow::{Context, Result};

/// How pressing it is to empty a buffer, for the calling thread.
///
/// Measured with hackbench (`cargo xtask bench record`): a recorder that preempts whom it records
/// costs far more than the time it takes, because it interrupts owners of locks. So it comes
/// seldom; and it goes before real-time tasks only when events would be lost otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Only what nobody else wants: `SCHED_IDLE`.
    Idle,
    /// There is room: nice -20.
    Patient,
    /// A quarter of the buffer is full: `SCHED_FIFO`, above everybody.
    Pressing,
    /// As was asked for: `SCHED_FIFO` of this priority, always.
    Realtime(i32),
}

/// The highest that a task can have.
const HIGHEST: i32 = 99;

impl Urgency {
    /// What a thread begins with.
    pub(crate) fn at_start(realtime: Option<i32>) -> Self {
        realtime.map_or(Self::Patient, Self::Realtime)
    }

    /// What so many bytes in a buffer ask for.
    pub(crate) fn for_fill(self, bytes: u64, buffer_kib: u64) -> Self {
        match self {
            Self::Idle => Self::Idle,
            Self::Realtime(priority) => Self::Realtime(priority),
            _ if bytes / 1024 >= buffer_kib / 4 => Self::Pressing,
            _ => Self::Patient,
        }
    }

    /// Changes the calling thread to this.
    pub(crate) fn apply(self) -> Result<()> {
        self.apply_to(0)
    }

    /// Changes the thread with this number to this; 0 is the calling one.
    ///
    /// # Errors
    ///
    /// When a real-time priority was asked for and refused. That the others are refused is no
    /// error: the recording is then the likelier to lose events, which it says.
    pub(crate) fn apply_to(self, thread: i32) -> Result<()> {
        match self {
            Self::Idle => {
                let _ = schedule(thread, libc::SCHED_IDLE, 0);
            }
            Self::Patient => {
                let _ = schedule(thread, libc::SCHED_OTHER, 0);
                nice(thread, -20);
            }
            Self::Pressing => {
                let _ = schedule(thread, libc::SCHED_FIFO, HIGHEST);
            }
            Self::Realtime(priority) => {
                schedule(thread, libc::SCHED_FIFO, priority).with_context(|| {
                    format!("SCHED_FIFO priority {priority} is refused: see --realtime")
                })?;
            }
        }
        Ok(())
    }
}

/// The number of the calling thread.
#[expect(unsafe_code, reason = "the C library has no safe form of it")]
pub(crate) fn own_thread() -> i32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::gettid() }
}

#[expect(unsafe_code, reason = "the C library has no safe form of it")]
fn nice(thread: i32, nice: i32) {
    // SAFETY: numbers in, a number out.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, thread.cast_unsigned(), nice) };
}

#[expect(unsafe_code, reason = "the C library has no safe form of these calls")]
fn schedule(thread: i32, policy: i32, priority: i32) -> std::io::Result<()> {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: the structure outlives the call.
    match unsafe { libc::sched_setscheduler(thread, policy, &raw const param) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_buffer_is_pressing_unless_a_priority_was_asked_for() {
        let fill = |kib: u64| Urgency::Patient.for_fill(kib * 1024, 1000);
        assert_eq!([fill(249), fill(250)], [Urgency::Patient, Urgency::Pressing]);
        assert_eq!(Urgency::Pressing.for_fill(0, 1000), Urgency::Patient);
        assert_eq!(Urgency::Realtime(3).for_fill(u64::MAX, 1000), Urgency::Realtime(3));
    }
}
