//! Which part of a recording is enough to make something go wrong.

mod text;

use crate::fidelity::build;
use crate::terminal::{print, say};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use text::Text;

/// Cuts the demand of a recording, or a scenario, to a small one for which `check` still succeeds.
///
/// `check` is a command with its arguments; the path of a scenario is added to them. It exits with
/// 0 when the scenario still goes wrong, as a creduce test does. A candidate may be nonsense, and a
/// replay of it may take long: a check that can hang runs what it runs under `timeout`.
///
/// The smallest scenario is written beside the caller, as `NAME.small.sched`.
pub(crate) fn run(file: &str, check: &[&str]) -> Result<()> {
    let name = Path::new(file).file_name().context("a file")?.to_string_lossy();
    let small = PathBuf::from(format!("{name}.small.sched"));
    let folder = std::env::temp_dir().join(format!("resched-shrink-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = shrunk(Path::new(file), check, &folder, &small);
    fs::remove_dir_all(&folder)?;
    let (before, after) = result?;
    print(&format!("{}: {after} of {before} items", small.display()));
    Ok(())
}

/// How many items the scenario had, and how many are left.
fn shrunk(file: &Path, check: &[&str], folder: &Path, small: &Path) -> Result<(usize, usize)> {
    let (&program, arguments) = check.split_first().context("shrink FILE COMMAND ARGUMENT...")?;
    let binary = build()?;
    let (candidate, whole) = (folder.join("candidate.sched"), folder.join("whole.sched"));
    demand(&binary, file, &whole)?;
    let goes_wrong = |text: &Text| -> Result<bool> {
        fs::write(&candidate, text.text())?;
        let mut command = Command::new(program);
        command.args(arguments).arg(&candidate).stdin(Stdio::null());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        Ok(status.with_context(|| program.to_owned())?.success())
    };
    let text = Text::of(&fs::read_to_string(&whole)?);
    ensure!(
        goes_wrong(&text)?,
        "{}: nothing goes wrong with the whole of it: `{}` with a scenario's path behind it must \
         exit with 0",
        file.display(),
        check.join(" ")
    );
    let before = text.len();
    let mut fewest = before;
    let mut watched = |text: &Text| {
        let wrong = goes_wrong(text)?;
        if wrong && text.len() < fewest {
            fewest = text.len();
            say(&format!("{fewest} of {before} items"));
        }
        Ok::<_, anyhow::Error>(wrong)
    };
    let text = text::smallest(text, &mut watched)?;
    fs::write(&candidate, text.text())?;
    demand(&binary, &candidate, small)?;
    Ok((before, text.len()))
}

/// Writes the demand of a recording or of a scenario, in the form that is cut here.
fn demand(binary: &Path, from: &Path, to: &Path) -> Result<()> {
    let output = Command::new(binary).arg("demand").arg(from).arg("-o").arg(to).output();
    let output = output.with_context(|| binary.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "resched demand {}: {said}", from.display());
    Ok(())
}
