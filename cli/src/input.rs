//! Files in: traces, their sidecars, and errors that name both.

use crate::outcome::say;
use crate::render::name;
use anyhow::{Context, Result};
use model::demand::Cover;
use model::{History, Host, Recording};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A trace and what lies beside it.
#[derive(Debug)]
pub(crate) struct Input {
    /// As the user named it.
    pub(crate) name: String,
    pub(crate) recording: Recording,
    pub(crate) host: Option<Host>,
}

impl Input {
    /// Reads a trace (`-`: standard input) and, beside a file, its `.host.json`; says what is
    /// odd about the file, such as that it ends too early.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        /// Of many oddities these; `resched info` has all.
        const SAID: usize = 4;
        let input = Self::read(path)?;
        let oddities = &input.recording.oddities;
        for oddity in oddities.iter().take(SAID) {
            say(&format!("note: {}: {}: {}", input.name, oddity.place, name(&oddity.text)));
        }
        if oddities.len() > SAID {
            say(&format!(
                "note: {}: `resched info` lists {} more",
                input.name,
                oddities.len() - SAID
            ));
        }
        Ok(input)
    }

    /// Reads a trace as [`Input::open`] does, and says nothing.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = bytes_of(path)?;
        let recording = trace_formats::read(&bytes).with_context(|| name.clone())?;
        Ok(Self { host: host_beside(path)?, name, recording })
    }

    pub(crate) fn embedded(name: &str, bytes: &[u8], host: &str) -> Result<Self> {
        let recording = trace_formats::read(bytes).with_context(|| name.to_owned())?;
        let host = Some(Host::from_json(host).with_context(|| name.to_owned())?);
        Ok(Self { name: name.to_owned(), recording, host })
    }

    /// What happened, and what each task did.
    pub(crate) fn history(&self, cover: Cover) -> History {
        History::read(&self.recording, self.host.as_ref(), cover)
    }

    pub(crate) fn trace(&self) -> model::Trace {
        model::assemble(&self.recording, self.host.as_ref())
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
        return Ok(bytes);
    }
    if path.is_dir() {
        let metadata = path.join("metadata");
        if metadata.exists() {
            anyhow::bail!(
                "{}: a CTF trace; CTF is not read yet: record the same events with \
                 `trace-cmd record` or `perf record`",
                path.display()
            );
        }
        anyhow::bail!("{}: a folder; name a trace file in it", path.display());
    }
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// Where the sidecar of a trace may lie: at `TRACE.host.json`; that of a packed `TRACE.zst` under
/// either name.
pub(crate) fn sidecars(path: &Path) -> Vec<PathBuf> {
    if path == Path::new("-") {
        return Vec::new();
    }
    let beside = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".host.json");
        PathBuf::from(name)
    };
    vec![beside(path), beside(&path.with_extension(""))]
}

fn host_beside(path: &Path) -> Result<Option<Host>> {
    for candidate in sidecars(path) {
        match std::fs::read_to_string(&candidate) {
            Ok(text) => {
                let host = Host::from_json(&text).with_context(|| {
                    format!("{}: not a sidecar; mend it or move it away", candidate.display())
                })?;
                return Ok(Some(host));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(candidate.display().to_string()),
        }
    }
    Ok(None)
}
