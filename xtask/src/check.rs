//! Everything CI runs, in its order; the first failure ends it.

use crate::terminal::say;
use crate::{docs, fixtures, layers, sizes, tree};
use anyhow::{Context, Result, bail, ensure};
use std::process::Command;

/// Runs it all.
pub(crate) fn run() -> Result<()> {
    report("sizes", &sizes::problems()?)?;
    report("layers", &layers::problems()?)?;
    report("fixtures", &fixtures::problems()?)?;
    report("docs", &docs::problems()?)?;
    for long in sizes::long_files()? {
        say(&format!("  worth a look: {long}"));
    }
    execute("cargo fmt --all --check")?;
    execute("cargo clippy --workspace --all-targets -- -D warnings")?;
    // A test that passes is silent, so what was not tested is said here.
    if !tree::root().join("../shared/ground-truth").exists() {
        say("skipped: tests on the recordings beside the repository; there are none");
    }
    for tool in ["trace-cmd", "perf", "strace", "qemu-system-x86_64", "python3"] {
        if Command::new(tool).arg("--help").output().is_err() {
            say(&format!("skipped: comparisons with {tool}, which is not installed"));
        }
    }
    let test = docs::test_command()?.context("README.md promises no test command")?;
    execute(&test)
}

/// Prints what was found; an error when that is anything.
pub(crate) fn report(what: &str, problems: &[String]) -> Result<()> {
    for problem in problems {
        say(&format!("  {problem}"));
    }
    if !problems.is_empty() {
        bail!("{what}: {} to fix", problems.len());
    }
    say(&format!("{what}: in order"));
    Ok(())
}

fn execute(command: &str) -> Result<()> {
    say(&format!("$ {command}"));
    let mut words = command.split_whitespace();
    let program = words.next().context("an empty command")?;
    let status = Command::new(program).args(words).current_dir(tree::root()).status()?;
    ensure!(status.success(), "`{command}` failed: {status}");
    Ok(())
}
