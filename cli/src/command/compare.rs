//! `resched compare`: two traces, or a trace and its replay, side by side.

use super::{print, print_json, replay};
use crate::args::Compare;
use crate::input::Input;
use crate::outcome::{Outcome, say};
use crate::output::Output;
use crate::render::{comparison, headline, summary};
use crate::study::{CostChoice, Study, Variant, Weakness};
use ::replay::Policy;
use analysis::Comparison;
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

/// The recording itself beside its replay; `resched replay` compares two replays instead.
fn with_replay(
    args: &Compare,
    input: Input,
    policy: Policy,
    chart: Option<&Output>,
) -> Result<Outcome> {
    let title = input.title();
    let study = Study::of(input, CostChoice::Calibrated)?;
    let weaknesses = study.weaknesses();
    for weakness in &weaknesses {
        say(&format!("resched: {}: {}", study.input.name, weakness.text()));
    }
    if weaknesses.contains(&Weakness::ProxyExecutionOn) && policy != Policy::Recorded {
        return Ok(Outcome::Inconclusive);
    }
    let is_faithful = replay::carries_unseen(&study, policy)?;
    let replayed = study.replay(Variant::plain(policy))?;
    let is_faithful = is_faithful && replay::goes_on(&study, &replayed);
    let comparison = analysis::compare(study.recorded(), &replayed.trace);
    let before = if study.is_scenario() { "none" } else { "recorded" };
    show(args, chart, &comparison, [before, policy.name()], || {
        let head = headline::of_trace(&title, study.recorded(), &comparison.before);
        format!("{head}\n")
    })?;
    let is_sound = weaknesses.is_empty() && is_faithful;
    Ok(if is_sound { Outcome::Done } else { Outcome::Inconclusive })
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
        comparison::table(c, labels, None, &analysis::Intervals::default()),
        labels[0],
        summary::parts(&c.before.waits.parts),
        labels[1],
        summary::parts(&c.after.waits.parts)
    ))
}
