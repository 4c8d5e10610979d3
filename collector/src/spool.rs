//! The folder in which a recording grows, so that a killed recorder leaves no half file.
//!
//! `OUT.recording/` holds a head, the pages of each CPU, and what is needed to put the file
//! together. Only the finished file gets the name that was asked for, in one step.

use crate::chunk::whole_chunks;
use crate::leftovers;
use crate::record::Notice;
use crate::refusal::Refusal;
use crate::request::{Compression, Via};
use crate::trace_dat::{self, Buffer, CpuFile, Tail};
use crate::tracefs;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
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
    dir: PathBuf,
    output: PathBuf,
}

/// `PATH` with something behind its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

/// Where a recording to `output` grows.
#[must_use]
pub(crate) fn folder(output: &Path) -> PathBuf {
    with_suffix(output, ".recording")
}

impl Spool {
    /// Makes the folder.
    ///
    /// # Errors
    ///
    /// When it cannot be made; when the file would be a folder; when an earlier recording to the
    /// same file left one, with the command that finishes that recording.
    pub(crate) fn create(output: &Path) -> Result<Self> {
        ensure!(
            !output.is_dir(),
            "{}: is a folder; name a file, as in `-o {}`",
            output.display(),
            output.join("run.dat").display()
        );
        let dir = folder(output);
        if let Err(error) = fs::create_dir(&dir) {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                bail!("{}", left_behind(&dir, output));
            }
            return Err(Refusal::new(&dir, "created", "record into it", error).into());
        }
        Ok(Self { dir, output: output.to_owned() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn cpu_path(&self, buffer: &str, cpu: u32) -> PathBuf {
        let buffer = if buffer.is_empty() { "top" } else { buffer };
        self.dir.join(format!("{buffer}.cpu{cpu}"))
    }

    /// Writes a file, in one step: where the disk is full, the one before stays.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (path, new) = (self.path(name), self.path("new"));
        fs::write(&new, bytes)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|e| Refusal::new(&path, "written", "keep what is recorded", e).into())
    }

    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.write("manifest.json", &serde_json::to_vec_pretty(manifest)?)
    }

    fn manifest(&self) -> Result<Manifest> {
        let path = self.path("manifest.json");
        let bytes = fs::read(&path).with_context(|| {
            format!("{}: the recorder was killed before it recorded anything", path.display())
        })?;
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
    pub(crate) fn finish(&self, output: &Path, tail: &Tail) -> Result<u64> {
        let manifest = self.manifest()?;
        let finished = if manifest.via == Via::Perf.name() {
            let data = self.path("data");
            crate::perf_data::close(&data)?;
            data
        } else {
            let file = self.path("file");
            let head = self.path("head");
            let head = fs::read(&head).with_context(|| head.display().to_string())?;
            let buffers = self.buffers(&manifest);
            trace_dat::assemble(&file, &head, manifest.compression(), &buffers, tail)?;
            file
        };
        let size = fs::metadata(&finished).map_or(0, |meta| meta.len());
        let sidecar = self.path("host.json");
        if sidecar.exists() {
            rename(&sidecar, &with_suffix(output, ".host.json"))?;
        }
        rename(&finished, output)?;
        Ok(size)
    }

    fn buffers(&self, manifest: &Manifest) -> Vec<Buffer> {
        let of = |name: &'static str, cpus: &[u32]| {
            let file = |cpu: &u32| CpuFile { cpu: *cpu, path: self.cpu_path(name, *cpu) };
            Buffer { name, cpus: cpus.iter().map(file).collect() }
        };
        let mut buffers = vec![of("", &manifest.cpus)];
        if !manifest.own_cpus.is_empty() {
            buffers.push(of(OWN_BUFFER, &manifest.own_cpus));
        }
        buffers
    }

    /// Removes the folder.
    pub(crate) fn remove(&self) -> Result<(), Refusal> {
        fs::remove_dir_all(&self.dir)
            .map_err(|e| Refusal::new(&self.dir, "removed", "leave nothing behind", e))
    }

    /// Removes the folder of a finished recording; says so when it stays.
    ///
    /// The recording is whole by then, so this is no failure of it.
    pub(crate) fn clear(&self) -> Option<String> {
        let Refusal { source, .. } = self.remove().err()?;
        let dir = self.dir.display();
        Some(format!(
            "{dir}: cannot be removed ({source}); the recording is whole, remove the rest with \
             `rm -r {dir}`"
        ))
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .map_err(|e| Refusal::new(to, "written", "give the recording its name", e).into())
}

/// What to say of a folder that is there already.
fn left_behind(dir: &Path, output: &Path) -> String {
    let recorder = fs::read(dir.join("manifest.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    match recorder {
        Some(m) if tracefs::is_alive(m.pid, m.start_ticks) == tracefs::Alive::Yes => format!(
            "{}: process {} is recording to {}; end that first, or write elsewhere with `-o`",
            dir.display(),
            m.pid,
            output.display()
        ),
        _ => format!(
            "{0}: an earlier recording was killed; finish it with `resched record --recover {1}`, \
             or remove it with `rm -r {0}`",
            dir.display(),
            output.display()
        ),
    }
}

/// A recording that was put together after its recorder died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Size of the file, bytes.
    pub size: u64,
    /// Bytes behind the last whole chunk, which are lost.
    pub cut: u64,
}

/// Finishes the recording to `output` that a killed recorder has left, and ends the tracing that
/// it left switched on.
///
/// # Errors
///
/// When there is none, when its recorder still runs, or when it cannot be read or written.
pub fn recover(output: &Path, mut notice: impl FnMut(Notice)) -> Result<Recovered> {
    for ended in leftovers::end_here() {
        notice(Notice::Remark(ended.to_string()));
    }
    put_together(output)
}

fn put_together(output: &Path) -> Result<Recovered> {
    let dir = folder(output);
    ensure!(
        dir.is_dir(),
        "{}: there is no such folder, so no interrupted recording to finish",
        dir.display()
    );
    let spool = Spool { dir, output: output.to_owned() };
    let manifest = spool.manifest().with_context(|| {
        format!("nothing can be recovered; remove the rest with `rm -r {}`", spool.dir.display())
    })?;
    if tracefs::is_alive(manifest.pid, manifest.start_ticks) == tracefs::Alive::Yes {
        bail!("{}", left_behind(&spool.dir, output));
    }
    ensure!(
        !manifest.in_memory,
        "{0}: a flight recorder keeps its stretch in memory, so nothing can be recovered; remove \
         the rest with `rm -r {0}`",
        spool.dir.display()
    );
    let mut cut = 0;
    if manifest.via == Via::Tracefs.name() && manifest.zstd.is_some() {
        for file in spool.buffers(&manifest).iter().flat_map(|buffer| &buffer.cpus) {
            let mut file =
                fs::File::open(&file.path).with_context(|| file.path.display().to_string())?;
            let (_, whole) = whole_chunks(&mut file)?;
            cut += file.metadata()?.len() - whole;
        }
    }
    let is_finished = manifest.via == Via::Perf.name() && !spool.path("data").exists();
    let size = if is_finished && output.exists() {
        // The recorder had given the file its name when it was killed.
        fs::metadata(output).map_or(0, |meta| meta.len())
    } else {
        let task_names = fs::read_to_string(spool.path("tasks")).unwrap_or_default();
        spool.finish(&spool.output, &Tail { task_names, stats: Vec::new() })?
    };
    spool.remove()?;
    Ok(Recovered { size, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(name: &str, manifest: &str) -> PathBuf {
        let output = std::env::temp_dir().join(format!("resched-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(folder(&output));
        let spool = Spool::create(&output).expect("a folder");
        spool.write("manifest.json", manifest.as_bytes()).expect("written");
        output
    }

    const MANIFEST: &str = r#"{"version":1,"via":"perf","zstd":1,"cpus":[0],"own_cpus":[],
        "pid":0,"start_ticks":0"#;

    #[test]
    fn what_a_killed_flight_recorder_held_is_lost_and_no_older_file_passes_for_it() {
        let output = left("flight", &format!("{MANIFEST},\"in_memory\":true}}"));
        fs::write(&output, "an older recording").expect("written");
        let error = put_together(&output).expect_err("nothing to recover").to_string();
        assert!(
            error.contains("keeps its stretch in memory") && error.contains("`rm -r "),
            "{error}"
        );
        assert_eq!(fs::read(&output).expect("there"), b"an older recording");
        fs::remove_file(&output).expect("there");
        fs::remove_dir_all(folder(&output)).expect("there");
    }

    #[test]
    fn a_recorder_that_was_killed_while_it_cleaned_up_had_finished() {
        let output = left("named", &format!("{MANIFEST}}}"));
        fs::write(&output, "whole").expect("written");
        assert_eq!(put_together(&output).expect("finished"), Recovered { size: 5, cut: 0 });
        assert!(!folder(&output).exists());
        fs::remove_file(&output).expect("there");
    }

    #[test]
    fn a_folder_is_refused_before_anything_is_recorded() {
        let output = std::env::temp_dir().join(format!("resched-folder-{}", std::process::id()));
        fs::create_dir_all(&output).expect("a folder");
        let error = Spool::create(&output).expect_err("a folder").to_string();
        assert!(error.contains("is a folder") && error.contains("`-o "), "{error}");
        assert!(!folder(&output).exists());
        fs::remove_dir(&output).expect("empty");
    }

    #[test]
    fn a_recording_in_progress_is_named_by_its_recorder() {
        let (pid, ticks) = (std::process::id(), tracefs::start_ticks(std::process::id()));
        let alive = format!("\"pid\":{pid},\"start_ticks\":{}", ticks.expect("our own"));
        let manifest = MANIFEST.replace("\"pid\":0,\"start_ticks\":0", &alive);
        let output = left("busy", &format!("{manifest}}}"));
        let expected = format!("process {pid} is recording to {}", output.display());
        for error in [Spool::create(&output).err(), put_together(&output).err()] {
            let error = error.expect("it is being recorded").to_string();
            assert!(error.contains(&expected), "{error}");
        }
        fs::remove_dir_all(folder(&output)).expect("there");
    }
}
