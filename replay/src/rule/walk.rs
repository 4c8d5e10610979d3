//! From a blocked donor one step along its chain: follow, migrate, give up or run.

use crate::mechanism::{GivesUp, Mechanisms};

/// What is known at one element `x` of a donation chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// `x` still waits for a mutex (`blocked_on`).
    pub waits: bool,
    /// `x` was woken on its owner's CPU and must be sent home (7.1).
    pub returning: bool,
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
    /// Put the picked task to sleep until somebody wakes it, and pick again.
    DeactivateHead,
    /// Let `x` wait with its sleeping owner, and pick again.
    Park,
    /// Send `x` to a CPU of its own choice, and pick again.
    SendHome,
    /// Run the idle task and come back at once.
    Idle,
    /// Move `x` to the owner's CPU and pick again.
    Migrate,
    /// Go on at the owner.
    Follow,
}

/// The decision table of a walk at an element that `is_blocked`, or is to be sent home.
///
/// # Source
///
/// Kernel model 2.3, rows 1 to 13; `find_proxy_task` in `kernel/sched/core.c` of 7.3.
/// For the variants before and after it, kernel model 2.6.
///
/// # Deviation
///
/// Rows 3 and 11 are races between CPUs that a sequential engine cannot reach.
#[must_use]
pub fn step(link: Link, m: &Mechanisms) -> Step {
    let sends_home = m.donor_migration && m.gives_up == GivesUp::Head;
    let Some(owner) = link.owner.filter(|_| link.waits && !link.returning) else {
        return if link.is_running_here {
            Step::RunIt
        } else if link.returning || sends_home {
            Step::SendHome
        } else if m.gives_up == GivesUp::Head {
            // 6.17 lets whoever is picked first have a free mutex.
            Step::RunIt
        } else {
            Step::Deactivate
        };
    };
    // The stack that is still in use here must be left before anybody moves; 6.17 moves nobody.
    let detour = link.running_in_chain && (m.donor_migration || m.gives_up == GivesUp::Link);
    match owner {
        Owner::Asleep | Owner::Elsewhere if detour => Step::Idle,
        Owner::Asleep if m.sleeping_owners => Step::Park,
        Owner::Elsewhere if m.donor_migration => Step::Migrate,
        Owner::Asleep | Owner::Elsewhere => match m.gives_up {
            GivesUp::Head => Step::DeactivateHead,
            GivesUp::Link => Step::Deactivate,
        },
        Owner::Arriving | Owner::Itself => Step::Idle,
        Owner::Here => Step::Follow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    fn at(
        policy: Policy,
        [waits, is_running_here, running_in_chain]: [bool; 3],
        owner: Option<Owner>,
    ) -> Step {
        let link = Link { waits, returning: false, is_running_here, running_in_chain, owner };
        step(link, &policy.mechanisms())
    }

    #[test]
    fn every_row_of_the_table() {
        use Owner::{Arriving, Asleep, Elsewhere, Here, Itself};
        let p = Policy::Pe73;
        let rows = [
            ("1  edge cut, running", at(p, [false, true, true], None), Step::RunIt),
            ("2  edge cut, not running", at(p, [false, false, false], None), Step::Deactivate),
            ("4  no owner, running", at(p, [true, true, true], None), Step::RunIt),
            ("5  no owner, not running", at(p, [true, false, false], None), Step::Deactivate),
            ("6  asleep, in chain", at(p, [true, false, true], Some(Asleep)), Step::Idle),
            ("7  asleep", at(p, [true, false, false], Some(Asleep)), Step::Deactivate),
            ("8  remote, in chain", at(p, [true, true, true], Some(Elsewhere)), Step::Idle),
            ("9  remote", at(p, [true, false, false], Some(Elsewhere)), Step::Migrate),
            ("10 arriving", at(p, [true, false, false], Some(Arriving)), Step::Idle),
            ("12 itself", at(p, [true, false, false], Some(Itself)), Step::Idle),
            ("13 here", at(p, [true, false, false], Some(Here)), Step::Follow),
        ];
        for (row, got, expected) in rows {
            assert_eq!(got, expected, "row {row}");
        }
    }

    #[test]
    fn what_the_other_variants_do_otherwise() {
        let asleep = |p, chain| at(p, [true, false, chain], Some(Owner::Asleep));
        let elsewhere = |p, chain| at(p, [true, false, chain], Some(Owner::Elsewhere));
        let free = |p| at(p, [true, false, false], None);
        assert_eq!(elsewhere(Policy::Pe617, true), Step::DeactivateHead);
        assert_eq!(asleep(Policy::Pe617, true), Step::DeactivateHead);
        assert_eq!(free(Policy::Pe617), Step::RunIt);
        assert_eq!(elsewhere(Policy::Pe71, true), Step::Idle);
        assert_eq!(elsewhere(Policy::Pe71, false), Step::Migrate);
        assert_eq!(asleep(Policy::Pe71, false), Step::DeactivateHead);
        assert_eq!(free(Policy::Pe71), Step::SendHome);
        assert_eq!(asleep(Policy::PeSleeping, true), Step::Idle);
        assert_eq!(asleep(Policy::PeSleeping, false), Step::Park);
    }
}
