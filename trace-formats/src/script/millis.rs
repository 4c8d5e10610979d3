//! Milliseconds as people write them, nanoseconds as integers.

use crate::Nanos;
use std::fmt;

/// A number of nanoseconds that reads and prints as milliseconds: `2.5`, `-0.5`, `14`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i64);

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
        let scale = 10i64.pow(6 - u32::try_from(decimals.len()).ok()?);
        let whole = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        whole.checked_add(decimals.parse::<i64>().ok()? * scale).map(|ns| Self(sign * ns))
    }

    /// The same span, when it is not negative.
    #[must_use]
    pub fn span(self) -> Option<Nanos> {
        u64::try_from(self.0).ok().map(Nanos)
    }
}

impl From<Nanos> for Millis {
    /// Stops at 292 years.
    fn from(span: Nanos) -> Self {
        Self(i64::try_from(span.0).unwrap_or(i64::MAX))
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
        for text in ["0", "4", "14.25", "0.000001", "-0.5", "1000.7"] {
            assert_eq!(Millis::from_text(text).expect(text).to_string(), text);
        }
        assert_eq!(Millis::from_text("2.80"), Some(Millis(2_800_000)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "-", ".5", "1.", "1.0000001", "1e3", "+1", "1ms", "9999999999999999"] {
            assert_eq!(Millis::from_text(text), None, "{text}");
        }
    }
}
