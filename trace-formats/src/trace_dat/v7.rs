//! Version 7: sections in any order, found through chains of options.

use super::header::{Buffer, Compression, CpuData, Header, chosen_clock, valid_page_size};
use super::inflate;
use crate::bytes::{Cursor, Endian, c_text};
use crate::tracepoint::Tracepoints;
use crate::{CpuId, Error, Position, format_files};
use std::collections::BTreeSet;

/// Options that are read here; those of both versions are `Header::option`'s.
mod option {
    pub(super) const DONE: u16 = 0;
    pub(super) const BUFFER: u16 = 3;
    pub(super) const HEADER_INFO: u16 = 16;
    pub(super) const FTRACE_EVENTS: u16 = 17;
    pub(super) const EVENT_FORMATS: u16 = 18;
    pub(super) const KALLSYMS: u16 = 19;
    pub(super) const BUFFER_TEXT: u16 = 22;
}

/// Reads what follows the page size.
pub(super) fn read(
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
    let first = c.u64("the place of the options")?;
    let options = option_chain(bytes, first, header)?;
    for option in &options {
        described(bytes, header, tp, option)?;
    }
    for wanted in [Buffer::Top, Buffer::Owners] {
        for option in options.iter().filter(|o| o.id == option::BUFFER) {
            buffer(option, wanted, header)?;
        }
    }
    if header.cpus.is_empty() {
        inflate::recover_buffers(bytes, c.offset() as u64, header);
    }
    Ok(())
}

#[derive(Clone, Debug)]
struct FileOption {
    id: u16,
    at: u64,
    data: Vec<u8>,
}

/// Follows the chain of option sections from byte `first`.
fn option_chain(bytes: &[u8], first: u64, header: &mut Header) -> Result<Vec<FileOption>, Error> {
    let mut options = Vec::new();
    let mut next = first;
    // Each section names the next; a loop or a cut ends the chain.
    let mut seen = BTreeSet::new();
    while next != 0 && seen.insert(next) {
        let read = inflate::section(bytes, header, next, option::DONE)
            .and_then(|section| section_options(&section, next, header.endian, &mut options));
        next = match read {
            Ok(next) => next,
            Err(error) if seen.len() > 1 => {
                header.odd(&error.at, format!("{}; later options are lost", error.kind));
                break;
            }
            Err(error) => return Err(error),
        };
    }
    Ok(options)
}

/// Collects one section's options; returns the place of the next section, 0 at the end.
fn section_options(
    section: &[u8],
    base: u64,
    endian: Endian,
    options: &mut Vec<FileOption>,
) -> Result<u64, Error> {
    let mut c = Cursor::new(section, base, endian);
    while !c.is_empty() {
        let id = c.u16("an option")?;
        let size = c.u32("an option")?;
        let at = base + c.offset() as u64;
        let data = c.take(u64::from(size), "an option")?;
        if id == option::DONE {
            return Ok(endian.number(data.get(..8).unwrap_or_default()));
        }
        options.push(FileOption { id, at, data: data.to_vec() });
    }
    Ok(0)
}

/// Reads the section that an option points to, or the option itself.
fn described(
    bytes: &[u8],
    header: &mut Header,
    tp: &mut Tracepoints,
    option: &FileOption,
) -> Result<(), Error> {
    let at = Position::Byte(option.at);
    match option.id {
        option::BUFFER => return Ok(()),
        option::BUFFER_TEXT => {
            let text = "a buffer of latency text is not read (print it with `trace-cmd report`)";
            header.odd(&at, text.to_owned());
            return Ok(());
        }
        option::HEADER_INFO..=option::KALLSYMS => {}
        id => {
            header.option(id, &option.data, &at);
            return Ok(());
        }
    }
    let place = header.endian.number(option.data.get(..8).unwrap_or_default());
    let section = match inflate::section(bytes, header, place, option.id) {
        // Without symbols, timers have no names and everything else is readable.
        Err(error) if option.id == option::KALLSYMS => {
            header.odd(&error.at, format!("{}; kernel functions have no names", error.kind));
            return Ok(());
        }
        section => section?,
    };
    let mut c = Cursor::new(&section, place, header.endian);
    match option.id {
        option::HEADER_INFO => header.header_page = format_files::header_info(&mut c)?,
        option::FTRACE_EVENTS => format_files::ftrace_formats(&mut c, tp)?,
        option::EVENT_FORMATS => {
            let odd = format_files::event_systems(&mut c, tp)?;
            header.oddities.extend(odd);
        }
        _ => format_files::kallsyms(&mut c, tp)?,
    }
    Ok(())
}

/// A buffer option: section, name, clock, page size, CPUs. Does nothing when it is not the wanted
/// one; the top buffer comes first, whose clock is the file's.
fn buffer(option: &FileOption, wanted: Buffer, header: &mut Header) -> Result<(), Error> {
    let mut c = Cursor::new(&option.data, option.at, header.endian);
    let section = c.u64("a buffer option")?;
    let name = c_text(c.c_string("a buffer's name")?).into_owned();
    let clock = c_text(c.c_string("a buffer's clock")?).into_owned();
    let Some(buffer) = Buffer::of_name(&name) else {
        if wanted == Buffer::Top {
            let text = format!("the buffer of instance `{name}` is not read");
            header.odd(&Position::Byte(section), text);
        }
        return Ok(());
    };
    if buffer != wanted {
        return Ok(());
    }
    let clock = chosen_clock(&clock);
    match buffer {
        Buffer::Top if clock.is_some() => header.clock = clock,
        Buffer::Owners if clock.is_some() && header.clock.is_some() && clock != header.clock => {
            let text = format!(
                "the buffer of instance `{name}` is not read: its clock `{}` is not that of the \
                 others, `{}`",
                clock.unwrap_or_default(),
                header.clock.as_deref().unwrap_or_default()
            );
            header.odd(&Position::Byte(section), text);
            return Ok(());
        }
        Buffer::Top | Buffer::Owners => {}
    }
    let page_size = valid_page_size(c.u32("a buffer's page size")?).unwrap_or(header.page_size);
    if buffer == Buffer::Top {
        header.page_size = page_size;
    }
    for _ in 0..c.u32("a buffer's number of CPUs")? {
        let cpu = CpuId(c.u32("a buffer's CPU")?);
        let offset = c.u64("a CPU's buffer")?;
        let size = c.u64("a CPU's buffer")?;
        let compressed = header.compression != Compression::None;
        header.cpus.push(CpuData { buffer, cpu, page_size, offset, size, compressed });
    }
    Ok(())
}
