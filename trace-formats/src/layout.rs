//! Where the fields of an event lie: the `format` text that every trace carries.

use crate::bytes::Endian;

/// One field of an event's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub name: String,
    pub offset: usize,
    pub size: usize,
    pub is_signed: bool,
    /// A string or array whose place is stored in the field.
    pub is_dynamic: bool,
}

/// The layout of one kind of event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub name: String,
    pub id: u64,
    pub fields: Vec<Field>,
    pub print_fmt: String,
}

impl Layout {
    /// Reads a `format` file; `None` when it has no name or id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut layout = Self::default();
        let mut id = None;
        for line in text.lines() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix("name:") {
                name.trim().clone_into(&mut layout.name);
            } else if let Some(number) = line.strip_prefix("ID:") {
                id = number.trim().parse().ok();
            } else if line.starts_with("field:") || line.starts_with("field special:") {
                layout.fields.extend(parse_field(line));
            } else if let Some(fmt) = line.strip_prefix("print fmt:") {
                fmt.trim().clone_into(&mut layout.print_fmt);
            }
        }
        layout.id = id?;
        (!layout.name.is_empty()).then_some(layout)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }
}

/// One line of a format: `field:pid_t prev_pid; offset:24; size:4; signed:1;`
pub(crate) fn parse_field(line: &str) -> Option<Field> {
    let (_, line) = line.split_once(':')?;
    let mut parts = line.split(';').map(str::trim);
    let declaration = parts.next()?;
    let (mut offset, mut size, mut is_signed) = (None, None, false);
    for part in parts {
        match part.split_once(':') {
            Some(("offset", n)) => offset = n.trim().parse().ok(),
            Some(("size", n)) => size = n.trim().parse().ok(),
            Some(("signed", n)) => is_signed = n.trim() == "1",
            _ => {}
        }
    }
    let before_array = declaration.split('[').next()?.trim_end();
    let mut name = before_array.rsplit(|c: char| c.is_whitespace() || c == '*').next()?;
    if declaration.starts_with("__data_loc") && name.is_empty() {
        name = declaration.rsplit(' ').next()?;
    }
    // `__data_loc char[] name`: the name stands behind the brackets.
    let tail = declaration.rsplit(']').next().unwrap_or("").trim();
    if !tail.is_empty() && declaration.contains(']') {
        name = tail;
    }
    Some(Field {
        name: name.to_owned(),
        offset: offset?,
        size: size?,
        is_signed,
        is_dynamic: declaration.starts_with("__data_loc"),
    })
}

impl Field {
    /// The field's bytes, if the record is long enough.
    pub(crate) fn bytes<'r>(&self, record: &'r [u8]) -> Option<&'r [u8]> {
        record.get(self.offset..self.offset.checked_add(self.size)?)
    }

    pub(crate) fn unsigned(&self, record: &[u8], endian: Endian) -> Option<u64> {
        self.bytes(record).map(|b| endian.number(b))
    }

    /// The number, sign-extended from the field's width.
    pub(crate) fn signed(&self, record: &[u8], endian: Endian) -> Option<i64> {
        let number = self.unsigned(record, endian)?;
        let unused = 64 - 8 * self.size.clamp(1, 8);
        Some((number << unused).cast_signed() >> unused)
    }

    /// A number that fits 32 bits in either reading: pids, priorities, return values.
    pub(crate) fn int(&self, record: &[u8], endian: Endian) -> Option<i32> {
        let number = self.signed(record, endian)?;
        let low = u32::try_from(number & 0xffff_ffff).ok()?;
        Some(low.cast_signed())
    }

    /// The characters of an array or dynamic string, up to a NUL.
    pub(crate) fn text<'r>(&self, record: &'r [u8], endian: Endian) -> Option<&'r [u8]> {
        let bytes = if self.is_dynamic {
            let place = self.unsigned(record, endian)?;
            let offset = usize::try_from(place & 0xffff).ok()?;
            let length = usize::try_from(place >> 16 & 0xffff).ok()?;
            record.get(offset..offset.checked_add(length)?)?
        } else {
            self.bytes(record)?
        };
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        bytes.get(..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_plain_array_pointer_and_dynamic_fields() {
        let name = |decl: &str| {
            parse_field(&format!("field:{decl};\toffset:8;\tsize:4;\tsigned:1;")).map(|f| f.name)
        };
        for (decl, expected) in [
            ("pid_t prev_pid", "prev_pid"),
            ("char prev_comm[16]", "prev_comm"),
            ("char prev_comm[TASK_COMM_LEN]", "prev_comm"),
            ("__data_loc char[] comm", "comm"),
            ("void * lock_addr", "lock_addr"),
            ("void *lock_addr", "lock_addr"),
        ] {
            assert_eq!(name(decl).as_deref(), Some(expected), "{decl}");
        }
    }

    #[test]
    fn numbers_are_extended_from_the_width_of_their_field() {
        let field = |size, is_signed| Field {
            name: String::new(),
            offset: 1,
            size,
            is_signed,
            is_dynamic: false,
        };
        let record = [9, 0xfe, 0xff, 0xff, 0xff];
        assert_eq!(field(4, true).signed(&record, Endian::Little), Some(-2));
        assert_eq!(field(4, false).unsigned(&record, Endian::Little), Some(0xffff_fffe));
        assert_eq!(field(2, true).signed(&record, Endian::Big), Some(-257));
        assert_eq!(field(8, true).signed(&record, Endian::Little), None);
    }
}
