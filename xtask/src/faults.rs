//! Refuses, one after the other, every file that `resched record` opens: what does it say?

use crate::fidelity::build;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// System calls that are refused, each with the error that a sandbox gives.
const CALLS: [&str; 6] = ["openat", "mkdir", "perf_event_open", "bpf", "mmap", "rename"];

/// Runs the recorder under strace, which refuses the n-th call of a kind, until there is no n-th.
pub(crate) fn run(detail: &str) -> Result<()> {
    let resched = build()?;
    let folder = std::env::temp_dir().join(format!("resched-faults-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut verdicts = BTreeMap::new();
    let mut bad = Vec::new();
    for call in CALLS {
        for (n, what) in places(&resched, &folder, detail, call)? {
            let outcome = refuse(&resched, &folder, detail, call, n)?;
            print(&format!("{call:<16} {n:>5} {:<24} {what}", outcome.name()));
            if let Outcome::Bad(why) = &outcome {
                bad.push(format!("{call} {n} ({what}): {why}"));
            }
            *verdicts.entry((call, outcome.name())).or_insert(0u32) += 1;
        }
    }
    std::fs::remove_dir_all(&folder)?;
    for ((call, verdict), count) in verdicts {
        print(&format!("{call:<16} {count:>5} {verdict}"));
    }
    bad.iter().for_each(|line| print(line));
    ensure!(bad.is_empty(), "{} refusals are not told well", bad.len());
    Ok(())
}

/// The calls of this kind that a recording makes, by number, one for each thing that is asked for:
/// of a file for each task, the first.
fn places(resched: &Path, folder: &Path, detail: &str, call: &str) -> Result<Vec<(u32, String)>> {
    let log = folder.join("strace.log");
    let _ = std::fs::remove_dir_all(folder.join("run.dat.recording"));
    record(resched, folder, detail, &["-e", &format!("trace={call}")], &log)?;
    let text = std::fs::read_to_string(&log).context("strace.log")?;
    Ok(distinct(&text))
}

/// First line of each kind in a log of strace, by its number among those of the first process.
fn distinct(log: &str) -> Vec<(u32, String)> {
    let main = log.split_whitespace().next().unwrap_or_default();
    let mut seen = std::collections::BTreeSet::new();
    let own = log.lines().filter_map(|line| line.strip_prefix(main)).map(str::trim);
    (1..)
        .zip(own.filter(|line| !line.starts_with('<') && !line.starts_with("+++")))
        .filter(|(_, line)| !line.contains("/etc/ld.so") && !line.contains(".so."))
        .filter_map(|(n, line)| {
            let what = line.split(") = ").next().unwrap_or(line).to_owned();
            let kind: String =
                what.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
            seen.insert(kind.replace("##", "#").replace("##", "#")).then_some((n, what))
        })
        .collect()
}

fn record(
    resched: &Path,
    folder: &Path,
    detail: &str,
    how: &[&str],
    log: &Path,
) -> Result<std::process::Output> {
    Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(log)
        .args(how)
        .arg(resched)
        .args(["record", "--detail", detail, "--duration", "20ms", "-o"])
        .arg(folder.join("run.dat"))
        .output()
        .context("strace is needed")
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// There are not so many calls of this kind.
    NotReached,
    /// The recording was made without it, and can be read.
    Recorded,
    /// An error that names a way out.
    Refused,
    /// Anything else.
    Bad(String),
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::NotReached => "not reached",
            Self::Recorded => "recorded without it",
            Self::Refused => "refused with a way out",
            Self::Bad(_) => "BAD",
        }
    }
}

fn refuse(resched: &Path, folder: &Path, detail: &str, call: &str, n: u32) -> Result<Outcome> {
    let (trace, log) = (folder.join("run.dat"), folder.join("strace.log"));
    let _ = std::fs::remove_file(&trace);
    let _ = std::fs::remove_dir_all(folder.join("run.dat.recording"));
    let inject = format!("inject={call}:error=EPERM:when={n}");
    let output =
        record(resched, folder, detail, &["-e", &format!("trace={call}"), "-e", &inject], &log)?;
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    if !log.contains("(INJECTED)") {
        return Ok(Outcome::NotReached);
    }
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if error.contains("panicked") {
        return Ok(Outcome::Bad(error));
    }
    if let Some(left) = leftover()? {
        return Ok(Outcome::Bad(format!("{left} was left behind: {error}")));
    }
    match output.status.code() {
        Some(0) => {
            let info = Command::new(resched).arg("info").arg(&trace).output()?;
            let problem = String::from_utf8_lossy(&info.stderr).into_owned();
            Ok(if info.status.success() { Outcome::Recorded } else { Outcome::Bad(problem) })
        }
        _ if trace.exists() => Ok(Outcome::Bad("a trace in spite of an error".to_owned())),
        Some(2) if names_a_way_out(&error) => Ok(Outcome::Refused),
        code => Ok(Outcome::Bad(format!("exit code {code:?}: {error}"))),
    }
}

fn names_a_way_out(error: &str) -> bool {
    [
        "--check",
        "--recover",
        "--via",
        "--detail",
        "sysctl",
        "setcap",
        "ulimit",
        "mount",
        "-o",
        "root",
    ]
    .iter()
    .any(|word| error.contains(word))
}

/// An instance that is there after its recorder has gone; it is removed.
fn leftover() -> Result<Option<String>> {
    let Ok(instances) = std::fs::read_dir("/sys/kernel/tracing/instances") else { return Ok(None) };
    for instance in instances {
        let name = instance?.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("resched.").and_then(|rest| rest.split('.').next());
        // Others may be recording.
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let path = Path::new("/sys/kernel/tracing/instances").join(&name);
            let _ = std::fs::remove_dir(path);
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[expect(clippy::print_stdout, reason = "a report for a terminal")]
fn print(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_many_tasks_count_once() {
        let log = "7 openat(AT_FDCWD, \"/lib/libc.so.6\", O_RDONLY) = 3\n\
                   7 openat(AT_FDCWD, \"/proc/12/stat\", O_RDONLY) = 3\n\
                   8 openat(AT_FDCWD, \"/x\", O_RDONLY) = 3\n\
                   7 openat(AT_FDCWD, \"/proc/345/stat\", O_RDONLY) = 3\n\
                   7 openat(AT_FDCWD, \"/y\", O_RDONLY) = 4\n";
        let numbers: Vec<u32> = distinct(log).into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [2, 4]);
    }
}
