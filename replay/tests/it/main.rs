//! All of `replay` through its public interface, linked once.

mod identity;
mod scenario;
mod timeline;
