//! Feature sections: the tracepoint formats, names of events, the kernel.

use super::attr::Attr;
use super::bits::feature as id;
use super::session::Session;
use crate::bytes::{Cursor, Endian, c_text};
use crate::format_files;
use crate::{Error, Position};

/// True for the features whose loss matters.
pub(super) fn is_used(feature: u32) -> bool {
    matches!(feature, id::TRACING_DATA | id::OSRELEASE | id::EVENT_DESC)
}

/// Takes in a feature that lies at byte `at`; damage becomes an oddity.
pub(super) fn read(feature: u32, content: &[u8], at: u64, session: &mut Session) {
    let mut c = Cursor::new(content, at, session.endian);
    let read = match feature {
        id::TRACING_DATA => tracing_data(content, at, session),
        id::OSRELEASE => string(&mut c).map(|release| session.kernel = Some(release)),
        id::EVENT_DESC => event_descriptions(&mut c, session),
        _ => return,
    };
    if let Err(error) = read {
        let what = error.kind;
        session.odd(
            error.at,
            format!("{what}; what feature section {feature} says behind that is not used"),
        );
    }
}

fn string(c: &mut Cursor<'_>) -> Result<String, Error> {
    let size = c.u32("a text")?;
    Ok(c_text(c.take(u64::from(size), "a text")?).into_owned())
}

/// The kernel's format files, in the form of trace.dat's head.
pub(super) fn tracing_data(content: &[u8], at: u64, session: &mut Session) -> Result<(), Error> {
    const MAGIC: &[u8] = b"\x17\x08\x44tracing";
    let mut c = Cursor::new(content, at, session.endian);
    if c.take(MAGIC.len() as u64, "the tracepoint formats")? != MAGIC {
        return Err(c.invalid("the tracepoint formats do not begin as such".to_owned()));
    }
    c.c_string("the tracepoint formats")?;
    c.endian = if c.u8("the byte order")? == 0 { Endian::Little } else { Endian::Big };
    c.u8("the size of a long")?;
    c.u32("the page size")?;
    let read = formats(&mut c, session);
    // Samples can be read from here on, whatever is wrong with the rest.
    session.tracepoints.seal();
    read
}

fn formats(c: &mut Cursor<'_>, session: &mut Session) -> Result<(), Error> {
    format_files::header_info(c)?;
    format_files::ftrace_formats(c, &mut session.tracepoints)?;
    session.oddities.extend(format_files::event_systems(c, &mut session.tracepoints)?);
    format_files::kallsyms(c, &mut session.tracepoints)
}

/// Names of events as they were asked for, by attribute and ids.
fn event_descriptions(c: &mut Cursor<'_>, session: &mut Session) -> Result<(), Error> {
    let n_events = c.u32("an event's description")?;
    let attr_size = c.u32("an event's description")?;
    for index in 0..n_events as usize {
        let attr = c.take(u64::from(attr_size), "an event's description")?;
        let n_ids = c.u32("an event's description")?;
        let name = string(c)?;
        let ids = c.take(u64::from(n_ids) * 8, "an event's description")?;
        let id = ids.get(..8).map(|id| session.endian.number(id));
        let by_order = Attr::parse(attr, session.endian)
            .filter(|a| {
                session.attrs.get(index).is_some_and(|b| a.kind == b.kind && a.config == b.config)
            })
            .map(|_| index);
        let place = id.and_then(|id| session.attr_of_id(id)).or(by_order);
        if let Some(attr) = place.and_then(|place| session.attrs.get_mut(place)) {
            attr.name = Some(name).filter(|name| !name.is_empty());
        }
    }
    Ok(())
}

/// A `FEATURE` record of a pipe: the feature's number, then its content.
pub(super) fn from_record(body: &[u8], at: u64, session: &mut Session) {
    let mut c = Cursor::new(body, at, session.endian);
    match c.u64("a feature").map(u32::try_from) {
        Ok(Ok(feature)) => {
            let content = body.get(c.offset()..).unwrap_or_default();
            read(feature, content, at + 8, session);
        }
        _ => session.odd(Position::Byte(at), "a feature record without a number".to_owned()),
    }
}
