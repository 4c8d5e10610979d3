//! Files in: traces, their sidecars, scenarios, and errors that name them.

use crate::outcome::say;
use crate::render::name;
use crate::scenario::Scenario;
use anyhow::{Context, Result};
use model::demand::Cover;
use model::{Demand, History, Host, Recording};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a file turned out to be.
#[derive(Debug)]
pub(crate) enum Source {
    Trace(Box<Input>),
    Scenario(Box<Scenario>),
}

impl Source {
    /// Reads a trace or a scenario (`-`: standard input), by its content.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = bytes_of(path)?;
        let mut recording = match trace_formats::read(&bytes) {
            Ok(recording) => recording,
            Err(no_trace) => {
                let scenario = Scenario::read(&name, &bytes, no_trace)?;
                return Ok(Self::Scenario(Box::new(scenario)));
            }
        };
        model::resolve_futexes(&mut recording);
        let host = host_beside(path)?;
        Ok(Self::Trace(Box::new(Input { name, recording, host, scenario: None })))
    }
}

/// A trace and what lies beside it.
#[derive(Debug)]
pub(crate) struct Input {
    /// As the user named it.
    pub(crate) name: String,
    pub(crate) recording: Recording,
    pub(crate) host: Option<Host>,
    /// What a scenario asks for, when this is none recorded but its schedule under `none`.
    pub(crate) scenario: Option<Demand>,
}

impl Input {
    /// Reads a trace (`-`: standard input) and, beside a file, its `.host.json`; says what is
    /// odd about the file, such as that it ends too early. A scenario is replayed under `none`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        match Source::read(path)? {
            Source::Trace(input) => {
                input.say_oddities();
                Ok(*input)
            }
            Source::Scenario(scenario) => scenario.under_none(),
        }
    }

    /// As [`Self::open`], for a command that looks at what was recorded: a scenario gets another
    /// answer than a recording, and hears so.
    pub(crate) fn open_to_look(path: &Path) -> Result<Self> {
        let input = Self::open(path)?;
        if input.scenario.is_some() {
            say(&format!(
                "note: {}: is a scenario, not a recording: this is its schedule under none. \
                 `resched replay` compares policies",
                input.name
            ));
        }
        Ok(input)
    }

    pub(crate) fn say_oddities(&self) {
        /// Of many oddities these; `resched info` has all.
        const SAID: usize = 4;
        let oddities = &self.recording.oddities;
        for oddity in oddities.iter().take(SAID) {
            say(&format!("note: {}: {}: {}", self.name, oddity.place, name(&oddity.text)));
        }
        if oddities.len() > SAID {
            say(&format!(
                "note: {}: `resched info` lists {} more",
                self.name,
                oddities.len() - SAID
            ));
        }
    }

    /// For people: which schedule this is.
    pub(crate) fn title(&self) -> String {
        if self.scenario.is_some() {
            format!("{} under none", self.name)
        } else {
            self.name.clone()
        }
    }

    pub(crate) fn embedded(name: &str, bytes: &[u8], host: &str) -> Result<Self> {
        let recording = trace_formats::read(bytes).with_context(|| name.to_owned())?;
        let host = Some(Host::from_json(host).with_context(|| name.to_owned())?);
        Ok(Self { name: name.to_owned(), recording, host, scenario: None })
    }

    /// What happened, and what each task did.
    pub(crate) fn history(&self, cover: Cover) -> History {
        let cover = Cover { buffers: true, ..cover };
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
