//! `resched replay`: the demand of a recording under another policy.

use super::{cover, print, print_json, scenario};
use crate::args::Replay;
use crate::chart;
use crate::command::explain;
use crate::ensemble::{self, Draws};
use crate::input::Input;
use crate::outcome::{Outcome, say};
use crate::output::Output;
use crate::render::comparison::Beside;
use crate::render::{attribution, comparison, divergence, headline, name};
use crate::study::{CostChoice, Replayed, Study, Variant, Verdict, Weakness};
use analysis::divergence::Side;
use analysis::{Comparison, Fidelity, Part};
use anyhow::{Result, bail};
use replay::{Cost, Policy};
use std::io::Write;

pub(super) fn run(args: &Replay) -> Result<Outcome> {
    let policy: Policy = args.policy.parse()?;
    let against: Policy = args.against.parse()?;
    let cover = cover(&args.cover);
    let variant = Variant::of(policy, &args.with, &args.without, cover)?;
    let costs = if args.no_costs { CostChoice::Zero } else { CostChoice::Calibrated };
    let set: Vec<Cost> = args.cost.iter().map(|c| c.parse()).collect::<Result<_, _>>()?;
    let inputs = [args.file.as_path()];
    let schedule = args.output.as_deref().map(|p| Output::new(p, &["txt"], &inputs)).transpose()?;
    let chart = args.svg.as_deref().map(|p| Output::new(p, &["svg"], &inputs)).transpose()?;
    let mut study = Study::covering(Input::open(&args.file)?, costs, cover)?;
    if study.is_scenario() {
        scenario::check(&study.input.name, args, against)?;
    }
    study.seed = args.seed;
    for cost in &set {
        study.costs.set(cost)?;
    }
    let weaknesses = study.weaknesses();
    for weakness in &weaknesses {
        say(&format!("resched: {}: {}", study.input.name, weakness.text()));
    }
    if weaknesses.contains(&Weakness::ProxyExecutionOn) && policy != Policy::Recorded {
        return Ok(Outcome::Inconclusive);
    }
    if args.diverge {
        return diverge(&study, Variant::plain(against), args);
    }
    if args.attribute && !variant.mechanisms.proxy_execution {
        bail!("--attribute takes proxy execution apart, and {} has none", variant.name);
    }
    let draws = args.draws.map_or_else(|| Draws::usual(&study), Draws::up_to);
    let verdict = Verdict::of(study, Variant::plain(against), variant, draws)?;
    let shares = if args.attribute {
        Some(ensemble::attribute(&verdict.study, &verdict.other.variant)?)
    } else {
        None
    };
    let is_faithful = holds(&verdict);
    if let Some(schedule) = &schedule {
        write_schedule(schedule, &verdict.other)?;
    }
    if let Some(chart) = &chart {
        write_chart(chart, &verdict.comparison, [against.name(), &verdict.other.variant.name])?;
    }
    if args.json {
        let mut json = as_json(&verdict);
        if let Some(shares) = &shares {
            json["attribution"] = attribution::as_json(shares);
        }
        print_json(&json)?;
    } else {
        let shares = shares.map(|s| attribution::as_text(&s, &verdict.other.variant.name));
        print(&(as_text(&verdict) + &shares.unwrap_or_default()))?;
    }
    let is_sound = weaknesses.is_empty() && is_faithful;
    Ok(if is_sound { Outcome::Done } else { Outcome::Inconclusive })
}

/// Whether a prediction can rest on its replays; says why not.
pub(super) fn holds(v: &Verdict) -> bool {
    // What was recorded is no prediction.
    let is_recorded = v.other.variant.policy == Policy::Recorded;
    let is_faithful = is_recorded || carries(&v.study, &v.fidelity);
    let goes_on = [&v.base, &v.other].map(|r| goes_on(&v.study, r));
    is_faithful && goes_on == [true; 2]
}

/// Whether predictions can rest on a baseline; says why not.
pub(super) fn carries(study: &Study, fidelity: &Fidelity) -> bool {
    if fidelity.carries_predictions() {
        return true;
    }
    say(&format!(
        "resched: {}: replayed under none, {}: no prediction can rest on that. \
         `resched replay FILE --diverge` shows where the two part. What a replay cannot know of a \
         machine goes into TRACE.host.json: cgroups and weights, nice levels, affinities, tick \
         and preemption{}",
        study.input.name,
        headline::misses(fidelity),
        if study.recorded().has("futex_begin") {
            ""
        } else {
            "; locks in user space it knows from recordings with `--detail owner` alone"
        }
    ));
    false
}

/// Whether a replay goes on to its end; says where it stands still.
pub(super) fn goes_on(study: &Study, replayed: &Replayed) -> bool {
    let Some(stall) = replayed.notes.iter().find(|note| note.is_stall) else { return true };
    say(&format!(
        "resched: {}: replayed under {}, tasks wait for each other for ever from {} on, so no \
         prediction can rest on that. {}",
        study.input.name,
        replayed.variant.name,
        stall.at,
        name(&stall.text)
    ));
    false
}

/// The recording beside its own replay, decision by decision.
fn diverge(study: &Study, against: Variant, args: &Replay) -> Result<Outcome> {
    if against.policy == Policy::Recorded {
        bail!("--diverge compares the recording with a replay: name another policy for --against");
    }
    let (replayed, decisions) = study.replay_with_rules(against);
    let side = |recording, trace, decisions| Side { recording, trace, decisions };
    let recorded = side(&study.input.recording, study.recorded(), &[]);
    let found =
        analysis::divergence(recorded, side(&replayed.recording, &replayed.trace, &decisions));
    let policy = &replayed.variant.name;
    if args.json {
        print_json(&divergence::as_json(&study.input.name, policy, &found))?;
    } else {
        let summary = analysis::summary(study.recorded());
        let head = headline::of_trace(&study.input.name, study.recorded(), &summary);
        print(&format!("{head}\n{}", divergence::as_text(policy, &found)))?;
    }
    Ok(if study.weaknesses().is_empty() { Outcome::Done } else { Outcome::Inconclusive })
}

/// Writes a replayed schedule as ftrace text.
fn write_schedule(to: &Output, replayed: &Replayed) -> Result<()> {
    to.write(|out| {
        let mut out = Text { out, error: None };
        let written = trace_formats::write_ftrace_text(&replayed.recording, &mut out);
        out.error.map_or(Ok(()), Err)?;
        Ok(written?)
    })
}

/// Formatted text on its way to a file; keeps the error that formatting cannot carry.
struct Text<W> {
    out: W,
    error: Option<std::io::Error>,
}

impl<W: Write> std::fmt::Write for Text<W> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            std::fmt::Error
        })
    }
}

/// Draws the lock waits of both sides.
pub(super) fn write_chart(to: &Output, c: &Comparison, labels: [&str; 2]) -> Result<()> {
    let mut pairs: Vec<_> = c.tasks.iter().filter(|p| waited(p) > 0).collect();
    pairs.sort_by_key(|p| std::cmp::Reverse(waited(p)));
    let mut bars = Vec::new();
    for pair in pairs.into_iter().take(12) {
        for (side, label) in [&pair.before, &pair.after].into_iter().zip(labels) {
            let parts = side.as_ref().map(|t| t.waits.parts).unwrap_or_default();
            bars.push(chart::Bar {
                task: pair.key.to_string(),
                policy: label.to_owned(),
                parts: Part::ALL.iter().map(|p| (p.text(), parts.get(*p).0)).collect(),
            });
        }
    }
    let title = format!("What lock waits were spent on, {} beside {}", labels[0], labels[1]);
    let svg = chart::waits(&title, &bars)?;
    to.write(|out| Ok(out.write_all(svg.as_bytes())?))
}

fn waited(pair: &analysis::compare::TaskPair) -> u64 {
    let of = |t: &Option<analysis::TaskSummary>| t.as_ref().map_or(0, |t| t.waits.length.total_ns);
    of(&pair.before).max(of(&pair.after))
}

pub(super) fn as_json(v: &Verdict) -> serde_json::Value {
    let c = v.other.counts;
    serde_json::json!({
        "file": v.study.input.name,
        "against": v.base.variant.name,
        "policy": v.other.variant.name,
        "comparison": v.comparison,
        "intervals": v.intervals,
        "proxy": {
            "donor_migrations": c.donor_migrations,
            "return_migrations": c.return_migrations,
            "idle_detours": c.idle_detours,
            "handoffs": c.handoffs,
            "chain_hops": c.chain_hops,
        },
        "trust": (!v.study.is_scenario()).then_some(&v.fidelity),
        "costs_ns": v.study.costs.all().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "assumed": v.study.demand.machine.assumed,
        "weaknesses": v.study.weaknesses().iter().map(|w| w.text()).collect::<Vec<_>>(),
        "notes": v.other.notes.iter().map(|n| format!("{} {}", n.at, n.text)).collect::<Vec<_>>(),
    })
}

pub(super) fn as_text(v: &Verdict) -> String {
    if v.study.is_scenario() {
        return scenario::as_text(v);
    }
    let recorded = analysis::summary(v.study.recorded());
    let (a, b) = (v.base.variant.name.as_str(), v.other.variant.name.as_str());
    let mut text = headline::of_trace(&v.study.input.name, v.study.recorded(), &recorded);
    text.push_str(&format!(
        "\nrecorded {}; replayed under {a} and {b}\n{}\n",
        recorded_how(&v.study),
        means_of(v)
    ));
    text.push_str(&comparison::table(&v.comparison, [a, b], beside(v, Some(&recorded))));
    text.push('\n');
    text.push_str(&explain::worst_of_replay(v));
    if v.other.variant.policy == Policy::Recorded {
        text.push_str("  identical the demand gives the recording back, event by event\n");
    }
    text.push_str(&format!("  trust     {}\n", headline::trust(&v.fidelity)));
    let overall = headline::overall(&v.fidelity);
    for line in overall.into_iter().chain(headline::assumptions(v)) {
        text.push_str(&format!("            {line}\n"));
    }
    for note in v.other.notes.iter().take(3) {
        text.push_str(&format!("  note      {} {}\n", note.at, note.text));
    }
    text
}

/// What the figures of a table are: a line, unless they are those of one replay.
pub(super) fn means_of(v: &Verdict) -> String {
    match v.intervals.draws {
        0 => String::new(),
        n => format!("means of {n} replays each, with other random seeds\n"),
    }
}

/// What stands beside the comparison of two replays; the recording, unless it is one of the two.
pub(super) fn beside<'v>(v: &'v Verdict, recorded: Option<&'v analysis::Summary>) -> Beside<'v> {
    let is_shown = v.base.variant.policy != Policy::Recorded && !v.study.is_scenario();
    Beside {
        recorded: recorded.filter(|_| is_shown),
        counts: Some(&v.other.counts),
        intervals: Some(&v.intervals),
    }
}

fn recorded_how(study: &Study) -> &'static str {
    match study.input.host.as_ref().and_then(|h| h.proxy_execution) {
        Some(true) => "with proxy execution",
        Some(false) => "without proxy execution",
        None => "(proxy execution not stated, taken as off)",
    }
}
