//! One event that perf was asked to record (`perf_event_attr`), and how its samples are laid out.

use super::bits::{Sample, sample_type as st};
use crate::bytes::{Cursor, Endian};

/// What a reader needs of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attr {
    pub kind: u32,
    pub config: u64,
    pub sample_type: u64,
    pub read_format: u64,
    /// Other records end in the identification that samples begin with.
    pub has_sample_id_all: bool,
    /// The clock asked for, by its POSIX number.
    pub clock_id: Option<i32>,
    /// Name for people, from the file; tracepoints are named by their format.
    pub name: Option<String>,
    /// Samples read.
    pub count: u64,
}

/// `PERF_TYPE_TRACEPOINT`
pub(super) const TRACEPOINT: u32 = 2;

impl Attr {
    /// Reads an attribute of any size; what an older perf did not write is zero.
    pub(super) fn parse(bytes: &[u8], endian: Endian) -> Option<Self> {
        let number = |at: usize, size: usize| {
            bytes.get(at..at + size).map_or(0, |field| endian.number(field))
        };
        if bytes.len() < 48 {
            return None;
        }
        let flags = number(40, 8);
        // Bit fields fill a word from its lowest bit, or from its highest on big-endian machines.
        let has = |bit: u32| match endian {
            Endian::Little => flags >> bit & 1 == 1,
            Endian::Big => flags >> (63 - bit) & 1 == 1,
        };
        let clock = u32::try_from(number(92, 4)).ok()?.cast_signed();
        Some(Self {
            kind: u32::try_from(number(0, 4)).ok()?,
            config: number(8, 8),
            sample_type: number(24, 8),
            read_format: number(32, 8),
            has_sample_id_all: has(18),
            clock_id: has(25).then_some(clock),
            name: None,
            count: 0,
        })
    }

    /// The name that its samples are counted under, when no format names them.
    pub(super) fn name(&self) -> String {
        const HARDWARE: [&str; 10] = [
            "cycles",
            "instructions",
            "cache-references",
            "cache-misses",
            "branches",
            "branch-misses",
            "bus-cycles",
            "stalled-cycles-frontend",
            "stalled-cycles-backend",
            "ref-cycles",
        ];
        const SOFTWARE: [&str; 11] = [
            "cpu-clock",
            "task-clock",
            "page-faults",
            "context-switches",
            "cpu-migrations",
            "minor-faults",
            "major-faults",
            "alignment-faults",
            "emulation-faults",
            "dummy",
            "bpf-output",
        ];
        if let Some(name) = &self.name {
            let is_tracepoint = self.kind == TRACEPOINT;
            let short = name.split_once(':').filter(|_| is_tracepoint).map(|(_, event)| event);
            return short.unwrap_or(name).to_owned();
        }
        let names: &[&str] = match self.kind {
            0 => &HARDWARE,
            1 => &SOFTWARE,
            _ => &[],
        };
        let known = usize::try_from(self.config).ok().and_then(|c| names.get(c));
        known.map_or_else(
            || format!("event type {} config {:#x}", self.kind, self.config),
            |n| (*n).to_owned(),
        )
    }

    /// Words before the event's id in a sample; `None` when samples carry no id.
    pub(super) fn id_position(&self) -> Option<u64> {
        if self.sample_type & st::IDENTIFIER != 0 {
            return Some(0);
        }
        let before = self.sample_type & (st::IP | st::TID | st::TIME | st::ADDR);
        (self.sample_type & st::ID != 0).then(|| u64::from(before.count_ones()))
    }

    /// Reads a sample's fields up to the raw data; `None` when it is too short.
    pub(super) fn sample<'b>(&self, body: &'b [u8], endian: Endian) -> Option<Sample<'b>> {
        let mut c = Cursor::new(body, 0, endian);
        let has = |bit: u64| self.sample_type & bit != 0;
        let mut word = || c.u64("a sample").ok();
        let mut sample = Sample::default();
        for bit in [st::IDENTIFIER, st::IP, st::TID, st::TIME, st::ADDR, st::ID, st::STREAM_ID] {
            match bit {
                _ if !has(bit) => {}
                st::TIME => sample.time = Some(word()?),
                _ => _ = word()?,
            }
        }
        if has(st::CPU) {
            sample.cpu = Some(c.u32("a sample").ok()?);
            c.u32("a sample").ok()?;
        }
        if has(st::PERIOD) {
            c.u64("a sample").ok()?;
        }
        if has(st::READ) {
            self.skip_read(&mut c)?;
        }
        if has(st::CALLCHAIN) {
            let n = c.u64("a call chain").ok()?;
            c.take(n.checked_mul(8)?, "a call chain").ok()?;
        }
        if has(st::RAW) {
            let size = c.u32("raw data").ok()?;
            sample.raw = Some(c.take(u64::from(size), "raw data").ok()?);
        }
        Some(sample)
    }

    /// Counter values in a sample: one, or those of a group.
    fn skip_read(&self, c: &mut Cursor<'_>) -> Option<()> {
        let has = |bit: u64| u64::from(self.read_format & bit != 0);
        let (times, id, group, lost) = (has(1) + has(2), has(4), has(8), has(16));
        let words = if group == 1 {
            let n = c.u64("a group of counters").ok()?;
            n.checked_mul(1 + id + lost)?.checked_add(times)?
        } else {
            1 + times + id + lost
        };
        c.take(words.checked_mul(8)?, "counters").ok().map(|_| ())
    }

    /// The identification at the end of a record that is no sample.
    pub(super) fn sample_id(&self, body: &[u8], endian: Endian) -> Sample<'static> {
        let mut sample = Sample::default();
        if !self.has_sample_id_all {
            return sample;
        }
        let mut end = body.len();
        let last_word = |end: &mut usize| {
            let word = body.get(end.checked_sub(8)?..*end);
            *end = end.saturating_sub(8);
            word
        };
        // Backwards, since only the end is at a known place.
        for bit in [st::IDENTIFIER, st::CPU, st::STREAM_ID, st::ID, st::TIME] {
            if self.sample_type & bit == 0 {
                continue;
            }
            let Some(word) = last_word(&mut end) else { return sample };
            match bit {
                st::CPU => {
                    let cpu = endian.number(word.get(..4).unwrap_or_default());
                    sample.cpu = u32::try_from(cpu).ok().filter(|cpu| *cpu != u32::MAX);
                }
                st::TIME => sample.time = Some(endian.number(word)),
                st::IDENTIFIER | st::ID => sample.id = Some(endian.number(word)),
                _ => {}
            }
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(sample_type: u64, read_format: u64) -> Attr {
        Attr { sample_type, read_format, has_sample_id_all: true, ..Attr::default() }
    }

    fn words(words: &[u64], endian: Endian) -> Vec<u8> {
        let bytes = |w: &u64| match endian {
            Endian::Little => w.to_le_bytes(),
            Endian::Big => w.to_be_bytes(),
        };
        words.iter().flat_map(bytes).collect()
    }

    #[test]
    fn raw_data_stands_behind_counters_and_call_chains() {
        let attr = attr(st::TIME | st::READ | st::CALLCHAIN | st::RAW, 4 | 8);
        let mut body = words(&[77, 2, 1, 1, 2, 2, 3, 10, 11, 12], Endian::Big);
        body.extend([0, 0, 0, 4, 1, 2, 3, 4]);
        let sample = attr.sample(&body, Endian::Big).expect("the sample is whole");
        assert_eq!((sample.time, sample.raw), (Some(77), Some(&[1, 2, 3, 4][..])));
        for cut in 0..body.len() {
            assert_eq!(attr.sample(&body[..cut], Endian::Big), None);
        }
        let wild = words(&[77, u64::MAX, 1], Endian::Big);
        assert_eq!(attr.sample(&wild, Endian::Big), None);
    }

    #[test]
    fn other_records_are_identified_from_their_end() {
        let attr = attr(st::TID | st::TIME | st::CPU | st::IDENTIFIER, 0);
        let body = words(&[5, 6, 0, 88, 3, 1], Endian::Little);
        let id = attr.sample_id(&body, Endian::Little);
        assert_eq!((id.time, id.cpu, id.id), (Some(88), Some(3), Some(1)));
        assert_eq!(attr.sample_id(&[], Endian::Little), Sample::default());
    }

    #[test]
    fn flags_of_big_endian_machines_are_mirrored() {
        for (endian, flags) in
            [(Endian::Little, 1 << 18 | 1 << 25), (Endian::Big, 1u64 << (63 - 18) | 1 << (63 - 25))]
        {
            let mut bytes = words(&[0; 14], endian);
            bytes.splice(40..48, words(&[flags], endian));
            let attr = Attr::parse(&bytes, endian).expect("it is long enough");
            assert_eq!((attr.has_sample_id_all, attr.clock_id), (true, Some(0)));
        }
        assert_eq!(Attr::parse(&[0; 40], Endian::Little), None);
    }
}
