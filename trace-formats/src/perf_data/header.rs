//! The head of a perf.data file: where its records, attributes and features lie.

use super::attr::Attr;
use super::feature;
use super::session::Session;
use crate::bytes::{Cursor, Endian};
use crate::{Error, ErrorKind, Position};

/// First bytes on little-endian machines.
pub(crate) const MAGIC_LITTLE: &[u8] = b"PERFILE2";
/// First bytes on big-endian machines.
pub(crate) const MAGIC_BIG: &[u8] = b"2ELIFREP";

/// Size of the head when perf wrote into a pipe: nothing but itself.
const PIPE_HEADER: u64 = 16;

/// Where the records lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File { start: u64, size: u64 },
    Pipe { start: usize },
}

/// What perf wrote into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    File,
    Pipe,
}

#[derive(Clone, Copy, Debug)]
struct Section {
    start: u64,
    size: u64,
}

impl Section {
    fn read(c: &mut Cursor<'_>) -> Result<Self, Error> {
        Ok(Self { start: c.u64("a section's place")?, size: c.u64("a section's size")? })
    }

    fn bytes(self, all: &[u8]) -> Option<&[u8]> {
        let start = usize::try_from(self.start).ok()?;
        all.get(start..start.checked_add(usize::try_from(self.size).ok()?)?)
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<(Session, Place), Error> {
    let endian = if bytes.starts_with(MAGIC_BIG) { Endian::Big } else { Endian::Little };
    let mut c = Cursor::new(bytes, 0, endian);
    c.take(8, "the header")?;
    let header_size = c.u64("the header")?;
    let mut session = Session::new(endian);
    if header_size == PIPE_HEADER {
        return Ok((session, Place::Pipe { start: c.offset() }));
    }
    let attr_size = c.u64("the header")?;
    let attrs = Section::read(&mut c)?;
    let data = Section::read(&mut c)?;
    Section::read(&mut c)?;
    let features = c.take(32, "the header's feature bits")?;
    read_attrs(bytes, attrs, attr_size, &mut session)?;
    let features: Vec<u32> = (0u32..256)
        .filter(|bit| {
            // Words of the machine; on little-endian ones that is the order of bytes as well.
            let byte = match endian {
                Endian::Little => bit / 8,
                Endian::Big => bit / 64 * 8 + (7 - bit % 64 / 8),
            };
            features.get(byte as usize).is_some_and(|b| b >> (bit % 8) & 1 == 1)
        })
        .collect();
    read_features(bytes, data, &features, &mut session);
    Ok((session, Place::File { start: data.start, size: data.size }))
}

fn read_attrs(
    bytes: &[u8],
    section: Section,
    attr_size: u64,
    session: &mut Session,
) -> Result<(), Error> {
    let at = Position::Byte(section.start);
    let cut = Error { kind: ErrorKind::Cut { structure: "the event attributes" }, at: at.clone() };
    let all = section.bytes(bytes).ok_or(cut)?;
    // An attribute, then where its ids are.
    let size = usize::try_from(attr_size).ok().filter(|size| (64..=4096).contains(size));
    let Some(size) = size else {
        let what = format!(
            "event attributes of {attr_size} bytes; 64 to 4096 were expected: the header is damaged"
        );
        return Err(Error { kind: ErrorKind::Invalid { what }, at });
    };
    for entry in all.chunks_exact(size) {
        let (attr, ids) = entry.split_at(size - 16);
        let ids = Section::read(&mut Cursor::new(ids, section.start, session.endian))?;
        let Some(attr) = Attr::parse(attr, session.endian) else { continue };
        let ids = ids.bytes(bytes).unwrap_or_default();
        let endian = session.endian;
        session.add_attr(attr, ids.chunks_exact(8).map(|id| endian.number(id)));
    }
    Ok(())
}

/// The sections behind the records, one for each feature bit.
fn read_features(bytes: &[u8], data: Section, features: &[u32], session: &mut Session) {
    let start = data.start.saturating_add(data.size);
    let table = usize::try_from(start).ok().and_then(|s| bytes.get(s..)).unwrap_or_default();
    let mut c = Cursor::new(table, start, session.endian);
    for bit in features {
        let Ok(section) = Section::read(&mut c) else {
            let text = "the file ends before its feature sections: event formats and names are \
                        missing, so tracepoint samples are only counted";
            return session.odd(c.position(), text.to_owned());
        };
        match section.bytes(bytes) {
            Some(content) => feature::read(*bit, content, section.start, session),
            None if feature::is_used(*bit) => {
                let text = format!("the file ends inside feature section {bit}; it is not used");
                session.odd(Position::Byte(section.start), text);
            }
            None => {}
        }
    }
}
