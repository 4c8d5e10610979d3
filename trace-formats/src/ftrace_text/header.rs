//! Lines that are no records: headers, losses, and the few words that tools print in between.

use crate::CpuId;

/// What the lines before and between the records say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Place of the hardirq/softirq flag in the flag column.
    pub context_column: usize,
    /// Legend lines of the flag column so far.
    legend: usize,
    /// `entries-in-buffer/entries-written`.
    pub entries: Option<(u64, u64)>,
    pub clock: Option<String>,
    pub kernel: Option<String>,
    /// Our own `# resched cpus=` line.
    pub cpus: Vec<CpuId>,
}

impl Default for Header {
    /// The flag column of kernels without PREEMPT_RT's additions.
    fn default() -> Self {
        let (entries, clock, kernel, cpus) = (None, None, None, Vec::new());
        Self { context_column: 2, legend: 0, entries, clock, kernel, cpus }
    }
}

/// What a line that is no record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// Known and of no further use.
    Known,
    /// Events of this CPU were lost; how many, if the line says.
    Lost(CpuId, Option<u64>),
    /// Nothing that we know.
    Unknown,
}

impl Header {
    /// Takes in a line that is no record.
    pub(super) fn take(&mut self, line: &str) -> Other {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            self.take_comment(comment);
            return Other::Known;
        }
        if let Some(lost) = lost(line) {
            return lost;
        }
        let is_known = line.is_empty()
            || ["version = ", "cpus=", "TRACE:", "tracer: "].iter().any(|w| line.starts_with(w))
            || (line.starts_with("CPU") && line.ends_with("is empty"));
        if is_known { Other::Known } else { Other::Unknown }
    }

    fn take_comment(&mut self, comment: &str) {
        let comment = comment.trim();
        if let Some(counts) = comment.strip_prefix("entries-in-buffer/entries-written:") {
            let mut counts = counts.trim().split(['/', ' ']).map(str::parse);
            if let (Some(Ok(inside)), Some(Ok(written))) = (counts.next(), counts.next()) {
                self.entries = Some((inside, written));
            }
        } else if let Some((_, meaning)) = comment.split_once("=> ") {
            // One line a flag, in the order of the column: `||/ _--=> hardirq/softirq`.
            if meaning.starts_with("hardirq/softirq") {
                self.context_column = self.legend;
            }
            self.legend += 1;
        } else if let Some(words) = comment.strip_prefix("resched ") {
            self.take_own(words);
        }
    }

    fn take_own(&mut self, words: &str) {
        for word in words.split_whitespace() {
            match word.split_once('=') {
                Some(("clock", clock)) => self.clock = Some(clock.to_owned()),
                Some(("kernel", kernel)) => self.kernel = Some(kernel.to_owned()),
                Some(("cpus", list)) => {
                    let parsed = list.split(',').filter_map(|n| n.parse().ok());
                    self.cpus = parsed.map(CpuId).collect();
                }
                _ => {}
            }
        }
    }
}

/// `CPU:1 [LOST 5 EVENTS]`, `CPU:1 [5 EVENTS DROPPED]`, `CPU:1 [EVENTS DROPPED]`
fn lost(line: &str) -> Option<Other> {
    let (cpu, rest) = line.strip_prefix("CPU:")?.split_once('[')?;
    let cpu = CpuId(cpu.trim().parse().ok()?);
    let words = rest.trim_end().strip_suffix(']')?;
    if !words.contains("EVENTS") || !(words.contains("LOST") || words.contains("DROPPED")) {
        return None;
    }
    let count = words.split_whitespace().find_map(|w| w.parse().ok());
    Some(Other::Lost(cpu, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_with_and_without_a_count() {
        let mut header = Header::default();
        assert_eq!(header.take("CPU:1 [LOST 5 EVENTS]"), Other::Lost(CpuId(1), Some(5)));
        assert_eq!(header.take("CPU:12 [7 EVENTS DROPPED]"), Other::Lost(CpuId(12), Some(7)));
        assert_eq!(header.take("CPU:0 [EVENTS DROPPED]"), Other::Lost(CpuId(0), None));
        assert_eq!(header.take("CPU:0 [something]"), Other::Unknown);
        assert_eq!(header.take("CPU 3 is empty"), Other::Known);
    }

    #[test]
    fn the_legend_says_where_the_context_flag_is() {
        let mut header = Header::default();
        for line in [
            "#                            _-------=> irqs-off/BH-disabled",
            "#                           / _------=> need-resched",
            "#                          | / _-----=> need-resched-lazy",
            "#                          || / _----=> hardirq/softirq",
            "#                          ||| / _---=> preempt-depth",
        ] {
            assert_eq!(header.take(line), Other::Known);
        }
        assert_eq!(header.context_column, 3);
    }
}
