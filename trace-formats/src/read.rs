//! Which format is this, and the way to its reader.

use crate::{Error, ErrorKind, Position, Recording, trace_dat};

/// Reads a trace of any format that is built.
///
/// What can be read of a damaged trace is returned with its oddities.
///
/// # Errors
///
/// When the format is unknown or not built, or when its headers cannot be read.
pub fn read(bytes: &[u8]) -> Result<Recording, Error> {
    if bytes.is_empty() {
        return Err(Error { kind: ErrorKind::Empty, at: Position::Whole });
    }
    if bytes.starts_with(trace_dat::MAGIC) {
        return trace_dat::read(bytes);
    }
    Err(Error { kind: ErrorKind::UnknownFormat, at: Position::Byte(0) })
}
