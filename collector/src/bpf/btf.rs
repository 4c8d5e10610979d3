//! Where the fields of kernel structs are: reads BTF, the kernel's own type description.

use std::path::Path;

mod error;
mod kind;
#[cfg(test)]
mod tests;

pub use error::BtfError;
use kind::Kind;

/// Where Linux shows the types of the running kernel.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Through how many names, qualifiers or nested types one question may lead.
const DEEPEST: usize = 32;
/// How many members one question may look at; `task_struct` has some 300.
const MEMBERS_PER_QUESTION: usize = 100_000;

/// The types of one kernel.
///
/// Source: `Documentation/bpf/btf.rst`, kinds 1 (`INT`) to 19 (`ENUM64`).
/// The bytes may say anything: a question they cannot answer is an error, never a panic.
#[derive(Clone)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where the type with id `index + 1` starts in `bytes`; id 0 is `void`.
    types: Vec<usize>,
    strings: std::ops::Range<usize>,
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Btf").field("types", &self.types.len()).finish_non_exhaustive()
    }
}

/// A function a program can be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its type id, what `attach_btf_id` wants.
    pub id: u32,
    /// How many parameters it takes; its result is read behind them.
    pub parameters: u16,
}

/// What every type starts with.
#[derive(Clone, Copy)]
struct Header {
    at: usize,
    name: u32,
    kind: Kind,
    /// How many members, parameters or values follow.
    count: u16,
    /// Members carry the size of a bit-field in the top byte of their offset.
    has_bit_fields: bool,
    /// A size in bytes or a type id, depending on the kind.
    size_or_type: u32,
}

#[derive(Clone, Copy)]
struct Member {
    name: u32,
    of_type: u32,
    bits: u32,
    bit_field_size: u32,
}

/// A member found: where it is from the start of the outermost struct, and its type.
#[derive(Clone, Copy)]
struct Place {
    bits: u64,
    of_type: u32,
    bit_field_size: u32,
}

impl Btf {
    /// Reads the file at `path`, usually [`KERNEL_BTF`].
    ///
    /// # Errors
    ///
    /// If the file cannot be read (the message says what the kernel lacks) or is not BTF.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let bytes = std::fs::read(path)
            .map_err(|source| BtfError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(bytes)
    }

    /// Takes BTF as it stands in `/sys/kernel/btf/vmlinux`: header, types, names.
    ///
    /// # Errors
    ///
    /// If the bytes are not BTF, end early, are big-endian or hold a kind newer than 19.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        match word16(&bytes, 0)? {
            MAGIC => {}
            other if other.swap_bytes() == MAGIC => return Err(BtfError::BigEndian),
            other => return Err(BtfError::NotBtf { magic: other }),
        }
        let word = |at| word32(&bytes, at).map(|value| value as usize);
        let after_header = word(4)?;
        let types = section(&bytes, after_header, word(8)?, word(12)?)?;
        let strings = section(&bytes, after_header, word(16)?, word(20)?)?;
        let mut btf = Self { bytes, types: Vec::new(), strings };
        let mut at = types.start;
        while at < types.end {
            let header = btf.header_at(at)?;
            let end = at + 12 + header.kind.bytes_behind_header(header.count);
            if end > types.end {
                return Err(BtfError::Cut { at });
            }
            btf.types.push(at);
            at = end;
        }
        Ok(btf)
    }

    /// Where a member starts, in bytes from the start of `struct structure`.
    ///
    /// `path` may lead into members (`owner.counter`); members of unnamed structs and unions
    /// are found as in C.
    ///
    /// # Errors
    ///
    /// If there is no such struct or member, or the member is a bit-field.
    pub fn offset_of(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let place = self.locate(structure, path)?;
        if place.bit_field_size != 0 || place.bits % 8 != 0 {
            return Err(BtfError::BitField { structure: structure.into(), path: path.into() });
        }
        u32::try_from(place.bits / 8)
            .map_err(|_| BtfError::NoSuchMember { structure: structure.into(), path: path.into() })
    }

    /// How many bytes a member takes.
    ///
    /// # Errors
    ///
    /// As [`Btf::offset_of`], and if the member's type has no size.
    pub fn size_of_member(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let place = self.locate(structure, path)?;
        self.size_of(place.of_type, 0)
            .ok_or_else(|| BtfError::NoSize { structure: structure.into(), path: path.into() })
    }

    /// The kernel function called `name`.
    ///
    /// # Errors
    ///
    /// If the kernel has no such function, or the compiler left none to attach to.
    pub fn function(&self, name: &str) -> Result<Function, BtfError> {
        let missing = || BtfError::NoSuchFunction { name: name.into() };
        let (id, header) = self.named(name, Kind::Function).next().ok_or_else(missing)?;
        let prototype = self.header(header.size_or_type).ok_or_else(missing)?;
        if prototype.kind != Kind::Prototype {
            return Err(missing());
        }
        Ok(Function { id, parameters: prototype.count })
    }

    /// How many bytes a pointer takes in this kernel, if the types tell.
    #[must_use]
    pub fn pointer_width(&self) -> Option<u32> {
        // GCC and clang spell the type that is as wide as a pointer differently.
        ["long unsigned int", "unsigned long"]
            .iter()
            .find_map(|name| self.named(name, Kind::Integer).next())
            .map(|(_, header)| header.size_or_type)
    }

    fn locate(&self, structure: &str, path: &str) -> Result<Place, BtfError> {
        let mut budget = MEMBERS_PER_QUESTION;
        let mut known = false;
        // One name may stand for several types: the one that has the member is meant.
        for (id, _) in self.named(structure, Kind::Struct) {
            known = true;
            if let Some(place) = self.walk(id, path, &mut budget) {
                return Ok(place);
            }
        }
        Err(if known {
            BtfError::NoSuchMember { structure: structure.into(), path: path.into() }
        } else {
            BtfError::NoSuchStruct { name: structure.into() }
        })
    }

    fn walk(&self, structure: u32, path: &str, budget: &mut usize) -> Option<Place> {
        let mut found = Place { bits: 0, of_type: structure, bit_field_size: 0 };
        for name in path.split('.') {
            let (id, _) = self.resolve(found.of_type)?;
            let next = self.member(id, name, 0, budget)?;
            found = Place { bits: found.bits + next.bits, ..next };
        }
        Some(found)
    }

    fn member(&self, id: u32, name: &str, depth: usize, budget: &mut usize) -> Option<Place> {
        let header = self.header(id)?;
        if depth > DEEPEST || !matches!(header.kind, Kind::Struct | Kind::Union) {
            return None;
        }
        for index in 0..header.count {
            *budget = budget.checked_sub(1)?;
            let member = self.member_at(header, index)?;
            let bits = u64::from(member.bits);
            match self.name(member.name)? {
                b"" => {
                    let Some((inner, _)) = self.resolve(member.of_type) else { continue };
                    if let Some(place) = self.member(inner, name, depth + 1, budget) {
                        return Some(Place { bits: bits + place.bits, ..place });
                    }
                }
                found if found == name.as_bytes() => {
                    let (of_type, bit_field_size) = (member.of_type, member.bit_field_size);
                    return Some(Place { bits, of_type, bit_field_size });
                }
                _ => {}
            }
        }
        None
    }

    fn member_at(&self, header: Header, index: u16) -> Option<Member> {
        let at = header.at + 12 + 12 * usize::from(index);
        let position = word32(&self.bytes, at + 8).ok()?;
        let (bits, bit_field_size) = match header.has_bit_fields {
            true => (position & 0x00ff_ffff, position >> 24),
            false => (position, 0),
        };
        let name = word32(&self.bytes, at).ok()?;
        Some(Member { name, of_type: word32(&self.bytes, at + 4).ok()?, bits, bit_field_size })
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<(u32, Header)> {
        let mut id = id;
        for _ in 0..DEEPEST {
            let header = self.header(id)?;
            if !header.kind.is_alias() {
                return Some((id, header));
            }
            id = header.size_or_type;
        }
        None
    }

    fn size_of(&self, id: u32, depth: usize) -> Option<u32> {
        let (_, header) = self.resolve(id)?;
        match header.kind {
            Kind::Pointer => self.pointer_width(),
            Kind::Array if depth < DEEPEST => {
                let element = word32(&self.bytes, header.at + 12).ok()?;
                let length = word32(&self.bytes, header.at + 20).ok()?;
                self.size_of(element, depth + 1)?.checked_mul(length)
            }
            kind if kind.has_size() => Some(header.size_or_type),
            _ => None,
        }
    }

    fn named(&self, name: &str, kind: Kind) -> impl Iterator<Item = (u32, Header)> {
        (1..).zip(&self.types).filter_map(move |(id, &at)| {
            let header = self.header_at(at).ok()?;
            let found = header.kind == kind && self.name(header.name)? == name.as_bytes();
            found.then_some((id, header))
        })
    }

    fn header(&self, id: u32) -> Option<Header> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.header_at(*self.types.get(index)?).ok()
    }

    fn header_at(&self, at: usize) -> Result<Header, BtfError> {
        let information = word32(&self.bytes, at + 4)?;
        let number = (information >> 24) & 0x1f;
        Ok(Header {
            at,
            name: word32(&self.bytes, at)?,
            kind: Kind::from_number(number).ok_or(BtfError::UnknownKind { number, at })?,
            count: word16(&self.bytes, at + 4)?,
            has_bit_fields: information >> 31 == 1,
            size_or_type: word32(&self.bytes, at + 8)?,
        })
    }

    fn name(&self, offset: u32) -> Option<&[u8]> {
        let start = self.strings.start.checked_add(offset as usize)?;
        let rest = self.bytes.get(start..self.strings.end)?;
        rest.split(|&byte| byte == 0).next()
    }
}

fn section(
    bytes: &[u8],
    after_header: usize,
    offset: usize,
    length: usize,
) -> Result<std::ops::Range<usize>, BtfError> {
    let cut = BtfError::Cut { at: after_header };
    let start = after_header.checked_add(offset);
    let range = start.and_then(|start| Some(start..start.checked_add(length)?));
    range.filter(|range| range.end <= bytes.len()).ok_or(cut)
}

fn word16(bytes: &[u8], at: usize) -> Result<u16, BtfError> {
    let rest = bytes.get(at..).and_then(|rest| rest.first_chunk());
    rest.map(|&word| u16::from_le_bytes(word)).ok_or(BtfError::Cut { at })
}

fn word32(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let rest = bytes.get(at..).and_then(|rest| rest.first_chunk());
    rest.map(|&word| u32::from_le_bytes(word)).ok_or(BtfError::Cut { at })
}
