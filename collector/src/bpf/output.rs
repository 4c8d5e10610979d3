//! Where records go: a perf event per CPU, and a count of those that could not be written.

use super::error::{BpfError, Step};
use super::instruction::Register::{R0, R1, R2, R3, R4, R5, R10};
use super::instruction::{Assembler, Helper, Register, Width};
use super::system_call::{self, MapKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The two maps all programs of one set share.
#[derive(Debug)]
pub(super) struct Output {
    /// CPU to perf event.
    events: OwnedFd,
    /// CPU to the number of records lost. An ordinary array with an atomic add: a program at a
    /// function can be preempted, and then two of them count on one CPU.
    dropped: OwnedFd,
    cpus: u32,
}

/// `BPF_F_CURRENT_CPU`: the low 32 bits of the flags, all set.
const CURRENT_CPU: i32 = -1;
/// The map key in the frame lies above the record.
const KEY: i16 = -8;

/// Where a record lies in the frame: a place from the end of the frame, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    size: i16,
}

impl Record {
    /// A record of `size` bytes, a multiple of 8.
    pub(super) fn new(size: u16) -> Self {
        assert!(size.is_multiple_of(8) && size < 256, "the frame has 512 bytes");
        Self { size: i16::try_from(size).expect("less than 256") }
    }

    /// The place of the byte at `offset` of the record.
    pub(super) fn at(self, offset: i16) -> i16 {
        KEY - self.size + offset
    }

    /// Writes the four common fields, and zeros everywhere else. R0 to R5 are lost.
    pub(super) fn begin(self, program: &mut Assembler, id: u16) {
        for offset in (8..self.size).step_by(8) {
            program.store_constant(Width::Bytes8, R10, self.at(offset), 0);
        }
        // Flags and preempt count, behind the id, are zero.
        program.store_constant(Width::Bytes4, R10, self.at(0), i32::from(id));
        program.call(Helper::CurrentPidTgid);
        program.store(Width::Bytes4, R10, self.at(4), R0);
    }
}

impl Output {
    /// Maps for CPUs 0 to `cpus - 1`.
    pub(super) fn new(cpus: u32) -> Result<Self, BpfError> {
        let create = |kind| {
            system_call::create_map(kind, cpus)
                .map_err(|errno| BpfError::refused(Step::CreateMap, errno))
        };
        let dropped = create(MapKind::Array { value_size: 8 })?;
        Ok(Self { events: create(MapKind::PerfEventArray)?, dropped, cpus })
    }

    pub(super) fn set(&self, cpu: u32, event: BorrowedFd<'_>) -> Result<(), BpfError> {
        system_call::put_event(self.events.as_fd(), cpu, event)
            .map_err(|errno| BpfError::refused(Step::SetOutput { cpu }, errno))
    }

    pub(super) fn dropped(&self) -> Result<Vec<u64>, BpfError> {
        let count = |cpu| system_call::look_up(self.dropped.as_fd(), cpu);
        (0..self.cpus)
            .map(|cpu| count(cpu).map_err(|errno| BpfError::refused(Step::ReadCounts, errno)))
            .collect()
    }

    /// Writes out the record in the frame, counts it if that fails, and ends the program.
    ///
    /// `context` holds what the program got in R1.
    pub(super) fn emit(&self, program: &mut Assembler, context: Register, record: Record) {
        let done = program.label();
        program.mov(R1, context);
        program.load_map(R2, self.events.as_fd());
        program.mov_constant_32(R3, CURRENT_CPU);
        program.mov(R4, R10);
        program.add_constant(R4, i32::from(record.at(0)));
        program.mov_constant(R5, i32::from(record.size));
        program.call(Helper::PerfEventOutput);
        program.jump_if_equal(R0, 0, done);
        program.call(Helper::CurrentCpu);
        program.store(Width::Bytes4, R10, KEY, R0);
        program.load_map(R1, self.dropped.as_fd());
        program.mov(R2, R10);
        program.add_constant(R2, i32::from(KEY));
        program.call(Helper::MapLookup);
        program.jump_if_equal(R0, 0, done);
        program.mov_constant(R1, 1);
        program.atomic_add(Width::Bytes8, R0, 0, R1);
        program.place(done);
        program.mov_constant(R0, 0);
        program.exit();
    }
}

/// One more than the highest CPU number this machine can ever have.
pub(super) fn possible_cpus() -> u32 {
    // Without the file, the number of CPUs configured now is the best guess.
    let listed = std::fs::read_to_string("/sys/devices/system/cpu/possible").ok();
    listed.and_then(|list| highest(&list)).map_or_else(configured, |highest| highest + 1)
}

fn configured() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1))
}

/// The last number of a list such as `0-3,8`.
fn highest(list: &str) -> Option<u32> {
    /// More than any kernel supports (`NR_CPUS` is at most 8192).
    const LIMIT: u32 = 1 << 16;
    let last = list.trim().rsplit([',', '-']).next()?;
    last.parse().ok().filter(|&cpu| cpu < LIMIT)
}

#[cfg(test)]
mod tests {
    use super::highest;

    #[test]
    fn the_highest_cpu_ends_the_list() {
        assert_eq!(highest("0-1\n"), Some(1));
        assert_eq!(highest("0"), Some(0));
        assert_eq!(highest("0-3,8-11\n"), Some(11));
        assert_eq!(highest(""), None);
        assert_eq!(highest("0-4294967295"), None);
    }
}
