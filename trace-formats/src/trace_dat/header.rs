//! Everything in a trace.dat that stands before the CPU buffers.

use super::{MAGIC, v6, v7};
use crate::bytes::{Cursor, Endian, c_text};
use crate::limits::Limits;
use crate::tracepoint::Tracepoints;
use crate::{CpuId, Error, Oddity, Position};
use std::collections::BTreeMap;

/// How sections of a version 7 file are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Zlib,
    Zstd,
}

/// Which of a file's buffers; others are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Buffer {
    /// The one without a name, which has the events.
    Top,
    /// The instance in which our own recorder keeps the owners of locks.
    Owners,
}

impl Buffer {
    /// The buffer of this name; `None` for those that are not read.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::Top),
            "resched" => Some(Self::Owners),
            _ => None,
        }
    }
}

/// Where one CPU's buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuData {
    pub buffer: Buffer,
    pub cpu: CpuId,
    pub page_size: usize,
    pub offset: u64,
    pub size: u64,
    pub compressed: bool,
}

/// What the kernel counted of one CPU's buffer, from its `stats` file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuStat {
    /// Events overwritten before they were read.
    pub overrun: u64,
    /// Events not written because the buffer was full.
    pub dropped: u64,
}

/// From the clock of the records to nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Conversion {
    /// Multiplier and shift of a time-stamp counter.
    pub tsc: Option<(u32, u32)>,
    /// Added to every time.
    pub offset_ns: i64,
}

impl Conversion {
    pub(super) fn nanos(self, time: u64) -> u64 {
        let scaled = match self.tsc {
            Some((multiplier, shift)) => {
                let product = u128::from(time) * u128::from(multiplier);
                u64::try_from(product >> shift.min(127)).unwrap_or(u64::MAX)
            }
            None => time,
        };
        scaled.wrapping_add_signed(self.offset_ns)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Header {
    pub version: u32,
    pub endian: Endian,
    pub long_size: u8,
    pub page_size: usize,
    pub compression: Compression,
    pub header_page: String,
    pub clock: Option<String>,
    pub kernel: Option<String>,
    pub n_cpus: Option<u32>,
    pub stats: BTreeMap<(Buffer, CpuId), CpuStat>,
    /// Whose counts the next ones are; `None` for a buffer that is not read.
    pub stats_of: Option<Buffer>,
    pub conversion: Conversion,
    pub cpus: Vec<CpuData>,
    pub oddities: Vec<Oddity>,
    /// Bytes that may be unpacked of one section or buffer.
    pub limit: u64,
}

impl Header {
    pub(super) fn format_name(&self) -> String {
        match (self.version, self.compression) {
            (7, Compression::Zlib) => "trace.dat v7 (zlib)".to_owned(),
            (7, Compression::Zstd) => "trace.dat v7 (zstd)".to_owned(),
            (7, Compression::None) => "trace.dat v7 (uncompressed)".to_owned(),
            (version, _) => format!("trace.dat v{version}"),
        }
    }

    pub(super) fn odd(&mut self, place: &Position, text: String) {
        self.oddities.push(Oddity { place: place.to_string(), text });
    }

    /// Takes in an option that means the same in both versions.
    pub(super) fn option(&mut self, id: u16, data: &[u8], at: &Position) {
        let word = |at: usize| {
            let bytes = data.get(at..at + 4).unwrap_or_default();
            u32::try_from(self.endian.number(bytes)).unwrap_or(0)
        };
        match id {
            2 => self.cpu_stat(&c_text(data)),
            4 => self.clock = chosen_clock(&c_text(data)),
            5 => self.kernel = kernel_of_uname(&c_text(data)),
            7 => self.conversion.offset_ns = c_text(data).trim().parse().unwrap_or(0),
            8 => self.n_cpus = Some(word(0)),
            12 => self.odd(
                at,
                "times of a guest are not moved to its host's clock; they are the guest's own"
                    .to_owned(),
            ),
            14 if word(0) > 0 => self.conversion.tsc = Some((word(0), word(4))),
            _ => {}
        }
    }

    /// Counts of one CPU, or `Buffer: NAME` in front of those of an instance.
    fn cpu_stat(&mut self, text: &str) {
        if let Some(name) = text.trim_start().strip_prefix("Buffer: ") {
            self.stats_of = Buffer::of_name(name.trim());
        } else if let (Some(buffer), Some((cpu, stat))) = (self.stats_of, cpu_stat(text)) {
            self.stats.insert((buffer, cpu), stat);
        }
    }

    /// Clocks that do not count nanoseconds are said to.
    pub(super) fn check_clock(&mut self) {
        let counts_something_else = match self.clock.as_deref() {
            Some("x86-tsc" | "ppc-tb") => self.conversion.tsc.is_none(),
            Some("counter" | "uptime") => true,
            _ => false,
        };
        if counts_something_else {
            let clock = self.clock.clone().unwrap_or_default();
            let text = format!(
                "clock `{clock}` does not count nanoseconds: every time and duration is in its own \
                 units (record with `trace-cmd record -C mono`)"
            );
            self.odd(&Position::Whole, text);
        }
    }
}

/// Reads the headers and adds the event kinds to `tracepoints`.
pub(super) fn read(
    bytes: &[u8],
    tracepoints: &mut Tracepoints,
    limits: &Limits,
) -> Result<Header, Error> {
    let mut c = Cursor::new(bytes, 0, Endian::Little);
    c.take(MAGIC.len() as u64, "the file's magic")?;
    let version = match c_text(c.c_string("the version")?).as_ref() {
        "6" => 6,
        "7" => 7,
        other => {
            return Err(c.invalid(format!(
                "trace.dat version {other:?}; versions 6 and 7 are read: \
                 convert it with `trace-cmd convert --file-version 7`"
            )));
        }
    };
    c.endian = match c.u8("the byte order")? {
        0 => Endian::Little,
        1 => Endian::Big,
        other => {
            return Err(c.invalid(format!(
                "byte order {other} where 0 or 1 was expected: the header is damaged"
            )));
        }
    };
    let long_size = c.u8("the size of a long")?;
    if long_size != 4 && long_size != 8 {
        return Err(c.invalid(format!(
            "a long of {long_size} bytes where 4 or 8 was expected: the header is damaged"
        )));
    }
    let page_size = c.u32("the page size")?;
    let Some(page_size) = valid_page_size(page_size) else {
        return Err(c.invalid(format!(
            "a page of {page_size} bytes where 64 to 16 Mi was expected: the header is damaged"
        )));
    };
    let mut header = Header {
        version,
        endian: c.endian,
        long_size,
        page_size,
        compression: Compression::None,
        header_page: String::new(),
        clock: None,
        kernel: None,
        n_cpus: None,
        stats: BTreeMap::new(),
        stats_of: Some(Buffer::Top),
        conversion: Conversion::default(),
        cpus: Vec::new(),
        oddities: Vec::new(),
        limit: limits.unpacked,
    };
    if version == 6 {
        v6::read(bytes, &mut c, &mut header, tracepoints)?;
    } else {
        v7::read(bytes, &mut c, &mut header, tracepoints)?;
    }
    header.check_clock();
    Ok(header)
}

pub(super) fn valid_page_size(bytes: u32) -> Option<usize> {
    usize::try_from(bytes).ok().filter(|bytes| (64..=1 << 24).contains(bytes))
}

/// `local [mono] global`, or the name alone.
pub(super) fn chosen_clock(text: &str) -> Option<String> {
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let name = chosen.map_or(text, |(name, _)| name).trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// `Linux HOST RELEASE MACHINE`
fn kernel_of_uname(text: &str) -> Option<String> {
    text.split_whitespace().nth(2).map(str::to_owned)
}

/// `CPU: 0`, then one `name: number` a line.
fn cpu_stat(text: &str) -> Option<(CpuId, CpuStat)> {
    let mut cpu = None;
    let mut stat = CpuStat::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let number = value.trim().parse::<u64>().ok();
        match (name.trim(), number) {
            ("CPU", Some(number)) => cpu = u32::try_from(number).ok().map(CpuId),
            ("overrun", Some(number)) => stat.overrun = number,
            ("dropped events", Some(number)) => stat.dropped = number,
            _ => {}
        }
    }
    cpu.map(|cpu| (cpu, stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_one_line() {
        assert_eq!(chosen_clock("local global [mono] boot\n").as_deref(), Some("mono"));
        assert_eq!(chosen_clock("boot").as_deref(), Some("boot"));
        assert_eq!(chosen_clock(""), None);
        assert_eq!(kernel_of_uname("Linux box 6.1.0 x86_64").as_deref(), Some("6.1.0"));
        let text = "CPU: 3\nentries: 12\noverrun: 7\ncommit overrun: 0\ndropped events: 2\n";
        assert_eq!(cpu_stat(text), Some((CpuId(3), CpuStat { overrun: 7, dropped: 2 })));
    }

    #[test]
    fn times_are_scaled_then_moved() {
        let conversion = Conversion { tsc: Some((3, 1)), offset_ns: -5 };
        assert_eq!(conversion.nanos(10), 10);
        assert_eq!(Conversion::default().nanos(u64::MAX), u64::MAX);
    }
}
