//! Pages of the kernel's ftrace ring buffer, as trace.dat and trace_pipe_raw hold them.

use crate::bytes::Endian;
use crate::layout::parse_field;

/// Where a page keeps its time stamp, fill and data, from the `header_page` text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLayout {
    pub(crate) commit_offset: usize,
    pub(crate) commit_size: usize,
    pub(crate) data_offset: usize,
    pub(crate) endian: Endian,
}

impl PageLayout {
    /// That of 64-bit little-endian kernels: eight bytes of time, eight of fill, then data.
    #[must_use]
    pub fn of_64_bit() -> Self {
        Self { commit_offset: 8, commit_size: 8, data_offset: 16, endian: Endian::Little }
    }

    /// Reads the `header_page` text; missing fields take the place that kernels give them.
    pub(crate) fn parse(header_page: &str, long_size: u8, endian: Endian) -> Self {
        let mut layout = Self {
            commit_offset: 8,
            commit_size: usize::from(long_size),
            data_offset: 8 + usize::from(long_size),
            endian,
        };
        for field in header_page.lines().filter_map(|l| parse_field(l.trim())) {
            match field.name.as_str() {
                "commit" => {
                    layout.commit_offset = field.offset;
                    layout.commit_size = field.size;
                }
                "data" => layout.data_offset = field.offset,
                _ => {}
            }
        }
        layout
    }
}

/// One record of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'b> {
    /// On the buffer's clock, nanoseconds.
    pub at: u64,
    /// The tracepoint's record.
    pub data: &'b [u8],
}

/// What a page says was lost before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    Nothing,
    /// Records, nobody knows how many.
    Some,
    /// So many records.
    Counted(u64),
}

/// Walks the records of one page.
#[derive(Clone, Debug)]
pub struct Page<'b> {
    data: &'b [u8],
    at: usize,
    time: u64,
    endian: Endian,
    /// What was lost in front of it.
    pub missed: Missed,
    /// The page declares more than it holds.
    pub is_cut: bool,
}

const COMMIT_MASK: u64 = (1 << 27) - 1;
const MISSED_EVENTS: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;

impl<'b> Page<'b> {
    /// `None` when not even the header is there.
    #[must_use]
    pub fn open(page: &'b [u8], layout: &PageLayout) -> Option<Self> {
        let endian = layout.endian;
        let time = endian.number(page.get(..8)?);
        let end = layout.commit_offset.checked_add(layout.commit_size)?;
        let commit = endian.number(page.get(layout.commit_offset..end)?);
        let filled = usize::try_from(commit & COMMIT_MASK).ok()?;
        let all = page.get(layout.data_offset..)?;
        let data = all.get(..filled).unwrap_or(all);
        let missed = if commit & MISSED_EVENTS == 0 {
            Missed::Nothing
        } else if commit & MISSED_STORED == 0 {
            Missed::Some
        } else {
            all.get(filled..filled.saturating_add(layout.commit_size))
                .map_or(Missed::Some, |count| Missed::Counted(endian.number(count)))
        };
        Some(Self { data, at: 0, time, endian, missed, is_cut: filled > all.len() })
    }

    fn word(&mut self) -> Option<u64> {
        let bytes = self.data.get(self.at..self.at + 4)?;
        self.at += 4;
        Some(self.endian.number(bytes))
    }
}

impl<'b> Iterator for Page<'b> {
    type Item = Record<'b>;

    fn next(&mut self) -> Option<Record<'b>> {
        loop {
            let header = self.word()?;
            let (kind, delta) = match self.endian {
                Endian::Little => (header & 31, header >> 5),
                Endian::Big => (header >> 27, header & ((1 << 27) - 1)),
            };
            match kind {
                // Padding: to the end of the page, or over a discarded record.
                29 => {
                    if delta == 0 {
                        return None;
                    }
                    // The length counts the word that holds it.
                    let length = usize::try_from(self.word()?).ok()?.checked_sub(4)?;
                    self.at = self.at.checked_add(length)?;
                    self.time = self.time.wrapping_add(delta);
                }
                30 => self.time = self.time.wrapping_add(self.word()? << 27 | delta),
                31 => {
                    let low = self.word()? << 27 | delta;
                    // 59 bits are stored; the rest is the page's.
                    self.time = self.time & !((1 << 59) - 1) | low & ((1 << 59) - 1);
                }
                _ => {
                    let length = if kind == 0 {
                        usize::try_from(self.word()?).ok()?.checked_sub(4)?
                    } else {
                        usize::try_from(kind).ok()? * 4
                    };
                    self.time = self.time.wrapping_add(delta);
                    let end = self.at.checked_add(length)?;
                    let Some(data) = self.data.get(self.at..end) else {
                        self.is_cut = true;
                        self.at = self.data.len();
                        return None;
                    };
                    self.at = (end + 3) & !3;
                    return Some(Record { at: self.time, data });
                }
            }
        }
    }
}
