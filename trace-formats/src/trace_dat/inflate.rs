//! Packed sections and CPU buffers of version 7 files.

use super::header::{Buffer, Compression, CpuData, Header};
use crate::bytes::Cursor;
use crate::{CpuId, Error, ErrorKind, Position};
use std::borrow::Cow;
use std::io::Read;

/// The section of a buffer's pages.
const FLYRECORD: u16 = 3;

/// A section's head: id, flags, description, size.
struct SectionHead {
    id: u16,
    is_packed: bool,
    size: u64,
}

impl SectionHead {
    fn read(c: &mut Cursor<'_>) -> Result<Self, Error> {
        let id = c.u16("a section")?;
        let flags = c.u16("a section")?;
        c.u32("a section")?;
        Ok(Self { id, is_packed: flags & 1 == 1, size: c.u64("a section")? })
    }
}

fn cursor<'b>(bytes: &'b [u8], at: u64, header: &Header) -> Cursor<'b> {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    Cursor::new(rest, at, header.endian)
}

/// Contents of the section at byte `at`, which must have this id.
pub(super) fn section<'b>(
    bytes: &'b [u8],
    header: &Header,
    at: u64,
    expected: u16,
) -> Result<Cow<'b, [u8]>, Error> {
    let mut c = cursor(bytes, at, header);
    let head = SectionHead::read(&mut c)?;
    if head.id != expected {
        return Err(c.invalid(format!(
            "section {} stands where section {expected} belongs: the file is damaged",
            head.id
        )));
    }
    let data = c.take(head.size, "a section")?;
    if !head.is_packed {
        return Ok(Cow::Borrowed(data));
    }
    let mut c = Cursor::new(data, at, header.endian);
    let packed = c.u32("a packed section")?;
    let size = c.u32("a packed section")?;
    let packed = c.take(u64::from(packed), "a packed section")?;
    let mut out = Vec::new();
    unpack(header, packed, u64::from(size), &mut out)
        .map_err(|what| Error { kind: ErrorKind::Invalid { what }, at: Position::Byte(at) })?;
    Ok(Cow::Owned(out))
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
    let cut =
        (missing > 0).then(|| format!("the file ends {missing} bytes before this buffer does"));
    if !cpu.compressed {
        return (Cow::Borrowed(data), cut);
    }
    // The size leaves out the count of chunks that stands first: the count bounds the buffer.
    let mut c = Cursor::new(&bytes[start..], cpu.offset, header.endian);
    let mut pages = Vec::new();
    let damage = chunks(&mut c, header, &mut pages).err();
    (Cow::Owned(pages), damage)
}

/// Unpacks the chunks of one buffer; on damage, `pages` holds what could be unpacked.
fn chunks(c: &mut Cursor<'_>, header: &Header, pages: &mut Vec<u8>) -> Result<(), String> {
    let count = c.u32("a packed buffer").map_err(|e| e.to_string())?;
    for chunk in 0..count {
        let lost = |what: &dyn std::fmt::Display| {
            format!("{what}; chunk {} of {count} and what follows is lost", chunk + 1)
        };
        let packed = c.u32("a packed buffer").map_err(|e| lost(&e))?;
        let size = c.u32("a packed buffer").map_err(|e| lost(&e))?;
        let place = c.position();
        let data = match c.take(u64::from(packed), "a packed buffer") {
            Ok(data) => data,
            Err(error) => {
                // A chunk holds many pages: those before the cut can still be unpacked.
                let _ = unpack(header, c.rest(), u64::from(size), pages);
                return Err(format!("{error}; pages up to there were kept"));
            }
        };
        unpack(header, data, u64::from(size), pages).map_err(|e| lost(&format!("{place}: {e}")))?;
    }
    Ok(())
}

/// Appends the unpacked bytes; on damage, those before it.
fn unpack(header: &Header, data: &[u8], size: u64, out: &mut Vec<u8>) -> Result<(), String> {
    if size.saturating_add(out.len() as u64) > header.limit {
        return Err(format!(
            "more than {} bytes would be unpacked; raise the limit to read on",
            header.limit
        ));
    }
    let start = out.len();
    let read = match header.compression {
        Compression::None => {
            out.extend_from_slice(data);
            return Ok(());
        }
        Compression::Zstd if whole_chunk(data, size, out) => return Ok(()),
        Compression::Zlib => flate2::read::ZlibDecoder::new(data).take(size).read_to_end(out),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(data)
            .and_then(|decoder| decoder.take(size).read_to_end(out)),
    };
    match read {
        Ok(n) if n as u64 == size => Ok(()),
        Ok(n) => Err(format!("a chunk unpacks to {n} bytes instead of {size}")),
        Err(error) => {
            let n = out.len() - start;
            Err(format!("a chunk cannot be unpacked beyond {n} bytes ({error})"))
        }
    }
}

/// The quick way for a chunk without damage; false, and `out` as it was, for others.
fn whole_chunk(data: &[u8], size: u64, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let Some(end) = usize::try_from(size).ok().and_then(|size| start.checked_add(size)) else {
        return false;
    };
    // What a frame may unpack to bounds what is allocated on a header's word.
    if data.len() < 8 || size > 1 << 24 {
        return false;
    }
    out.resize(end, 0);
    let unpacked = zstd::bulk::decompress_to_buffer(data, &mut out[start..]);
    let is_whole = unpacked.is_ok_and(|n| n as u64 == size);
    if !is_whole {
        out.truncate(start);
    }
    is_whole
}

/// Finds CPU buffers in a file that lost the options that name them: they stand at its end.
///
/// The buffers of compressed files are self-delimiting and stand in the order of their CPUs.
pub(super) fn recover_buffers(bytes: &[u8], first: u64, header: &mut Header) {
    let lost = "the file ends before the table of its CPU buffers";
    let Some(section) = find_flyrecord(bytes, first, header) else {
        return header
            .odd(&Position::Byte(bytes.len() as u64), format!("{lost}, and in front of them"));
    };
    let n_cpus = header.n_cpus.unwrap_or(1);
    // Instances stand behind it.
    let (buffer, page_size) = (Buffer::Top, header.page_size);
    if header.compression == Compression::None {
        if n_cpus == 1 {
            let offset = page_aligned(section, header);
            let size = (bytes.len() as u64).saturating_sub(offset);
            let cpu = CpuId(0);
            header.cpus.push(CpuData { buffer, cpu, page_size, offset, size, compressed: false });
            return header.odd(&Position::Byte(section), format!("{lost}: all pages are CPU 0's"));
        }
        let text = format!("{lost}: pages cannot be told apart by CPU and are not read");
        return header.odd(&Position::Byte(section), text);
    }
    let mut at = section;
    for cpu in (0..n_cpus).map(CpuId) {
        let offset = page_aligned(at, header);
        let mut c = cursor(bytes, offset, header);
        let Ok(count) = c.u32("a packed buffer") else { break };
        header.cpus.push(CpuData { buffer, cpu, page_size, offset, size: 1, compressed: true });
        let mut is_whole = true;
        for _ in 0..count {
            let packed = c.u32("a chunk").and_then(|packed| Ok((packed, c.u32("a chunk")?)));
            let skipped = packed.and_then(|(packed, _)| c.take(u64::from(packed), "a chunk"));
            is_whole &= skipped.is_ok();
        }
        if !is_whole {
            break;
        }
        at = offset + c.offset() as u64;
    }
    let found = header.cpus.len();
    let text = format!("{lost}: {found} of {n_cpus} were found by their place");
    header.odd(&Position::Byte(section), text);
}

/// Buffers begin on a page of the file.
fn page_aligned(at: u64, header: &Header) -> u64 {
    at.next_multiple_of(header.page_size as u64)
}

/// Goes from section to section; returns where the buffer's contents begin.
fn find_flyrecord(bytes: &[u8], first: u64, header: &Header) -> Option<u64> {
    let mut at = first;
    loop {
        let mut c = cursor(bytes, at, header);
        let head = SectionHead::read(&mut c).ok()?;
        let contents = at + c.offset() as u64;
        if head.id == FLYRECORD {
            return Some(contents);
        }
        at = contents.checked_add(head.size)?;
    }
}
