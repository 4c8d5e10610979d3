//! A bounded cursor over outside bytes: every read can fail, none can panic.

use crate::{Error, ErrorKind, Position};

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

impl Endian {
    /// The unsigned number in up to eight bytes; wider input counts its first eight.
    pub(crate) fn number(self, bytes: &[u8]) -> u64 {
        let fold = |acc: u64, b: &u8| acc << 8 | u64::from(*b);
        let bytes = bytes.get(..8).unwrap_or(bytes);
        match self {
            Self::Little => bytes.iter().rev().fold(0, fold),
            Self::Big => bytes.iter().fold(0, fold),
        }
    }
}

/// Reads forward through a slice that begins at byte `base` of the file.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
    base: u64,
    pub(crate) endian: Endian,
}

impl<'b> Cursor<'b> {
    pub(crate) fn new(bytes: &'b [u8], base: u64, endian: Endian) -> Self {
        Self { bytes, at: 0, base, endian }
    }

    pub(crate) fn position(&self) -> Position {
        Position::Byte(self.base + self.at as u64)
    }

    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn cut(&self, structure: &'static str) -> Error {
        Error { kind: ErrorKind::Cut { structure }, at: self.position() }
    }

    pub(crate) fn invalid(&self, what: String) -> Error {
        Error { kind: ErrorKind::Invalid { what }, at: self.position() }
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: u64, structure: &'static str) -> Result<&'b [u8], Error> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return Err(self.cut(structure));
        };
        self.at += taken.len();
        Ok(taken)
    }

    pub(crate) fn u8(&mut self, structure: &'static str) -> Result<u8, Error> {
        Ok(self.take(1, structure)?.first().copied().unwrap_or(0))
    }

    pub(crate) fn u16(&mut self, structure: &'static str) -> Result<u16, Error> {
        let n = self.endian.number(self.take(2, structure)?);
        Ok(u16::try_from(n).unwrap_or(u16::MAX))
    }

    pub(crate) fn u32(&mut self, structure: &'static str) -> Result<u32, Error> {
        let n = self.endian.number(self.take(4, structure)?);
        Ok(u32::try_from(n).unwrap_or(u32::MAX))
    }

    pub(crate) fn u64(&mut self, structure: &'static str) -> Result<u64, Error> {
        Ok(self.endian.number(self.take(8, structure)?))
    }

    /// Bytes up to a NUL, which is consumed.
    pub(crate) fn c_string(&mut self, structure: &'static str) -> Result<&'b [u8], Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(n) = rest.iter().position(|b| *b == 0) else { return Err(self.cut(structure)) };
        self.at += n + 1;
        Ok(&rest[..n])
    }
}

/// Text before the first NUL, unreadable bytes replaced.
pub(crate) fn c_text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default())
}
