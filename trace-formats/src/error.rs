//! Why a trace could not be read, and where.

use std::fmt;

/// A place in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Nowhere in particular: the input as a whole.
    Whole,
    /// A byte offset.
    Byte(u64),
    /// A line, counted from 1.
    Line(u64),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => write!(f, "in the input"),
            Self::Byte(offset) => write!(f, "at byte {offset}"),
            Self::Line(line) => write!(f, "at line {line}"),
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No bytes at all.
    #[error("the input is empty")]
    Empty,
    /// No format claims these first bytes.
    #[error(
        "this is no trace that resched knows; it reads trace.dat v6 and v7, perf.data and ftrace text"
    )]
    UnknownFormat,
    /// A known format that is not built.
    #[error("{format} is not read yet; {way_out}")]
    NotBuilt {
        /// The format's name.
        format: &'static str,
        /// What to do instead.
        way_out: &'static str,
    },
    /// The input ends inside `structure`.
    #[error("the input ends inside {structure}")]
    Cut {
        /// What was being read.
        structure: &'static str,
    },
    /// A value that the format forbids, or that we cannot follow.
    #[error("{what}")]
    Invalid {
        /// Names the field, its value and what was expected.
        what: String,
    },
}

/// A reading error: what and where. The caller adds the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {kind}")]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Where.
    pub at: Position,
}
