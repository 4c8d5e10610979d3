//! The programs that see the futex calls of user-space locks, and who has the lock.
//!
//! glibc keeps the thread number of a mutex's owner eight bytes behind the word that is waited for
//! (`struct __pthread_mutex_s`, `__owner`); the words of PI futexes hold it themselves. Both are read
//! when a call begins. Of words that are no mutex of glibc's, what lies there is no thread of the
//! same process, and the reader of the recording sees that.
//!
//! Not seen: the newer calls `futex_wait`, `futex_wake`, `futex_requeue` and `futex_waitv`, and calls
//! of 32-bit programs.

use super::event::EventKind;
use super::instruction::Register::{R0, R1, R2, R3, R7, R8, R9, R10};
use super::instruction::{Assembler, Helper, Register, Width};
use super::output::{Output, Record};
use super::transfer::{ARGUMENT, NUMBER, RESULT, constant};

/// Where glibc keeps a mutex's owner, in bytes behind the word.
const OWNER: i32 = 8;

/// The program at the beginning of system calls: writes one record for each futex call, and another
/// for each `sched_yield`.
pub(super) fn begin(
    (event, id): (&EventKind, u16),
    (yields, yields_id): (&EventKind, u16),
    output: &Output,
) -> Vec<u64> {
    let record = Record::new(event.record_size);
    let mut program = Assembler::default();
    let p = &mut program;
    let (word, operation, value) = (R7, R8, R9);
    let [is_other, is_yield] = std::array::from_fn(|_| p.label());
    p.load(Width::Bytes8, R2, R1, NUMBER);
    p.jump_if_equal(R2, constant(libc::SYS_sched_yield), is_yield);
    p.jump(is_other);
    p.place(is_yield);
    let short = Record::new(yields.record_size);
    short.begin(p, yields_id);
    let found = output.find(p);
    output.emit(p, short, found);
    p.place(is_other);
    leave_unless_futex(p);
    p.load(Width::Bytes8, word, R1, ARGUMENT);
    p.load(Width::Bytes8, operation, R1, ARGUMENT + 8);
    p.load(Width::Bytes8, value, R1, ARGUMENT + 16);
    record.begin(p, id);
    p.store(Width::Bytes8, R10, record.at(8), word);
    p.store(Width::Bytes4, R10, record.at(16), operation);
    p.store(Width::Bytes4, R10, record.at(20), value);
    p.call(Helper::CurrentPidTgid);
    // The process is the upper half.
    p.store(Width::Bytes8, R10, record.at(24), R0);
    p.load(Width::Bytes4, R1, R10, record.at(28));
    p.store(Width::Bytes4, R10, record.at(24), R1);
    read_user(p, record.at(28), (word, 0));
    read_user(p, record.at(32), (word, OWNER));
    let found = output.find(p);
    output.emit(p, record, found);
    program.finish()
}

/// The program at the end of system calls: writes what came of each futex call.
pub(super) fn end((event, id): (&EventKind, u16), output: &Output) -> Vec<u64> {
    let record = Record::new(event.record_size);
    let mut program = Assembler::default();
    let p = &mut program;
    let result = R7;
    leave_unless_futex(p);
    p.load(Width::Bytes8, result, R1, RESULT);
    record.begin(p, id);
    p.store(Width::Bytes4, R10, record.at(8), result);
    let found = output.find(p);
    output.emit(p, record, found);
    program.finish()
}

/// Ends the program at other calls; R1 is still the event.
fn leave_unless_futex(p: &mut Assembler) {
    let is_futex = p.label();
    p.load(Width::Bytes8, R2, R1, NUMBER);
    p.jump_if_equal(R2, constant(libc::SYS_futex), is_futex);
    p.mov_constant(R0, 0);
    p.exit();
    p.place(is_futex);
}

/// Copies four bytes of the program's memory into the frame; zeros if they are not there.
fn read_user(p: &mut Assembler, to: i16, (base, offset): (Register, i32)) {
    p.mov(R1, R10);
    p.add_constant(R1, i32::from(to));
    p.mov_constant(R2, 4);
    p.mov(R3, base);
    p.add_constant(R3, offset);
    p.call(Helper::ProbeReadUser);
}
