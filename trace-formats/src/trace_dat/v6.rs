//! Version 6: everything in one fixed order.

use super::header::{Buffer, CpuData, Header};
use crate::bytes::{Cursor, c_text};
use crate::tracepoint::Tracepoints;
use crate::{CpuId, Error, ErrorKind, format_files};

/// Reads what follows the page size, up to the table of CPU buffers.
pub(super) fn read(
    bytes: &[u8],
    c: &mut Cursor<'_>,
    header: &mut Header,
    tp: &mut Tracepoints,
) -> Result<(), Error> {
    header.header_page = format_files::header_info(c)?;
    format_files::ftrace_formats(c, tp)?;
    header.oddities.extend(format_files::event_systems(c, tp)?);
    format_files::kallsyms(c, tp)?;
    format_files::skip_printk(c)?;
    format_files::skip_task_names(c)?;
    let n_cpus = c.u32("the number of CPUs")?;
    let mut tag = c.take(10, "the buffer type")?;
    let mut owners = None;
    if tag.starts_with(b"options") {
        owners = options(c, header)?;
        tag = c.take(10, "the buffer type")?;
    }
    if tag.starts_with(b"latency") {
        let format = "a trace.dat that holds latency text instead of buffers";
        let way_out = "give resched the text itself: `trace-cmd report FILE > trace.txt`";
        return Err(Error { kind: ErrorKind::NotBuilt { format, way_out }, at: c.position() });
    }
    if !tag.starts_with(b"flyrecord") {
        let what = "neither `flyrecord` nor `options` follows the task names: the file is damaged";
        return Err(c.invalid(what.to_owned()));
    }
    table(c, (Buffer::Top, n_cpus), header)?;
    if let Some(offset) = owners
        && let Err(error) = instance(bytes, offset, n_cpus, header)
    {
        header.odd(&error.at, format!("{}; the owners of locks are not read", error.kind));
    }
    Ok(())
}

/// The table of a buffer that is no file's first one, behind a tag of its own.
fn instance(bytes: &[u8], offset: u64, n_cpus: u32, header: &mut Header) -> Result<(), Error> {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
    let mut c = Cursor::new(rest.unwrap_or_default(), offset, header.endian);
    let tag = c.take(10, "the buffer type of an instance")?;
    if !tag.starts_with(b"flyrecord") {
        return Err(c.invalid("no `flyrecord` stands where an instance's should".to_owned()));
    }
    table(&mut c, (Buffer::Owners, n_cpus), header)
}

/// Where each CPU's part of a buffer lies.
fn table(
    c: &mut Cursor<'_>,
    (buffer, n_cpus): (Buffer, u32),
    header: &mut Header,
) -> Result<(), Error> {
    let page_size = header.page_size;
    for cpu in (0..n_cpus).map(CpuId) {
        let offset = c.u64("the table of CPU buffers")?;
        let size = c.u64("the table of CPU buffers")?;
        header.cpus.push(CpuData { buffer, cpu, page_size, offset, size, compressed: false });
    }
    Ok(())
}

/// Returns where the instance with the owners of locks has its table.
fn options(c: &mut Cursor<'_>, header: &mut Header) -> Result<Option<u64>, Error> {
    let mut owners = None;
    loop {
        let id = c.u16("an option")?;
        if id == 0 {
            return Ok(owners);
        }
        let size = c.u32("an option")?;
        let at = c.position();
        let data = c.take(u64::from(size), "an option")?;
        // An instance: the offset of its own table of buffers, then its name.
        let instance = c_text(data.get(8..).unwrap_or_default());
        match id {
            3 if Buffer::of_name(&instance) == Some(Buffer::Owners) => {
                owners = data.get(..8).map(|offset| header.endian.number(offset));
            }
            3 if !instance.is_empty() => {
                header.odd(&at, format!("the buffer of instance `{instance}` is not read"));
            }
            _ => header.option(id, data, &at),
        }
    }
}
