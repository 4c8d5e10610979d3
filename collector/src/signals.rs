//! Signals as orders to a running recording.

use crate::control::{Control, Stop};
use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::sync::Arc;

/// Lets SIGINT, SIGTERM and SIGHUP end the recording, and SIGUSR1 write out a flight recorder.
///
/// SIGHUP stays ignored where it was.
///
/// # Errors
///
/// When the signals cannot be caught.
pub fn listen(control: &Arc<Control>) -> Result<()> {
    // Who starts it with nohup wants it to outlive the terminal.
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1].into_iter().chain(hangup))
        .context("signals cannot be caught, and without that a recording would not end well")?;
    let control = Arc::clone(control);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGUSR1 => control.dump("SIGUSR1".to_owned()),
                    _ => control.stop(Stop::Asked),
                }
            }
        })
        .context("a thread that waits for signals cannot be started")?;
    Ok(())
}

#[expect(unsafe_code, reason = "the C library has no safe form of it")]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only writes the old one, which outlives it.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}
