//! Files out: whole or not at all, and never over what is being read.
//!
//! A file is written beside its place under another name, and renamed when it is complete. What
//! is no regular file, such as a pipe or a device, is written as it is.

use crate::input;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A place for output that was found good before any work.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    way: Way,
    /// Who may read and write it: nobody who may not read the inputs, or what was there before.
    mode: u32,
}

/// How the output comes into its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Written beside it, and renamed.
    Replace,
    /// Written there: it cannot be replaced.
    Direct,
    /// The descriptors that the shell gave us.
    Stdout,
    Stderr,
}

/// Names for a file beside the output that are tried before giving up.
const MOST_NAMES: u32 = 100;

impl Output {
    /// A file at `path` that ends in one of `endings`, and is none of what the `inputs` are.
    ///
    /// What is no regular file needs no ending.
    pub(crate) fn new(path: &Path, endings: &[&str], inputs: &[&Path]) -> Result<Self> {
        let name = path.display();
        let there = match std::fs::metadata(path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("{name}: cannot be written")),
        };
        let is_folder = there.as_ref().is_some_and(Metadata::is_dir);
        ensure!(!is_folder, "{name}: is a folder; name a file in it");
        if let Some(there) = &there {
            refuse_inputs(path, there, inputs)?;
        }
        let way = way(path, there.as_ref());
        let mode = mode(there.as_ref(), inputs);
        if way != Way::Replace {
            return Ok(Self { path: path.to_owned(), way, mode });
        }
        let has_ending = path.extension().is_some_and(|e| endings.iter().any(|known| e == *known));
        ensure!(
            has_ending,
            "{name}: the ending says what is written: give it .{}",
            endings.join(" or .")
        );
        let folder = folder_of(path);
        ensure!(
            folder.is_dir(),
            "{name}: there is no folder {}; make it, or name another one",
            folder.display()
        );
        if there.is_some() {
            // A file that is protected from writing is not replaced either.
            OpenOptions::new().write(true).open(path).with_context(|| cannot_be_written(path))?;
        }
        Ok(Self { path: path.to_owned(), way, mode })
    }

    /// The file's ending, where it needs one.
    pub(crate) fn ending(&self) -> Option<&str> {
        self.path.extension().and_then(|e| e.to_str()).filter(|_| self.way == Way::Replace)
    }

    /// Writes all of it; after an error what was there before is still there.
    pub(crate) fn write(&self, content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let failed = || cannot_be_written(&self.path);
        match self.way {
            Way::Replace => self.replace(content).with_context(failed),
            Way::Direct => OpenOptions::new()
                .append(true)
                .open(&self.path)
                .map_err(Into::into)
                .and_then(|file| fill(file, content))
                .with_context(failed),
            Way::Stdout => own(std::io::stdout().lock(), content).with_context(failed),
            Way::Stderr => own(std::io::stderr().lock(), content).with_context(failed),
        }
    }

    fn replace(&self, content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let (file, beside) = beside(&self.path, self.mode)?;
        let written = fill(file.try_clone()?, content)
            // Some file systems find out only now that there is no room.
            .and_then(|()| Ok(file.sync_all()?))
            .and_then(|()| Ok(std::fs::rename(&beside, &self.path)?));
        if written.is_err() {
            // The first error is the one that counts.
            let _ = std::fs::remove_file(&beside);
        }
        written
    }
}

fn cannot_be_written(path: &Path) -> String {
    format!("{}: cannot be written", path.display())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a file that is one of the inputs or lies beside it as its sidecar, under whatever name.
fn refuse_inputs(path: &Path, there: &Metadata, inputs: &[&Path]) -> Result<()> {
    let same = |other: &Path| {
        let other = std::fs::metadata(other).ok();
        other.is_some_and(|o| o.is_file() && (o.dev(), o.ino()) == (there.dev(), there.ino()))
    };
    let name = path.display();
    for input in inputs {
        let is_stdin = *input == Path::new("-");
        let read = if is_stdin { Path::new("/dev/stdin") } else { input };
        if same(read) {
            bail!("{name}: is the trace that is read; name another file for what is written");
        }
        if input::sidecars(input).iter().any(|sidecar| same(sidecar)) {
            bail!(
                "{name}: is the sidecar of {}; name another file for what is written",
                input.display()
            );
        }
    }
    Ok(())
}

/// A recording holds kernel addresses and is often its user's alone; what is made of it is no more
/// public.
fn mode(there: Option<&Metadata>, inputs: &[&Path]) -> u32 {
    let read = inputs.iter().filter_map(|input| std::fs::metadata(input).ok());
    let modes = read.chain(there.cloned()).filter(Metadata::is_file).map(|file| file.mode());
    modes.fold(0o666, |all, mode| all & (mode | 0o200))
}

/// How to write to a place; what it leads to is followed step by step, because a descriptor
/// under `/proc` looks like the file behind it and cannot be replaced.
fn way(path: &Path, there: Option<&Metadata>) -> Way {
    let Some(there) = there else { return Way::Replace };
    let mut at = path.to_owned();
    // As many links as the kernel follows.
    for _ in 0..40 {
        let Ok(folder) = folder_of(&at).canonicalize() else { break };
        if folder.starts_with("/proc") {
            let is_own = folder == Path::new(&format!("/proc/{}/fd", std::process::id()));
            return match at.file_name().and_then(|n| n.to_str()) {
                Some("1") if is_own => Way::Stdout,
                Some("2") if is_own => Way::Stderr,
                _ => Way::Direct,
            };
        }
        match std::fs::read_link(&at) {
            Ok(target) => at = folder.join(target),
            Err(_) => break,
        }
    }
    if there.is_file() { Way::Replace } else { Way::Direct }
}

/// A new file in the folder of `path`. It is made, never opened: no link is followed there.
fn beside(path: &Path, mode: u32) -> Result<(File, PathBuf)> {
    let folder = folder_of(path);
    for n in 0..MOST_NAMES {
        let name = folder.join(format!(".resched-{}-{n}.part", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&name) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                let why = format!("no file can be made beside it, in {}", folder.display());
                return Err(error).context(why);
            }
        }
    }
    bail!("remove the files .resched-*.part in {}", folder.display())
}

/// Writes to a descriptor that is shared with the shell: at its place, not at the beginning.
fn own(
    mut held: impl AsFd + Write,
    content: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    held.flush()?;
    fill(File::from(held.as_fd().try_clone_to_owned()?), content)
}

fn fill(file: File, content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let written = content(&mut out);
    if written.is_err() {
        // What is left in the buffer is not worth a second error.
        let _ = out.into_parts();
        return written;
    }
    Ok(out.flush()?)
}
