//! ftrace text, as tracefs, `trace-cmd report` and `perf script` print it: read and written.

mod header;
mod line;
mod payload;
mod read;
mod write;

pub(crate) use read::{looks_like_text, read};
pub use write::write_ftrace_text;
