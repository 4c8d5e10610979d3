//! How a running recording is told to stop or to write out what it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Orders to a running recording, from signals, the command's end, or its own threads.
#[derive(Debug, Default)]
pub struct Control {
    orders: Mutex<Orders>,
    changed: Condvar,
    closed: AtomicBool,
}

/// What was ordered and has not been carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Why the recording ends.
    pub stop: Option<Stop>,
    /// Stretches of a flight recorder to write out, each with its reason.
    pub dumps: Vec<String>,
}

/// Why a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody said so.
    Asked,
    /// The command ended, in these words.
    Command(String),
    /// The time is up.
    Duration,
    /// All stretches that were wanted are written.
    Dumps,
    /// A thread of the recorder failed.
    Failed,
}

impl Control {
    /// Ends the recording; the first reason counts.
    pub fn stop(&self, why: Stop) {
        self.orders().stop.get_or_insert(why);
        self.changed.notify_all();
    }

    /// Writes out what a flight recorder holds.
    pub fn dump(&self, why: String) {
        self.orders().dumps.push(why);
        self.changed.notify_all();
    }

    /// Says that no more events come in: who empties buffers does so a last time.
    pub(crate) fn close(&self) {
        let _orders = self.orders();
        self.closed.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// Whether events come in no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits for an order, at most so long; takes the dumps that were ordered.
    pub(crate) fn wait(&self, at_most: Duration) -> Orders {
        let orders = self.orders();
        let idle = |orders: &mut Orders| orders.stop.is_none() && orders.dumps.is_empty();
        let (mut orders, _) = self
            .changed
            .wait_timeout_while(orders, at_most, idle)
            .unwrap_or_else(PoisonError::into_inner);
        Orders { stop: orders.stop.clone(), dumps: std::mem::take(&mut orders.dumps) }
    }

    /// Waits until no more events come in, at most so long.
    pub(crate) fn pause(&self, at_most: Duration) {
        let orders = self.orders();
        let _ = self.changed.wait_timeout_while(orders, at_most, |_| !self.is_closed());
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        // Orders are whole at every moment, also when a thread panicked with them in hand.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_to_stop_counts_and_dumps_are_taken_once() {
        let control = Control::default();
        control.dump("a wait".to_owned());
        control.stop(Stop::Duration);
        control.stop(Stop::Asked);
        let orders = control.wait(Duration::ZERO);
        assert_eq!(orders.stop, Some(Stop::Duration));
        assert_eq!(orders.dumps, ["a wait"]);
        assert_eq!(control.wait(Duration::ZERO).dumps, [""; 0]);
    }
}
