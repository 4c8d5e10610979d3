//! Why the types of a kernel could not be read.

use std::io;
use std::path::PathBuf;

/// The types cannot be read, or do not hold what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The file is missing or may not be read.
    #[error("cannot read the kernel's types from {}. {}", path.display(), way_out(source))]
    Unreadable {
        /// The file that was tried.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The bytes end inside a header, a type or a section.
    #[error("the kernel's types (BTF) end early: the part at byte {at} is incomplete")]
    Cut {
        /// Offset of the incomplete part in the file.
        at: usize,
    },
    /// The first two bytes are not BTF's.
    #[error("not a description of kernel types: it starts with {magic:#06x}, BTF with 0xeb9f")]
    NotBtf {
        /// The first two bytes.
        magic: u16,
    },
    /// The kernel is big-endian.
    #[error("this is a big-endian kernel; reading its locks with BPF works on little-endian only")]
    BigEndian,
    /// A kind of type newer than this reader.
    #[error("the kernel's types (BTF) hold kind {number} at byte {at}, known are 1 to 19")]
    UnknownKind {
        /// The kind's number.
        number: u32,
        /// Offset of the type in the file.
        at: usize,
    },
    /// No struct has this name.
    #[error("the kernel has no struct {name}")]
    NoSuchStruct {
        /// The name asked for.
        name: String,
    },
    /// The struct has no such member.
    #[error("struct {structure} of this kernel has no member {path}")]
    NoSuchMember {
        /// The struct's name.
        structure: String,
        /// The member asked for.
        path: String,
    },
    /// The member does not start at a byte.
    #[error("member {path} of struct {structure} is a bit-field of this kernel")]
    BitField {
        /// The struct's name.
        structure: String,
        /// The member asked for.
        path: String,
    },
    /// The member's type has no size.
    #[error("member {path} of struct {structure} has no size")]
    NoSize {
        /// The struct's name.
        structure: String,
        /// The member asked for.
        path: String,
    },
    /// No function has this name.
    #[error("the kernel has no function {name} that a program can be attached to")]
    NoSuchFunction {
        /// The name asked for.
        name: String,
    },
}

fn way_out(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => {
            "The kernel was built without CONFIG_DEBUG_INFO_BTF, or /sys is not mounted: boot a \
             kernel that has it (distribution kernels do), or record without lock owners"
        }
        io::ErrorKind::PermissionDenied => {
            "The file is there but may not be read: run as root, or outside the container or \
             sandbox that hides it"
        }
        _ => "Record without lock owners",
    }
}
