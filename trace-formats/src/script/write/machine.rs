//! The text of a scenario's machine.

use super::list;
use crate::Nanos;
use crate::script::{CpuList, Machine, Millis, Sharing};
use std::fmt::{self, Display, Formatter};

impl Display for Machine {
    /// One setting a line, where it is not as usual.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        let n = usize::try_from(self.cpus.len()).unwrap_or(usize::MAX);
        self.write_cpus(n, f)?;
        sharing(f, n, ["per-core", "cores"], [&self.cores, &usual.cores])?;
        sharing(f, n, ["per-cache", "caches"], [&self.caches, &usual.caches])?;
        sharing(f, n, ["per-node", "nodes"], [&self.nodes, &usual.nodes])?;
        setting(f, "hz", self.hz, usual.hz)?;
        setting(f, "tick-phase", Millis::from(self.tick_phase), Millis::from(usual.tick_phase))?;
        if !self.hrtick {
            writeln!(f, "hrtick off")?;
        }
        if self.base_slice != Nanos(0) {
            let usual = Self::usual_slice(self.cpus.len());
            setting(f, "slice", Millis::from(self.base_slice), Millis::from(usual))?;
        }
        setting(f, "preemption", self.preemption.name(), usual.preemption.name())?;
        if self.newidle != usual.newidle {
            let chance = |n: &Option<u32>| n.map_or("?".to_owned(), |n| n.to_string());
            list(f, "newidle", self.newidle.iter().map(chance))?;
        }
        if self.passes_over_halted {
            writeln!(f, "passes-over-halted on")?;
        }
        self.write_latencies(f)?;
        for what in &self.assumed {
            writeln!(f, "assumed {}", super::Quoted(what))?;
        }
        setting(f, "start", Millis::from(self.start), Millis::from(usual.start))?;
        self.end.map_or(Ok(()), |end| writeln!(f, "end {}", Millis::from(end)))
    }
}

impl Machine {
    /// `cpus 4`, or which they are.
    fn write_cpus(&self, n: usize, f: &mut Formatter<'_>) -> fmt::Result {
        let in_a_row = u32::try_from(n).ok().filter(|n| (1..=4096).contains(n));
        if in_a_row.is_some_and(|n| self.cpus == CpuList::first(n)) {
            return setting(f, "cpus", n, 1);
        }
        match self.cpus.last() {
            Some(only) if n == 1 => writeln!(f, "cpus {0}-{0}", only.0),
            _ => writeln!(f, "cpus {}", self.cpus),
        }
    }

    fn write_latencies(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let l = &self.latencies;
        let all = [
            ("wake-busy", l.wake_busy),
            ("wake-idle", l.wake_idle),
            ("wake-deep", l.wake_deep),
            ("slice-end", l.slice_end),
            ("lock-contended", l.lock_contended),
            ("lock-sleep", l.lock_sleep),
            ("lock-wake", l.lock_wake),
            ("buffer-sleep", l.buffer_sleep),
            ("buffer-wake", l.buffer_wake),
            ("buffer-tell", l.buffer_tell),
        ];
        // Those of switches, of locks, and of buffers.
        [&all[..4], &all[4..7], &all[7..]].into_iter().try_for_each(|line| {
            let known = line.iter().filter(|(_, span)| *span != Nanos(0));
            let text: String =
                known.map(|(name, span)| format!(" {name} {}", Millis::from(*span))).collect();
            if text.is_empty() { Ok(()) } else { writeln!(f, "latency{text}") }
        })
    }
}

fn setting<T: Display + PartialEq>(
    f: &mut Formatter<'_>,
    name: &str,
    value: T,
    usual: T,
) -> fmt::Result {
    if value == usual { Ok(()) } else { writeln!(f, "{name} {value}") }
}

fn sharing(
    f: &mut Formatter<'_>,
    n: usize,
    [regular, listed]: [&str; 2],
    [what, usual]: [&Sharing; 2],
) -> fmt::Result {
    let numbers = what.by_position(n);
    if numbers == usual.by_position(n) {
        return Ok(());
    }
    match Sharing::of(&numbers) {
        Sharing::Per(each) => writeln!(f, "{regular} {each}"),
        Sharing::Listed(numbers) => list(f, listed, numbers.iter().map(ToString::to_string)),
    }
}
