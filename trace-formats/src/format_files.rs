//! The kernel's own format files, in the order that trace.dat v6 and perf.data embed them.

use crate::bytes::{Cursor, c_text};
use crate::tracepoint::Tracepoints;
use crate::{Error, Oddity};

/// `header_page` and `header_event`; returns the former, which describes ring-buffer pages.
pub(crate) fn header_info(c: &mut Cursor<'_>) -> Result<String, Error> {
    let mut header_page = String::new();
    for what in ["header_page", "header_event"] {
        let name = c.c_string("the page format")?;
        if name != what.as_bytes() {
            return Err(c.invalid(format!(
                "`{}` stands where `{what}` belongs: the headers are damaged",
                c_text(name)
            )));
        }
        let size = c.u64("the page format")?;
        let text = c.take(size, "the page format")?;
        if what == "header_page" {
            header_page = String::from_utf8_lossy(text).into_owned();
        }
    }
    Ok(header_page)
}

/// The formats of ftrace's own events.
pub(crate) fn ftrace_formats(c: &mut Cursor<'_>, tp: &mut Tracepoints) -> Result<(), Error> {
    for _ in 0..c.u32("the number of ftrace events")? {
        let size = c.u64("an ftrace event's format")?;
        tp.add(&String::from_utf8_lossy(c.take(size, "an ftrace event's format")?));
    }
    Ok(())
}

/// The formats of all events, by system; returns those that cannot be understood.
pub(crate) fn event_systems(
    c: &mut Cursor<'_>,
    tp: &mut Tracepoints,
) -> Result<Vec<Oddity>, Error> {
    let mut odd = Vec::new();
    for _ in 0..c.u32("the number of event systems")? {
        let system = c_text(c.c_string("an event system's name")?).into_owned();
        for _ in 0..c.u32("the number of events of a system")? {
            let size = c.u64("an event's format")?;
            let place = c.position().to_string();
            if !tp.add(&String::from_utf8_lossy(c.take(size, "an event's format")?)) {
                let text = format!("a format of system `{system}` has no name or id");
                odd.push(Oddity { place, text });
            }
        }
    }
    Ok(odd)
}

/// Names of kernel functions by address.
pub(crate) fn kallsyms(c: &mut Cursor<'_>, tp: &mut Tracepoints) -> Result<(), Error> {
    let size = c.u32("the kernel's symbols")?;
    tp.add_symbols(&String::from_utf8_lossy(c.take(u64::from(size), "the kernel's symbols")?));
    Ok(())
}

/// Formats of `trace_printk`, which are not used.
pub(crate) fn skip_printk(c: &mut Cursor<'_>) -> Result<(), Error> {
    let size = c.u32("the printk formats")?;
    c.take(u64::from(size), "the printk formats").map(|_| ())
}

/// Task names, which are not used: events carry their own.
pub(crate) fn skip_task_names(c: &mut Cursor<'_>) -> Result<(), Error> {
    let size = c.u64("the task names")?;
    c.take(size, "the task names").map(|_| ())
}
