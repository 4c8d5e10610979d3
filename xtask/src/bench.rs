//! Benchmarks: each prints a figure and its peer's figure from the same run.

use crate::tree;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Recorded events a second of the engine: a generated workload in three sizes,
/// and the recordings named, else the largest one beside the repository.
///
/// No other program replays; the peer is what `trace-cmd report` needs to print the same file.
pub(crate) fn replay(files: &[&str]) -> Result<()> {
    beside_trace_cmd(files, ["replay", "throughput"])
}

/// Seconds, events a second and bytes an event of reading a recording, of the walk over it, and
/// of a demand; of the recordings named, else the largest one beside the repository.
///
/// The peer is the same.
pub(crate) fn model(files: &[&str]) -> Result<()> {
    beside_trace_cmd(files, ["model", "passes"])
}

/// Runs a package's example on recordings, then the peer.
fn beside_trace_cmd(files: &[&str], [package, example]: [&str; 2]) -> Result<()> {
    let mut files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
    let beside = tree::root().join("../shared/host-traces/mixed-1m.trace.dat");
    if files.is_empty() && beside.exists() {
        files.push(beside);
    }
    let status = Command::new("cargo")
        .args(["run", "--release", "--quiet", "--package", package, "--example", example, "--"])
        .args(&files)
        .current_dir(tree::root())
        .status()?;
    ensure!(status.success(), "the benchmark failed: {status}");
    files.iter().try_for_each(|file| peer(file))
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn peer(file: &Path) -> Result<()> {
    let start = Instant::now();
    let mut report = Command::new("trace-cmd");
    let status = report.arg("report").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    let name = file.file_name().context("a file")?.to_string_lossy();
    match status.status() {
        Ok(status) if status.success() => {
            let seconds = start.elapsed().as_secs_f64();
            println!("{name}: peer: trace-cmd report prints it in {seconds:.3} s");
        }
        _ => println!("{name}: peer: no trace-cmd that reads it"),
    }
    Ok(())
}
