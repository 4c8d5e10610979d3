//! Bytes of Linux scheduling traces in, one event vocabulary out.
//!
//! Knows tracepoint layouts, kernel versions and clocks. Does not know what a
//! schedule is, nor whether events make sense together: that is `model`'s work.
//! Takes bytes, never a path; a damaged trace is data: what can be read is
//! returned together with its [`Oddity`] list.

mod bytes;
mod error;
mod event;
mod format_files;
mod ftrace_text;
mod host;
mod id;
mod layout;
mod limits;
mod merge;
mod perf_data;
mod read;
mod recording;
pub mod ring_buffer;
pub mod script;
mod task_state;
mod time;
mod trace_dat;
mod tracepoint;
mod wrapper;

pub use error::{Error, ErrorKind, Position};
pub use event::{
    BufferId, BufferSize, Context, Event, HasReturn, LockFlags, LockHolder, OwnerBits, SchedEvent,
    Transfer, WakeFields,
};
pub use ftrace_text::write_ftrace_text;
pub use host::{Host, HostCache, HostGroup, HostTask, SchedPolicy, Unreadable};
pub use id::{CpuId, LockId, NameId, Names, Tid};
pub use limits::Limits;
pub use read::{read, read_with};
pub use recording::{FormatInfo, Lost, LostWhat, Oddity, Recording};
pub use task_state::PrevState;
pub use time::{Nanos, Timestamp};
