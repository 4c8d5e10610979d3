//! All of `trace-formats` through its public interface, linked once.

#![expect(clippy::disallowed_methods, reason = "recordings are files")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod build;
mod corpus;
mod damage;
mod every_layout;
mod instance;
mod message;
