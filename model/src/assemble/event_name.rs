//! What events are called.

use crate::SchedEvent;

/// The kernel's name of an event; our own events have the names that text output gives them.
pub(super) fn event_name(kind: &SchedEvent) -> &'static str {
    match kind {
        SchedEvent::Switch { .. } => "sched_switch",
        SchedEvent::Waking(_) => "sched_waking",
        SchedEvent::Wakeup(_) => "sched_wakeup",
        SchedEvent::WakeupNew(_) => "sched_wakeup_new",
        SchedEvent::MigrateTask { .. } => "sched_migrate_task",
        SchedEvent::Fork { .. } => "sched_process_fork",
        SchedEvent::Exec { .. } => "sched_process_exec",
        SchedEvent::Exit { .. } => "sched_process_exit",
        SchedEvent::PiSetprio { .. } => "sched_pi_setprio",
        SchedEvent::StatRuntime { .. } => "sched_stat_runtime",
        SchedEvent::ContentionBegin { .. } => "contention_begin",
        SchedEvent::ContentionEnd { .. } => "contention_end",
        SchedEvent::ContendedRelease { .. } => "contended_release",
        SchedEvent::LockOwner { .. } => "lock_owner",
        SchedEvent::TransferBegin { .. } => "transfer_begin",
        SchedEvent::TransferEnd { .. } => "transfer_end",
        SchedEvent::FutexBegin { .. } => "futex_begin",
        SchedEvent::Yield => "sched_yield",
        SchedEvent::FutexEnd { .. } => "futex_end",
        SchedEvent::MutexLock { .. } => "mutex_lock",
        SchedEvent::MutexLockReturn { .. } => "mutex_lock_return",
        SchedEvent::MutexTrylock { .. } => "mutex_trylock",
        SchedEvent::MutexUnlock { .. } => "mutex_unlock",
        SchedEvent::HrtimerStart { .. } => "hrtimer_start",
        SchedEvent::Donor { .. } => "donor",
        SchedEvent::ProxyMigrate { .. } => "proxy_migrate",
        SchedEvent::ProxyReturn { .. } => "proxy_return",
        _ => "other",
    }
}
