//! Pages of the kernel's ring buffer: what their headers say, and pages of our own.
//!
//! The layout is that of 64-bit kernels: a time stamp and a fill of eight bytes each, then
//! records, each behind a word of 5 bits type or length and 27 bits time since the one before.

/// Size of a page; ring buffers of other sizes are not asked for.
pub(crate) const PAGE: usize = 4096;
/// Size of a page of memory on this machine.
#[expect(unsafe_code, reason = "the standard library does not tell it")]
pub(crate) fn of_memory() -> usize {
    // SAFETY: takes a number and touches no memory.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(PAGE)
}

/// Where the records begin.
const DATA: usize = 16;
/// Most bytes that a word can say the length of, in units of four.
const SHORT: usize = 28 * 4;
const DELTA_BITS: u32 = 27;
const TIME_EXTEND: u32 = 30;
const MISSED_EVENTS: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;
const FILL: u64 = (1 << 27) - 1;

fn number(page: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(page.get(at..at + 8)?.try_into().ok()?))
}

/// What a page's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Time of its first record, nanoseconds.
    pub at: u64,
    /// Bytes of records.
    pub fill: usize,
    /// Records lost in front of it: not at all, unknown how many (0), or so many.
    pub lost: Option<u64>,
}

pub(crate) fn head(page: &[u8]) -> Option<Head> {
    let (at, commit) = (number(page, 0)?, number(page, 8)?);
    let fill = usize::try_from(commit & FILL).ok()?;
    let lost = (commit & MISSED_EVENTS != 0).then(|| {
        let stored = commit & MISSED_STORED != 0;
        stored.then(|| number(page, DATA + fill)).flatten().unwrap_or(0)
    });
    Some(Head { at, fill, lost })
}

/// Fills pages with records of our own.
#[derive(Clone, Debug)]
pub(crate) struct PageWriter {
    page: Vec<u8>,
    newest: u64,
    /// Records that were lost and that no page has said yet.
    lost: u64,
}

impl PageWriter {
    pub(crate) fn new() -> Self {
        Self { page: Vec::with_capacity(PAGE), newest: 0, lost: 0 }
    }

    /// So many records were lost in front of the next one.
    ///
    /// A page says so in its header, so the current one is closed: `full` gets it.
    pub(crate) fn lose(&mut self, records: u64, full: impl FnMut(&[u8])) {
        self.close(full);
        self.lost += records;
    }

    /// Adds a record; `full` gets each page that is finished by that.
    ///
    /// A time before that of the last record becomes that one's: the buffer knows no way back.
    /// Records longer than a page are left out; ours have at most 48 bytes.
    pub(crate) fn push(&mut self, at: u64, record: &[u8], mut full: impl FnMut(&[u8])) {
        let padded = record.len().next_multiple_of(4);
        // The count of lost records takes eight bytes behind the last record.
        let room = PAGE - 8;
        if DATA + padded + 16 > room {
            return;
        }
        if self.page.len() + padded + 16 > room {
            self.close(&mut full);
        }
        let at = at.max(self.newest);
        if self.page.is_empty() {
            self.page.extend_from_slice(&at.to_le_bytes());
            self.page.extend_from_slice(&[0; 8]);
            self.newest = at;
        }
        let mut delta = at - self.newest;
        if delta >> DELTA_BITS > 0 {
            self.word(TIME_EXTEND, delta);
            let high = u32::try_from(delta >> DELTA_BITS).unwrap_or(u32::MAX);
            self.page.extend_from_slice(&high.to_le_bytes());
            delta = 0;
        }
        let length = u32::try_from(padded).unwrap_or(0);
        if padded <= SHORT {
            self.word(length / 4, delta);
        } else {
            self.word(0, delta);
            self.page.extend_from_slice(&(length + 4).to_le_bytes());
        }
        self.page.extend_from_slice(record);
        self.page.resize(self.page.len() + padded - record.len(), 0);
        self.newest = at;
    }

    fn word(&mut self, kind: u32, delta: u64) {
        let low = u32::try_from(delta & ((1 << DELTA_BITS) - 1)).unwrap_or(0);
        self.page.extend_from_slice(&(kind | low << 5).to_le_bytes());
    }

    /// Finishes the current page, when it holds anything.
    pub(crate) fn close(&mut self, mut full: impl FnMut(&[u8])) {
        if self.page.is_empty() {
            return;
        }
        let mut commit = (self.page.len() - DATA) as u64;
        if self.lost > 0 {
            commit |= MISSED_EVENTS | MISSED_STORED;
            self.page.extend_from_slice(&self.lost.to_le_bytes());
            self.lost = 0;
        }
        self.page[8..DATA].copy_from_slice(&commit.to_le_bytes());
        self.page.resize(PAGE, 0);
        full(&self.page);
        self.page.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trace_formats::ring_buffer::{Missed, Page, PageLayout};

    #[test]
    fn pages_are_read_back_with_times_gaps_and_losses() {
        let mut writer = PageWriter::new();
        let mut pages = Vec::new();
        let mut times = Vec::new();
        for n in 0..200u64 {
            // Every tenth gap is longer than 27 bits of nanoseconds.
            let at = 1_000_000_000 + n * 1000 + n / 10 * 200_000_000;
            times.push(at);
            let length = if n % 7 == 0 { 130 } else { 48 };
            let record: Vec<u8> = (0..length).map(|b| u8::try_from(b).expect("small")).collect();
            writer.push(at, &record, |page| pages.extend_from_slice(page));
            if n == 100 {
                writer.lose(5, |page| pages.extend_from_slice(page));
            }
        }
        writer.close(|page| pages.extend_from_slice(page));
        let (mut read, mut missed) = (Vec::new(), Vec::new());
        for page in pages.chunks(PAGE) {
            let page = Page::open(page, &PageLayout::of_64_bit()).expect("a page");
            missed.push(page.missed);
            for record in page {
                assert_eq!(&record.data[..4], &[0, 1, 2, 3]);
                read.push(record.at);
            }
        }
        assert_eq!(read, times);
        assert_eq!(missed.iter().filter(|m| **m == Missed::Counted(5)).count(), 1);
        let heads: Vec<_> = pages.chunks(PAGE).filter_map(head).collect();
        assert_eq!(heads.iter().filter_map(|head| head.lost).collect::<Vec<_>>(), [5]);
        assert_eq!(heads[0].at, times[0]);
    }

    #[test]
    fn time_never_runs_backwards_in_a_page() {
        let mut writer = PageWriter::new();
        let mut pages = Vec::new();
        writer.push(100, &[0; 8], |_| ());
        writer.push(90, &[0; 8], |_| ());
        writer.close(|page| pages.extend_from_slice(page));
        let page = Page::open(&pages, &PageLayout::of_64_bit()).expect("a page");
        assert_eq!(page.map(|record| record.at).collect::<Vec<_>>(), [100, 100]);
    }
}
