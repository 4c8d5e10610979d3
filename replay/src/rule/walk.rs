//! From a blocked donor one step along its chain: follow, migrate, give up or run.

/// What is known at one element `x` of a donation chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// `x` still waits for a mutex (`blocked_on`).
    pub waits: bool,
    /// `x` is the task executing on this CPU (`rq->curr`).
    pub is_running_here: bool,
    /// The executing task has been met on this walk, at `x` or before.
    pub running_in_chain: bool,
    /// The mutex's owner; `None` when it has none.
    pub owner: Option<Owner>,
}

/// What is known of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is `x` itself: a hand-off whose wakeup is still on its way.
    Itself,
    /// Off every runqueue, or delayed.
    Asleep,
    /// Queued on another CPU.
    Elsewhere,
    /// Between two runqueues, towards this CPU.
    Arriving,
    /// Queued here.
    Here,
}

/// What to do at `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Stop blocking and run `x` itself.
    RunIt,
    /// Put `x` to sleep until somebody wakes it, and pick again.
    Deactivate,
    /// Run the idle task and come back at once.
    Idle,
    /// Move `x` to the owner's CPU and pick again.
    Migrate,
    /// Go on at the owner.
    Follow,
}

/// The decision table of a walk at an element that `is_blocked`.
///
/// # Source
///
/// Kernel model 2.3, rows 1 to 13; `find_proxy_task` in `kernel/sched/core.c` of 7.3.
///
/// # Deviation
///
/// Rows 3 and 11 are races between CPUs that a sequential engine cannot reach.
#[must_use]
pub fn step(link: Link) -> Step {
    let Some(owner) = link.owner.filter(|_| link.waits) else {
        return if link.is_running_here { Step::RunIt } else { Step::Deactivate };
    };
    match owner {
        Owner::Asleep | Owner::Elsewhere if link.running_in_chain => Step::Idle,
        Owner::Asleep => Step::Deactivate,
        Owner::Elsewhere => Step::Migrate,
        Owner::Arriving | Owner::Itself => Step::Idle,
        Owner::Here => Step::Follow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at([waits, is_running_here, running_in_chain]: [bool; 3], owner: Option<Owner>) -> Step {
        step(Link { waits, is_running_here, running_in_chain, owner })
    }

    #[test]
    fn every_row_of_the_table() {
        let rows = [
            ("1  edge cut, running", at([false, true, true], None), Step::RunIt),
            ("2  edge cut, not running", at([false, false, false], None), Step::Deactivate),
            ("4  no owner, running", at([true, true, true], None), Step::RunIt),
            ("5  no owner, not running", at([true, false, false], None), Step::Deactivate),
            (
                "6  asleep, running in chain",
                at([true, false, true], Some(Owner::Asleep)),
                Step::Idle,
            ),
            ("7  asleep", at([true, false, false], Some(Owner::Asleep)), Step::Deactivate),
            ("8  remote, in chain", at([true, true, true], Some(Owner::Elsewhere)), Step::Idle),
            ("9  remote", at([true, false, false], Some(Owner::Elsewhere)), Step::Migrate),
            ("10 arriving", at([true, false, false], Some(Owner::Arriving)), Step::Idle),
            ("12 itself", at([true, false, false], Some(Owner::Itself)), Step::Idle),
            ("13 here", at([true, false, false], Some(Owner::Here)), Step::Follow),
        ];
        for (row, got, expected) in rows {
            assert_eq!(got, expected, "row {row}");
        }
    }
}
