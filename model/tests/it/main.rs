//! Recordings, assembled: listings written by hand, and fixtures.

#![expect(clippy::disallowed_methods, reason = "a recording beside the repository is a file")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod demands;
mod grammar;
mod listing;
mod odd;
mod owners;
mod programs;
mod promises;
mod read_owners;
mod recorded;
mod shorthand;
mod soup;
mod states;
mod written;
