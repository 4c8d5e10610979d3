//! What a scenario expects of the policies it names.

use super::parse::{Statement, Word, Words, invalid};
use super::{Ask, Expectation, Millis, Script};
use crate::{CpuId, Error};

/// Reads one block. Only what its lines ask for is understood; the answers stay text.
pub(super) fn read(statement: &Statement<'_>, script: &Script) -> Result<Expectation, Error> {
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
        let words: Vec<_> = text.split_whitespace().map(|text| Word { line, text }).collect();
        lines.push((ask(&words, script)?, text.to_owned()));
    }
    let asked = |cpu| lines.iter().any(|(ask, _)| *ask == Ask::Timeline(CpuId(cpu)));
    if let Some(missing) = (0..script.machine.cpus).find(|&cpu| !asked(cpu)) {
        return Err(word.error(format!("this expectation has no line `CPU{missing}`")));
    }
    Ok(Expectation { policies, first_line: word.line, lines })
}

fn ask(words: &[Word<'_>], script: &Script) -> Result<Ask, Error> {
    let mut words = Words::new(words);
    let word = words.next().expect("a body line is not empty");
    match word.text {
        "acq" => {
            let who = task(words.argument(word, "a task")?, script)?;
            let lock = words.argument(word, "a lock")?;
            let known = script.locks.iter().position(|name| name == lock.text);
            let which = known.ok_or_else(|| lock.error(format!("no lock is `{}`", lock.text)))?;
            Ok(Ask::Acquired(who, which))
        }
        "charged" => {
            let mut tasks = Vec::new();
            while let Some(name) = words.next() {
                tasks.push(task(name, script)?);
                if words.peek().is_some_and(|w| Millis::from_text(w.text).is_some()) {
                    words.next();
                }
            }
            Ok(Ask::Charged(tasks))
        }
        "moves" => Ok(Ask::Moves(task(words.argument(word, "a task")?, script)?)),
        other => {
            let number = other.strip_prefix("CPU").and_then(|n| n.parse().ok());
            let cpu = number.filter(|&n: &u32| n < script.machine.cpus);
            cpu.map(|n| Ask::Timeline(CpuId(n))).ok_or_else(|| {
                word.error(format!("`{other}` is no line of an expectation; there are CPU0 to CPU{}, acq, charged, moves", script.machine.cpus - 1))
            })
        }
    }
}

fn task(word: Word<'_>, script: &Script) -> Result<usize, Error> {
    let known = script.tasks.iter().position(|t| t.name == word.text);
    known.ok_or_else(|| word.error(format!("no task is `{}`", word.text)))
}
