//! `resched compare`: two traces, or a trace and its replay, side by side.

use super::{print, print_json, replay};
use crate::args::Compare;
use crate::ensemble::Draws;
use crate::input::Input;
use crate::outcome::{Outcome, say};
use crate::output::Output;
use crate::render::comparison::Beside;
use crate::render::{comparison, headline, summary};
use crate::study::{CostChoice, Study, Variant, Verdict, Weakness};
use ::replay::Policy;
use analysis::{Comparison, Summary};
use anyhow::Result;
use std::path::Path;

pub(super) fn run(args: &Compare) -> Result<Outcome> {
    let policy: Policy = args.policy.parse()?;
    let inputs: Vec<&Path> = [&args.before].into_iter().chain(&args.after).map(|p| &**p).collect();
    let chart = args.svg.as_deref().map(|p| Output::new(p, &["svg"], &inputs)).transpose()?;
    let chart = chart.as_ref();
    let before = Input::open_to_look(&args.before)?;
    let Some(after) = &args.after else { return with_replay(args, before, policy, chart) };
    let after = Input::open_to_look(after)?;
    let (a, b) = (before.trace(), after.trace());
    let comparison = analysis::compare(&a, &b);
    show(args, chart, &comparison, ["before", "after"], || {
        format!(
            "before  {}\nafter   {}\n",
            headline::of_trace(&before.title(), &a, &comparison.before),
            headline::of_trace(&after.title(), &b, &comparison.after)
        )
    })?;
    Ok(Outcome::Done)
}

/// The recording beside two replays: what changes lies between those.
fn with_replay(
    args: &Compare,
    input: Input,
    policy: Policy,
    chart: Option<&Output>,
) -> Result<Outcome> {
    let title = input.title();
    let mut study = Study::of(input, CostChoice::Calibrated)?;
    study.seed = args.seed;
    let weaknesses = study.weaknesses();
    for weakness in &weaknesses {
        say(&format!("resched: {}: {}", study.input.name, weakness.text()));
    }
    if weaknesses.contains(&Weakness::ProxyExecutionOn) && policy != Policy::Recorded {
        return Ok(Outcome::Inconclusive);
    }
    let draws = args.draws.map_or_else(|| Draws::usual(&study), Draws::up_to);
    let v = Verdict::of(study, Variant::plain(Policy::None), Variant::plain(policy), draws)?;
    let is_sound = weaknesses.is_empty() && replay::holds(&v);
    let labels = [v.base.variant.name.as_str(), v.other.variant.name.as_str()];
    if let Some(chart) = chart {
        replay::write_chart(chart, &v.comparison, labels)?;
    }
    let recorded = analysis::summary(v.study.recorded());
    if args.json {
        let mut json = replay::as_json(&v);
        json["recorded"] = serde_json::to_value(&recorded)?;
        print_json(&json)?;
    } else {
        print(&beside_replays(&title, &v, &recorded))?;
    }
    Ok(if is_sound { Outcome::Done } else { Outcome::Inconclusive })
}

/// The recording, its replay under `none` and the one under the other policy: what changes, and on
/// what waits go.
fn beside_replays(title: &str, v: &Verdict, recorded: &Summary) -> String {
    let labels = [v.base.variant.name.as_str(), v.other.variant.name.as_str()];
    let mut text = format!("{}\n", headline::of_trace(title, v.study.recorded(), recorded));
    text.push_str(&replay::means_of(v));
    text.push('\n');
    let beside = replay::beside(v, Some(recorded));
    text.push_str(&comparison::table(&v.comparison, labels, beside));
    let sides = [&v.comparison.before, &v.comparison.after].into_iter().zip(labels);
    let recorded = (!v.study.is_scenario()).then_some((recorded, "recorded"));
    for (side, label) in recorded.into_iter().chain(sides) {
        let one = if label == "recorded" { "" } else { ", one replay" };
        let parts = summary::parts(&side.waits.parts);
        text.push_str(&format!("\nlock waits, {label}{one}\n{parts}"));
    }
    if !v.study.is_scenario() {
        text.push_str(&format!("\ntrust     {}\n", headline::trust(&v.fidelity)));
        if let Some(line) = headline::overall(&v.fidelity) {
            text.push_str(&format!("          {line}\n"));
        }
    }
    text
}

fn show(
    args: &Compare,
    chart: Option<&Output>,
    c: &Comparison,
    labels: [&str; 2],
    head: impl Fn() -> String,
) -> Result<()> {
    if let Some(chart) = chart {
        replay::write_chart(chart, c, labels)?;
    }
    if args.json {
        return print_json(c);
    }
    print(&format!(
        "{}\n{}\nlock waits, {}\n{}lock waits, {}\n{}",
        head(),
        comparison::table(c, labels, Beside::default()),
        labels[0],
        summary::parts(&c.before.waits.parts),
        labels[1],
        summary::parts(&c.after.waits.parts)
    ))
}
