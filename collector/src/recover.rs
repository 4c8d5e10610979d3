//! What a killed recorder left on the disk, put together to the file that was asked for.

use crate::chunk::whole_chunks;
use crate::folder::{Access, NotOurs};
use crate::leftovers;
use crate::record::Notice;
use crate::request::Via;
use crate::spool::{self, Manifest, Spool, content, left_behind};
use crate::trace_dat::Tail;
use crate::tracefs;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::Path;

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
/// When there is none, when its recorder still runs, when somebody else prepared it, or when it
/// cannot be read or written.
pub fn recover(output: &Path, mut notice: impl FnMut(Notice)) -> Result<Recovered> {
    for ended in leftovers::end_here() {
        notice(Notice::Remark(ended.to_string()));
    }
    put_together(output)
}

fn put_together(output: &Path) -> Result<Recovered> {
    let spool = Spool::find(output)?.with_context(|| {
        format!(
            "{}: there is no such folder, so no interrupted recording to finish",
            spool::folder(output).display()
        )
    })?;
    let manifest = spool.manifest().map_err(|error| {
        if error.is::<NotOurs>() {
            return error;
        }
        let dir = spool.path().display();
        error.context(format!("nothing can be recovered; remove the rest with `rm -r {dir}`"))
    })?;
    if tracefs::is_alive(manifest.pid, manifest.start_ticks) == tracefs::Alive::Yes {
        bail!("{}", left_behind(spool.folder(), output));
    }
    ensure!(
        !manifest.in_memory,
        "{0}: a flight recorder keeps its stretch in memory, so nothing can be recovered; remove \
         the rest with `rm -r {0}`",
        spool.path().display()
    );
    let cut = half_chunks(&spool, &manifest)?;
    let is_named = manifest.via == Via::Perf.name()
        && spool.folder().find("data", Access::Read)?.is_none()
        && output.exists();
    let size = if is_named {
        // The recorder had given the file its name when it was killed.
        fs::metadata(output).map_or(0, |meta| meta.len())
    } else {
        spool.finish(&Tail { task_names: task_names(&spool)?, stats: Vec::new() })?
    };
    spool.remove()?;
    Ok(Recovered { size, cut })
}

/// Names of tasks when the recording began.
fn task_names(spool: &Spool) -> Result<String> {
    let Some(names) = spool.folder().find("tasks", Access::Read)? else {
        return Ok(String::new());
    };
    let bytes = content(names).with_context(|| spool.folder().path("tasks").display().to_string());
    // Names come from anybody.
    Ok(String::from_utf8_lossy(&bytes?).into_owned())
}

/// Bytes behind the last whole chunk of each CPU.
fn half_chunks(spool: &Spool, manifest: &Manifest) -> Result<u64> {
    let mut cut = 0;
    if manifest.via == Via::Tracefs.name() && manifest.zstd.is_some() {
        for cpu in spool::buffers(manifest).iter().flat_map(|buffer| &buffer.cpus) {
            let mut file = spool.folder().open(&cpu.name, Access::Read)?;
            let (_, whole) = whole_chunks(&mut file)?;
            cut += file.metadata()?.len() - whole;
        }
    }
    Ok(cut)
}

#[cfg(test)]
mod tests;
