//! Refuses, one after the other, every file that `resched record` opens: what does it say?

use crate::fidelity::build;
use crate::terminal::print;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// System calls that are refused, each with the error that a sandbox gives.
const CALLS: [&str; 8] =
    ["openat", "mkdir", "mkdirat", "perf_event_open", "bpf", "mmap", "renameat", "unlinkat"];

/// A process that comes or goes shifts the numbers of calls; so often the right one is looked for.
const TRIES: u32 = 6;

/// A recording that has not ended after so many seconds never will.
const LONGEST: &str = "30";

/// Runs the recorder under strace, which refuses one call after the other.
pub(crate) fn run(detail: &str, via: &str) -> Result<()> {
    let resched = build()?;
    let folder = std::env::temp_dir().join(format!("resched-faults-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut verdicts = BTreeMap::new();
    let mut bad = Vec::new();
    for call in CALLS {
        let recorder = Recorder { resched: &resched, folder: &folder, detail, via, call };
        for (refused, outcome) in recorder.refuse_each()? {
            if let Outcome::Bad(why) = &outcome {
                bad.push(format!("{} ({call}): {why}", refused.what));
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

/// A call in a log of strace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    /// Its number among those of the first process, from 1 on.
    n: u32,
    /// The call with its arguments.
    what: String,
    is_refused: bool,
}

impl Call {
    /// What it asks for, whatever process, CPU or address it is about.
    fn kind(&self) -> String {
        let mut kind = String::new();
        for part in self.what.split(", ") {
            for c in part.split("0x").next().unwrap_or_default().chars() {
                let c = if c.is_ascii_digit() { '#' } else { c };
                if c != '#' || !kind.ends_with('#') {
                    kind.push(c);
                }
            }
        }
        kind
    }
}

/// The calls that the first process makes, those of the dynamic linker aside.
fn calls(log: &str) -> Vec<Call> {
    let main = log.split_whitespace().next().unwrap_or_default();
    let own = log.lines().filter_map(|line| line.strip_prefix(main)).map(str::trim);
    (1..)
        .zip(own.filter(|line| !line.starts_with('<') && !line.starts_with("+++")))
        .filter(|(_, line)| !line.contains("/etc/ld.so") && !line.contains(".so."))
        // Memory of its own is the C library's affair; what is shared are perf's buffers.
        .filter(|(_, line)| !line.starts_with("mmap(") || line.contains("MAP_SHARED"))
        .map(|(n, line)| Call {
            n,
            what: line
                .split(") = ")
                .next()
                .unwrap_or(line)
                .trim_end_matches(" <unfinished ...>")
                .to_owned(),
            is_refused: line.contains("(INJECTED)"),
        })
        .collect()
}

/// The first of each kind.
fn distinct(calls: Vec<Call>) -> Vec<Call> {
    let mut seen = BTreeSet::new();
    calls.into_iter().filter(|call| seen.insert(call.kind())).collect()
}

/// By how much later than usual the call came that is wanted, or the last before it.
fn shifted(usual: &[Call], wanted: &Call, made: &[Call]) -> Option<i64> {
    let made = distinct(made.to_vec());
    let up_to_wanted = usual.iter().filter(|call| call.n <= wanted.n).rev();
    let mut both = up_to_wanted.filter_map(|usual| {
        let now = made.iter().find(|call| call.kind() == usual.kind())?;
        Some(i64::from(now.n) - i64::from(usual.n))
    });
    both.next()
}

/// One way to record, and the kind of call that is refused.
#[derive(Clone, Copy)]
struct Recorder<'r> {
    resched: &'r Path,
    folder: &'r Path,
    detail: &'r str,
    via: &'r str,
    call: &'static str,
}

impl Recorder<'_> {
    /// Refuses each thing that a recording asks for, of a file for each task the first.
    fn refuse_each(self) -> Result<Vec<(Call, Outcome)>> {
        record(self, &["-e", &format!("trace={}", self.call)])?;
        let usual = distinct(calls(&self.log()?));
        let mut done = Vec::new();
        let mut kinds = BTreeSet::new();
        let mut shift = 0i64;
        for wanted in &usual {
            let kind = wanted.kind();
            for _ in 0..TRIES {
                if kinds.contains(&kind) {
                    break;
                }
                let n = (i64::from(wanted.n) + shift).max(1);
                let (log, outcome) = self.refuse(n)?;
                let made = calls(&log);
                shift = shifted(&usual, wanted, &made).unwrap_or(shift);
                let Some(refused) = made.into_iter().find(|call| call.is_refused) else {
                    continue;
                };
                let hit = refused.kind();
                if kinds.insert(hit) {
                    let Call { n, what, .. } = &refused;
                    print(&format!("{:<16} {n:>5} {:<24} {what}", self.call, outcome.name()));
                    done.push((refused, outcome));
                }
            }
            if !kinds.contains(&kind) {
                print(&format!("{:<16}       {:<24} {}", self.call, "not met again", wanted.what));
            }
        }
        Ok(done)
    }

    fn log(&self) -> Result<String> {
        std::fs::read_to_string(self.folder.join("strace.log")).context("strace.log")
    }
}

fn record(recorder: Recorder<'_>, how: &[&str]) -> Result<std::process::Output> {
    let folder = recorder.folder;
    let _ = std::fs::remove_dir_all(folder.join("run.dat.recording"));
    let _ = std::fs::remove_file(folder.join("run.dat"));
    Command::new("timeout")
        // strace takes the recorder with it.
        .args(["-s", "KILL", LONGEST, "strace"])
        // Calls of no interest do not stop at strace: four times faster.
        .args(["-f", "--seccomp-bpf", "-qq", "-o"])
        .arg(folder.join("strace.log"))
        .args(how)
        .arg(recorder.resched)
        .args(["record", "--detail", recorder.detail, "--via", recorder.via])
        .args(["--duration", "20ms", "-o"])
        .arg(folder.join("run.dat"))
        .output()
        .context("strace is needed")
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
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
            Self::Recorded => "recorded without it",
            Self::Refused => "refused with a way out",
            Self::Bad(_) => "BAD",
        }
    }
}

impl Recorder<'_> {
    /// Refuses the n-th call; returns strace's log too.
    fn refuse(self, n: i64) -> Result<(String, Outcome)> {
        let call = self.call;
        let inject = format!("inject={call}:error=EPERM:when={n}");
        let output = record(self, &["-e", &format!("trace={call}"), "-e", &inject])?;
        Ok((self.log()?, self.judge(&output)?))
    }

    fn judge(self, output: &std::process::Output) -> Result<Outcome> {
        let trace = self.folder.join("run.dat");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if error.contains("panicked") {
            return Ok(Outcome::Bad(error));
        }
        if let Some(left) = leftover()? {
            return Ok(Outcome::Bad(format!("{left} was left behind: {error}")));
        }
        let is_told = error.contains("--recover") || error.contains("rm -r");
        if self.folder.join("run.dat.recording").exists() && !is_told {
            return Ok(Outcome::Bad(format!("a folder that nobody was told of: {error}")));
        }
        match output.status.code() {
            Some(0) => {
                let info = Command::new(self.resched).arg("info").arg(&trace).output()?;
                let problem = String::from_utf8_lossy(&info.stderr).into_owned();
                Ok(if info.status.success() { Outcome::Recorded } else { Outcome::Bad(problem) })
            }
            _ if trace.exists() => Ok(Outcome::Bad("a trace in spite of an error".to_owned())),
            Some(2) if names_a_way_out(&error) => Ok(Outcome::Refused),
            code => Ok(Outcome::Bad(format!("exit code {code:?}: {error}"))),
        }
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
        "`-o`",
        "as root",
    ]
    .iter()
    .any(|word| error.contains(word))
}

/// An instance that is there after its recorder has gone, which is removed, or dynamic events.
fn leftover() -> Result<Option<String>> {
    let dynamic = std::fs::read_to_string("/sys/kernel/tracing/dynamic_events").unwrap_or_default();
    if let Some(line) = dynamic.lines().find(|line| line.contains("resched")) {
        return Ok(Some(format!("the dynamic event {line}")));
    }
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
        let numbers: Vec<u32> = distinct(calls(log)).into_iter().map(|call| call.n).collect();
        assert_eq!(numbers, [2, 4]);
    }

    #[test]
    fn a_call_is_found_again_when_tasks_have_come() {
        let call = |n, what: &str| Call { n, what: what.to_owned(), is_refused: false };
        let usual = [call(1, "/proc/1/stat"), call(5, "/a"), call(6, "/b")];
        let made = [call(1, "/proc/1/stat"), call(2, "/proc/2/stat"), call(7, "/a")];
        assert_eq!(shifted(&usual, &usual[2], &made), Some(2));
        assert_eq!(shifted(&usual, &usual[0], &made), Some(0));
    }
}
