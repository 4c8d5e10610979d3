//! What the kernel's own work costs in time.

/// Costs of scheduling, in nanoseconds. All zero by default: the golden scenarios are exact at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// From a wakeup to the switch it causes on a busy CPU; the task that is running runs on.
    pub wake_busy: u64,
    /// From a wakeup to the switch it causes on an idle CPU.
    pub wake_idle: u64,
    /// From the end of a slice to the switch it causes.
    pub slice_end: u64,
}
