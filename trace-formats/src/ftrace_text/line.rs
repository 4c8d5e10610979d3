//! One line of ftrace text, taken apart up to its payload.
//!
//! Task names may hold anything, also what looks like the next column, so a
//! line is searched for the first `[CPU]` that has a task before it and a time
//! and an event behind it.

use crate::{Context, Timestamp};

/// A line that is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'l> {
    pub tid: i32,
    pub cpu: u32,
    /// The flag column; empty when the line has none.
    pub flags: &'l str,
    pub at: Timestamp,
    /// The event, without its system.
    pub event: &'l str,
    pub payload: &'l str,
    /// How the task column is written.
    pub style: Style,
}

/// Who prints a task column like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `comm-tid`: the kernel and trace-cmd.
    Ftrace,
    /// `comm tid` or `comm pid/tid`: `perf script`.
    PerfScript,
}

impl<'l> Line<'l> {
    /// `None` when the line is no record.
    pub(super) fn parse(text: &'l str) -> Option<Self> {
        let bracketed = text.match_indices('[').find_map(|(open, _)| {
            let (cpu, rest) = text.get(open + 1..)?.split_once(']')?;
            let (tid, style) = task(text.get(..open)?)?;
            Self::behind_cpu(rest, tid, number(cpu)?, style)
        });
        bracketed.or_else(|| Self::latency(text))
    }

    /// `trace-cmd report -l`: `comm-tid  0d..2. 40.077331: …`, the CPU joined to the flags.
    fn latency(text: &'l str) -> Option<Self> {
        let (head, _) = text.split_once(": ")?;
        let (before, _) = head.rsplit_once(char::is_whitespace)?;
        let (tasks, column) = before.trim_end().rsplit_once(char::is_whitespace)?;
        let digits = column.bytes().take_while(u8::is_ascii_digit).count();
        let (cpu, flags) = column.split_at_checked(digits)?;
        if flags.len() < 4 {
            return None;
        }
        let (tid, style) = task(tasks)?;
        let rest = text.get(tasks.len() + 1 + digits..)?;
        Self::behind_cpu(rest, tid, number(cpu)?, style)
    }

    /// What follows the CPU: flags or not, a time, an event.
    fn behind_cpu(rest: &'l str, tid: i32, cpu: u32, style: Style) -> Option<Self> {
        let rest = rest.trim_start();
        let (word, behind) = rest.split_once(char::is_whitespace)?;
        let (flags, at, behind) = match word.strip_suffix(':').and_then(time) {
            Some(at) => ("", at, behind),
            None => {
                let (stamp, behind) = behind.trim_start().split_once(':')?;
                (word, time(stamp)?, behind)
            }
        };
        let behind = behind.trim_start();
        // `sched:sched_switch:` in perf's text, `sched_switch:` elsewhere.
        let name_end = behind.find(|c: char| c.is_whitespace()).unwrap_or(behind.len());
        let (name, payload) = behind.split_at(name_end);
        let (event, payload) = match name.strip_suffix(':') {
            Some(name) => (name.rsplit(':').next()?, payload),
            // The function tracer prints `callee <-caller` and no name.
            None if payload.trim_start().starts_with("<-") => ("function", behind),
            None => return None,
        };
        let payload = payload.strip_prefix(' ').unwrap_or(payload);
        (!event.is_empty()).then_some(Self { tid, cpu, flags, at, event, payload, style })
    }

    /// The context that the flag column states; `column` is the place of its hardirq/softirq flag.
    pub(super) fn context(&self, column: usize) -> Context {
        match self.flags.as_bytes().get(column) {
            None => Context::Unknown,
            Some(b'h' | b'H' | b'z' | b'Z') => Context::HardIrq,
            Some(b's') => Context::SoftIrq,
            Some(_) => Context::Task,
        }
    }
}

/// Seconds with decimals, or whole nanoseconds, which trace-cmd prints now and then.
fn time(text: &str) -> Option<Timestamp> {
    Timestamp::from_decimal_seconds(text)
        .or_else(|| number::<u64>(text).filter(|_| text.len() > 6).map(Timestamp))
}

/// A number of digits only.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let text = text.trim();
    (text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The thread id at the end of a task column, behind which a thread group may stand.
fn task(column: &str) -> Option<(i32, Style)> {
    let mut column = column.trim_end();
    if let Some(inner) = column.strip_suffix(')') {
        let (before, group) = inner.rsplit_once('(')?;
        let group = group.trim();
        let is_group = !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        column = if is_group { before.trim_end() } else { column };
    }
    if let Some((_, tid)) = column.rsplit_once('-')
        && let Some(tid) = number(tid).filter(|_| !tid.is_empty())
    {
        return Some((tid, Style::Ftrace));
    }
    let (_, ids) = column.trim_start().rsplit_once(char::is_whitespace)?;
    let tid = ids.rsplit('/').next().filter(|t| !t.is_empty())?;
    Some((number(tid)?, Style::PerfScript))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: (i32, u32, &str, u64, &str, &str)) {
        let line = Line::parse(text).unwrap_or_else(|| panic!("no record: {text}"));
        let found = (line.tid, line.cpu, line.flags, line.at.0, line.event, line.payload);
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn all_columns_and_none_of_the_optional_ones() {
        let at = 29_467_501_000;
        let full = "   low-77   (   77) [003] d..2. 29.467501: sched_waking: comm=a pid=1";
        check(full, (77, 3, "d..2.", at, "sched_waking", "comm=a pid=1"));
        let missing_group = "<idle>-0  (-----) [003] d..2 29.467501000: cpu_idle: state=0";
        check(missing_group, (0, 3, "d..2", at, "cpu_idle", "state=0"));
        let plain = "  low-77  [003]    29.467501: print:   some text";
        check(plain, (77, 3, "", at, "print", "  some text"));
        let joined = " low-77     3d..2.    29.467501: sched_waking: x";
        check(joined, (77, 3, "d..2.", at, "sched_waking", "x"));
        let perf = " opt cgu.0  70/77  [003] 29.467501000: lock:contention_end: 0x1 (ret=0)";
        check(perf, (77, 3, "", at, "contention_end", "0x1 (ret=0)"));
    }

    #[test]
    fn whole_nanoseconds_without_a_space() {
        check(" low-77 [003]29467501000: print: x", (77, 3, "", 29_467_501_000, "print", "x"));
        check(" low-77 [003]   29.467501: print: x", (77, 3, "", 29_467_501_000, "print", "x"));
    }

    #[test]
    fn a_name_may_look_like_columns() {
        check("a [1] b-x-5 [002] 1.5: e: p", (5, 2, "", 1_500_000_000, "e", "p"));
        check("] ==> [-9 [002] .... 1.5: e: p", (9, 2, "....", 1_500_000_000, "e", "p"));
        check("kworker/u8:2-ev (x)-7 [002] 1.5: e: p", (7, 2, "", 1_500_000_000, "e", "p"));
    }

    #[test]
    fn other_lines_are_no_records() {
        for text in ["", "cpus=2", "# tracer: nop", "CPU:1 [LOST 3 EVENTS]", "[0] 1.5: e: p"] {
            assert_eq!(Line::parse(text), None, "{text}");
        }
    }
}
