//! What traces say, checked on listings written by hand and on recordings.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]
#![expect(clippy::disallowed_methods, reason = "recordings are files")]

mod any_events;
mod divergence;
mod episodes;
mod ground_truth;
mod inversion;
mod judge;
mod needs;
mod parts;
mod recorded;
mod replayed;
#[path = "../../../model/tests/it/shorthand.rs"]
mod shorthand;
#[path = "../../../model/tests/it/soup.rs"]
mod soup;
mod tables;
