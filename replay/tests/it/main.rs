//! All of `replay` through its public interface, linked once.

#![expect(clippy::disallowed_methods, reason = "recordings are files")]

mod affinity;
mod costs;
mod damage;
mod feed;
mod identity;
mod noticed;
mod random;
mod rounds;
mod scenario;
mod timeline;
mod written;
