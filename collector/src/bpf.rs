//! Small programs in the kernel that read what no tracepoint says: lock owners, mutex calls.
//!
//! No compiler is involved: the programs are written in a small assembler, with the offsets that
//! [`Btf`] finds in the running kernel. What they write looks like the record of a tracepoint of
//! the system [`SYSTEM`] and is described the same way ([`EventKind::format`]).
//!
//! ```no_run
//! # fn open_event(cpu: u32) -> std::os::fd::OwnedFd { unimplemented!("{cpu}") }
//! use collector::bpf::{Btf, KERNEL_BTF, Programs};
//! use std::os::fd::AsFd as _;
//!
//! let btf = Btf::read(KERNEL_BTF.as_ref())?;
//! let mut programs = Programs::load_owner(&btf, 65000)?;
//! for cpu in 0..2 {
//!     programs.set_output(cpu, open_event(cpu).as_fd())?;
//! }
//! programs.attach()?;
//! # Ok::<(), collector::bpf::BpfError>(())
//! ```

mod btf;
mod check;
mod error;
mod event;
mod instruction;
#[cfg(test)]
mod live_tests;
mod mutex_call;
mod output;
mod owner;
mod program;
mod rights;
mod system_call;

pub use btf::{Btf, BtfError, Function, KERNEL_BTF};
pub use check::{Check, check};
pub use error::{BpfError, Step};
pub use event::{EventKind, Field, MUTEX_CALL_EVENTS, OWNER_EVENTS, SYSTEM, Sign};
pub use program::Programs;
pub use rights::Rights;
