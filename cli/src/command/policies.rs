//! `resched policies`

use super::{print, print_json};
use crate::args::Policies;
use crate::outcome::Outcome;
use anyhow::Result;
use replay::{Policy, Switch};
use std::fmt::Write;

pub(super) fn run(args: &Policies) -> Result<Outcome> {
    if args.json {
        print_json(&serde_json::json!({
            "policies": Policy::ALL.map(policy_as_json),
            "mechanisms": Switch::ALL.map(|s| {
                serde_json::json!({ "mechanism": s.name(), "is": s.describe() })
            }),
        }))?;
    } else {
        print(&as_text())?;
    }
    Ok(Outcome::Done)
}

fn policy_as_json(policy: Policy) -> serde_json::Value {
    let mechanisms = policy.mechanisms();
    let on = Switch::ALL.iter().map(|s| (s.name().to_owned(), s.is_on(&mechanisms).into()));
    let on: serde_json::Map<_, _> = on.collect();
    serde_json::json!({ "policy": policy.name(), "is": policy.describe(), "mechanisms": on })
}

fn as_text() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for policy in Policy::ALL {
        let _ = writeln!(text, "{:<12} {}", policy.name(), policy.describe());
    }
    text.push_str("\nEach mechanism can be switched: `resched replay --with A,B --without C`.\n\n");
    let columns = &Policy::ALL[1..];
    let _ = write!(text, "{:<21}", "");
    for policy in columns {
        let _ = write!(text, "  {}", policy.name());
    }
    text.push('\n');
    for switch in Switch::ALL {
        let _ = write!(text, "{:<21}", switch.name());
        for policy in columns {
            let on = switch.is_on(&policy.mechanisms());
            let width = policy.name().len() + 2;
            let _ = write!(text, "{:>width$}", if on { "yes" } else { "-" });
        }
        text.push('\n');
    }
    text.push('\n');
    for switch in Switch::ALL {
        let _ = writeln!(text, "{:<22} {}", switch.name(), switch.describe());
    }
    text
}
