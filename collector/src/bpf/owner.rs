//! The program that reads who holds a lock at the moment a task begins to wait for it.

use super::btf::{Btf, BtfError};
use super::error::BpfError;
use super::event::EventKind;
use super::instruction::Register::{R0, R1, R2, R3, R6, R7, R8, R9, R10};
use super::instruction::{Assembler, Helper, Register, Width};
use super::output::{Output, Record};

/// The tracepoint that runs when a task begins to wait: `(lock, flags)`.
pub(super) const TRACEPOINT: &std::ffi::CStr = c"contention_begin";

// Flags of the tracepoint, `include/trace/events/lock.h`.
const READ: i32 = 1 << 1;
const WRITE: i32 = 1 << 2;
const MUTEX: i32 = 1 << 5;
/// A waiter for an rwsem has exactly one of `READ` and `WRITE`; with `SPIN` (1) it is a rwlock,
/// with `RT` (8) or `PERCPU` (16) a lock of another layout.
const ALL: i32 = 63;

/// The low bits of an owner word are flags, not part of the address.
///
/// A reader that holds an rwsem leaves its address too (bit 0 is set): it is one of the readers.
const OWNER_FLAGS: i32 = 7;

/// The owner's fields are read so often, until it still owns the lock afterwards.
///
/// A waiter that spins finds many a lock about to be released. What is written is then true at
/// the end of the program, a microsecond nearer to the record's time.
const READINGS: usize = 3;

/// What the program says where the kernel has no such field.
const UNKNOWN: i32 = -1;

/// Where the kernel at hand keeps what the program reads, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    mutex_owner: i32,
    semaphore_owner: i32,
    pid: TaskField,
    prio: TaskField,
    /// `None` in kernels for a single CPU.
    on_cpu: Option<TaskField>,
    cpu: Option<TaskField>,
}

/// A number in `task_struct` of at most 4 bytes; `on_cpu` has 4 in Linux 6.18 and 1 in 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TaskField {
    offset: i32,
    size: i32,
}

impl Layout {
    /// # Errors
    ///
    /// If the kernel is not 64-bit or its locks have no owner word (`PREEMPT_RT`).
    pub(super) fn of(btf: &Btf) -> Result<Self, BpfError> {
        let bytes = btf.pointer_width().unwrap_or(0);
        if bytes != 8 {
            return Err(BpfError::PointerWidth { bytes });
        }
        let task = |path| TaskField::of(btf, path);
        Ok(Self {
            mutex_owner: owner_word(btf, "mutex")?,
            semaphore_owner: owner_word(btf, "rw_semaphore")?,
            pid: task("pid")?,
            prio: task("prio")?,
            on_cpu: task("on_cpu").ok(),
            cpu: task("thread_info.cpu").or_else(|_| task("cpu")).ok(),
        })
    }
}

impl TaskField {
    fn of(btf: &Btf, path: &str) -> Result<Self, BtfError> {
        let offset = as_constant(btf.offset_of("task_struct", path)?)?;
        match btf.size_of_member("task_struct", path)? {
            size @ 1..=4 => Ok(Self { offset, size: as_constant(size)? }),
            _ => Err(BtfError::NoSuchMember { structure: "task_struct".into(), path: path.into() }),
        }
    }
}

fn owner_word(btf: &Btf, lock: &str) -> Result<i32, BpfError> {
    btf.offset_of(lock, "owner.counter").and_then(as_constant).map_err(|missing| {
        let way_out = "PREEMPT_RT kernels keep owners elsewhere. Record without lock owners";
        BpfError::OtherKernel { missing, way_out }
    })
}

pub(super) fn as_constant(offset: u32) -> Result<i32, BtfError> {
    i32::try_from(offset).map_err(|_| BtfError::Cut { at: offset as usize })
}

/// The program: writes one record per wait for a mutex or rwsem, and nothing for other locks.
pub(super) fn program(layout: Layout, event: &EventKind, id: u16, output: &Output) -> Vec<u64> {
    let record = Record::new(event.record_size);
    let mut program = Assembler::default();
    let p = &mut program;
    let [mutex, semaphore, read] = std::array::from_fn(|_| p.label());
    let (context, lock, flags, address) = (R6, R7, R8, R9);

    p.mov(context, R1);
    p.load(Width::Bytes8, lock, context, 0);
    p.load(Width::Bytes8, flags, context, 8);
    p.jump_if_any_set(flags, MUTEX, mutex);
    p.mov(R1, flags);
    p.and_constant(R1, ALL);
    p.jump_if_equal(R1, READ, semaphore);
    p.jump_if_equal(R1, WRITE, semaphore);
    p.mov_constant(R0, 0);
    p.exit();

    p.place(mutex);
    p.mov_constant(address, layout.mutex_owner);
    p.jump(read);
    p.place(semaphore);
    p.mov_constant(address, layout.semaphore_owner);

    p.place(read);
    p.add(address, lock);
    let found = output.find(p);
    record.begin(p, id);
    p.store(Width::Bytes8, R10, record.at(8), lock);
    p.store(Width::Bytes4, R10, record.at(24), flags);

    // Both are in the record now, and their registers are free.
    let (owner, before) = (lock, flags);
    let [emit, nobody] = std::array::from_fn(|_| p.label());
    for reading in 0..READINGS {
        read_kernel(p, record.at(16), 8, (address, 0));
        p.load(Width::Bytes8, owner, R10, record.at(16));
        p.and_constant(owner, !OWNER_FLAGS);
        p.jump_if_equal(owner, 0, nobody);
        if reading > 0 {
            p.subtract(before, owner);
            p.jump_if_equal(before, 0, emit);
        }
        p.mov(before, owner);
        read_task(p, layout, record, owner);
    }
    p.jump(emit);
    p.place(nobody);
    for place in task_fields() {
        p.store_constant(Width::Bytes4, R10, record.at(place), 0);
    }
    p.place(emit);
    output.emit(p, record, found);
    program.finish()
}

/// Where the owner's four fields are in a record.
fn task_fields() -> impl Iterator<Item = i16> {
    (28..44).step_by(4)
}

/// Copies the fields of the task at `owner` into the record.
fn read_task(p: &mut Assembler, layout: Layout, record: Record, owner: Register) {
    let fields = [Some(layout.pid), Some(layout.prio), layout.on_cpu, layout.cpu];
    for (place, field) in task_fields().zip(fields) {
        let to = record.at(place);
        match field {
            Some(TaskField { offset, size }) => read_kernel(p, to, size, (owner, offset)),
            None => p.store_constant(Width::Bytes4, R10, to, UNKNOWN),
        }
    }
}

/// Copies `size` bytes of the kernel into the frame; zeros if the address leads nowhere.
pub(super) fn read_kernel(p: &mut Assembler, to: i16, size: i32, (base, offset): (Register, i32)) {
    p.mov(R1, R10);
    p.add_constant(R1, i32::from(to));
    p.mov_constant(R2, size);
    p.mov(R3, base);
    p.add_constant(R3, offset);
    p.call(Helper::ProbeReadKernel);
}
