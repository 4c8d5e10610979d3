//! How a command ended, and what the shell hears of it.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// The outcome of a command that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done: exit code 0.
    Done,
    /// Done, but the input cannot carry the answer: exit code 3.
    Inconclusive,
}

impl Outcome {
    pub(crate) fn code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Inconclusive => ExitCode::from(3),
        }
    }
}

/// Usage or input error.
pub(crate) fn usage() -> ExitCode {
    ExitCode::from(2)
}

/// Whether the reader of our output went away; that is no failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
    })
}

/// Prints an error and its causes, each once.
pub(crate) fn complain(error: &anyhow::Error) {
    say(&format!("resched: {error:#}"));
}

/// One line for people, beside the data.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
