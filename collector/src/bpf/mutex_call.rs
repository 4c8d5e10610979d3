//! The programs that see every call that takes or releases a mutex, contended or not.
//!
//! They sit where functions begin (fentry) and return (fexit). What they do not see: `ww_mutex`
//! locks being taken (their release is seen), and mutexes of `PREEMPT_RT` kernels.

use super::btf::{Btf, BtfError, Function};
use super::contended;
use super::error::BpfError;
use super::event::{EventKind, MUTEX_CALL_EVENTS};
use super::instruction::Register::{R1, R6, R7, R10};
use super::instruction::{Assembler, Width};
use super::output::{Output, Record};
use super::system_call::ProgramKind;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// Where in a function a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Entry,
    Return,
}

/// What happens if the kernel has no such function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// One place to watch.
#[derive(Debug)]
pub(super) struct Call {
    /// The record to write, a name in [`MUTEX_CALL_EVENTS`].
    pub(super) event: &'static str,
    /// The first of these the kernel has: with lock debugging, some calls are macros for others.
    pub(super) functions: &'static [&'static CStr],
    pub(super) moment: Moment,
    presence: Presence,
    /// What its other moment leaves.
    other: Other,
}

/// What the other moment of the same call leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Nothing,
    Record,
}

impl Call {
    /// Whether the beginning leaves a record as well as the return.
    pub(super) fn has_both(&self) -> bool {
        self.other == Other::Record
    }
}

const INTERRUPTIBLE: &[&CStr] = &[c"mutex_lock_interruptible", c"mutex_lock_interruptible_nested"];
const KILLABLE: &[&CStr] =
    &[c"mutex_lock_killable", c"mutex_lock_killable_nested", c"_mutex_lock_killable"];

pub(super) const CALLS: &[Call] = &[
    required("mutex_lock_in", &[c"mutex_lock", c"mutex_lock_nested"], Moment::Entry),
    required("mutex_unlock_in", &[c"mutex_unlock"], Moment::Entry),
    required("mutex_trylock_ret", &[c"mutex_trylock", c"_mutex_trylock_nest_lock"], Moment::Return),
    both("mutex_lock_interruptible_in", INTERRUPTIBLE, Moment::Entry),
    both("mutex_lock_interruptible_ret", INTERRUPTIBLE, Moment::Return),
    both("mutex_lock_killable_in", KILLABLE, Moment::Entry),
    both("mutex_lock_killable_ret", KILLABLE, Moment::Return),
    optional("mutex_lock_in", &[c"mutex_lock_io", c"mutex_lock_io_nested"], Moment::Entry),
];

const fn required(
    event: &'static str,
    functions: &'static [&'static CStr],
    moment: Moment,
) -> Call {
    Call { event, functions, moment, presence: Presence::Required, other: Other::Nothing }
}

const fn optional(
    event: &'static str,
    functions: &'static [&'static CStr],
    moment: Moment,
) -> Call {
    Call { event, functions, moment, presence: Presence::Optional, other: Other::Nothing }
}

const fn both(event: &'static str, functions: &'static [&'static CStr], moment: Moment) -> Call {
    Call { event, functions, moment, presence: Presence::Optional, other: Other::Record }
}

/// A function as the kernel's types call it.
pub(super) fn text(name: &'static CStr) -> &'static str {
    name.to_str().unwrap_or_default()
}

/// A program ready to be loaded.
#[derive(Debug)]
pub(super) struct CallProgram {
    pub(super) function: &'static str,
    pub(super) kind: ProgramKind,
    pub(super) code: Vec<u64>,
}

/// Programs for the calls this kernel has, and the names of the functions it lacks.
#[derive(Debug, Default)]
pub(super) struct CallPrograms {
    pub(super) programs: Vec<CallProgram>,
    pub(super) missing: Vec<&'static str>,
}

/// Writes the programs; the event at index `i` of [`MUTEX_CALL_EVENTS`] gets `first_id + i`.
///
/// With `waited_for`, a set of addresses, calls of these mutexes alone leave records.
pub(super) fn programs(
    btf: &Btf,
    first_id: u16,
    waited_for: Option<BorrowedFd<'_>>,
    output: &Output,
) -> Result<CallPrograms, BpfError> {
    let mut found = CallPrograms::default();
    for call in CALLS {
        let Some((name, function)) = first_present(btf, call.functions) else {
            found.missing.push(lacks(call)?);
            continue;
        };
        let (event, id) = event_and_id(call.event, first_id)?;
        found.programs.push(CallProgram {
            function: text(name),
            kind: match call.moment {
                Moment::Entry => ProgramKind::FunctionEntry { function: function.id },
                Moment::Return => ProgramKind::FunctionReturn { function: function.id },
            },
            code: program(call.moment, function, (event, id), waited_for, output),
        });
    }
    Ok(found)
}

/// The name of a call that this kernel does not have.
///
/// # Errors
///
/// If nothing can be said without it.
pub(super) fn lacks(call: &Call) -> Result<&'static str, BpfError> {
    let name = text(call.functions[0]);
    match call.presence {
        Presence::Required => Err(BtfError::NoSuchFunction { name: name.into() }.into()),
        Presence::Optional => Ok(name),
    }
}

pub(super) fn first_present(
    btf: &Btf,
    names: &[&'static CStr],
) -> Option<(&'static CStr, Function)> {
    names.iter().find_map(|&name| Some((name, btf.function(text(name)).ok()?)))
}

/// The event of this name, and its number.
pub(super) fn event_and_id(
    name: &str,
    first_id: u16,
) -> Result<(&'static EventKind, u16), BpfError> {
    let index = MUTEX_CALL_EVENTS.iter().position(|event| event.name == name);
    let index = index.expect("every call writes one of the events");
    let id = u16::try_from(index).ok().and_then(|index| first_id.checked_add(index));
    let count = MUTEX_CALL_EVENTS.len();
    let id = id.ok_or(BpfError::Ids { first: first_id, count })?;
    Ok((&MUTEX_CALL_EVENTS[index], id))
}

/// The context is the function's arguments, then on return its result, 8 bytes each.
fn program(
    moment: Moment,
    function: Function,
    (event, id): (&EventKind, u16),
    waited_for: Option<BorrowedFd<'_>>,
    output: &Output,
) -> Vec<u64> {
    let record = Record::new(event.record_size);
    let mut program = Assembler::default();
    let p = &mut program;
    let (context, argument) = (R6, R7);
    p.mov(context, R1);
    p.load(Width::Bytes8, argument, context, 0);
    if let Some(locks) = waited_for {
        contended::leave_unless_waited_for(p, argument, locks);
    }
    record.begin(p, id);
    p.store(Width::Bytes8, R10, record.at(8), argument);
    if moment == Moment::Return {
        let behind_arguments = i16::try_from(8 * function.parameters.min(MOST_PARAMETERS));
        p.load(Width::Bytes8, R1, context, behind_arguments.expect("at most 96"));
        p.store(Width::Bytes4, R10, record.at(16), R1);
    }
    let found = output.find(p);
    output.emit(p, record, found);
    program.finish()
}

/// What the kernel lets programs see of a function (`MAX_BPF_FUNC_ARGS`).
const MOST_PARAMETERS: u16 = 12;
