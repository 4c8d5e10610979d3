//! `resched policies`

use super::{print, print_json};
use crate::args::Policies;
use crate::outcome::Outcome;
use anyhow::Result;
use replay::Policy;
use std::fmt::Write;

pub(super) fn run(args: &Policies) -> Result<Outcome> {
    if args.json {
        let list: Vec<_> = Policy::ALL
            .iter()
            .map(|p| {
                let switches: serde_json::Map<_, _> =
                    switches(*p).into_iter().map(|(name, _, on)| (name.to_owned(), on.into())).collect();
                serde_json::json!({ "policy": p.name(), "is": p.describe(), "mechanisms": switches })
            })
            .collect();
        print_json(&list)?;
        return Ok(Outcome::Done);
    }
    let mut text = String::new();
    for policy in Policy::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<9} {}", policy.name(), policy.describe());
    }
    text.push_str("\nmechanism               ");
    let columns = [Policy::None, Policy::Pe73];
    for policy in columns {
        let _ = write!(text, "{:>8}", policy.name());
    }
    text.push('\n');
    for (row, (name, what, _)) in switches(Policy::None).into_iter().enumerate() {
        let _ = write!(text, "{name:<24}");
        for policy in columns {
            let on = switches(policy).get(row).is_some_and(|(_, _, on)| *on);
            let _ = write!(text, "{:>8}", if on { "yes" } else { "-" });
        }
        let _ = writeln!(text, "  {what}");
    }
    print(&text)?;
    Ok(Outcome::Done)
}

/// Mechanisms by name, what they do, and whether a policy has them.
fn switches(policy: Policy) -> [(&'static str, &'static str, bool); 5] {
    let m = policy.mechanisms();
    [
        ("proxy-execution", "mutex waiters lend their place to the owner", m.proxy_execution),
        ("handoff", "unlock gives the mutex to the donor", m.handoff),
        ("return-in-wakeup", "a migrated donor goes home in its wakeup", m.return_in_wakeup),
        ("local-handoff-resched", "unlock asks the donor's own CPU too", m.local_handoff_resched),
        ("spinning", "contenders spin while the owner is on a CPU", m.spinning),
    ]
}
