//! The kinds of BTF types and how many bytes each has behind its header.

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Pointer,
    Array,
    Struct,
    Union,
    Enumeration,
    Forward,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Function,
    Prototype,
    Variable,
    DataSection,
    Float,
    DeclarationTag,
    TypeTag,
    Enumeration64,
}

/// By number; number 1 is the first.
const KINDS: [Kind; 19] = [
    Kind::Integer,
    Kind::Pointer,
    Kind::Array,
    Kind::Struct,
    Kind::Union,
    Kind::Enumeration,
    Kind::Forward,
    Kind::Typedef,
    Kind::Volatile,
    Kind::Const,
    Kind::Restrict,
    Kind::Function,
    Kind::Prototype,
    Kind::Variable,
    Kind::DataSection,
    Kind::Float,
    Kind::DeclarationTag,
    Kind::TypeTag,
    Kind::Enumeration64,
];

impl Kind {
    pub(super) fn from_number(number: u32) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        KINDS.get(index).copied()
    }

    /// How many bytes follow the 12 every type has; `count` is its number of parts.
    pub(super) fn bytes_behind_header(self, count: u16) -> usize {
        let count = usize::from(count);
        match self {
            Self::Integer | Self::Variable | Self::DeclarationTag => 4,
            Self::Array => 12,
            Self::Struct | Self::Union | Self::DataSection | Self::Enumeration64 => 12 * count,
            Self::Enumeration | Self::Prototype => 8 * count,
            _ => 0,
        }
    }

    /// Whether the type is another type under a new name or with a qualifier.
    pub(super) fn is_alias(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }

    /// Whether the header holds the size in bytes.
    pub(super) fn has_size(self) -> bool {
        matches!(
            self,
            Self::Integer
                | Self::Struct
                | Self::Union
                | Self::Enumeration
                | Self::Enumeration64
                | Self::Float
        )
    }
}
