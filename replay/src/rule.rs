//! The rules of the scheduler: one question per file, pure functions with their source.

pub mod buffer;
pub mod lag;
pub mod mutex;
pub mod pelt;
pub mod walk;
pub mod weight;
