//! The state machine of [`crate::Response`], per thread id.
//!
//! It follows the project's independent judge of responses exactly, oddities included: thread ids
//! and not tasks, and one wait per thread whatever the lock.

use crate::{Event, Response, SchedEvent, TaskTracker, Tid, Timestamp};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Thread {
    is_asleep: bool,
    woken: Option<Timestamp>,
    is_contending: bool,
}

/// Responses while events are walked.
#[derive(Debug, Default)]
pub(super) struct Responses {
    threads: BTreeMap<Tid, Thread>,
    done: Vec<Response>,
}

impl Responses {
    pub(super) fn observe(&mut self, event: &Event, at: Timestamp, tracker: &TaskTracker) {
        match event.kind {
            SchedEvent::Switch { prev, prev_state, .. } if !prev_state.is_runnable() => {
                let thread = self.threads.entry(prev).or_default();
                if thread.is_contending {
                    return;
                }
                thread.is_asleep = true;
                if let (Some(begin), Some(task)) = (thread.woken.take(), tracker.id(prev)) {
                    self.done.push(Response { tid: prev, task, begin, end: at });
                }
            }
            SchedEvent::Waking(w) | SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) => {
                let thread = self.threads.entry(w.tid).or_default();
                if thread.is_asleep {
                    thread.is_asleep = false;
                    thread.woken = Some(at);
                }
            }
            // The judge knows the kernel's locks alone: a wait for a program's mutex ends a response.
            SchedEvent::ContentionBegin { lock, .. } | SchedEvent::ContentionEnd { lock, .. }
                if lock.is_of_program() => {}
            SchedEvent::ContentionBegin { .. } => {
                self.threads.entry(event.tid).or_default().is_contending = true;
            }
            SchedEvent::ContentionEnd { .. } => {
                self.threads.entry(event.tid).or_default().is_contending = false;
            }
            _ => {}
        }
    }

    /// Ordered by end.
    pub(super) fn into_list(self) -> Vec<Response> {
        self.done
    }
}
