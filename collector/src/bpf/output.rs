//! Where records go: a ring buffer per CPU, and a count of those that did not fit.
//!
//! Perf events would do too, but a record costs two microseconds there instead of a quarter.

use super::error::{BpfError, Step};
use super::instruction::Register::{R0, R1, R2, R3, R4, R6, R10};
use super::instruction::{Assembler, Helper, Label, Register, Width};
use super::ring::RecordRing;
use super::system_call::{self, MapKind};
use crate::{limits, page};
use std::os::fd::{AsFd, OwnedFd};

/// What programs write into; one for all of them.
#[derive(Debug)]
pub struct Output {
    /// CPU to ring.
    rings: OwnedFd,
    /// CPU to the number of records lost. An ordinary array with an atomic add: a program at a
    /// function can be preempted, and then two of them count on one CPU.
    dropped: OwnedFd,
    cpus: u32,
}

/// The map key in the frame lies above the record; later the address of the ring.
const KEY: i16 = -8;
/// Holds the address of the count of records lost.
const DROPPED: Register = R6;
/// In front of a record: its time, the records that its CPU had lost by then, process and
/// thread.
pub(super) const HEAD: i16 = 24;
/// `BPF_RB_NO_WAKEUP`: the reader comes by itself.
const NO_WAKEUP: i32 = 1;

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

    /// The place of the byte at `offset` of the record; what is in front of it lies below 0.
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
        program.store(Width::Bytes8, R10, self.at(16 - HEAD), R0);
        program.store(Width::Bytes4, R10, self.at(4), R0);
    }
}

impl Output {
    /// Makes the maps; no CPU has a ring yet.
    ///
    /// # Errors
    ///
    /// If the kernel refuses: it does not permit BPF, or is older than Linux 5.10.
    pub fn new() -> Result<Self, BpfError> {
        limits::allow_locked_memory();
        let cpus = possible_cpus();
        let rings = create(MapKind::Rings { like: new_ring(page_size())?.as_fd() }, cpus)?;
        let dropped = create(MapKind::Array { value_size: 8 }, cpus)?;
        Ok(Self { rings, dropped, cpus })
    }

    /// Gives a CPU a ring: of the largest power of two that `kib` holds.
    ///
    /// Records of CPUs without one are counted as dropped.
    ///
    /// # Errors
    ///
    /// If there is no memory for it, or no such CPU.
    pub fn open(&self, cpu: u32, kib: u64) -> Result<RecordRing, BpfError> {
        /// Rings have less than 4 GiB, and sizes that are powers of two.
        const LARGEST_KIB: u64 = 2 << 20;
        let kib = 1u32 << kib.clamp(1, LARGEST_KIB).ilog2();
        let bytes = kib.saturating_mul(1024).max(page_size());
        let ring = new_ring(bytes)?;
        system_call::put_ring(self.rings.as_fd(), cpu, ring.as_fd())
            .map_err(|errno| BpfError::refused(Step::SetOutput { cpu }, errno))?;
        RecordRing::map(ring.as_fd(), bytes as usize, page_size() as usize)
            .map_err(|errno| BpfError::refused(Step::SetOutput { cpu }, errno))
    }

    /// How many records did not fit into a ring, per CPU from CPU 0 on.
    ///
    /// # Errors
    ///
    /// If the kernel does not let the counts be read.
    pub fn dropped(&self) -> Result<Vec<u64>, BpfError> {
        let count = |cpu| system_call::look_up(self.dropped.as_fd(), cpu);
        (0..self.cpus)
            .map(|cpu| count(cpu).map_err(|errno| BpfError::refused(Step::ReadCounts, errno)))
            .collect()
    }

    /// Looks up this CPU's ring and its count, so that little is left to do in
    /// [`Output::emit`]. R0 to R5 are lost, and R6 belongs to the output from now on.
    pub(super) fn find(&self, program: &mut Assembler) -> Found {
        let [full, done] = std::array::from_fn(|_| program.label());
        program.call(Helper::CurrentCpu);
        program.store(Width::Bytes4, R10, KEY, R0);
        Self::look_up(program, &self.dropped);
        program.jump_if_equal(R0, 0, done);
        program.mov(DROPPED, R0);
        Self::look_up(program, &self.rings);
        program.jump_if_equal(R0, 0, full);
        // The key is not needed any more.
        program.store(Width::Bytes8, R10, KEY, R0);
        Found { full, done }
    }

    fn look_up(program: &mut Assembler, map: &OwnedFd) {
        program.load_map(R1, map.as_fd());
        program.mov(R2, R10);
        program.add_constant(R2, i32::from(KEY));
        program.call(Helper::MapLookup);
    }

    /// As [`Output::emit`]; where `failed` is not 0, the record is counted as lost.
    pub(super) fn emit_unless(
        &self,
        program: &mut Assembler,
        record: Record,
        failed: Register,
        found: Found,
    ) {
        let (emit, Found { full, .. }) = (program.label(), found);
        program.jump_if_equal(failed, 0, emit);
        program.jump(full);
        program.place(emit);
        self.emit(program, record, found);
    }

    /// Writes out the record in the frame, counts it if that fails, and ends the program.
    pub(super) fn emit(&self, program: &mut Assembler, record: Record, found: Found) {
        let Found { full, done } = found;
        program.load(Width::Bytes8, R1, DROPPED, 0);
        program.store(Width::Bytes8, R10, record.at(8 - HEAD), R1);
        program.call(Helper::Now);
        program.store(Width::Bytes8, R10, record.at(-HEAD), R0);
        program.load(Width::Bytes8, R1, R10, KEY);
        program.mov(R2, R10);
        program.add_constant(R2, i32::from(record.at(-HEAD)));
        program.mov_constant(R3, i32::from(HEAD + record.size));
        program.mov_constant(R4, NO_WAKEUP);
        program.call(Helper::RingOutput);
        program.jump_if_equal(R0, 0, done);
        program.place(full);
        program.mov_constant(R1, 1);
        program.atomic_add(Width::Bytes8, DROPPED, 0, R1);
        program.place(done);
        program.mov_constant(R0, 0);
        program.exit();
    }
}

/// Where to go when there is no room, or no CPU of this number.
#[derive(Clone, Copy)]
#[must_use = "a program that has looked up its output writes to it"]
pub(super) struct Found {
    full: Label,
    done: Label,
}

fn create(kind: MapKind<'_>, entries: u32) -> Result<OwnedFd, BpfError> {
    system_call::create_map(kind, entries)
        .map_err(|errno| BpfError::refused(Step::CreateMap, errno))
}

fn new_ring(bytes: u32) -> Result<OwnedFd, BpfError> {
    create(MapKind::Ring { bytes }, 0)
}

/// The unit in which rings are mapped, bytes.
fn page_size() -> u32 {
    u32::try_from(page::of_memory()).unwrap_or(u32::MAX / 2)
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
