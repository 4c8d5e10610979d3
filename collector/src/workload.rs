//! The command that is recorded: started when the recording runs, and waited for.

use crate::control::{Control, Stop};
use crate::limits::Limits;
use anyhow::{Context, Result};
use std::process::{Child, Command};
use std::sync::Arc;

/// Starts the command, under these limits; its end stops the recording.
///
/// # Errors
///
/// When it cannot be started.
pub(crate) fn start(
    command: &[String],
    limits: Option<Limits>,
    control: &Arc<Control>,
) -> Result<Option<u32>> {
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(limits) = limits {
        limits.give_to(&mut command);
    }
    let mut child =
        command.spawn().with_context(|| format!("{program}: the command cannot be started"))?;
    let pid = child.id();
    let (control, name) = (Arc::clone(control), program.clone());
    std::thread::Builder::new()
        .name("command".to_owned())
        .spawn(move || control.stop(Stop::Command(end(&mut child, &name))))
        .context("a thread that waits for the command cannot be started")?;
    Ok(Some(pid))
}

fn end(child: &mut Child, name: &str) -> String {
    match child.wait() {
        Ok(status) if status.success() => format!("{name} ended"),
        Ok(status) => format!("{name} ended with {status}"),
        Err(error) => format!("{name} cannot be waited for ({error})"),
    }
}
