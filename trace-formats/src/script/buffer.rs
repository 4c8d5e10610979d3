//! The pipes and sockets of a scenario.

use super::parse::Draft;
use super::word::{Word, Words};
use crate::Error;

/// A bounded buffer between tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its name.
    pub name: String,
    /// Where it lies, when the scenario says.
    pub address: Option<u64>,
    /// What it is.
    pub kind: BufferKind,
    /// The mutex that is held while bytes move, an index into [`super::Script::locks`].
    pub mutex: Option<usize>,
    /// Bytes in it at the start.
    pub filled: u32,
}

/// What holds the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// A pipe of so many pages.
    Pipe {
        /// Pages.
        pages: u32,
    },
    /// The same in packet mode.
    Packets {
        /// Pages.
        pages: u32,
    },
    /// A pipe that holds so many messages, and once full takes more when `step` are gone.
    Messages {
        /// Messages.
        room: u32,
        /// Messages.
        step: u32,
    },
    /// A stream socket with so much room.
    Socket {
        /// Bytes.
        room: u32,
    },
}

impl BufferKind {
    /// A pipe as the kernel makes it.
    pub(super) const PIPE: Self = Self::Pipe { pages: 16 };
    /// A socket as the kernel makes it (`net.core.wmem_default`).
    pub(super) const SOCKET: Self = Self::Socket { room: 212_992 };
}

/// Reads `pipe|socket NAME [ADDRESS] [N pages|packets|messages|bytes] [by N] [mutex M]
/// [filled N]`; `word` is the kind.
pub(super) fn read<'t>(
    word: Word<'t>,
    words: &mut Words<'_, 't>,
    draft: &mut Draft<'t>,
) -> Result<(), Error> {
    let name = draft.name_buffer(words.argument(word, "a buffer")?)?;
    let is_pipe = word.text == "pipe";
    let kind = if is_pipe { BufferKind::PIPE } else { BufferKind::SOCKET };
    let mut buffer = Buffer { name, address: None, kind, mutex: None, filled: 0 };
    while let Some(next) = words.next() {
        if let Some(hex) = next.text.strip_prefix("0x") {
            let address = u64::from_str_radix(hex, 16).ok();
            buffer.address =
                Some(address.ok_or_else(|| {
                    next.error(format!("`{}` is no address of 64 bits", next.text))
                })?);
        } else if next.text == "mutex" {
            buffer.mutex = Some(draft.lock(words.argument(next, "a lock")?)?);
        } else if next.text == "filled" {
            buffer.filled = words.integer(next, 0..=i32::MAX)?.unsigned_abs();
        } else if let Some(size) = next.text.parse().ok().filter(|size| *size > 0) {
            let unit = words.argument(next, if is_pipe { "`pages`" } else { "`bytes`" })?;
            buffer.kind = match (unit.text, is_pipe) {
                ("pages", true) => BufferKind::Pipe { pages: size },
                ("packets", true) => BufferKind::Packets { pages: size },
                ("messages", true) => BufferKind::Messages { room: size, step: by(words)? },
                ("bytes", false) => BufferKind::Socket { room: size },
                (other, true) => {
                    return Err(unit.error(format!(
                        "a pipe has `pages`, `packets` or `messages`, not `{other}`"
                    )));
                }
                (other, false) => {
                    return Err(unit.error(format!("a socket has `bytes`, not `{other}`")));
                }
            };
        } else {
            return Err(next.error(format!(
                "a buffer has an address, as in `0xffff888004e39b40`, a size, as in `16 pages`, a \
                 `mutex`, and is `filled` with bytes; not `{}`",
                next.text
            )));
        }
    }
    draft.script.buffers.push(buffer);
    Ok(())
}

/// Reads `by N`: how much of a pipe must be gone once it was full.
fn by(words: &mut Words<'_, '_>) -> Result<u32, Error> {
    match words.next_if("by") {
        Some(word) => Ok(words.integer(word, 1..=i32::MAX)?.unsigned_abs()),
        None => Ok(1),
    }
}
