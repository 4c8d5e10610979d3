//! Recordings, assembled: listings written by hand, and fixtures.

mod grammar;
mod listing;
mod odd;
mod owners;
mod promises;
mod recorded;
mod shorthand;
mod soup;
mod states;
