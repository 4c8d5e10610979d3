//! Events of `perf_event_open` and the buffers that they write into.

use crate::bpf::Moment as At;
use crate::refusal::{Privilege, Refusal};
use anyhow::{Context, Result};
use perf_event_open_sys::bindings as sys;
use perf_event_open_sys::{ioctls, perf_event_open};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Size of an attribute since Linux 4.1: all that is used here, and no perf refuses it.
pub(crate) const ATTR_SIZE: u32 = 112;

/// What every sample holds, in this order: the event's id, task, time, CPU, the record.
pub(crate) const SAMPLE_TYPE: u64 = (sys::PERF_SAMPLE_IDENTIFIER
    | sys::PERF_SAMPLE_TID
    | sys::PERF_SAMPLE_TIME
    | sys::PERF_SAMPLE_CPU
    | sys::PERF_SAMPLE_RAW) as u64;

/// Whether an event also reports names and ends of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tasks {
    Told,
    Untold,
}

/// The attribute of a tracepoint with this number.
pub(crate) fn attribute(id: u16, tasks: Tasks) -> sys::perf_event_attr {
    let mut attr = sys::perf_event_attr { size: ATTR_SIZE, ..Default::default() };
    (attr.type_, attr.config) = (sys::PERF_TYPE_TRACEPOINT, u64::from(id));
    attr.__bindgen_anon_1.sample_period = 1;
    attr.sample_type = SAMPLE_TYPE;
    attr.read_format = u64::from(sys::PERF_FORMAT_ID | sys::PERF_FORMAT_LOST);
    attr.set_disabled(1);
    attr.set_sample_id_all(1);
    attr.set_use_clockid(1);
    attr.clockid = libc::CLOCK_MONOTONIC;
    // The reader comes by itself: nobody need be woken.
    attr.set_watermark(1);
    attr.__bindgen_anon_2.wakeup_watermark = u32::MAX;
    let tasks = u64::from(tasks == Tasks::Told);
    attr.set_comm(tasks);
    attr.set_comm_exec(tasks);
    attr.set_task(tasks);
    attr
}

/// Frames of a call chain that are looked at: the locks' own functions are a handful.
const FRAMES: u16 = 16;

/// The attribute of a tracepoint whose samples hold the kernel's call chain and the record.
pub(crate) fn chain_attribute(id: u16) -> sys::perf_event_attr {
    let mut attr = attribute(id, Tasks::Untold);
    attr.sample_type = u64::from(sys::PERF_SAMPLE_CALLCHAIN | sys::PERF_SAMPLE_RAW);
    attr.set_exclude_callchain_user(1);
    attr.sample_max_stack = FRAMES;
    attr
}

/// The bytes of an attribute as files keep them.
pub(crate) fn attribute_bytes(attr: &sys::perf_event_attr) -> Vec<u8> {
    let start = std::ptr::from_ref(attr).cast::<u8>();
    #[expect(unsafe_code, reason = "a C structure is written as it lies in memory")]
    // SAFETY: the structure is at least this long, has no padding there and is initialized.
    let bytes = unsafe { std::slice::from_raw_parts(start, ATTR_SIZE as usize) };
    bytes.to_vec()
}

/// An open event on one CPU.
#[derive(Debug)]
pub(crate) struct PerfEvent {
    fd: OwnedFd,
    /// Its number in samples.
    pub id: u64,
    /// Whether the kernel counts the samples that it loses (Linux 6.0).
    counts_lost: bool,
}

impl PerfEvent {
    /// Opens an event for all tasks on one CPU.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; the message says what permits it.
    pub(crate) fn open(mut attr: sys::perf_event_attr, cpu: u32) -> Result<Self> {
        let mut result = open(&mut attr, cpu);
        let mut counts_lost = true;
        if result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL)) {
            attr.read_format &= !u64::from(sys::PERF_FORMAT_LOST);
            attr.size = ATTR_SIZE;
            counts_lost = false;
            result = open(&mut attr, cpu);
        }
        let fd = result.map_err(|error| refused(error, attr.config, cpu))?;
        let mut id = 0u64;
        call(|| {
            #[expect(unsafe_code, reason = "an ioctl")]
            // SAFETY: the kernel writes eight bytes, for which there is room.
            unsafe {
                ioctls::ID(fd.as_raw_fd(), &raw mut id)
            }
        })
        .context("perf_event_open: the event's id cannot be asked for")?;
        Ok(Self { fd, id, counts_lost })
    }

    /// Lets it write into the buffer of another event on the same CPU.
    pub(crate) fn share(&self, other: &Self) -> Result<()> {
        call(|| {
            #[expect(unsafe_code, reason = "an ioctl")]
            // SAFETY: two open descriptors, no memory.
            unsafe {
                ioctls::SET_OUTPUT(self.fd.as_raw_fd(), other.fd.as_raw_fd())
            }
        })
        .context("perf_event_open: events of a CPU cannot share a buffer")
    }

    /// Keeps only records that pass.
    pub(crate) fn filter(&self, filter: &str) -> Result<()> {
        let text = CString::new(filter).context("a filter with a NUL")?;
        call(|| {
            #[expect(unsafe_code, reason = "an ioctl")]
            // SAFETY: the text ends with a NUL and outlives the call; the kernel only reads it.
            unsafe {
                ioctls::SET_FILTER(self.fd.as_raw_fd(), text.as_ptr().cast_mut())
            }
        })
        .with_context(|| format!("perf_event_open: the filter `{filter}` is refused"))
    }

    /// Begins to count.
    pub(crate) fn enable(&self) -> Result<()> {
        call(|| {
            #[expect(unsafe_code, reason = "an ioctl")]
            // SAFETY: an open descriptor, no memory.
            unsafe {
                ioctls::ENABLE(self.fd.as_raw_fd(), 0)
            }
        })
        .context("perf_event_open: the event cannot be switched on")
    }

    /// Counts until it has taken so many more samples, and stops by itself then.
    pub(crate) fn run_for(&self, samples: u64) -> Result<()> {
        let samples = i32::try_from(samples).unwrap_or(i32::MAX);
        call(|| {
            #[expect(unsafe_code, reason = "an ioctl")]
            // SAFETY: an open descriptor and a number.
            unsafe {
                ioctls::REFRESH(self.fd.as_raw_fd(), samples)
            }
        })
        .context("perf_event_open: the event cannot be switched on for some samples")
    }

    /// Ends counting.
    pub(crate) fn disable(&self) -> Result<()> {
        call(|| {
            #[expect(unsafe_code, reason = "an ioctl")]
            // SAFETY: an open descriptor, no memory.
            unsafe {
                ioctls::DISABLE(self.fd.as_raw_fd(), 0)
            }
        })
        .context("perf_event_open: the event cannot be switched off")
    }

    /// Takes a sample of every so many.
    pub(crate) fn set_period(&self, period: u64) -> Result<()> {
        // The binding declares a number; the kernel wants the address of one.
        let address = (&raw const period).expose_provenance() as u64;
        call(|| {
            #[expect(unsafe_code, reason = "an ioctl")]
            // SAFETY: the kernel reads eight bytes, which outlive the call.
            unsafe {
                ioctls::PERIOD(self.fd.as_raw_fd(), address)
            }
        })
        .context("perf_event_open: the event's period cannot be changed")
    }

    /// How many samples the kernel lost of it; `None` before Linux 6.0.
    pub(crate) fn lost(&self) -> Option<u64> {
        if !self.counts_lost {
            return None;
        }
        // Value, id, lost.
        let mut answer = [0u8; 24];
        let file = std::fs::File::from(self.fd.try_clone().ok()?);
        io::Read::read_exact(&mut &file, &mut answer).ok()?;
        Some(u64::from_ne_bytes(*answer.last_chunk::<8>()?))
    }
}

/// Runs a BPF program whenever a tracepoint is met, on any CPU, as long as the event is open.
///
/// # Errors
///
/// The kernel's number, when it refuses.
pub(crate) fn run_program(id: u16, program: BorrowedFd<'_>) -> Result<OwnedFd, i32> {
    run_at(attribute(id, Tasks::Untold), program)
}

/// The kernel's own description of its breakpoints as perf events.
const KPROBE: &str = "/sys/bus/event_source/devices/kprobe";

/// Runs a BPF program whenever a function of the kernel begins, or returns, as long as the event is
/// open; through a breakpoint.
///
/// # Errors
///
/// The kernel's number, when it refuses; `ENOENT` where it has no such events.
pub(crate) fn run_at_function(
    function: &CStr,
    at: At,
    program: BorrowedFd<'_>,
) -> Result<OwnedFd, i32> {
    let read = |name: &str| std::fs::read_to_string(Path::new(KPROBE).join(name)).ok();
    let kind = read("type").and_then(|text| text.trim().parse().ok()).ok_or(libc::ENOENT)?;
    // "config:0" says which bit asks for the return.
    let bit = read("format/retprobe");
    let bit = bit.and_then(|text| text.trim().strip_prefix("config:")?.parse::<u32>().ok());
    let mut attr = sys::perf_event_attr { size: ATTR_SIZE, type_: kind, ..Default::default() };
    attr.__bindgen_anon_1.sample_period = 1;
    attr.set_disabled(1);
    attr.config = u64::from(at == At::Return) << bit.filter(|bit| *bit < 64).ok_or(libc::ENOENT)?;
    attr.__bindgen_anon_3.kprobe_func = function.as_ptr().expose_provenance() as u64;
    run_at(attr, program)
}

/// An event that runs a BPF program, on any CPU.
fn run_at(mut attr: sys::perf_event_attr, program: BorrowedFd<'_>) -> Result<OwnedFd, i32> {
    let number = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let first = crate::describe::online_cpus().ok().and_then(|cpus| cpus.first().copied());
    let event = match open(&mut attr, first.unwrap_or(0)) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            attr.read_format &= !u64::from(sys::PERF_FORMAT_LOST);
            open(&mut attr, first.unwrap_or(0))
        }
        other => other,
    }
    .map_err(number)?;
    let program = u32::try_from(program.as_raw_fd()).map_err(|_| libc::EBADF)?;
    call(|| {
        #[expect(unsafe_code, reason = "an ioctl")]
        // SAFETY: two open descriptors, no memory.
        unsafe {
            ioctls::SET_BPF(event.as_raw_fd(), program)
        }
    })
    .map_err(number)?;
    call(|| {
        #[expect(unsafe_code, reason = "an ioctl")]
        // SAFETY: an open descriptor, no memory.
        unsafe {
            ioctls::ENABLE(event.as_raw_fd(), 0)
        }
    })
    .map_err(number)?;
    Ok(event)
}

fn open(attr: &mut sys::perf_event_attr, cpu: u32) -> io::Result<OwnedFd> {
    let cpu = i32::try_from(cpu).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let flags = u64::from(sys::PERF_FLAG_FD_CLOEXEC);
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: the attribute is initialized and outlives the call.
    let fd = unsafe { perf_event_open(std::ptr::from_mut(attr), -1, cpu, -1, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "the kernel has just made this descriptor")]
    // SAFETY: nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call(call: impl FnOnce() -> i32) -> io::Result<()> {
    if call() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The kernel's refusal of an event, with the way out.
fn refused(error: io::Error, config: u64, cpu: u32) -> anyhow::Error {
    let way_out = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) if Privilege::own() == Privilege::User => {
            "run it as root, or give the program CAP_PERFMON \
             (`setcap cap_perfmon,cap_ipc_lock,cap_sys_ptrace=ep resched`), or set \
             `sysctl kernel.perf_event_paranoid=-1`"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "something forbids it even to root (a container, lockdown, seccomp): \
             try `--via tracefs`"
        }
        Some(libc::EMFILE) => "too many files are open: raise the limit with `ulimit -n`",
        Some(libc::ENOSYS) => {
            "this kernel is built without CONFIG_PERF_EVENTS: use `--via tracefs`"
        }
        _ => "try `--via tracefs`, and see `resched record --check`",
    };
    anyhow::Error::new(error)
        .context(format!("perf_event_open: event {config} on CPU {cpu} is refused; {way_out}"))
}

/// One CPU's buffer, mapped.
#[derive(Debug)]
pub(crate) struct Ring {
    base: NonNull<u8>,
    /// Bytes of the whole mapping.
    mapped: usize,
    /// Bytes of records; a power of two.
    size: usize,
    /// Where the header says that records begin: one page after the start.
    page: usize,
    tail: u64,
}

#[expect(unsafe_code, reason = "a mapping may be read by whichever thread owns it")]
// SAFETY: the mapping belongs to this value alone; the kernel's side is reached through atomics.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the buffer of an event: the largest power of two that `kib` holds.
    ///
    /// # Errors
    ///
    /// When there is no memory, or too much would be locked.
    pub(crate) fn map(event: &PerfEvent, kib: u64) -> Result<Self> {
        let page = crate::page::of_memory();
        let kib = usize::try_from(kib).unwrap_or(usize::MAX / 2048).max(page / 1024);
        let size = 1024 << kib.ilog2();
        let mapped = size + page;
        #[expect(unsafe_code, reason = "a mapping of the kernel's buffer")]
        // SAFETY: a new mapping at a place that the kernel chooses.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.fd.as_raw_fd(),
                0,
            )
        };
        let base = NonNull::new(base.cast::<u8>()).filter(|_| base != libc::MAP_FAILED);
        let Some(base) = base else {
            let error = io::Error::last_os_error();
            let path = Path::new("perf_event_open");
            let purpose = format!(
                "map {} KiB of buffer for each CPU (`--buffer`; beyond \
                 kernel.perf_event_mlock_kb it takes CAP_IPC_LOCK)",
                size / 1024
            );
            return Err(Refusal::new(path, "mapped", purpose, error).into());
        };
        Ok(Self { base, mapped, size, page, tail: 0 })
    }

    /// A number in the first page, which the kernel and we share.
    fn shared(&self, offset: usize) -> &AtomicU64 {
        #[expect(unsafe_code, reason = "the mapping is shared with the kernel")]
        // SAFETY: inside the first page, aligned to eight bytes, mapped as long as this value.
        unsafe {
            self.base.add(offset).cast::<AtomicU64>().as_ref()
        }
    }

    /// The records that are there, in at most two parts, each of whole records only when joined.
    ///
    /// They stay until [`Ring::release`].
    pub(crate) fn records(&self) -> (&[u8], &[u8]) {
        let head_at = std::mem::offset_of!(sys::perf_event_mmap_page, data_head);
        let head = self.shared(head_at).load(Ordering::Acquire);
        let length = usize::try_from(head.wrapping_sub(self.tail)).unwrap_or(0).min(self.size);
        let start = usize::try_from(self.tail).unwrap_or(0) & (self.size - 1);
        let first = length.min(self.size - start);
        #[expect(unsafe_code, reason = "the mapping is shared with the kernel")]
        // SAFETY: both parts lie inside the data pages; the kernel does not write between tail
        // and head until the tail moves.
        unsafe {
            let data = self.base.add(self.page);
            (
                std::slice::from_raw_parts(data.add(start).as_ptr(), first),
                std::slice::from_raw_parts(data.as_ptr(), length - first),
            )
        }
    }

    /// Gives so many bytes back to the kernel.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.tail = self.tail.wrapping_add(bytes as u64);
        let tail_at = std::mem::offset_of!(sys::perf_event_mmap_page, data_tail);
        self.shared(tail_at).store(self.tail, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "the mapping is ours")]
        // SAFETY: mapped with this size, and nobody holds a part of it: those borrow this value.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.mapped);
        }
    }
}

/// The monotonic clock, nanoseconds: that of all records.
pub(crate) fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "the standard library does not tell the clock's number")]
    // SAFETY: the structure outlives the call.
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now);
    }
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}

/// Kind and size of the record at the start of `bytes`; `None` where none can be.
pub(crate) fn record_head(bytes: &[u8]) -> Option<(u32, usize)> {
    let kind = u32::from_ne_bytes(*bytes.first_chunk::<4>()?);
    let size = usize::from(u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?));
    (size >= 8).then_some((kind, size))
}

/// Time and tracepoint record of a sample that begins with its header.
pub(crate) fn sample(record: &[u8]) -> Option<(u64, &[u8])> {
    // Header, id, task, time, CPU, size of the record, the record.
    let time = u64::from_ne_bytes(record.get(24..32)?.try_into().ok()?);
    let size = u32::from_ne_bytes(record.get(40..44)?.try_into().ok()?);
    let raw = record.get(44..)?.get(..usize::try_from(size).ok()?)?;
    Some((time, raw))
}

/// Who ran where and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub process: u32,
    pub thread: u32,
    pub at: u64,
    pub cpu: u32,
}

impl Moment {
    fn push(self, to: &mut Vec<u8>) {
        for half in [self.process, self.thread] {
            to.extend_from_slice(&half.to_ne_bytes());
        }
        to.extend_from_slice(&self.at.to_ne_bytes());
        to.extend_from_slice(&u64::from(self.cpu).to_le_bytes());
    }
}

/// Writes a sample as the kernel would: see [`sample`].
pub(crate) fn push_sample(to: &mut Vec<u8>, id: u64, moment: Moment, raw: &[u8]) {
    // Header, id, task, time, CPU, size of the record.
    const HEAD: usize = 44;
    let size = (HEAD + raw.len()).next_multiple_of(8);
    push_head(to, SAMPLE, size);
    to.extend_from_slice(&id.to_ne_bytes());
    moment.push(to);
    // Our records have at most 48 bytes.
    to.extend_from_slice(&u32::try_from(size - HEAD).unwrap_or(0).to_ne_bytes());
    to.extend_from_slice(raw);
    to.resize(to.len() + size - HEAD - raw.len(), 0);
}

/// Writes that records were lost, as the kernel would.
pub(crate) fn push_lost(to: &mut Vec<u8>, id: u64, records: u64, moment: Moment) {
    // Header, id, count, task, time, CPU, id.
    push_head(to, LOST, 56);
    to.extend_from_slice(&id.to_ne_bytes());
    to.extend_from_slice(&records.to_ne_bytes());
    moment.push(to);
    to.extend_from_slice(&id.to_ne_bytes());
}

fn push_head(to: &mut Vec<u8>, kind: u32, size: usize) {
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(&[0, 0]);
    to.extend_from_slice(&u16::try_from(size).unwrap_or(0).to_ne_bytes());
}

/// Kinds of records that are looked at on their way.
pub(crate) const LOST: u32 = 2;
pub(crate) const SAMPLE: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_ends_the_records() {
        assert_eq!(record_head(&[9, 0, 0, 0, 0, 0, 16, 0, 1]), Some((9, 16)));
        assert_eq!(record_head(&[2, 0, 0, 0, 0, 0, 4, 0]), None);
        assert_eq!(record_head(&[9, 0, 0, 0, 0, 0, 16]), None);
        assert_eq!(sample(&[9, 0, 0, 0, 0, 0, 16, 0]), None);
    }

    #[test]
    fn what_is_written_for_the_kernel_reads_like_its_own() {
        let moment = Moment { process: 20, thread: 21, at: 99, cpu: 3 };
        let mut records = Vec::new();
        push_sample(&mut records, 7, moment, &[5; 48]);
        assert_eq!(record_head(&records), Some((SAMPLE, records.len())));
        assert_eq!(records.len() % 8, 0);
        // The kernel fills its words too.
        let (at, raw) = sample(&records).expect("a sample");
        assert_eq!((at, &raw[..48], &raw[48..]), (99, &[5; 48][..], &[0; 4][..]));
        records.clear();
        push_lost(&mut records, 7, 12, moment);
        assert_eq!(record_head(&records), Some((LOST, records.len())));
        let lost = crate::perf_engine::loss(&records, 50).expect("a loss");
        assert_eq!((lost.cpu, lost.records, lost.after, lost.before), (3, Some(12), 50, 99));
    }

    #[test]
    fn an_attribute_is_written_as_the_kernel_reads_it() {
        let bytes = attribute_bytes(&attribute(315, Tasks::Told));
        assert_eq!(bytes.len(), 112);
        assert_eq!(&bytes[..16], [2, 0, 0, 0, 112, 0, 0, 0, 59, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(u64::from_le_bytes(*bytes[24..].first_chunk().expect("long")), 0x1_0486);
    }
}
