//! From events to what happened (`Trace`) and to what each task asked for (`demand`).
//!
//! Knows tasks, CPUs, intervals, waits and what is missing. Does not know file
//! formats' quirks, nor policies. It re-exports the event vocabulary of
//! `trace-formats`, because a replayed schedule is written in it too.

mod assemble;
mod cpu;
pub mod demand;
mod futex;
mod history;
mod interval;
mod lock;
mod migration;
mod note;
mod response;
mod script;
mod task;
mod trace;
mod wakeup;

pub use cpu::{CpuLine, Donation, OnCpu, Stretch};
pub use demand::{Demand, Machine, Op, SchedParams};
pub use futex::resolve as resolve_futexes;
pub use history::{History, assemble};
pub use interval::{Interval, Queued, TaskState};
pub use lock::{Basis, Edge, Hold, LockKind, LockWait, OwnerSpan, Ownership, Phase, PhaseKind};
pub use migration::{Migration, MigrationKind};
pub use note::{Note, NoteKind, Severity};
pub use response::Response;
pub use task::{CpuSet, TaskId, TaskInfo, TaskTracker, nice_of_prio};
pub use trace::{Lock, Task, Trace};
pub use trace_formats::{
    BufferId, BufferSize, Context, CpuId, Event, FormatInfo, HasReturn, Host, HostGroup, HostTask,
    LockFlags, LockHolder, LockId, Lost, LostWhat, NameId, Names, Nanos, OwnerBits, PrevState,
    Recording, SchedEvent, SchedPolicy, Tid, Timestamp, Transfer, WakeFields,
};
pub use wakeup::Wakeup;
