//! Which part of a recording is enough to make something go wrong.

mod deviation;
mod text;

use crate::fidelity::build;
use crate::terminal::{print, say};
use anyhow::{Context, Result, ensure};
use deviation::Deviation;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use text::Text;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Symptom<'a> {
    /// A task's replay is not what was recorded: see [`deviation`].
    Task(&'a str),
    /// A command with its arguments; the path of a scenario is added to them. It exits with 0 when
    /// the scenario still goes wrong, as a creduce test does. A candidate may be nonsense, and a
    /// replay of it may take long: a command that can hang runs what it runs under `timeout`.
    Command(&'a [&'a str]),
}

/// Cuts the demand of a recording, or a scenario, to a small one that still goes wrong.
///
/// The smallest scenario is written beside the caller, as `NAME.small.sched`.
pub(crate) fn run(file: &str, symptom: Symptom<'_>) -> Result<()> {
    let name = Path::new(file).file_name().context("a file")?.to_string_lossy();
    let small = PathBuf::from(format!("{name}.small.sched"));
    let folder = std::env::temp_dir().join(format!("resched-shrink-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let cut = Cut { file: Path::new(file), name: &name, binary: build()?, folder: &folder };
    let result = cut.run(symptom, &small);
    fs::remove_dir_all(&folder)?;
    let (before, after) = result?;
    print(&format!("{}: {after} of {before} items", small.display()));
    Ok(())
}

/// What is cut, and with what.
struct Cut<'a> {
    file: &'a Path,
    name: &'a str,
    binary: PathBuf,
    folder: &'a Path,
}

impl Cut<'_> {
    /// How many items the scenario had, and how many are left in `small`.
    fn run(&self, symptom: Symptom<'_>, small: &Path) -> Result<(usize, usize)> {
        let (candidate, whole) =
            (self.folder.join("candidate.sched"), self.folder.join("whole.sched"));
        self.demand(self.file, &whole)?;
        let deviation = match symptom {
            Symptom::Task(task) => Some(Deviation::of(&self.binary, self.file, &whole, task)?),
            Symptom::Command(_) => None,
        };
        let goes_wrong = |text: &Text| -> Result<bool> {
            fs::write(&candidate, text.text())?;
            match (&deviation, symptom) {
                (Some(deviation), _) => deviation.is_in(text, &candidate),
                (None, Symptom::Command(command)) => succeeds(command, &candidate),
                (None, Symptom::Task(_)) => Ok(false),
            }
        };
        let text = Text::of(&fs::read_to_string(&whole)?);
        let before = text.len();
        ensure!(goes_wrong(&text)?, "{}: nothing goes wrong with the whole of it", self.name);
        let text = text::smallest(text, &mut watched(before, goes_wrong))?;
        fs::write(&candidate, text.text())?;
        let mut comment = format!("# Cut from {}: {} of {before} items.\n", self.name, text.len());
        if let Some(deviation) = &deviation {
            comment += &deviation.comment(&candidate)?;
        }
        fs::write(&candidate, comment + &text.text())?;
        self.demand(&candidate, small)?;
        Ok((before, text.len()))
    }

    /// Writes the demand of a recording or of a scenario, in the form that is cut here.
    fn demand(&self, from: &Path, to: &Path) -> Result<()> {
        let output = Command::new(&self.binary).arg("demand").arg(from).arg("-o").arg(to).output();
        let output = output.with_context(|| self.binary.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        // A recording that carries no prediction may go wrong all the same.
        let is_written = matches!(output.status.code(), Some(0 | 3)) && to.exists();
        ensure!(is_written, "resched demand {}: {said}", from.display());
        Ok(())
    }
}

/// Tells how far it is.
fn watched(
    before: usize,
    goes_wrong: impl Fn(&Text) -> Result<bool>,
) -> impl FnMut(&Text) -> Result<bool> {
    let mut fewest = before;
    move |text| {
        let wrong = goes_wrong(text)?;
        if wrong && text.len() < fewest {
            fewest = text.len();
            say(&format!("{fewest} of {before} items"));
        }
        Ok(wrong)
    }
}

/// Whether a command, with the path of a scenario behind its arguments, exits with 0.
fn succeeds(command: &[&str], candidate: &Path) -> Result<bool> {
    let (&program, arguments) = command.split_first().context("shrink FILE COMMAND ARGUMENT...")?;
    let mut command = Command::new(program);
    command.args(arguments).arg(candidate).stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(status.with_context(|| program.to_owned())?.success())
}
