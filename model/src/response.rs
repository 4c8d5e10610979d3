//! Responses: from a wakeup out of a sleep to the next sleep.

use crate::{TaskId, Tid, Timestamp};

/// One response of one thread id.
///
/// It begins with the wakeup that ends a sleep and ends when the thread next leaves its CPU not
/// runnable. Leaving it inside a lock wait does not end it: the wait is part of the response.
/// Any `contention_begin` in the thread opens a wait and any `contention_end` closes it.
/// A response that the end of the trace cuts off is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Who.
    pub tid: Tid,
    /// The task of that thread id when the response ended.
    pub task: TaskId,
    /// The wakeup.
    pub begin: Timestamp,
    /// The switch to the next sleep.
    pub end: Timestamp,
}
