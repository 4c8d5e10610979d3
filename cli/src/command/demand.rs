//! `resched demand`: what each task of a recording asked for, as a scenario.

use super::{cover, print, print_json};
use crate::args::Demand;
use crate::input::{Input, Source};
use crate::outcome::{Outcome, say};
use crate::output::Output;
use crate::render::scenario as rendered;
use crate::scenario::Scenario;
use crate::study::{CostChoice, Study, Weakness};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

pub(super) fn run(args: &Demand) -> Result<Outcome> {
    let to = |path| Output::new(path, &["sched"], &[args.file.as_path()]);
    let output = args.output.as_deref().map(to).transpose()?;
    match Source::read(&args.file)? {
        Source::Trace(input) => of_recording(args, *input, output.as_ref()),
        Source::Scenario(scenario) => of_scenario(args, &scenario, output.as_ref()),
    }
}

fn of_recording(args: &Demand, input: Input, output: Option<&Output>) -> Result<Outcome> {
    input.say_oddities();
    let study = Study::covering(input, CostChoice::Calibrated, cover(&args.cover))?;
    let (name, weaknesses) = (&study.input.name, study.weaknesses());
    if weaknesses.contains(&Weakness::ProxyExecutionOn) {
        say(&format!("resched: {name}: {}", Weakness::ProxyExecutionOn.text()));
        return Ok(Outcome::Inconclusive);
    }
    for doubt in rendered::doubts(&study) {
        say(&format!("note: {name}: {doubt}"));
    }
    let mut json = rendered::counts(name, &study.demand);
    let notes = study.guesses.iter().map(|(note, n)| (note.name().to_owned(), json!(n)));
    json["notes"] = Value::Object(notes.collect());
    json["weaknesses"] = weaknesses.iter().map(|w| w.text()).collect();
    show(args, output, &rendered::comment(&study), &study.demand, &json)?;
    Ok(if weaknesses.is_empty() { Outcome::Done } else { Outcome::Inconclusive })
}

/// A scenario in the form that the demand of a recording has.
fn of_scenario(args: &Demand, scenario: &Scenario, output: Option<&Output>) -> Result<Outcome> {
    let name = &scenario.name;
    scenario.check()?;
    ensure!(
        args.cover.is_empty(),
        "{name}: is a scenario: the critical sections that it has are written in it. Leave --cover \
         out, or give it with the recording that the scenario was made from"
    );
    if !scenario.script.expectations.is_empty() {
        say(&format!("note: {name}: what it expects of policies is no demand and is left out"));
    }
    let comments: String = scenario.comments.iter().map(|line| format!("{line}\n")).collect();
    show(args, output, &comments, &scenario.demand, &rendered::as_json(scenario))?;
    Ok(Outcome::Done)
}

/// Writes the text to a file or prints it; JSON takes the place of what is printed.
fn show(
    args: &Demand,
    output: Option<&Output>,
    comment: &str,
    demand: &model::Demand,
    json: &Value,
) -> Result<()> {
    let mut text = comment.to_owned();
    model::demand::write(demand, &mut text)?;
    match output {
        Some(output) => output.write(|out| Ok(out.write_all(text.as_bytes())?))?,
        None if !args.json => print(&text)?,
        None => {}
    }
    if args.json { print_json(json) } else { Ok(()) }
}
