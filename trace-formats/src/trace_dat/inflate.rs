//! Packed sections and CPU buffers of version 7 files.

use super::header::{Compression, CpuData, Header};
use crate::bytes::Cursor;
use crate::{Error, ErrorKind, Position};
use std::borrow::Cow;
use std::io::Read;

/// No section or chunk may unpack to more than this.
const LARGEST: u64 = 1 << 30;

/// Contents of the section at byte `at`; `expected` is its option id.
pub(super) fn section<'b>(
    bytes: &'b [u8],
    header: &Header,
    at: u64,
    expected: Option<u16>,
) -> Result<Cow<'b, [u8]>, Error> {
    let start = usize::try_from(at).ok().and_then(|s| bytes.get(s..));
    let cut = Error { kind: ErrorKind::Cut { structure: "a section" }, at: Position::Byte(at) };
    let mut c = Cursor::new(start.ok_or(cut)?, at, header.endian);
    let id = c.u16("a section's id")?;
    if expected.is_some_and(|e| e != id) {
        return Err(c.invalid(format!("section {id} stands where section {expected:?} belongs")));
    }
    let flags = c.u16("a section's flags")?;
    c.u32("a section's description")?;
    let size = c.u64("a section's size")?;
    let data = c.take(size, "a section")?;
    if flags & 1 == 0 {
        return Ok(Cow::Borrowed(data));
    }
    let mut c = Cursor::new(data, at, header.endian);
    let packed = c.u32("a packed section")?;
    let size = c.u32("a packed section")?;
    let packed = c.take(u64::from(packed), "a packed section")?;
    unpack(header.compression, packed, u64::from(size))
        .map(Cow::Owned)
        .map_err(|what| Error { kind: ErrorKind::Invalid { what }, at: Position::Byte(at) })
}

/// One CPU's pages, as far as they can be unpacked, and what was wrong behind that.
pub(super) fn cpu_data<'b>(
    bytes: &'b [u8],
    header: &Header,
    cpu: &CpuData,
) -> (Cow<'b, [u8]>, Option<String>) {
    if cpu.size == 0 {
        return (Cow::Borrowed(&[]), None);
    }
    let start = usize::try_from(cpu.offset).unwrap_or(usize::MAX).min(bytes.len());
    let end = usize::try_from(cpu.offset.saturating_add(cpu.size)).unwrap_or(usize::MAX);
    let data = &bytes[start..end.clamp(start, bytes.len())];
    let missing = cpu.size - data.len() as u64;
    let cut = (missing > 0).then(|| format!("the file ends {missing} bytes before this buffer does"));
    if !cpu.compressed {
        return (Cow::Borrowed(data), cut);
    }
    // The size leaves out the count of chunks that stands first: the count bounds the buffer.
    let mut c = Cursor::new(&bytes[start..], cpu.offset, header.endian);
    let mut pages = Vec::new();
    match chunks(&mut c, header.compression, &mut pages) {
        Ok(()) => (Cow::Owned(pages), cut),
        Err(text) => (Cow::Owned(pages), Some(cut.unwrap_or(text))),
    }
}

fn chunks(c: &mut Cursor<'_>, compression: Compression, pages: &mut Vec<u8>) -> Result<(), String> {
    let read = |c: &mut Cursor<'_>| c.u32("a packed buffer").map_err(|e| e.to_string());
    let count = read(c)?;
    for _ in 0..count {
        let packed = read(c)?;
        let size = read(c)?;
        let place = c.position();
        let data = c.take(u64::from(packed), "a packed buffer").map_err(|e| e.to_string())?;
        let chunk = unpack(compression, data, u64::from(size)).map_err(|e| format!("{place}: {e}"))?;
        pages.extend(chunk);
    }
    Ok(())
}

fn unpack(compression: Compression, data: &[u8], size: u64) -> Result<Vec<u8>, String> {
    if size > LARGEST {
        return Err(format!("a chunk that claims to unpack to {size} bytes; at most {LARGEST} are accepted"));
    }
    let mut out = Vec::new();
    let read = match compression {
        Compression::None => return Ok(data.to_vec()),
        Compression::Zlib => flate2::read::ZlibDecoder::new(data).take(size).read_to_end(&mut out),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(data)
            .and_then(|d| d.take(size).read_to_end(&mut out)),
    };
    match read {
        Ok(n) if n as u64 == size => Ok(out),
        Ok(n) => Err(format!("a chunk unpacks to {n} bytes instead of {size}")),
        Err(e) => Err(format!("a chunk cannot be unpacked: {e}")),
    }
}
