//! Who goes first: the recorder's own threads, or they could not empty the buffers in time.

use anyhow::{Context, Result};

/// Raises the calling thread: to `SCHED_FIFO` of this priority, else to nice -20.
///
/// # Errors
///
/// When a real-time priority was asked for and refused. That nice -20 is refused is no error:
/// the recording is then the likelier to lose events, which it says.
#[expect(unsafe_code, reason = "the C library has no safe form of these calls")]
pub(crate) fn raise(realtime: Option<i32>) -> Result<()> {
    let Some(priority) = realtime else {
        // SAFETY: numbers in, a number out; 0 is the calling thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
        return Ok(());
    };
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: the structure outlives the call; 0 is the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) } == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error()).with_context(|| {
        format!("SCHED_FIFO priority {priority} is refused (1 to 99 is possible): see --realtime")
    })
}
