//! Milliseconds as people write them, nanoseconds as integers.

use crate::{Nanos, Timestamp};
use std::fmt;

/// A number of nanoseconds that reads and prints as milliseconds: `2.5`, `-0.5`, `14`.
///
/// It holds every point and span of trace time, and the same below zero as far as 292 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i128);

impl Millis {
    /// Reads decimal milliseconds with at most six decimals; `None` for anything else.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let only_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !only_digits(whole) || !only_digits(decimals) || decimals.len() > 6 {
            return None;
        }
        let scale = 10i128.pow(6 - u32::try_from(decimals.len()).ok()?);
        let whole = i128::from(whole.parse::<u64>().ok()?) * 1_000_000;
        let ns = sign * (whole + i128::from(decimals.parse::<u32>().ok()?) * scale);
        (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&ns).then_some(Self(ns))
    }

    /// The same span, when it is not negative.
    #[must_use]
    pub fn span(self) -> Option<Nanos> {
        u64::try_from(self.0).ok().map(Nanos)
    }
}

impl From<Nanos> for Millis {
    fn from(span: Nanos) -> Self {
        Self(span.0.into())
    }
}

impl From<Timestamp> for Millis {
    /// Since the clock's zero.
    fn from(time: Timestamp) -> Self {
        Self(time.0.into())
    }
}

impl From<i64> for Millis {
    /// Nanoseconds with a sign.
    fn from(ns: i64) -> Self {
        Self(ns.into())
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:06}", ns / 1_000_000, ns % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_come_back_as_written() {
        for text in [
            "0",
            "4",
            "14.25",
            "0.000001",
            "-0.5",
            "1000.7",
            "39623617.123456",
            "18446744073709.551615",
            "-9223372036854.775808",
        ] {
            assert_eq!(Millis::from_text(text).expect(text).to_string(), text);
        }
        assert_eq!(Millis::from_text("2.80"), Some(Millis(2_800_000)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "1.",
            "1.0000001",
            "1e3",
            "+1",
            "1ms",
            "9999999999999999",
            "18446744073709.551616",
            "-9223372036854.775809",
            "99999999999999999999999999999999999999999",
        ] {
            assert_eq!(Millis::from_text(text), None, "{text}");
        }
    }
}
