//! What was typed: clap types and nothing else.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Re-schedules recorded Linux traces, with and without proxy execution.
#[derive(Debug, Parser)]
#[command(name = "resched", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay a recording that comes with resched, and show everything it says
    Demo(Demo),
    /// Record the scheduling and locking of this machine, as root
    ///
    /// Everything that runs is recorded, for that is what a replay needs: until COMMAND ends,
    /// --duration is over, or Ctrl-C. Beside the trace, FILE.host.json says what machine it was.
    Record(Box<Record>),
    /// What is in a trace, what is missing, what can be asked of it
    Info(Info),
    /// Re-schedule a trace under a policy and compare it with what was recorded
    Replay(Replay),
    /// Lock waits, inversions, response times and migrations of a trace, as tables
    Analyze(Analyze),
    /// Two traces, or a trace and its replay, side by side
    Compare(Compare),
    /// The worst inversion episodes, as a story and a drawing
    Explain(Explain),
    /// What each task of a recording asked for, as a scenario: text to read, to change, to replay
    Demand(Demand),
    /// The policies and what each switches on
    Policies(Policies),
}

#[derive(Debug, Parser)]
pub(crate) struct Demo {
    /// Where the chart goes
    #[arg(long, value_name = "FILE", default_value = "resched-demo.svg")]
    pub(crate) svg: PathBuf,
    /// Pairs of replays with other random seeds: their means are the prediction, and what they differ
    /// by is in the 90 % intervals; 0: one replay alone
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) draws: u16,
}

#[derive(Debug, Parser)]
pub(crate) struct Record {
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "resched.dat")]
    pub(crate) output: PathBuf,
    /// How much of locking: waits; the owner too when a wait begins; every mutex call too
    #[arg(long, value_enum, default_value_t = Detail::Contention)]
    pub(crate) detail: Detail,
    /// End after this time, as in 10s or 500ms
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Through which of the kernel's buffers: ftrace's (a trace.dat) or perf's (a perf.data);
    /// without it ftrace's, which cost less, where they can be had
    #[arg(long, value_enum)]
    pub(crate) via: Option<Via>,
    /// Kernel buffer of each CPU, as in 64MiB; without it the CPU's share of a 64th of the
    /// memory, from 1 MiB to 128 MiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) buffer: Option<bytesize::ByteSize>,
    /// zstd, zstd:LEVEL (-7 to 19; lower is faster), or none
    #[arg(long, value_name = "HOW", default_value = "zstd", value_parser = compression)]
    pub(crate) compress: Compression,
    /// Record only the command and what it starts: to look at, not to replay
    #[arg(long, value_enum, conflicts_with = "pid")]
    pub(crate) only: Option<Only>,
    /// Record only these threads and what they start (with --via perf: these alone): to look at,
    /// not to replay
    #[arg(long, value_name = "TID", value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Record futex calls and the owners of user-space mutexes too, as `--detail owner` does
    #[arg(long)]
    pub(crate) futex: bool,
    /// Keep only the last stretch of this length, and write it on SIGUSR1 or when --wait is
    /// exceeded (FILE run.dat: to run.1.dat), or at the end (to FILE)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) flight: Option<Duration>,
    /// With --flight: write the stretch when a wait for a lock took longer than this
    #[arg(long, value_name = "TIME", requires = "flight", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// With --flight: end after so many stretches
    #[arg(long, value_name = "N", requires = "flight", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) dumps: u32,
    /// Give the recorder's threads this SCHED_FIFO priority instead of nice -20
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(i32).range(1..=99))]
    pub(crate) realtime: Option<i32>,
    /// Say what can be recorded on this machine, and what to do about the rest; record nothing, and
    /// end the tracing of killed recorders
    #[arg(long, conflicts_with_all = ["recover", "command"])]
    pub(crate) check: bool,
    /// Finish the recording to FILE whose recorder was killed, and end its tracing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "json"])]
    pub(crate) recover: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The command to record, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// How much of locking is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Detail {
    /// Waits for locks
    Contention,
    /// And the owner, read in the kernel when a wait begins
    Owner,
    /// And every acquisition and release of the mutexes that somebody has waited for
    Sections,
    /// And every acquisition and release of a mutex
    Full,
}

/// Through which of the kernel's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Via {
    /// ftrace's; writes a trace.dat
    Tracefs,
    /// Those of perf_event_open; writes a perf.data
    Perf,
}

/// Whose events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Only {
    /// The command's and its children's
    Command,
}

/// How the file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Zstd(i32),
}

/// Fast enough to keep up with a buffer of each CPU.
const DEFAULT_LEVEL: i32 = 1;

fn compression(text: &str) -> Result<Compression, String> {
    match text.split_once(':') {
        None if text == "none" => Ok(Compression::None),
        None if text == "zstd" => Ok(Compression::Zstd(DEFAULT_LEVEL)),
        Some(("zstd", level)) => match level.parse() {
            Ok(level @ -7..=19) => Ok(Compression::Zstd(level)),
            _ => Err(format!("`{level}` is no level of zstd from -7 to 19")),
        },
        _ => Err("give zstd, zstd:LEVEL or none".to_owned()),
    }
}

#[derive(Debug, Parser)]
pub(crate) struct Info {
    /// Trace or scenario to read; `-` for standard input
    pub(crate) file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Parser)]
pub(crate) struct Replay {
    /// Trace or scenario to read; `-` for standard input
    pub(crate) file: PathBuf,
    /// Policy to replay under: see `resched policies`
    #[arg(long, default_value = "pe-7.3")]
    pub(crate) policy: String,
    /// What the replay is compared with: a policy, or `recorded`
    #[arg(long, value_name = "POLICY", default_value = "none")]
    pub(crate) against: String,
    /// Switch mechanisms on: see `resched policies`; `unlock-window=NS` takes a time
    #[arg(long, value_name = "MECHANISM", value_delimiter = ',')]
    pub(crate) with: Vec<String>,
    /// Switch mechanisms off
    #[arg(long, value_name = "MECHANISM", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// Write the replayed schedule as ftrace text
    #[arg(short, long, value_name = "FILE.txt")]
    pub(crate) output: Option<PathBuf>,
    /// Write a chart of the lock waits, before and after
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// What if proxy execution covered other locks too
    #[arg(long, value_name = "LOCK", value_delimiter = ',', value_enum)]
    pub(crate) cover: Vec<CoveredLock>,
    /// Set costs of the kernel's own work, in nanoseconds, as in switch=1500,chain-hop=200
    #[arg(long, value_name = "NAME=NS", value_delimiter = ',')]
    pub(crate) cost: Vec<String>,
    /// Pairs of replays with other random seeds, at most: their means are the prediction, and what
    /// they differ by is in the 90 % intervals; they end early, behind eight, when the means are known
    /// to 2 %. 0: the one replay of --seed alone. Without it 32, or 8 for more than half a million
    /// events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) draws: Option<u16>,
    /// Say what each mechanism brings: taken away, and alone
    #[arg(long)]
    pub(crate) attribute: bool,
    /// Say where the replay under --against first leaves the recording, by which rule, and what
    /// that comes to
    #[arg(long, conflicts_with_all = ["attribute", "output", "svg"])]
    pub(crate) diverge: bool,
    /// Replay with all costs of the kernel's own work at zero, but those of --cost
    #[arg(long)]
    pub(crate) no_costs: bool,
    /// Use the random numbers of this seed where the kernel's choice is not known; with any other
    /// than 0 the costs vary too
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Locks beside mutexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CoveredLock {
    /// Writers of rwsems
    Rwsem,
    /// rt_mutexes and PI futexes
    FutexPi,
    /// Mutexes of programs, which no policy covers: tasks may then get them in another order than
    /// the recorded one
    Futex,
}

#[derive(Debug, Parser)]
pub(crate) struct Analyze {
    /// Trace or scenario to read; `-` for standard input
    pub(crate) file: PathBuf,
    /// Table to print or write; without it, a summary
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Write the table to a file: .csv or .parquet
    #[arg(short, long, value_name = "FILE", requires = "table")]
    pub(crate) output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Parser)]
pub(crate) struct Compare {
    /// Trace or scenario before
    pub(crate) before: PathBuf,
    /// The one after; without it, the replay of the first under --policy
    pub(crate) after: Option<PathBuf>,
    /// Policy of the replay
    #[arg(long, default_value = "pe-7.3")]
    pub(crate) policy: String,
    /// Of one trace: pairs of replays with other random seeds, at most; as for `replay`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) draws: Option<u16>,
    /// Of one trace: the random numbers of the one replay whose lock waits are shown
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Write a chart of the lock waits, before and after
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Parser)]
pub(crate) struct Explain {
    /// Trace or scenario to read; `-` for standard input
    pub(crate) file: PathBuf,
    /// How many episodes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) worst: usize,
    /// Only waits of this task, by name
    #[arg(long, value_name = "NAME")]
    pub(crate) task: Option<String>,
    /// Policy whose answer is drawn below what was recorded and its replay under none
    #[arg(long, default_value = "pe-7.3")]
    pub(crate) policy: String,
    /// Use the random numbers of this seed in both replays: each draws one course of many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Parser)]
pub(crate) struct Demand {
    /// Trace, or scenario to rewrite in the same form; `-` for standard input
    pub(crate) file: PathBuf,
    /// Write the scenario to a file, not to standard output
    #[arg(short, long, value_name = "FILE.sched")]
    pub(crate) output: Option<PathBuf>,
    /// With the critical sections of other locks too, for a replay with the same --cover
    #[arg(long, value_name = "LOCK", value_delimiter = ',', value_enum)]
    pub(crate) cover: Vec<CoveredLock>,
    /// Print as JSON how much there is and how much of it is guessed, not the scenario
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Parser)]
pub(crate) struct Policies {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
