//! The workspace's own checks: `cargo xtask check` is what CI runs.

mod bench;
mod check;
mod docs;
mod faults;
mod fidelity;
mod fixtures;
mod layers;
mod live_owners;
mod overhead;
mod owners;
mod reality;
mod shrink;
mod sizes;
mod terminal;
mod tree;
mod user_locks;

use anyhow::{Result, bail};
use shrink::Symptom;

/// Names of the tasks, for the check that documents name no other.
const TASKS: [&str; 8] =
    ["check", "fixtures", "fidelity", "reality", "bench", "owners", "faults", "shrink"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check::run(),
        ["fixtures"] => check::report("fixtures", &fixtures::problems()?),
        ["owners", "live"] => live_owners::run(),
        ["owners", "user"] => user_locks::run(),
        ["faults"] => faults::run("contention", "tracefs"),
        ["faults", detail] => faults::run(detail, "tracefs"),
        ["faults", detail, via] => faults::run(detail, via),
        ["owners", ref files @ ..] => owners::run(files),
        ["bench", "record"] => overhead::run(),
        ["bench", "replay", ref files @ ..] => bench::replay(files),
        ["bench", "model", ref files @ ..] => bench::model(files),
        ["shrink", file, "--task", task] => shrink::run(file, Symptom::Task(task)),
        ["shrink", file, ref command @ ..] if is_command(command) => {
            shrink::run(file, Symptom::Command(command))
        }
        ["shrink", ..] => bail!("usage: cargo xtask shrink FILE --task TASK, or FILE COMMAND..."),
        ["fidelity"] => fidelity::run(None),
        ["reality", ref files @ ..] => reality::run(files),
        ["fidelity", folder] => fidelity::run(Some(folder)),
        _ => bail!("usage: cargo xtask {}", TASKS.join("|")),
    }
}

fn is_command(words: &[&str]) -> bool {
    words.first().is_some_and(|program| !program.starts_with('-'))
}
