//! Reads a ring buffer of BPF: what programs have written on one CPU.
//!
//! Source of the layout: `kernel/bpf/ringbuf.c`, as `Documentation/bpf/ringbuf.rst` tells it. A
//! page with the reader's position, one with the writer's, then the data twice in a row, so that
//! no record is cut in two.

use super::output::HEAD;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// In the word in front of a record: it is still being written.
const BUSY: u32 = 1 << 31;
/// It was given up.
const DISCARDED: u32 = 1 << 30;
/// The word, and another that is of no interest here.
const RECORD_HEAD: usize = 8;

/// What a program wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRecord<'r> {
    /// Nanoseconds of the monotonic clock.
    pub at: u64,
    /// Records of this CPU that had not fitted by then.
    pub lost: u64,
    /// The process that ran.
    pub process: u32,
    /// The thread of it.
    pub thread: u32,
    /// The record, as its [`EventKind`](super::EventKind) describes it.
    pub bytes: &'r [u8],
}

impl<'r> OwnRecord<'r> {
    fn parse(bytes: &'r [u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk::<8>()?));
        let task = word(16)?;
        let half = |half: u64| u32::try_from(half & u64::from(u32::MAX)).ok();
        let (process, thread) = (half(task >> 32)?, half(task)?);
        let bytes = bytes.get(usize::try_from(HEAD).ok()?..)?;
        Some(Self { at: word(0)?, lost: word(8)?, process, thread, bytes })
    }
}

/// One CPU's ring, mapped.
#[derive(Debug)]
pub struct RecordRing {
    /// The page that holds our position.
    reader: Mapping,
    /// The page that holds the writer's, and the data.
    writer: Mapping,
    page: usize,
    /// Bytes of data; a power of two.
    size: usize,
    position: u64,
}

impl RecordRing {
    pub(super) fn map(ring: BorrowedFd<'_>, size: usize, page: usize) -> Result<Self, i32> {
        let reader = Mapping::new(ring, page, 0, libc::PROT_READ | libc::PROT_WRITE)?;
        let writer = Mapping::new(ring, page + 2 * size, page, libc::PROT_READ)?;
        Ok(Self { reader, writer, page, size, position: 0 })
    }

    /// Shows every record that is there, and gives its room back; returns the bytes of all.
    pub fn read(&mut self, mut see: impl FnMut(OwnRecord<'_>)) -> u64 {
        let begin = self.position;
        let end = self.writer.number(0).load(Ordering::Acquire);
        let mut left = usize::try_from(end.wrapping_sub(begin)).unwrap_or(0).min(self.size);
        while left >= RECORD_HEAD {
            let word = self.word();
            let length = usize::try_from(word & !(BUSY | DISCARDED)).unwrap_or(usize::MAX / 2);
            let whole = (length + RECORD_HEAD).next_multiple_of(8);
            // More than there is cannot be: the ring is not what it should be.
            if word & BUSY != 0 || whole > left {
                break;
            }
            if word & DISCARDED == 0
                && let Some(record) = OwnRecord::parse(self.bytes(length))
            {
                see(record);
            }
            left -= whole;
            self.position = self.position.wrapping_add(whole as u64);
            self.reader.number(0).store(self.position, Ordering::Release);
        }
        self.position.wrapping_sub(begin)
    }

    /// Where the next record begins.
    fn next(&self) -> usize {
        // The size is a power of two.
        let offset = self.position & (self.size as u64 - 1);
        self.page + usize::try_from(offset).unwrap_or(0)
    }

    /// The word in front of the next record.
    fn word(&self) -> u32 {
        #[expect(unsafe_code, reason = "the mapping is shared with the kernel")]
        // SAFETY: inside the data, aligned to eight bytes, mapped as long as this value.
        let word = unsafe { self.writer.at(self.next()).cast::<AtomicU32>().as_ref() };
        word.load(Ordering::Acquire)
    }

    /// The next record, which is finished.
    fn bytes(&self, length: usize) -> &[u8] {
        #[expect(unsafe_code, reason = "the mapping is shared with the kernel")]
        // SAFETY: not longer than the data, which lie there twice in a row; the kernel does not
        // write there until our position moves.
        unsafe {
            std::slice::from_raw_parts(self.writer.at(self.next() + RECORD_HEAD).as_ptr(), length)
        }
    }
}

/// Memory shared with the kernel.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    size: usize,
}

#[expect(unsafe_code, reason = "a mapping may be read by whichever thread owns it")]
// SAFETY: the mapping belongs to this value alone; the kernel's side is reached through atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(ring: BorrowedFd<'_>, size: usize, from: usize, protection: i32) -> Result<Self, i32> {
        let from = libc::off_t::try_from(from).map_err(|_| libc::EINVAL)?;
        let (any, flags) = (std::ptr::null_mut(), libc::MAP_SHARED);
        #[expect(unsafe_code, reason = "a mapping of the kernel's memory")]
        // SAFETY: a new mapping at a place that the kernel chooses.
        let base = unsafe { libc::mmap(any, size, protection, flags, ring.as_raw_fd(), from) };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOMEM));
        }
        let base = NonNull::new(base.cast()).ok_or(libc::ENOMEM)?;
        Ok(Self { base, size })
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.size, "inside the mapping");
        #[expect(unsafe_code, reason = "the mapping is shared with the kernel")]
        // SAFETY: inside the mapping.
        unsafe {
            self.base.add(offset)
        }
    }

    fn number(&self, offset: usize) -> &AtomicU64 {
        #[expect(unsafe_code, reason = "the mapping is shared with the kernel")]
        // SAFETY: positions lie at the start of a page, mapped as long as this value.
        unsafe {
            self.at(offset).cast::<AtomicU64>().as_ref()
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "the mapping is ours")]
        // SAFETY: mapped with this size, and nobody holds a part of it: those borrow this value.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OwnRecord;

    #[test]
    fn what_lies_in_front_of_a_record_is_taken_apart() {
        let numbers = [7u64, 3, 20 << 32 | 21, 0x1111];
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
        let expected = OwnRecord { at: 7, lost: 3, process: 20, thread: 21, bytes: &bytes[24..] };
        assert_eq!(OwnRecord::parse(&bytes), Some(expected));
        assert_eq!(OwnRecord::parse(&bytes[..20]), None);
    }
}
