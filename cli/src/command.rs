//! One function per command.

mod analyze;
mod compare;
mod demand;
mod demo;
mod explain;
mod info;
mod policies;
mod record;
mod replay;
mod scenario;

use crate::args::{Command, CoveredLock};
use crate::outcome::Outcome;
use anyhow::Result;
use model::demand::Cover;
use std::io::Write;

/// Runs what was asked for.
pub(crate) fn run(command: Command) -> Result<Outcome> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Analyze(args) => analyze::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Demand(args) => demand::run(&args),
        Command::Policies(args) => policies::run(&args),
    }
}

/// Locks beside mutexes whose critical sections count.
fn cover(locks: &[CoveredLock]) -> Cover {
    Cover {
        rwsem: locks.contains(&CoveredLock::Rwsem),
        pi_futex: locks.contains(&CoveredLock::FutexPi),
        user_locks: locks.contains(&CoveredLock::Futex),
        ..Cover::default()
    }
}

/// Data for standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// A value as indented JSON on standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}
