//! Small programs in the kernel that read what no tracepoint says: lock owners, mutex calls.
//!
//! No compiler is involved: the programs are written in a small assembler, with the offsets that
//! [`Btf`] finds in the running kernel. What they write looks like the record of a tracepoint of
//! the system [`SYSTEM`] and is described the same way ([`EventKind::format`]).
//!
//! ```no_run
//! use collector::bpf::{Btf, KERNEL_BTF, Output, Programs};
//!
//! let btf = Btf::read(KERNEL_BTF.as_ref())?;
//! let output = Output::new()?;
//! let mut ring = output.open(0, 64)?;
//! let programs = Programs::load_owner(&btf, 65000, &output)?;
//! let attached = programs.attach()?;
//! ring.read(|record| println!("{} {}", record.at, record.thread));
//! drop(attached);
//! # Ok::<(), collector::bpf::BpfError>(())
//! ```

mod btf;
mod check;
mod contended;
mod error;
mod event;
mod futex;
mod instruction;
#[cfg(test)]
mod live_tests;
mod mutex_call;
mod output;
mod owner;
mod program;
mod rights;
mod ring;
mod system_call;
mod transfer;

pub use btf::{Btf, BtfError, Function, KERNEL_BTF};
pub use check::{Check, check, check_contended};
pub use error::{BpfError, Step};
pub use event::{
    EventKind, FUTEX_EVENTS, Field, MUTEX_CALL_EVENTS, OWNER_EVENTS, SYSTEM, Sign, TRANSFER_EVENTS,
};
pub(crate) use mutex_call::Moment;
pub use output::Output;
pub use program::{Attached, Programs};
pub use rights::Rights;
pub use ring::{OwnRecord, RecordRing};
pub use transfer::OpenCalls;
