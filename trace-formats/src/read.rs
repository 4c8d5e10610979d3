//! Which format is this, and the way to its reader.

use crate::limits::Limits;
use crate::{Error, ErrorKind, Oddity, Position, Recording};
use crate::{ftrace_text, perf_data, trace_dat, wrapper};

/// Reads a trace of any format that is built, whatever its file is called.
///
/// What can be read of a damaged trace is returned with its oddities.
///
/// # Errors
///
/// When the format is unknown or not built, or when its headers cannot be read.
pub fn read(bytes: &[u8]) -> Result<Recording, Error> {
    read_with(bytes, &Limits::default())
}

/// As [`read`], with bounds of the caller's choice.
///
/// # Errors
///
/// As [`read`], and when a bound is passed.
pub fn read_with(bytes: &[u8], limits: &Limits) -> Result<Recording, Error> {
    let Some(unpacked) = wrapper::unpack(bytes, limits)? else {
        return read_format(bytes, limits);
    };
    // One layer only: a wrapper inside a wrapper is no trace that anyone records.
    let mut recording = read_format(&unpacked.bytes, limits)?;
    if let Some(format) = &mut recording.format {
        format.name = format!("{}, {}", format.name, unpacked.name);
    }
    if let Some(text) = unpacked.damage {
        let place = format!("in the {} file around the trace", unpacked.name);
        recording.oddities.insert(0, Oddity { place, text });
    }
    Ok(recording)
}

fn read_format(bytes: &[u8], limits: &Limits) -> Result<Recording, Error> {
    if bytes.is_empty() {
        return Err(Error { kind: ErrorKind::Empty, at: Position::Whole });
    }
    if bytes.starts_with(trace_dat::MAGIC) {
        return trace_dat::read(bytes, limits);
    }
    if bytes.starts_with(perf_data::MAGIC_LITTLE) || bytes.starts_with(perf_data::MAGIC_BIG) {
        return perf_data::read(bytes, limits);
    }
    if let Some(kind) = not_built(bytes) {
        return Err(Error { kind, at: Position::Byte(0) });
    }
    if ftrace_text::looks_like_text(bytes) {
        return ftrace_text::read(bytes);
    }
    Err(Error { kind: ErrorKind::UnknownFormat, at: Position::Byte(0) })
}

/// Formats that are known by their first bytes and not read.
fn not_built(bytes: &[u8]) -> Option<ErrorKind> {
    const CTF_PACKET: [[u8; 4]; 2] = [[0xc1, 0x1f, 0xfc, 0xc1], [0xc1, 0xfc, 0x1f, 0xc1]];
    const CTF_METADATA: [[u8; 4]; 2] = [[0x57, 0x1d, 0xd1, 0x75], [0x75, 0xd1, 0x1d, 0x57]];
    let head = bytes.get(..4).unwrap_or_default();
    let text = bytes.get(..256).unwrap_or(bytes).trim_ascii_start().to_ascii_lowercase();
    let ctf = "a CTF trace (LTTng)";
    let ctf_way = "record with `trace-cmd record` or `perf record` instead";
    let (format, way_out) = if CTF_PACKET.iter().any(|magic| magic == head)
        || CTF_METADATA.iter().any(|magic| magic == head)
        || text.starts_with(b"/* ctf 1")
    {
        (ctf, ctf_way)
    } else if bytes.get(257..262) == Some(b"ustar") {
        ("a tar archive", "unpack it with `tar -xf` and give resched a trace inside it")
    } else if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") {
        (
            "an HTML page (systrace)",
            "record text with `atrace` without `--html`, or with `trace-cmd record`",
        )
    } else if text.starts_with(b"{") {
        ("a JSON trace", "give resched the recording that it was made from")
    } else if bytes.starts_with(b"PERFFILE") {
        ("perf.data version 1", "record it again with a perf of Linux 2.6.32 or later")
    } else if is_perfetto(bytes) && !ftrace_text::looks_like_text(bytes) {
        (
            "a Perfetto trace",
            "convert it with Perfetto's `traceconv systrace FILE OUT.txt` and give resched that text",
        )
    } else {
        return None;
    };
    Some(ErrorKind::NotBuilt { format, way_out })
}

/// A Perfetto trace is packets in field 1, one after another: `0x0a`, a length, a packet.
fn is_perfetto(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(&[0x0a]) else { return false };
    let mut length = 0usize;
    for (i, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let next = rest.get(i + 1 + length);
            return length > 0 && next.is_none_or(|tag| *tag == 0x0a);
        }
    }
    false
}
