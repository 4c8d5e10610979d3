//! What a scenario expects of the policies it names.

use super::parse::{Draft, Statement};
use super::word::{Word, Words, invalid, split};
use super::{Ask, Expectation, Millis};
use crate::{CpuId, Error};
use std::collections::BTreeSet;

/// Reads one block. Only what its lines ask for is understood; the answers stay text.
pub(super) fn read(statement: &Statement<'_>, draft: &Draft<'_>) -> Result<Expectation, Error> {
    let mut words = Words::new(&statement.words);
    let Some(word) = words.next().filter(|w| w.text == "expect") else {
        let line = statement.words.first().map_or(0, |w| w.line);
        return Err(invalid(line, "`--` begins `-- expect POLICY, POLICY`, and nothing else"));
    };
    let mut policies = Vec::new();
    while let Some(policy) = words.next() {
        let names = policy.text.split(',').filter(|name| !name.is_empty());
        policies.extend(names.map(str::to_owned));
    }
    if policies.is_empty() {
        return Err(word.error("`-- expect` names no policy"));
    }
    let mut lines = Vec::new();
    for &(line, text) in &statement.body {
        lines.push((ask(line, text, draft)?, text.to_owned()));
    }
    let timeline = |(ask, _): &(Ask, String)| match ask {
        Ask::Timeline(cpu) => Some(*cpu),
        _ => None,
    };
    let asked: BTreeSet<CpuId> = lines.iter().filter_map(timeline).collect();
    if let Some(missing) = draft.script.machine.cpus.iter().find(|cpu| !asked.contains(cpu)) {
        return Err(word.error(format!("this expectation has no line `CPU{}`", missing.0)));
    }
    Ok(Expectation { policies, first_line: word.line, lines })
}

fn ask(line: usize, text: &str, draft: &Draft<'_>) -> Result<Ask, Error> {
    if let Some(rest) = text.strip_prefix("CPU") {
        let number = rest.split_whitespace().next().and_then(|n| n.parse().ok());
        let cpu = number.map(CpuId).filter(|cpu| draft.script.machine.cpus.has(*cpu));
        return cpu.map(Ask::Timeline).ok_or_else(|| no_line(line, text, draft));
    }
    let words = split(line, text)?;
    let mut words = Words::new(&words);
    let word = words.next().expect("a body line is not empty");
    match word.text {
        "acq" => {
            let who = draft.task(words.argument(word, "a task")?)?;
            Ok(Ask::Acquired(who, draft.known_lock(words.argument(word, "a lock")?)?))
        }
        "charged" => {
            let mut tasks = Vec::new();
            while let Some(name) = words.next() {
                tasks.push(draft.task(name)?);
                if words.peek().is_some_and(|w| Millis::from_text(w.text).is_some()) {
                    words.next();
                }
            }
            Ok(Ask::Charged(tasks))
        }
        "moves" => Ok(Ask::Moves(draft.task(words.argument(word, "a task")?)?)),
        _ => Err(no_line(line, text, draft)),
    }
}

fn no_line(line: usize, text: &str, draft: &Draft<'_>) -> Error {
    let word = Word { line, text: text.split_whitespace().next().unwrap_or_default() };
    let cpus = &draft.script.machine.cpus;
    let first = cpus.iter().next().map_or(0, |cpu| cpu.0);
    let last = cpus.last().map_or(0, |cpu| cpu.0);
    word.error(format!(
        "`{}` is no line of an expectation; there are CPU{first} to CPU{last}, acq, charged, moves",
        word.text
    ))
}
