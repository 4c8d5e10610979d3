//! All of `replay` through its public interface, linked once.

mod scenario;
mod timeline;
