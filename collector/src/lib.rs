//! Asks a running Linux kernel for a trace.
//!
//! Knows tracefs, `perf_event_open`, BPF and this machine. Does not know what a
//! schedule is: what it writes is read back by `trace-formats` like any other file.

pub mod bpf;
mod check;
mod chunk;
mod control;
mod describe;
mod drain;
mod dynamic;
mod engine;
mod folder;
pub mod host;
mod instance;
mod leftovers;
mod limits;
mod lock_users;
pub mod offer;
mod own_drain;
mod own_events;
mod page;
mod perf_data;
mod perf_engine;
mod perf_event;
mod plan;
mod priority;
mod probes;
mod record;
mod recover;
mod refusal;
mod request;
mod signals;
mod spool;
mod stream;
mod trace_dat;
mod tracefs;
mod tracefs_engine;
mod watch;
mod workload;

pub use check::{Finding, can_record, check};
pub use control::{Control, Stop};
pub use instance::KernelCount;
pub use plan::{NoPlan, Plan, PlannedEvent, plan};
pub use record::{Notice, Summary, record};
pub use recover::{Recovered, recover};
pub use refusal::Refusal;
pub use request::{Compression, Detail, Flight, Futex, Request, Target, Via};
pub use signals::listen;
pub use stream::Lost;
pub use tracefs::Tracefs;
