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
        if let Ok(eight) = <[u8; 8]>::try_from(bytes) {
            return match self {
                Self::Little => u64::from_le_bytes(eight),
                Self::Big => u64::from_be_bytes(eight),
            };
        }
        if let Ok(four) = <[u8; 4]>::try_from(bytes) {
            return u64::from(match self {
                Self::Little => u32::from_le_bytes(four),
                Self::Big => u32::from_be_bytes(four),
            });
        }
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

    /// Everything that is left; it is not consumed.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Bytes up to a NUL, which is consumed.
    pub(crate) fn c_string(&mut self, structure: &'static str) -> Result<&'b [u8], Error> {
        let rest = self.rest();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width_in_both_orders() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        for (width, little, big) in [
            (0, 0, 0),
            (1, 1, 1),
            (2, 0x0201, 0x0102),
            (3, 0x0003_0201, 0x0001_0203),
            (4, 0x0403_0201, 0x0102_0304),
            (8, 0x0807_0605_0403_0201, 0x0102_0304_0506_0708),
            (9, 0x0807_0605_0403_0201, 0x0102_0304_0506_0708),
        ] {
            assert_eq!(Endian::Little.number(&bytes[..width]), little);
            assert_eq!(Endian::Big.number(&bytes[..width]), big);
        }
    }

    #[test]
    fn a_cursor_names_what_was_cut_and_where() {
        let mut c = Cursor::new(&[1, 0, 2], 100, Endian::Little);
        assert_eq!(c.u16("a number"), Ok(1));
        let error = c.u32("another").expect_err("one byte is left");
        assert_eq!(error.to_string(), "at byte 102: the input ends inside another");
        assert!(c.take(u64::MAX, "all").is_err());
        assert_eq!(c.u8("the last"), Ok(2));
    }
}
