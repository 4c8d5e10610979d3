//! Signals as orders to a running recording.

use crate::control::{Control, Stop};
use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::sync::Arc;

/// Lets SIGINT, SIGTERM and SIGHUP end the recording, and SIGUSR1 write out a flight recorder.
///
/// # Errors
///
/// When the signals cannot be caught.
pub fn listen(control: &Arc<Control>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])
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
