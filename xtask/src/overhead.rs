//! What recording costs the machine that is recorded: ours beside perf and trace-cmd, in turn.

use crate::fidelity::build;
use crate::terminal::say;
use crate::tree;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Rounds of which the median is printed.
const ROUNDS: usize = 7;
/// Kernel buffer of each CPU, for all recorders alike.
const BUFFER_KIB: u32 = 128 * 1024;

/// The events that all recorders record; of the timers only those of [`TIMER_FUNCTIONS`].
const EVENTS: [&str; 12] = [
    "sched:sched_switch",
    "sched:sched_waking",
    "sched:sched_wakeup",
    "sched:sched_wakeup_new",
    "sched:sched_migrate_task",
    "sched:sched_process_fork",
    "sched:sched_process_exec",
    "sched:sched_process_exit",
    "sched:sched_pi_setprio",
    "lock:contention_begin",
    "lock:contention_end",
    "timer:hrtimer_start",
];

/// Who records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorder {
    Nobody,
    Perf,
    TraceCmd,
    Ours,
    OursThroughPerf,
    OursWithOwners,
}

const RECORDERS: [Recorder; 6] = [
    Recorder::Nobody,
    Recorder::Perf,
    Recorder::TraceCmd,
    Recorder::Ours,
    Recorder::OursThroughPerf,
    Recorder::OursWithOwners,
];

impl Recorder {
    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Perf => "perf record",
            Self::TraceCmd => "trace-cmd record",
            Self::Ours => "resched record",
            Self::OursThroughPerf => "resched record --via perf",
            Self::OursWithOwners => "resched record --detail owner",
        }
    }

    /// The command that records `workload` into `file`.
    fn command(self, resched: &Path, file: &Path, workload: &[String]) -> Command {
        let mut command = match self {
            Self::Nobody => {
                let mut plain = Command::new(&workload[0]);
                plain.args(&workload[1..]);
                return plain;
            }
            Self::Perf => {
                let mut perf = Command::new("perf");
                perf.args(["record", "-q", "-a", "-k", "CLOCK_MONOTONIC", "-m"]);
                perf.arg((BUFFER_KIB / 4).to_string());
                perf
            }
            Self::TraceCmd => {
                let mut shell = Command::new("unshare");
                shell.args(["-m", "sh", "-c", HIDE_REFUSED, "sh", "trace-cmd", "record", "-q"]);
                shell.args(["-C", "mono", "-b", &BUFFER_KIB.to_string()]);
                shell
            }
            Self::Ours | Self::OursThroughPerf | Self::OursWithOwners => {
                let mut ours = Command::new(resched);
                ours.args(["record", "--buffer", &format!("{BUFFER_KIB}KiB"), "-o"]).arg(file);
                match self {
                    Self::OursThroughPerf => ours.args(["--via", "perf"]),
                    Self::OursWithOwners => ours.args(["--detail", "owner"]),
                    _ => &mut ours,
                };
                ours.arg("--").args(workload);
                return ours;
            }
        };
        for event in EVENTS {
            command.args(["-e", event]);
        }
        // Filters belong to the event before them, which is that of the timers.
        if let Some(filter) = timer_filter() {
            command.arg(if self == Self::Perf { "--filter" } else { "-f" }).arg(filter);
        }
        command.arg("-o").arg(file);
        if self == Self::Perf {
            command.arg("--");
        }
        command.args(workload);
        command
    }
}

/// Timers that wake tasks or end slices: resched records no others.
const TIMER_FUNCTIONS: [&str; 4] =
    ["hrtimer_wakeup", "hrtick", "dl_task_timer", "inactive_task_timer"];

/// The kernel's filter for those, when it tells where its functions are.
fn timer_filter() -> Option<String> {
    let kallsyms = std::fs::read_to_string("/proc/kallsyms").ok()?;
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let (address, name) = (words.next()?, words.nth(1)?);
        TIMER_FUNCTIONS.contains(&name).then(|| format!("function == 0x{address}"))
    };
    let ors: Vec<String> = kallsyms.lines().filter_map(address).collect();
    (!ors.is_empty()).then(|| ors.join(" || "))
}

/// trace-cmd insists on writing files that some kernels refuse: they are hidden from it.
const HIDE_REFUSED: &str = "for f in /proc/sys/kernel/ftrace_enabled \
    /sys/kernel/tracing/set_ftrace_filter /sys/kernel/tracing/set_ftrace_notrace \
    /sys/kernel/tracing/set_ftrace_pid /sys/kernel/tracing/set_ftrace_notrace_pid; do \
    [ -e $f ] && mount --bind /dev/null $f; done; exec \"$@\"";

/// A workload, and how its speed is told.
struct Workload {
    name: &'static str,
    command: Vec<String>,
    speed: Speed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speed {
    /// Runs for a time that it prints behind `Time:`, seconds.
    PrintedTime,
    /// Runs for a fixed time: what it gets done shows in the machine's context switches.
    Switches,
}

impl Workload {
    /// Cost beside the median of the runs that nobody recorded: 0.1 is a tenth more time, or a
    /// tenth more time per switch.
    fn cost(&self, speeds: &[f64], alone: f64) -> f64 {
        match self.speed {
            Speed::PrintedTime => median(speeds) / alone - 1.0,
            Speed::Switches => alone / median(speeds) - 1.0,
        }
    }
}

fn workloads(folder: &Path) -> Result<Vec<Workload>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut all = vec![Workload {
        name: "hackbench",
        command: words("hackbench -g 10 -l 500"),
        speed: Speed::PrintedTime,
    }];
    let programs = tree::root().join("fixtures/workload");
    std::fs::copy(programs.join("mixed.sh"), folder.join("mixed.sh"))?;
    tree::compile(&programs.join("pipe-and-file.c"), &folder.join("pipe-and-file"))?;
    let script = folder.join("mixed.sh").display().to_string();
    all.push(Workload {
        name: "mixed.sh",
        command: vec!["sh".to_owned(), script, "5".to_owned()],
        speed: Speed::Switches,
    });
    Ok(all)
}

/// Runs everything and prints medians and ratios.
pub(crate) fn run() -> Result<()> {
    let resched = build()?;
    let folder = std::env::temp_dir().join(format!("resched-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result =
        workloads(&folder)?.iter().try_for_each(|workload| compare(&resched, &folder, workload));
    std::fs::remove_dir_all(&folder)?;
    result
}

/// One recorder's runs.
#[derive(Default)]
struct Runs {
    /// Seconds, or context switches a second.
    speeds: Vec<f64>,
    lost: u64,
    bytes: u64,
    failed: Option<String>,
}

fn compare(resched: &Path, folder: &Path, workload: &Workload) -> Result<()> {
    let mut runs: Vec<Runs> = RECORDERS.iter().map(|_| Runs::default()).collect();
    for round in 0..ROUNDS {
        say(&format!("{}: round {} of {ROUNDS}", workload.name, round + 1));
        for (recorder, runs) in RECORDERS.iter().zip(&mut runs) {
            if runs.failed.is_some() {
                continue;
            }
            let file = folder.join("trace");
            let run = measure(*recorder, resched, &file, workload);
            match run {
                Ok(speed) => {
                    runs.speeds.push(speed);
                    if *recorder != Recorder::Nobody {
                        runs.bytes = std::fs::metadata(&file).map_or(0, |meta| meta.len());
                        runs.lost += lost(resched, &file).unwrap_or(0);
                    }
                }
                Err(error) => runs.failed = Some(format!("{error:#}")),
            }
            let _ = std::fs::remove_file(&file);
        }
    }
    print(workload, &runs);
    Ok(())
}

fn measure(recorder: Recorder, resched: &Path, file: &Path, workload: &Workload) -> Result<f64> {
    let mut command = recorder.command(resched, file, &workload.command);
    let (switches, start) = (context_switches()?, Instant::now());
    // A workload may write files where it runs.
    command.current_dir(file.parent().context("a file in a folder")?).stdin(Stdio::null());
    let output = command.output().context(recorder.name())?;
    let seconds = start.elapsed().as_secs_f64();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", errors.lines().last().unwrap_or("it failed"));
    match workload.speed {
        Speed::Switches => Ok((context_switches()? - switches) / seconds),
        Speed::PrintedTime => {
            let text = String::from_utf8_lossy(&output.stdout);
            let time = text.lines().find_map(|line| line.trim().strip_prefix("Time:"));
            time.and_then(|time| time.trim().parse().ok()).context("no `Time:` was printed")
        }
    }
}

/// All switches of this machine since it started.
fn context_switches() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find_map(|line| line.strip_prefix("ctxt "));
    line.and_then(|number| number.trim().parse().ok()).context("/proc/stat has no `ctxt`")
}

/// Events that a recording admits to have lost, whoever recorded it.
fn lost(resched: &Path, file: &Path) -> Result<u64> {
    let output = Command::new(resched).args(["info", "--json"]).arg(file).output()?;
    let info: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let lost = info["lost"].as_array().context("no list of losses")?;
    Ok(lost.iter().filter_map(|gap| gap["events"].as_u64()).sum())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn print(workload: &Workload, runs: &[Runs]) {
    let what = match workload.speed {
        Speed::PrintedTime => "median s",
        Speed::Switches => "switches/s",
    };
    println!("\n{}: `{}`, {ROUNDS} rounds", workload.name, workload.command.join(" "));
    let head = ["least", "most", "cost", "of perf's", "file MiB", "lost"];
    let [least, most, cost, part, mib, lost] = head;
    println!(
        "{:<30}{what:>12}{least:>12}{most:>12}{cost:>9}{part:>11}{mib:>10}{lost:>10}",
        "recorder"
    );
    let alone = runs.first().map_or(f64::NAN, |runs| median(&runs.speeds));
    let perf = runs.get(1).map_or(f64::NAN, |perf| workload.cost(&perf.speeds, alone));
    for (recorder, runs) in RECORDERS.iter().zip(runs) {
        if let Some(error) = &runs.failed {
            println!("{:<30}skipped: {error}", recorder.name());
            continue;
        }
        let cost = workload.cost(&runs.speeds, alone);
        #[expect(clippy::cast_precision_loss, reason = "printed with one digit")]
        let mib = runs.bytes as f64 / 1_048_576.0;
        println!(
            "{:<30}{:>12.3}{:>12.3}{:>12.3}{:>8.1}%{:>11.2}{mib:>10.1}{:>10}",
            recorder.name(),
            median(&runs.speeds),
            runs.speeds.iter().copied().fold(f64::INFINITY, f64::min),
            runs.speeds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            cost * 100.0,
            cost / perf,
            runs.lost
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_recorders_record_the_same_command_into_the_same_file() {
        let workload = ["true".to_owned(), "-x".to_owned()];
        for recorder in RECORDERS {
            let command = recorder.command(Path::new("resched"), Path::new("/f"), &workload);
            let words: Vec<_> = command.get_args().map(|w| w.to_string_lossy()).collect();
            assert_eq!(words.last().map(AsRef::as_ref), Some("-x"), "{recorder:?}");
            if recorder != Recorder::Nobody {
                assert!(words.iter().any(|word| word == "/f"), "{recorder:?}");
            }
        }
    }

    #[test]
    fn the_median_is_the_middle_run() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
