//! The programs that see every call that takes or releases a mutex which somebody has waited for.
//!
//! The first wait for a mutex puts its address into a map, in the kernel and at that moment; from
//! then on its calls leave records, and those of all other mutexes do not. So a recording has the
//! exact sections of the locks that matter, and pays for others with a look into the map. Mutexes of
//! pipes are left out: the calls on those show their sections already.
//!
//! Programs at functions run through fprobe where the kernel has it, which lets nobody preempt
//! them: while a program of fentry is preempted, the kernel skips it for other tasks of that CPU.
//! Else they are programs of kprobes, one for each function, or of fentry and fexit.

use super::btf::Btf;
use super::error::{BpfError, Step};
use super::event::EventKind;
use super::instruction::Register::{R0, R1, R2, R3, R4, R7, R8, R9, R10};
use super::instruction::{Assembler, Helper, Register, Width};
use super::mutex_call::{self, Moment};
use super::output::{Output, Record};
use super::system_call::{self, MapKind};
use super::transfer::{MUTEX_OF_CALL, OpenCalls};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Locks that are watched, at most; those beyond are as at detail `owner`.
const MOST_LOCKS: u32 = 16_384;
/// Threads that are in a call which returns something, at most; more are a loss.
const MOST_CALLS: u32 = 16_384;

/// `LCB_F_MUTEX` of `include/trace/events/lock.h`.
const MUTEX: i32 = 1 << 5;
/// `BPF_NOEXIST`: what is known stays as it is.
const UNLESS_KNOWN: i32 = 1;

/// Places in the frame; the first is the output's later on.
const KEY: i16 = -8;
const VALUE: i16 = -16;

/// Where the registers of a stopped task keep the first argument of a function and its result, in
/// bytes of `struct pt_regs`.
#[cfg(target_arch = "x86_64")]
const REGISTERS: Option<(i16, i16)> = Some((112, 80));
#[cfg(target_arch = "aarch64")]
const REGISTERS: Option<(i16, i16)> = Some((0, 0));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const REGISTERS: Option<(i16, i16)> = None;

/// What the programs remember.
#[derive(Debug)]
pub(super) struct Maps {
    locks: OwnedFd,
    calls: OwnedFd,
}

impl Maps {
    /// # Errors
    ///
    /// If the kernel gives no maps.
    pub(super) fn new() -> Result<Self, BpfError> {
        let create = |kind, entries| {
            system_call::create_map(kind, entries)
                .map_err(|errno| BpfError::refused(Step::CreateMap, errno))
        };
        let calls = MapKind::Hash { value_size: 8 };
        Ok(Self {
            locks: create(MapKind::Addresses, MOST_LOCKS)?,
            calls: create(calls, MOST_CALLS)?,
        })
    }

    /// The mutexes that were waited for.
    pub(super) fn locks(&self) -> BorrowedFd<'_> {
        self.locks.as_fd()
    }
}

/// The program at `contention_begin`: takes note of a mutex, unless it is that of a pipe on which
/// the task has an open call.
pub(super) fn note(maps: &Maps, transfers: Option<&OpenCalls>) -> Vec<u64> {
    let mut program = Assembler::default();
    let p = &mut program;
    let [is_mutex, is_wanted] = std::array::from_fn(|_| p.label());
    p.load(Width::Bytes8, R7, R1, 0);
    p.load(Width::Bytes8, R8, R1, 8);
    p.jump_if_any_set(R8, MUTEX, is_mutex);
    leave(p);
    p.place(is_mutex);
    if let Some(calls) = transfers {
        thread(p);
        on_key(p, calls.as_fd());
        p.call(Helper::MapLookup);
        p.jump_if_equal(R0, 0, is_wanted);
        p.load(Width::Bytes8, R1, R0, MUTEX_OF_CALL);
        p.subtract(R1, R7);
        let is_other = p.label();
        p.jump_if_any_set(R1, -1, is_other);
        leave(p);
        p.place(is_other);
    }
    p.place(is_wanted);
    p.store(Width::Bytes8, R10, KEY, R7);
    p.store_constant(Width::Bytes8, R10, VALUE, 0);
    on_key(p, maps.locks());
    p.mov(R3, R10);
    p.add_constant(R3, i32::from(VALUE));
    p.mov_constant(R4, UNLESS_KNOWN);
    p.call(Helper::MapUpdate);
    leave(p);
    program.finish()
}

fn leave(p: &mut Assembler) {
    p.mov_constant(R0, 0);
    p.exit();
}

/// Names a map, and the key in the frame.
fn on_key(p: &mut Assembler, map: BorrowedFd<'_>) {
    p.load_map(R1, map);
    p.mov(R2, R10);
    p.add_constant(R2, i32::from(KEY));
}

/// Ends the program unless somebody has waited for the lock. R0 to R5 are lost.
pub(super) fn leave_unless_waited_for(p: &mut Assembler, lock: Register, locks: BorrowedFd<'_>) {
    p.store(Width::Bytes8, R10, KEY, lock);
    on_key(p, locks);
    leave_unless_found(p);
}

/// Ends the program where a map has no such key; else R0 is where the value lies.
fn leave_unless_found(p: &mut Assembler) {
    let (unknown, known) = (p.label(), p.label());
    p.call(Helper::MapLookup);
    p.jump_if_equal(R0, 0, unknown);
    p.jump(known);
    p.place(unknown);
    leave(p);
    p.place(known);
}

/// A program for one moment of a function.
#[derive(Debug)]
pub(super) struct AtFunction {
    pub(super) function: &'static CStr,
    pub(super) moment: Moment,
    pub(super) code: Vec<u64>,
}

/// The programs that read registers, and the names of the functions that this kernel lacks.
///
/// # Errors
///
/// If the architecture's registers are not known here, or a function is missing without which a
/// recording says nothing.
pub(super) fn programs(
    btf: &Btf,
    first_id: u16,
    maps: &Maps,
    output: &Output,
) -> Result<(Vec<AtFunction>, Vec<&'static str>), BpfError> {
    let registers = REGISTERS.ok_or(BpfError::Architecture)?;
    let at = At { registers, maps, output };
    let (mut programs, mut missing) = (Vec::new(), Vec::new());
    for call in mutex_call::CALLS {
        let Some((function, _)) = mutex_call::first_present(btf, call.functions) else {
            missing.push(mutex_call::lacks(call)?);
            continue;
        };
        let event = mutex_call::event_and_id(call.event, first_id)?;
        let mut add = |moment, code| programs.push(AtFunction { function, moment, code });
        match (call.moment, call.has_both()) {
            (Moment::Entry, false) => add(Moment::Entry, at.entry(event)),
            (Moment::Entry, true) => add(Moment::Entry, at.entry_of_both(event)),
            (Moment::Return, false) => {
                add(Moment::Entry, at.remember());
                add(Moment::Return, at.result(event));
            }
            (Moment::Return, true) => add(Moment::Return, at.result(event)),
        }
    }
    Ok((programs, missing))
}

/// What all programs at functions use.
#[derive(Clone, Copy)]
struct At<'m> {
    registers: (i16, i16),
    maps: &'m Maps,
    output: &'m Output,
}

impl At<'_> {
    /// Up to the lock in R7, which has been waited for.
    fn begin(self, p: &mut Assembler) {
        p.load(Width::Bytes8, R7, R1, self.registers.0);
        leave_unless_waited_for(p, R7, self.maps.locks());
    }

    /// A record at the beginning of a call.
    fn entry(self, (event, id): (&EventKind, u16)) -> Vec<u64> {
        let record = Record::new(event.record_size);
        let mut program = Assembler::default();
        let p = &mut program;
        self.begin(p);
        record.begin(p, id);
        p.store(Width::Bytes8, R10, record.at(8), R7);
        let found = self.output.find(p);
        self.output.emit(p, record, found);
        program.finish()
    }

    /// The same of a call whose return is recorded too; without room for it, it is a loss.
    fn entry_of_both(self, (event, id): (&EventKind, u16)) -> Vec<u64> {
        let record = Record::new(event.record_size);
        let mut program = Assembler::default();
        let p = &mut program;
        self.begin(p);
        record.begin(p, id);
        p.store(Width::Bytes8, R10, record.at(8), R7);
        self.remember_lock_at(p, record.at(8));
        p.mov(R9, R0);
        let found = self.output.find(p);
        self.output.emit_unless(p, record, R9, found);
        program.finish()
    }

    /// Remembers the lock of a call that leaves a record at its return alone.
    ///
    /// It does not sleep in between: there are no more of them than CPUs and preempted tasks.
    fn remember(self) -> Vec<u64> {
        let mut program = Assembler::default();
        let p = &mut program;
        self.begin(p);
        p.store(Width::Bytes8, R10, VALUE, R7);
        self.remember_lock_at(p, VALUE);
        leave(p);
        program.finish()
    }

    /// Keeps the lock at this place of the frame for the thread; R0 is 0 when there was room.
    fn remember_lock_at(self, p: &mut Assembler, place: i16) {
        thread(p);
        on_key(p, self.maps.calls.as_fd());
        p.mov(R3, R10);
        p.add_constant(R3, i32::from(place));
        p.mov_constant(R4, 0);
        p.call(Helper::MapUpdate);
    }

    /// A record at the return of a call that is remembered.
    fn result(self, (event, id): (&EventKind, u16)) -> Vec<u64> {
        let record = Record::new(event.record_size);
        let mut program = Assembler::default();
        let p = &mut program;
        let (lock, result) = (R7, R8);
        p.load(Width::Bytes8, result, R1, self.registers.1);
        thread(p);
        on_key(p, self.maps.calls.as_fd());
        leave_unless_found(p);
        p.load(Width::Bytes8, lock, R0, 0);
        on_key(p, self.maps.calls.as_fd());
        p.call(Helper::MapDelete);
        record.begin(p, id);
        p.store(Width::Bytes8, R10, record.at(8), lock);
        p.store(Width::Bytes4, R10, record.at(16), result);
        let found = self.output.find(p);
        self.output.emit(p, record, found);
        program.finish()
    }
}

/// Puts the number of the thread where the key of a map is looked for.
fn thread(p: &mut Assembler) {
    p.call(Helper::CurrentPidTgid);
    p.store(Width::Bytes8, R10, KEY, R0);
}
