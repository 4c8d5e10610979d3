//! `resched replay` of a scenario: what can be asked of it, and what it says.

use crate::args::Replay;
use crate::command::explain;
use crate::render::{comparison, headline};
use crate::study::Verdict;
use anyhow::{Result, bail};
use replay::Policy;

/// Refuses what only a recording can answer; `--policy recorded` fails by itself.
pub(super) fn check(name: &str, args: &Replay, against: Policy) -> Result<()> {
    if args.diverge {
        bail!(
            "{name}: is a scenario: there is no recording that a replay of it could leave. \
             `resched replay RECORDING --diverge` takes the one that it was made from"
        );
    }
    if against == Policy::Recorded {
        bail!(
            "{name}: is a scenario: nothing was recorded that a replay could be compared with. \
             Name another policy, as in `--against none`"
        );
    }
    Ok(())
}

/// The comparison of two replays, without a word on a recording.
pub(super) fn as_text(v: &Verdict) -> String {
    let (a, b) = (v.base.variant.name.as_str(), v.other.variant.name.as_str());
    let mut text = headline::of_scenario(&v.study.input.name, &v.study.demand);
    text.push_str(&format!("\na scenario, no recording; replayed under {a} and {b}\n\n"));
    text.push_str(&comparison::table(&v.comparison, [a, b], super::replay::beside(v, None)));
    text.push('\n');
    text.push_str(&explain::worst_of_replay(v));
    for (n, line) in headline::assumptions(v).into_iter().enumerate() {
        text.push_str(&format!("  {:<9} {line}\n", if n == 0 { "machine" } else { "" }));
    }
    for note in v.other.notes.iter().take(3) {
        text.push_str(&format!("  note      {} {}\n", note.at, note.text));
    }
    text
}
