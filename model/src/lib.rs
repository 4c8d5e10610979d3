//! From events to what happened (`Trace`) and to what each task asked for (`demand`).
//!
//! Knows tasks, CPUs, intervals, waits and what is missing. Does not know file
//! formats' quirks, nor policies. It re-exports the event vocabulary of
//! `trace-formats`, because a replayed schedule is written in it too.

pub mod demand;
pub mod host;
mod script;
mod task;

pub use demand::{Demand, Machine, Op, SchedParams};
pub use host::{Host, HostTask};
pub use task::{CpuSet, SchedPolicy, TaskId, TaskInfo, TaskTracker, nice_of_prio};
pub use trace_formats::{
    Context, CpuId, Event, FormatInfo, HasReturn, LockFlags, LockId, Lost, NameId, Names, Nanos,
    PrevState, Recording, SchedEvent, Tid, Timestamp, WakeFields,
};
