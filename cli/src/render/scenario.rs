//! What a scenario is, what can be asked of it, and the lines above the demand of a recording.

use crate::render::{headline, name};
use crate::scenario::Scenario;
use crate::study::Study;
use model::demand::Demand;
use serde_json::{Value, json};
use std::fmt::Write;

/// What can be asked of a scenario, and what cannot.
const QUESTIONS: &str = "\
can be asked:  what a policy makes of it (`replay`)
can be asked:  its schedule under none (`analyze`, `explain`, `compare`)
cannot:        what a recording says (`--policy recorded`, `--against recorded`, `--diverge`)
";

/// A scenario as text.
pub(crate) fn as_text(scenario: &Scenario) -> String {
    let mut text = headline::of_scenario(&scenario.name, &scenario.demand);
    text.push_str("\na scenario: what tasks ask for, and no recording\n\n");
    for comment in &scenario.comments {
        let _ = writeln!(text, "{}", name(comment));
    }
    if !scenario.comments.is_empty() {
        text.push('\n');
    }
    if let Some(reason) = &scenario.script.not_yet {
        let _ = writeln!(text, "cannot:        run yet: {}", name(reason));
    }
    text.push_str(QUESTIONS);
    let expected = expected(scenario);
    if !expected.is_empty() {
        let _ = writeln!(text, "expected:      schedules under {}", expected.join(", "));
    }
    text
}

/// A scenario as JSON.
pub(crate) fn as_json(scenario: &Scenario) -> Value {
    let mut json = counts(&scenario.name, &scenario.demand);
    json["scenario"] = true.into();
    json["not_yet"] = json!(scenario.script.not_yet);
    json["expected"] = json!(expected(scenario));
    json
}

/// The policies whose schedules are written in it.
fn expected(scenario: &Scenario) -> Vec<&str> {
    let blocks = scenario.script.expectations.iter();
    blocks.flat_map(|block| block.policies.iter().map(String::as_str)).collect()
}

/// How much there is.
pub(crate) fn counts(file: &str, demand: &Demand) -> Value {
    json!({
        "file": file,
        "cpus": demand.machine.cpus.iter().map(|cpu| cpu.0).collect::<Vec<_>>(),
        "begin_ns": demand.start.0,
        "end_ns": demand.end.0,
        "tasks": demand.tasks.len(),
        "ops": demand.tasks.iter().map(|task| task.ops.len()).sum::<usize>(),
        "locks": demand.locks.len(),
        "groups": demand.groups.len(),
        "assumed": demand.machine.assumed,
    })
}

/// How far a demand can be trusted, a line each.
pub(crate) fn doubts(study: &Study) -> Vec<String> {
    let weak = study.weaknesses().into_iter().map(|weakness| weakness.text().to_owned());
    let guessed = study.guesses.iter().map(|(note, n)| match n {
        1 => format!("{} (once)", note.text()),
        n => format!("{} ({n} times)", note.text()),
    });
    weak.chain(guessed).collect()
}

/// The comment above the demand of a recording.
pub(crate) fn comment(study: &Study) -> String {
    let mut text = "# What the tasks of a recording asked for.\n".to_owned();
    wrapped(&mut text, &headline::of_scenario(&study.input.name, &study.demand));
    for doubt in doubts(study) {
        wrapped(&mut text, &doubt);
    }
    text
}

/// A comment of at most 100 columns, further in from its second line on.
fn wrapped(text: &mut String, words: &str) {
    let mut line = "#  ".to_owned();
    for word in words.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            let _ = writeln!(text, "{line}");
            line = "#    ".to_owned();
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}
