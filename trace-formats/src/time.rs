//! Points and spans of trace time, in whole nanoseconds.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A point on the trace's clock, in nanoseconds since that clock's zero.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A span of CPU or wall time, in nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Timestamp {
    /// The span from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// Reads decimal seconds (`12.000345`) as integers; no floating point is involved.
    ///
    /// Takes at most nine fractional digits; `None` for anything else, and when
    /// the value does not fit 64 bits of nanoseconds (584 years).
    #[must_use]
    pub fn from_decimal_seconds(text: &str) -> Option<Self> {
        let (seconds, fraction) = text.split_once('.')?;
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
            return None;
        }
        let scale = 10u64.pow(9 - u32::try_from(fraction.len()).ok()?);
        let whole = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
        whole.checked_add(fraction.parse::<u64>().ok()? * scale).map(Self)
    }
}

impl fmt::Display for Timestamp {
    /// Seconds with nine decimals, as in `12.000345000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

impl Add<Nanos> for Timestamp {
    type Output = Self;
    /// Saturates at the end of the clock, 584 years after its zero.
    fn add(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Add for Nanos {
    type Output = Self;
    /// Saturates at 584 years.
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Self;
    /// Stops at zero.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Nanos {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self(0), |a, b| a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_seconds_keep_every_digit() {
        let ns = |s| Timestamp::from_decimal_seconds(s).map(|t| t.0);
        assert_eq!(ns("29.050389"), Some(29_050_389_000));
        assert_eq!(ns("0.000000001"), Some(1));
        assert_eq!(ns("18446744073.709551615"), Some(u64::MAX));
        assert_eq!(ns("18446744073.709551616"), None);
        assert_eq!(ns("1.0000000001"), None);
        assert_eq!(ns("1"), None);
        assert_eq!(ns("-1.5"), None);
    }
}
