//! `resched`: parse what was typed, run the command, turn the outcome into an exit code.

mod args;
mod chart;
mod command;
mod ensemble;
mod input;
mod outcome;
mod output;
mod render;
mod scenario;
mod study;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors; a closed pipe does not change that.
            let _ = error.print();
            return if error.use_stderr() { outcome::usage() } else { ExitCode::SUCCESS };
        }
    };
    match command::run(args.command) {
        Ok(outcome) => outcome.code(),
        Err(error) if outcome::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            outcome::complain(&error);
            outcome::usage()
        }
    }
}
