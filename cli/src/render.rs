//! Values as text for people: aligned, 100 columns, no colour.

pub(crate) mod attribution;
pub(crate) mod comparison;
pub(crate) mod divergence;
pub(crate) mod headline;
pub(crate) mod lanes;
pub(crate) mod recording;
pub(crate) mod scenario;
pub(crate) mod summary;

/// Milliseconds with enough digits to tell short ones apart.
pub(crate) fn ms(ns: u64) -> String {
    let (whole, micros) = (ns / 1_000_000, ns % 1_000_000 / 1000);
    match whole {
        0..10 => format!("{whole}.{micros:03} ms"),
        10..1000 => format!("{whole}.{:02} ms", micros / 10),
        _ => format!("{whole}.{} ms", micros / 100),
    }
}

/// A mean in nanoseconds, as [`ms`].
pub(crate) fn ms_mean(ns: f64) -> String {
    // Means of spans are positive and far below 2^63.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let whole = ns.round() as u64;
    ms(whole)
}

/// A relative change: `-77 %`; `—` when there was nothing before.
pub(crate) fn change(before: f64, after: f64) -> String {
    match analysis::compare::relative_change(before, after) {
        None if after == 0.0 => "=".to_owned(),
        None => "new".to_owned(),
        Some(c) if c.abs() < 0.005 => "=".to_owned(),
        Some(c) => format!("{:+.0} %", c * 100.0),
    }
}

/// Seconds of trace time, to the millisecond.
pub(crate) fn seconds(at: model::Timestamp) -> String {
    format!("{}.{:03} s", at.0 / 1_000_000_000, at.0 % 1_000_000_000 / 1_000_000)
}

/// A task's name as it can stand in a line of text: control characters shown, not obeyed.
pub(crate) fn name(name: &str) -> String {
    name.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_keep_three_digits() {
        let texts = [0, 1_234_567, 12_345_678, 1_234_567_890].map(ms);
        assert_eq!(texts, ["0.000 ms", "1.234 ms", "12.34 ms", "1234.5 ms"]);
    }

    #[test]
    fn changes_from_nothing_are_not_percentages() {
        assert_eq!(change(0.0, 0.0), "=");
        assert_eq!(change(0.0, 5.0), "new");
        assert_eq!(change(4.0, 1.0), "-75 %");
        assert_eq!(change(1000.0, 1001.0), "=");
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        assert_eq!(name("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
