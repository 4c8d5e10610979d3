//! From bytes to records, also through perf's own compression.

use super::bits::record;
use super::header::Medium;
use super::session::Session;
use crate::Position;
use crate::bytes::Endian;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'b> {
    pub kind: u32,
    /// What follows the record's header.
    pub body: &'b [u8],
    /// Bytes that belong to the record and lie behind it.
    pub extra: &'b [u8],
    /// Where the body begins; for unpacked records, where the packed ones did.
    pub at: u64,
}

/// Walks over records in the order of the file.
pub(super) struct Walk {
    endian: Endian,
    medium: Medium,
    /// One stream of zstd runs through all compressed records.
    decoder: Option<Decoder<'static>>,
    /// Unpacked bytes that no record has consumed.
    unpacked: Vec<u8>,
    /// How much may still be unpacked.
    allowance: u64,
    limit: u64,
}

/// Why a walk stopped.
enum Stop {
    /// Everything was consumed.
    Done,
    /// The last record is not whole: it begins at this place.
    Partial(usize),
    /// The record at this place cannot be one.
    Damaged(usize, String),
}

impl Walk {
    pub(super) fn new(endian: Endian, limit: u64, medium: Medium) -> Self {
        Self { endian, medium, decoder: None, unpacked: Vec::new(), allowance: limit, limit }
    }

    /// Hands every record of `data`, which begins at byte `base`, to the session.
    pub(super) fn run(&mut self, data: &[u8], base: u64, session: &mut Session) {
        let mut failed = None;
        let stop = walk(data, base, self.endian, self.medium, &mut |record| {
            session.record(record);
            if let Some(packed) = packed(record, self.endian)
                && failed.is_none()
                && let Err(text) = self.unpack(packed, record.at, session)
            {
                failed = Some((record.at, text));
            }
        });
        if let Some((at, text)) = failed {
            let text = format!("{text}; compressed records from here on are left out");
            session.odd(Position::Byte(at), text);
        }
        let (at, text) = match stop {
            Stop::Done => return,
            Stop::Partial(at) => (at, "the input ends inside a record".to_owned()),
            Stop::Damaged(at, text) => (at, format!("{text}; what follows is left out")),
        };
        session.odd(Position::Byte(base + at as u64), text);
    }

    /// Unpacks one record's payload and hands on the records that are whole by then.
    fn unpack(&mut self, packed: &[u8], at: u64, session: &mut Session) -> Result<(), String> {
        session.compression = Some("zstd");
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(Decoder::new().map_err(|e| format!("zstd does not start: {e}"))?),
        };
        let mut input = InBuffer::around(packed);
        let mut chunk = vec![0; 1 << 17];
        loop {
            let mut output = OutBuffer::around(chunk.as_mut_slice());
            let before = input.pos;
            decoder
                .run(&mut input, &mut output)
                .map_err(|e| format!("a compressed record is damaged: {e}"))?;
            let fresh = output.as_slice();
            self.allowance = self.allowance.checked_sub(fresh.len() as u64).ok_or_else(|| {
                format!(
                    "more than {} bytes would be unpacked; raise the limit to read on",
                    self.limit
                )
            })?;
            self.unpacked.extend_from_slice(fresh);
            if fresh.is_empty() && (input.pos >= packed.len() || input.pos == before) {
                break;
            }
        }
        let unpacked = std::mem::take(&mut self.unpacked);
        let stop = walk(&unpacked, 0, self.endian, Medium::File, &mut |inner| {
            session.record(&Record { at, ..*inner });
        });
        match stop {
            Stop::Done => Ok(()),
            Stop::Partial(rest) => {
                self.unpacked = unpacked.get(rest..).unwrap_or_default().to_vec();
                Ok(())
            }
            Stop::Damaged(_, text) => Err(format!("among the unpacked records is {text}")),
        }
    }
}

/// The compressed bytes that a record carries.
fn packed<'b>(record: &Record<'b>, endian: Endian) -> Option<&'b [u8]> {
    match record.kind {
        record::COMPRESSED => Some(record.body),
        record::COMPRESSED2 => {
            let size = usize::try_from(endian.number(record.body.get(..8)?)).ok()?;
            let data = record.body.get(8..)?;
            Some(data.get(..size).unwrap_or(data))
        }
        _ => None,
    }
}

fn walk<'b>(
    data: &'b [u8],
    base: u64,
    endian: Endian,
    medium: Medium,
    visit: &mut impl FnMut(&Record<'b>),
) -> Stop {
    let mut at = 0;
    while at < data.len() {
        let Some(header) = data.get(at..at + 8) else { return Stop::Partial(at) };
        let kind = u32::try_from(endian.number(&header[..4])).unwrap_or(u32::MAX);
        let size = usize::try_from(endian.number(&header[6..8])).unwrap_or(0);
        if size < 8 {
            return Stop::Damaged(
                at,
                format!("a record of {size} bytes where at least 8 were expected"),
            );
        }
        let Some(body) = data.get(at + 8..at + size) else { return Stop::Partial(at) };
        let behind = at + size;
        let extra = match kind {
            // Bulk data lies behind these records and is not part of their size.
            record::TRACING_DATA if medium == Medium::Pipe => {
                endian.number(body.get(..4).unwrap_or_default()).next_multiple_of(8)
            }
            record::AUXTRACE => endian.number(body.get(..8).unwrap_or_default()),
            _ => 0,
        };
        let end = usize::try_from(extra).ok().and_then(|extra| behind.checked_add(extra));
        let Some(extra) = end.and_then(|end| data.get(behind..end)) else {
            return Stop::Partial(at);
        };
        visit(&Record { kind, body, extra, at: base + at as u64 + 8 });
        at = behind + extra.len();
    }
    Stop::Done
}
