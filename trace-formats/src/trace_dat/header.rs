//! Everything in a trace.dat that stands before the CPU buffers.

use super::{MAGIC, add_format, inflate};
use crate::bytes::{Cursor, Endian, c_text};
use crate::tracepoint::Tracepoints;
use crate::{CpuId, Error, ErrorKind, Oddity, Position};

/// How sections of a version 7 file are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Zlib,
    Zstd,
}

/// Where one CPU's buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuData {
    pub cpu: CpuId,
    pub offset: u64,
    pub size: u64,
    pub compressed: bool,
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
    pub cpus: Vec<CpuData>,
    pub oddities: Vec<Oddity>,
    /// Instances beside the main buffer, by name; they are not read.
    pub instances: Vec<String>,
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

    fn odd(&mut self, place: Position, text: String) {
        self.oddities.push(Oddity { place: place.to_string(), text });
    }
}

/// Reads the headers and adds the event kinds to `tracepoints`.
pub(super) fn read(bytes: &[u8], tracepoints: &mut Tracepoints) -> Result<Header, Error> {
    let mut c = Cursor::new(bytes, 0, Endian::Little);
    c.take(MAGIC.len() as u64, "the file's magic")?;
    let version = c_text(c.c_string("the version")?).into_owned();
    let version = match version.as_str() {
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
        other => return Err(c.invalid(format!("byte order {other}; 0 or 1 was expected"))),
    };
    let long_size = c.u8("the size of a long")?;
    if long_size != 4 && long_size != 8 {
        return Err(c.invalid(format!("a long of {long_size} bytes; 4 or 8 was expected")));
    }
    let page_size = c.u32("the page size")?;
    if !(64..=1 << 24).contains(&page_size) {
        return Err(c.invalid(format!("a page of {page_size} bytes; 64 to 16 Mi was expected")));
    }
    let mut header = Header {
        version,
        endian: c.endian,
        long_size,
        page_size: page_size as usize,
        compression: Compression::None,
        header_page: String::new(),
        clock: None,
        kernel: None,
        cpus: Vec::new(),
        oddities: Vec::new(),
        instances: Vec::new(),
    };
    if version == 6 { read_v6(&mut c, &mut header, tracepoints)? } else { read_v7(bytes, &mut c, &mut header, tracepoints)? }
    Ok(header)
}

fn read_v6(c: &mut Cursor<'_>, header: &mut Header, tp: &mut Tracepoints) -> Result<(), Error> {
    read_header_info(c, header)?;
    read_ftrace_formats(c, tp)?;
    read_event_systems(c, header, tp)?;
    let size = c.u32("kallsyms")?;
    tp.add_symbols(&String::from_utf8_lossy(c.take(u64::from(size), "kallsyms")?));
    let size = c.u32("the printk formats")?;
    c.take(u64::from(size), "the printk formats")?;
    let size = c.u64("the task names")?;
    c.take(size, "the task names")?;
    let n_cpus = c.u32("the number of CPUs")?;
    let mut tag = c.take(10, "the buffer type")?;
    if tag.starts_with(b"options") {
        read_v6_options(c, header)?;
        tag = c.take(10, "the buffer type")?;
    }
    if tag.starts_with(b"latency") {
        return Err(Error {
            kind: ErrorKind::NotBuilt {
                format: "a trace.dat that holds latency text instead of buffers",
                way_out: "give resched the text itself: `trace-cmd report FILE > trace.txt`",
            },
            at: c.position(),
        });
    }
    if !tag.starts_with(b"flyrecord") {
        return Err(c.invalid("neither `flyrecord` nor `options` follows the task names".to_owned()));
    }
    for cpu in 0..n_cpus {
        let (offset, size) = (c.u64("the place of a CPU's buffer")?, c.u64("the size of a CPU's buffer")?);
        header.cpus.push(CpuData { cpu: CpuId(cpu), offset, size, compressed: false });
    }
    Ok(())
}

fn read_v6_options(c: &mut Cursor<'_>, header: &mut Header) -> Result<(), Error> {
    loop {
        let id = c.u16("an option")?;
        if id == 0 {
            return Ok(());
        }
        let size = c.u32("an option's size")?;
        let at = c.position();
        let data = c.take(u64::from(size), "an option's data")?;
        match id {
            3 => {
                // An instance: offset of its own buffer table, then its name.
                let name = c_text(data.get(8..).unwrap_or_default()).into_owned();
                if !name.is_empty() {
                    header.instances.push(name.clone());
                    header.odd(at, format!("the buffer of instance `{name}` is not read"));
                }
            }
            4 => header.clock = chosen_clock(&c_text(data)),
            5 => header.kernel = kernel_of_uname(&c_text(data)),
            _ => {}
        }
    }
}

/// `local [mono] global`, or the name alone.
fn chosen_clock(text: &str) -> Option<String> {
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(name, _)| name);
    let name = chosen.unwrap_or(text).trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// `Linux HOST RELEASE VERSION MACHINE`
fn kernel_of_uname(text: &str) -> Option<String> {
    text.split_whitespace().nth(2).map(str::to_owned)
}

fn read_header_info(c: &mut Cursor<'_>, header: &mut Header) -> Result<(), Error> {
    for what in ["header_page", "header_event"] {
        let name = c.c_string("header_page")?;
        if name != what.as_bytes() {
            return Err(c.invalid(format!("`{}` stands where `{what}` belongs", c_text(name))));
        }
        let size = c.u64("header_page")?;
        let text = c.take(size, "header_page")?;
        if what == "header_page" {
            header.header_page = String::from_utf8_lossy(text).into_owned();
        }
    }
    Ok(())
}

fn read_ftrace_formats(c: &mut Cursor<'_>, tp: &mut Tracepoints) -> Result<(), Error> {
    let count = c.u32("the number of ftrace events")?;
    for _ in 0..count {
        let size = c.u64("an ftrace event's format")?;
        add_format(tp, c.take(size, "an ftrace event's format")?);
    }
    Ok(())
}

fn read_event_systems(
    c: &mut Cursor<'_>,
    header: &mut Header,
    tp: &mut Tracepoints,
) -> Result<(), Error> {
    let systems = c.u32("the number of event systems")?;
    for _ in 0..systems {
        let system = c_text(c.c_string("an event system's name")?).into_owned();
        let count = c.u32("the number of events of a system")?;
        for _ in 0..count {
            let size = c.u64("an event's format")?;
            let at = c.position();
            if !add_format(tp, c.take(size, "an event's format")?) {
                header.odd(at, format!("a format of system `{system}` has no name or id"));
            }
        }
    }
    Ok(())
}

fn read_v7(
    bytes: &[u8],
    c: &mut Cursor<'_>,
    header: &mut Header,
    tp: &mut Tracepoints,
) -> Result<(), Error> {
    let name = c_text(c.c_string("the compression")?).into_owned();
    c.c_string("the compression's version")?;
    header.compression = match name.as_str() {
        "none" => Compression::None,
        "zlib" => Compression::Zlib,
        "zstd" => Compression::Zstd,
        other => {
            return Err(c.invalid(format!(
                "compression `{other}`; none, zlib and zstd are read: \
                 convert it with `trace-cmd convert --compression zstd`"
            )));
        }
    };
    let mut next = c.u64("the place of the options")?;
    let mut options = Vec::new();
    // Each options section names the next; a loop or a cut ends the chain.
    let mut seen = std::collections::BTreeSet::new();
    while next != 0 && seen.insert(next) {
        let section = match inflate::section(bytes, header, next, Some(0)) {
            Ok(section) => section,
            Err(error) if seen.len() > 1 => {
                header.odd(error.at.clone(), format!("{}; later options are lost", error.kind));
                break;
            }
            Err(error) => return Err(error),
        };
        next = read_options(&section, next, header, &mut options)?;
    }
    // Formats before the buffers, in whatever order the file lists them.
    for (id, data) in &options {
        read_described(bytes, header, tp, *id, data)?;
    }
    for (id, data) in &options {
        if *id == 3 {
            read_buffer_option(data, header)?;
        }
    }
    if header.cpus.is_empty() {
        header.odd(c.position(), "the file describes no buffers: it was not closed properly".to_owned());
    }
    Ok(())
}

type Options = Vec<(u16, Vec<u8>)>;

/// Collects one section's options; returns the place of the next section, 0 at the end.
fn read_options(
    section: &[u8],
    base: u64,
    header: &mut Header,
    options: &mut Options,
) -> Result<u64, Error> {
    let mut c = Cursor::new(section, base, header.endian);
    while !c.is_empty() {
        let id = c.u16("an option")?;
        let size = c.u32("an option's size")?;
        let data = c.take(u64::from(size), "an option's data")?;
        if id == 0 {
            return Ok(header.endian.number(data.get(..8).unwrap_or_default()));
        }
        options.push((id, data.to_vec()));
    }
    Ok(0)
}

/// Reads the section that an option points to, or the option itself.
fn read_described(
    bytes: &[u8],
    header: &mut Header,
    tp: &mut Tracepoints,
    id: u16,
    data: &[u8],
) -> Result<(), Error> {
    match id {
        4 => header.clock = chosen_clock(&c_text(data)),
        5 => header.kernel = kernel_of_uname(&c_text(data)),
        16..=19 => {
            let at = header.endian.number(data.get(..8).unwrap_or_default());
            let section = inflate::section(bytes, header, at, Some(id))?;
            let mut c = Cursor::new(&section, at, header.endian);
            match id {
                16 => read_header_info(&mut c, header)?,
                17 => read_ftrace_formats(&mut c, tp)?,
                18 => read_event_systems(&mut c, header, tp)?,
                _ => {
                    let size = c.u32("kallsyms")?;
                    tp.add_symbols(&String::from_utf8_lossy(c.take(u64::from(size), "kallsyms")?));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// A version 7 buffer option: section, name, clock, page size, CPUs.
fn read_buffer_option(data: &[u8], header: &mut Header) -> Result<(), Error> {
    let mut c = Cursor::new(data, 0, header.endian);
    let section = c.u64("a buffer option")?;
    let name = c_text(c.c_string("a buffer's name")?).into_owned();
    let clock = c_text(c.c_string("a buffer's clock")?).into_owned();
    if !name.is_empty() {
        header.odd(Position::Byte(section), format!("the buffer of instance `{name}` is not read"));
        header.instances.push(name);
        return Ok(());
    }
    if !clock.is_empty() {
        header.clock = chosen_clock(&clock);
    }
    let page_size = c.u32("a buffer's page size")?;
    if (64..=1 << 24).contains(&page_size) {
        header.page_size = page_size as usize;
    }
    let n_cpus = c.u32("a buffer's number of CPUs")?;
    for _ in 0..n_cpus {
        let cpu = CpuId(c.u32("a buffer's CPU")?);
        let (offset, size) = (c.u64("a CPU's buffer")?, c.u64("a CPU's buffer")?);
        let compressed = header.compression != Compression::None;
        header.cpus.push(CpuData { cpu, offset, size, compressed });
    }
    Ok(())
}
