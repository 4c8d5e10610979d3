//! What each mechanism brings, as a table.

use crate::ensemble::{Attribution, Share};
use crate::render::{change, name};
use analysis::Summary;
use serde_json::{Value, json};
use std::fmt::Write;

/// Fewest responses whose mean says something.
const FEWEST_RESPONSES: u64 = 5;

/// The sums by which mechanisms are weighed.
fn sums(s: &Summary) -> [(&'static str, f64); 4] {
    // The mean responses of tasks that wait for locks, each counted once, however many it has.
    let waits = s.tasks.iter().filter(|t| t.waits.length.count > 0);
    [
        ("responses", waits.map(|t| t.responses.mean_ns).sum()),
        ("inversion", s.waits.inversion.total_ns() as f64),
        ("donor migrations", (s.migrations.donor + s.migrations.returned) as f64),
        ("switches", s.switches as f64),
    ]
}

/// Below the comparison: one row a mechanism, once the other way round, once alone.
pub(crate) fn as_text(a: &Attribution, policy: &str) -> String {
    let mut text = format!(
        "\n{:30} {:>11} {:>11} {:>11} {:>11}\n",
        "", "responses", "inversion", "migrations", "switches"
    );
    text.insert_str(text.len() - 1, "  most changed");
    for share in &a.shares {
        let (name, sign) = (share.switch.name(), if share.is_on { "without" } else { "with" });
        row(&mut text, &format!("{sign} {name}"), share.flipped.as_ref(), &a.whole);
    }
    let _ = writeln!(text, "each against {policy}: what is lost without it, or won with it");
    for share in a.shares.iter().filter(|s| s.alone.is_some()) {
        let name = format!("{} alone", share.switch.name());
        row(&mut text, &name, share.alone.as_ref(), &a.bare);
    }
    text.push_str("each against proxy execution on one runqueue with none of them\n");
    text
}

fn row(text: &mut String, name: &str, changed: Option<&Summary>, reference: &Summary) {
    let _ = write!(text, "{name:30}");
    match changed {
        None => text.push_str(" cannot be had"),
        Some(changed) => {
            for ((what, before), (_, after)) in sums(reference).into_iter().zip(sums(changed)) {
                let cell = match what {
                    "responses" => change(before, after),
                    "inversion" => format!("{:+.2} ms", (after - before) / 1e6),
                    _ => format!("{:+}", after - before),
                };
                let _ = write!(text, " {cell:>11}");
            }
            if let Some((task, by)) = most_changed(reference, changed) {
                let _ = write!(text, "  {task} {by}");
            }
        }
    }
    text.push('\n');
}

/// The task whose mean response differs most, if any differs by a hundredth.
fn most_changed(reference: &Summary, changed: &Summary) -> Option<(String, String)> {
    let pairs = reference.tasks.iter().filter_map(|a| {
        let b = changed.tasks.iter().find(|b| b.key == a.key)?;
        let many = a.responses.count.min(b.responses.count) >= FEWEST_RESPONSES;
        let (a_mean, b_mean) = (a.responses.mean_ns, b.responses.mean_ns);
        many.then(|| (a, a_mean, b_mean, (b_mean / a_mean).ln().abs()))
    });
    let (task, a, b, by) = pairs.max_by(|(.., x), (.., y)| x.total_cmp(y))?;
    (by >= 0.01).then(|| (name(&task.key.to_string()), change(a, b)))
}

pub(crate) fn as_json(a: &Attribution) -> Value {
    let of = |s: &Summary| {
        Value::Object(sums(s).into_iter().map(|(k, v)| (k.replace(' ', "_"), json!(v))).collect())
    };
    let share = |s: &Share| {
        json!({
            "mechanism": s.switch.name(),
            "in_policy": s.is_on,
            "flipped": s.flipped.as_ref().map(of),
            "alone": s.alone.as_ref().map(of),
        })
    };
    json!({
        "policy": of(&a.whole),
        "bare": of(&a.bare),
        "mechanisms": a.shares.iter().map(share).collect::<Vec<_>>(),
    })
}
