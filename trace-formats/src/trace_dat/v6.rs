//! Version 6: everything in one fixed order.

use super::header::{CpuData, Header};
use crate::bytes::{Cursor, c_text};
use crate::tracepoint::Tracepoints;
use crate::{CpuId, Error, ErrorKind, format_files};

/// Reads what follows the page size, up to the table of CPU buffers.
pub(super) fn read(
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
    if tag.starts_with(b"options") {
        options(c, header)?;
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
    for cpu in 0..n_cpus {
        let offset = c.u64("the table of CPU buffers")?;
        let size = c.u64("the table of CPU buffers")?;
        header.cpus.push(CpuData { cpu: CpuId(cpu), offset, size, compressed: false });
    }
    Ok(())
}

fn options(c: &mut Cursor<'_>, header: &mut Header) -> Result<(), Error> {
    loop {
        let id = c.u16("an option")?;
        if id == 0 {
            return Ok(());
        }
        let size = c.u32("an option")?;
        let at = c.position();
        let data = c.take(u64::from(size), "an option")?;
        // An instance: the offset of its own table of buffers, then its name.
        let instance = c_text(data.get(8..).unwrap_or_default());
        match id {
            3 if !instance.is_empty() => {
                header.odd(&at, format!("the buffer of instance `{instance}` is not read"));
            }
            _ => header.option(id, data, &at),
        }
    }
}
