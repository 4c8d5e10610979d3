//! What `prev_state` of a switch says about the task that left the CPU.

/// State of the task that a `sched_switch` took off its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrevState {
    /// `R`: still runnable, left through an ordinary `schedule()`.
    Runnable,
    /// `R+`: still runnable, preempted inside the kernel.
    Preempted,
    /// `S`: interruptible sleep.
    Interruptible,
    /// `D`: uninterruptible sleep (also killable, frozen, lock waits).
    Uninterruptible,
    /// `I`, or `W` in `trace-cmd report`: an uninterruptible sleep that counts as idle.
    IdleSleep,
    /// `T` or `t`: stopped or traced.
    Stopped,
    /// `P`: parked kernel thread.
    Parked,
    /// `X` or `Z`: dead.
    Dead,
    /// A value none of the above describes.
    Unknown,
}

impl PrevState {
    /// True when the task stays runnable.
    #[must_use]
    pub fn is_runnable(self) -> bool {
        matches!(self, Self::Runnable | Self::Preempted)
    }

    /// The letter that ftrace text prints; `?` for an unknown value.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Runnable => "R",
            Self::Preempted => "R+",
            Self::Interruptible => "S",
            Self::Uninterruptible => "D",
            Self::IdleSleep => "I",
            Self::Stopped => "T",
            Self::Parked => "P",
            Self::Dead => "X",
            Self::Unknown => "?",
        }
    }
}

/// What the bits of `prev_state` mean on the traced kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateTable {
    bits: Vec<(i64, char)>,
    preempted: i64,
}

impl Default for StateTable {
    /// The table of kernels since 4.14.
    ///
    /// # Source
    ///
    /// Kernel model 7.2; `__trace_sched_switch_state` in `include/trace/events/sched.h`.
    fn default() -> Self {
        let letters = ['S', 'D', 'T', 't', 'X', 'Z', 'P', 'I'];
        Self { bits: (0..8).map(|n| 1 << n).zip(letters).collect(), preempted: 0x100 }
    }
}

impl StateTable {
    /// Reads the table from the event's own `print fmt`; kernels differ.
    pub(crate) fn from_print_fmt(text: &str) -> Self {
        let mut bits = Vec::new();
        for piece in text.split('{').skip(1) {
            let Some((number, rest)) = piece.split_once(',') else { continue };
            let letter = rest.trim_start().strip_prefix('"').and_then(|r| r.chars().next());
            if let (Some(bit), Some(letter)) = (parse_number(number), letter) {
                bits.push((bit, letter));
            }
        }
        let Some(highest) = bits.iter().map(|(bit, _)| *bit).max().filter(|b| *b < 1 << 40) else {
            return Self::default();
        };
        // `prev_state & 1024 ? "+"`: a number in old kernels, an expression in new ones.
        let literal = text
            .split("? \"+\"")
            .next()
            .filter(|before| before.len() < text.len())
            .and_then(|before| parse_number(before.rsplit('&').next()?));
        Self { bits, preempted: literal.unwrap_or(highest << 1) }
    }

    /// The state of a task that left its CPU with this value.
    pub(crate) fn state(&self, value: i64) -> PrevState {
        if value & self.preempted != 0 {
            return PrevState::Preempted;
        }
        if value == 0 {
            return PrevState::Runnable;
        }
        let letters = self.bits.iter().filter(|(bit, _)| value & bit != 0).map(|(_, l)| *l);
        letters.map(state_of_letter).max().unwrap_or(PrevState::Unknown)
    }
}

fn parse_number(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The state that a letter of ftrace text stands for.
pub(crate) fn state_of_letter(letter: char) -> PrevState {
    match letter {
        'R' => PrevState::Runnable,
        'S' => PrevState::Interruptible,
        'D' | 'K' => PrevState::Uninterruptible,
        'I' | 'W' | 'N' => PrevState::IdleSleep,
        'T' | 't' => PrevState::Stopped,
        'P' => PrevState::Parked,
        'X' | 'x' | 'Z' => PrevState::Dead,
        _ => PrevState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modern_states() {
        let table = StateTable::default();
        let letters = [0, 1, 2, 0x80, 0x100, 0x10, 0x102].map(|v| table.state(v).letter());
        assert_eq!(letters, ["R", "S", "D", "I", "R+", "X", "R+"]);
    }

    #[test]
    fn the_table_of_an_old_kernel_is_its_own() {
        let fmt = r#""%s", REC->prev_state & (1024-1) ? __print_flags(REC->prev_state & (1024-1), "|",
            { 1, "S"} , { 2, "D" }, { 16, "Z" }, { 32, "X" }, { 64, "x" }, { 128, "W" }) : "R",
            REC->prev_state & 1024 ? "+" : """#;
        let table = StateTable::from_print_fmt(fmt);
        let letters = [0, 2, 16, 64, 1024].map(|v| table.state(v).letter());
        assert_eq!(letters, ["R", "D", "X", "X", "R+"]);
    }
}
