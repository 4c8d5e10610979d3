//! What was typed: clap types and nothing else.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

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
    /// The policies and what each switches on
    Policies(Policies),
}

#[derive(Debug, Parser)]
pub(crate) struct Demo {
    /// Where the chart goes
    #[arg(long, value_name = "FILE", default_value = "resched-demo.svg")]
    pub(crate) svg: PathBuf,
    /// Pairs of replays with other dice, for the 90 % intervals; 0: none
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) draws: u16,
}

#[derive(Debug, Parser)]
pub(crate) struct Info {
    /// Trace to read; `-` for standard input
    pub(crate) file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Parser)]
pub(crate) struct Replay {
    /// Trace to read; `-` for standard input
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
    /// Pairs of replays with other dice, for the 90 % intervals; 0: none. Without it 12, or 4 for
    /// more than half a million events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) draws: Option<u16>,
    /// Say what each mechanism brings: taken away, and alone
    #[arg(long)]
    pub(crate) attribute: bool,
    /// Replay with all costs of the kernel's own work at zero, but those of --cost
    #[arg(long)]
    pub(crate) no_costs: bool,
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
}

#[derive(Debug, Parser)]
pub(crate) struct Analyze {
    /// Trace to read; `-` for standard input
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
    /// Trace before
    pub(crate) before: PathBuf,
    /// Trace after; without it, the replay of the first under --policy
    pub(crate) after: Option<PathBuf>,
    /// Policy of the replay
    #[arg(long, default_value = "pe-7.3")]
    pub(crate) policy: String,
    /// Write a chart of the lock waits, before and after
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Parser)]
pub(crate) struct Explain {
    /// Trace to read; `-` for standard input
    pub(crate) file: PathBuf,
    /// How many episodes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) worst: usize,
    /// Only waits of this task, by name
    #[arg(long, value_name = "NAME")]
    pub(crate) task: Option<String>,
    /// Policy whose answer is drawn below what was recorded
    #[arg(long, default_value = "pe-7.3")]
    pub(crate) policy: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Parser)]
pub(crate) struct Policies {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
