//! A scenario as a demand, and a demand as a scenario.
//!
//! Total in both directions: what a parsed script says, a demand can say, and the other way round.

mod machine;
mod read;
mod rounds;
mod sched;
mod write;

use crate::demand::{BufferIndex, Demand, GroupIndex, LockIndex};
use crate::{LockId, TaskId, Tid};
use std::fmt;

/// Writes a demand as the text of a scenario: `trace_formats::script` reads it, and
/// [`Demand::from_script`] makes the same demand of that.
///
/// The same demand gives the same bytes. [`Demand::stretches`] is left out: only a replay of the
/// recorded schedule asks for it, and that needs the recording anyway.
///
/// # Errors
///
/// When `out` fails.
///
/// ```
/// use trace_formats::script::parse;
///
/// let text = "end 20\n\nL  at 2  run 4  lock m0  run 1.5  unlock m0\n";
/// let demand = model::Demand::from_script(&parse(text).expect("a scenario"));
/// let mut out = String::new();
/// model::demand::write(&demand, &mut out).expect("a string takes anything");
/// assert_eq!(out, text);
/// ```
pub fn write(demand: &Demand, out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "{}", demand.to_script())
}

/// Thread id of task n, unless the script says otherwise.
fn usual_tid(n: usize) -> Tid {
    Tid(i32::try_from(n).map_or(i32::MAX, |n| n.saturating_add(1)))
}

/// Where lock n lies, unless the script says otherwise: a cache line apart in a made-up heap.
fn usual_address(n: usize) -> LockId {
    LockId(0xffff_8880_0000_0000 + 64 * n as u64)
}

/// Where buffer n lies, unless the script says otherwise.
fn usual_buffer(n: usize) -> u64 {
    0xffff_8890_0000_0000 + 256 * n as u64
}

fn buffer_index(n: usize) -> BufferIndex {
    BufferIndex(u32::try_from(n).expect("a script has fewer than 2^32 buffers"))
}

fn task_id(n: usize) -> TaskId {
    TaskId(u32::try_from(n).expect("a script has fewer than 2^32 tasks"))
}

fn group_index(n: usize) -> GroupIndex {
    GroupIndex(u32::try_from(n).expect("a script has fewer than 2^32 groups"))
}

fn lock_index(n: usize) -> LockIndex {
    LockIndex(u32::try_from(n).expect("a script has fewer than 2^32 locks"))
}

#[cfg(test)]
mod tests;
