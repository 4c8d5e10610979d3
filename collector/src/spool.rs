//! The folder in which a recording grows, so that a killed recorder leaves no half file.
//!
//! `OUT.recording/` holds a head, the pages of each CPU, and what is needed to put the file
//! together. Only the finished file gets the name that was asked for, in one step.

use crate::folder::{Access, Folder};
use crate::refusal::Refusal;
use crate::request::{Compression, Via};
use crate::trace_dat::{self, Buffer, CpuFile, Tail};
use crate::tracefs;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Name of the instance that holds what our own programs in the kernel saw.
pub(crate) const OWN_BUFFER: &str = "resched";

/// What a spool folder says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Of this description.
    pub version: u32,
    /// `tracefs` or `perf`.
    pub via: String,
    /// zstd level; `None` when pages are not packed.
    pub zstd: Option<i32>,
    /// CPUs with a buffer.
    pub cpus: Vec<u32>,
    /// CPUs with a buffer of our own programs.
    pub own_cpus: Vec<u32>,
    /// The recorder.
    pub pid: u32,
    /// Its start, clock ticks since boot.
    pub start_ticks: u64,
    /// The recording is in the recorder's memory only.
    #[serde(default)]
    pub in_memory: bool,
}

impl Manifest {
    pub(crate) fn compression(&self) -> Compression {
        self.zstd.map_or(Compression::None, Compression::Zstd)
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    /// Where the finished file will lie.
    around: Folder,
    /// Name of the finished file there.
    name: OsString,
    folder: Folder,
    output: PathBuf,
}

/// `PATH` with something behind its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(longer(path.as_os_str(), suffix))
}

fn longer(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

const FOLDER: &str = ".recording";
const SIDECAR: &str = ".host.json";

/// Where a recording to `output` grows.
#[must_use]
pub(crate) fn folder(output: &Path) -> PathBuf {
    with_suffix(output, FOLDER)
}

/// The folder in which a file is to lie, and its name there.
fn around(output: &Path) -> Result<(Folder, OsString)> {
    ensure!(
        !output.is_dir(),
        "{}: is a folder; name a file, as in `-o {}`",
        output.display(),
        output.join("run.dat").display()
    );
    Folder::around(output)
        .map_err(|error| Refusal::new(&folder(output), "created", "record into it", error).into())
}

impl Spool {
    /// Makes the folder.
    ///
    /// # Errors
    ///
    /// When it cannot be made; when the file would take the place of a folder or a device; when
    /// an earlier recording to the same file left one, with the command that finishes that
    /// recording; when somebody else did.
    pub(crate) fn create(output: &Path) -> Result<Self> {
        let (around, name) = around(output)?;
        Self::create_in(around, name, output)
    }

    /// Makes a folder for another file beside this one's, wherever that folder is called now.
    pub(crate) fn create_beside(&self, output: &Path) -> Result<Self> {
        let name = output.file_name().context("a stretch without a name")?;
        Self::create_in(self.around.clone(), name.to_owned(), output)
    }

    fn create_in(around: Folder, name: OsString, output: &Path) -> Result<Self> {
        check_replaceable(&around, &name, output)?;
        check_replaceable(&around, &longer(&name, SIDECAR), &with_suffix(output, SIDECAR))?;
        let path = folder(output);
        if let Some(left) = around.enter(&longer(&name, FOLDER), &path)? {
            bail!("{}", left_behind(&left, output));
        }
        let folder = around.make(&longer(&name, FOLDER), &path)?;
        Ok(Self { around, name, folder, output: output.to_owned() })
    }

    /// The folder that an earlier recording left; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When somebody else prepared it, or may have.
    pub(crate) fn find(output: &Path) -> Result<Option<Self>> {
        let (around, name) = around(output)?;
        let folder = around.enter(&longer(&name, FOLDER), &folder(output))?;
        Ok(folder.map(|folder| Self { around, name, folder, output: output.to_owned() }))
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What the folder is called in messages.
    pub(crate) fn path(&self) -> &Path {
        self.folder.own_path()
    }

    /// Writes a file, in one step: where the disk is full, the one before stays.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
        self.folder.write(name, bytes)
    }

    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        Ok(self.write(MANIFEST, &serde_json::to_vec_pretty(manifest)?)?)
    }

    pub(crate) fn manifest(&self) -> Result<Manifest> {
        let path = self.folder.path(MANIFEST);
        let file = self.folder.find(MANIFEST, Access::Read)?.with_context(|| {
            format!("{}: the recorder was killed before it recorded anything", path.display())
        })?;
        let bytes = content(file).with_context(|| path.display().to_string())?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .with_context(|| format!("{}: damaged", path.display()))?;
        ensure!(
            manifest.version == 1,
            "{}: written by a newer resched; use that one",
            path.display()
        );
        Ok(manifest)
    }

    /// Puts the file together and gives it its name; the sidecar first.
    ///
    /// Until both are whole and on the disk, what had their names keeps them.
    pub(crate) fn finish(&self, tail: &Tail) -> Result<u64> {
        let manifest = self.manifest()?;
        let finished = if manifest.via == Via::Perf.name() {
            crate::perf_data::close(&self.folder, "data")?;
            "data"
        } else {
            let head = content(self.folder.open("head", Access::Read)?)
                .with_context(|| self.folder.path("head").display().to_string())?;
            let buffers = buffers(&manifest);
            let compression = manifest.compression();
            trace_dat::assemble(&self.folder, "file", &head, compression, &buffers, tail)?;
            "file"
        };
        let sidecar = self.settle("host.json")?;
        let size = self.settle(finished)?;
        if sidecar.is_some() {
            self.give("host.json", &longer(&self.name, SIDECAR))?;
        }
        self.give(finished, &self.name)?;
        Ok(size.unwrap_or(0))
    }

    /// Waits until a file is on the disk, and makes sure that it is its owner's alone; returns
    /// its size, or `None` when it is not there.
    fn settle(&self, name: &str) -> Result<Option<u64>> {
        let Some(file) = self.folder.find(name, Access::Change)? else { return Ok(None) };
        // Older versions left files that anybody may read.
        let settled = file
            .set_permissions(Permissions::from_mode(0o600))
            .and_then(|()| file.sync_all())
            .and_then(|()| file.metadata());
        let settled = settled.map_err(|e| {
            Refusal::new(&self.folder.path(name), "written", "keep what is recorded", e)
        })?;
        Ok(Some(settled.len()))
    }

    fn give(&self, name: &str, new: &OsStr) -> Result<(), Refusal> {
        self.folder.give(name, &self.around, new).map_err(|e| {
            Refusal::new(&self.output.with_file_name(new), "written", "have the recording there", e)
        })
    }

    /// Removes the folder.
    pub(crate) fn remove(&self) -> Result<(), Refusal> {
        self.around
            .remove(&longer(&self.name, FOLDER), &self.folder)
            .map_err(|e| Refusal::new(self.path(), "removed", "leave nothing behind", e))
    }

    /// Removes the folder of a finished recording; says so when it stays.
    ///
    /// The recording is whole by then, so this is no failure of it.
    pub(crate) fn clear(&self) -> Option<String> {
        let Refusal { source, .. } = self.remove().err()?;
        let dir = self.path().display();
        Some(format!(
            "{dir}: cannot be removed ({source}); the recording is whole, remove the rest with \
             `rm -r {dir}`"
        ))
    }
}

const MANIFEST: &str = "manifest.json";

/// The file of one CPU's pages.
pub(crate) fn cpu_file(buffer: &str, cpu: u32) -> String {
    let buffer = if buffer.is_empty() { "top" } else { buffer };
    format!("{buffer}.cpu{cpu}")
}

/// The buffers whose pages the folder holds.
pub(crate) fn buffers(manifest: &Manifest) -> Vec<Buffer> {
    let of = |name: &'static str, cpus: &[u32]| {
        let file = |cpu: &u32| CpuFile { cpu: *cpu, name: cpu_file(name, *cpu) };
        Buffer { name, cpus: cpus.iter().map(file).collect() }
    };
    let mut buffers = vec![of("", &manifest.cpus)];
    if !manifest.own_cpus.is_empty() {
        buffers.push(of(OWN_BUFFER, &manifest.own_cpus));
    }
    buffers
}

/// All that is in a file.
pub(crate) fn content(mut file: File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A recording takes the place of a file, and of nothing else.
fn check_replaceable(around: &Folder, name: &OsStr, path: &Path) -> Result<()> {
    let Some(kind) = around.kind(name).filter(|kind| !kind.is_file()) else { return Ok(()) };
    let what = match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    bail!(
        "{}: is {what}, in whose place the recording would be put; name another file with `-o`",
        path.display()
    )
}

/// What to say of a folder of ours that is there already.
pub(crate) fn left_behind(left: &Folder, output: &Path) -> String {
    let dir = left.own_path().display();
    let recorder = left
        .find(MANIFEST, Access::Read)
        .map(|file| serde_json::from_slice::<Manifest>(&content(file?).ok()?).ok());
    match recorder {
        Err(error) => format!("{error:#}"),
        Ok(Some(m)) if tracefs::is_alive(m.pid, m.start_ticks) == tracefs::Alive::Yes => format!(
            "{dir}: process {} is recording to {}; end that first, or write elsewhere with `-o`",
            m.pid,
            output.display()
        ),
        Ok(_) => format!(
            "{dir}: an earlier recording was killed; finish it with `resched record --recover {}`, \
             or remove it with `rm -r {dir}`",
            output.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn refused(output: &Path, expected: &str) {
        let error = Spool::create(output).expect_err("in the way").to_string();
        assert!(error.contains(expected) && error.contains("`-o"), "{error}");
        assert!(!folder(output).exists());
    }

    #[test]
    fn what_is_no_file_is_refused_before_anything_is_recorded() {
        let output = std::env::temp_dir().join(format!("resched-folder-{}", std::process::id()));
        fs::create_dir_all(&output).expect("a folder");
        refused(&output, "is a folder");
        fs::remove_dir(&output).expect("empty");
        fs::create_dir_all(with_suffix(&output, SIDECAR)).expect("a folder");
        refused(&output, ".host.json: is a folder");
        fs::remove_dir(with_suffix(&output, SIDECAR)).expect("empty");
        refused(Path::new("/dev/null"), "/dev/null: is a device");
    }
}
