//! How much a reader may unpack before it stops.

/// Bounds on what a small file may grow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that one layer of compression may yield.
    pub unpacked: u64,
}

impl Default for Limits {
    /// 4 GiB.
    fn default() -> Self {
        Self { unpacked: 4 << 30 }
    }
}
