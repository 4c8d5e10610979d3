//! `resched demo`: the main job on a recording that comes along.

use super::{print, replay};
use crate::args::Demo;
use crate::ensemble::Draws;
use crate::input::Input;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::study::{CostChoice, Study, Variant, Verdict};
use ::replay::Policy;
use anyhow::Result;

pub(super) fn run(args: &Demo) -> Result<Outcome> {
    let chart = Output::new(&args.svg, &["svg"], &[])?;
    let input = Input::embedded(fixtures::DEMO_NAME, fixtures::DEMO, fixtures::DEMO_HOST)?;
    let study = Study::of(input, CostChoice::Calibrated)?;
    let [none, other] = [Policy::None, Policy::Pe73].map(Variant::plain);
    let verdict = Verdict::of(study, none, other, Draws::up_to(args.draws))?;
    let labels = [verdict.base.variant.name.as_str(), verdict.other.variant.name.as_str()];
    replay::write_chart(&chart, &verdict.comparison, labels)?;
    let line = format!("  chart     {}\n", args.svg.display());
    print(&(replay::as_text(&verdict) + &line))?;
    Ok(Outcome::Done)
}
