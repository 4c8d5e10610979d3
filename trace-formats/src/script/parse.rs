//! A scenario's text, cut into statements; each kind is read in its own file.

use super::{Millis, Script, expectation, machine, task};
use crate::{Error, ErrorKind, Nanos, Position};

/// Reads a scenario.
///
/// # Errors
///
/// At the first word that is not understood; the error names its line and the word.
pub fn parse(text: &str) -> Result<Script, Error> {
    let statements = cut(text)?;
    let mut script = Script {
        groups: Vec::new(),
        machine: machine::default(),
        tasks: Vec::new(),
        locks: Vec::new(),
        kinds: Vec::new(),
        not_yet: None,
        expectations: Vec::new(),
    };
    let mut tasks = Vec::new();
    for statement in statements.iter().filter(|s| s.kind == Kind::Head) {
        let mut words = Words::new(&statement.words);
        if !machine::read(&mut words, &mut script)? {
            tasks.push(words);
        }
    }
    machine::settle(&mut script.machine);
    let names: Vec<&str> = tasks.iter().filter_map(|w| w.peek().map(|w| w.text)).collect();
    for words in &mut tasks {
        let task = task::read(words, &names, &mut script)?;
        script.tasks.push(task);
    }
    for statement in statements.iter().filter(|s| s.kind == Kind::Expect) {
        let block = expectation::read(statement, &script)?;
        script.expectations.push(block);
    }
    Ok(script)
}

/// A word and its line, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'t> {
    pub(super) line: usize,
    pub(super) text: &'t str,
}

impl Word<'_> {
    /// The error that this word is.
    pub(super) fn error(self, what: impl Into<String>) -> Error {
        invalid(self.line, what)
    }
}

pub(super) fn invalid(line: usize, what: impl Into<String>) -> Error {
    let line = u64::try_from(line).unwrap_or(u64::MAX);
    Error { kind: ErrorKind::Invalid { what: what.into() }, at: Position::Line(line) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A machine setting or a task.
    Head,
    /// An `-- expect` block.
    Expect,
}

/// A logical line: for a task with its continuation lines, for a block with its body.
#[derive(Debug)]
pub(super) struct Statement<'t> {
    pub(super) kind: Kind,
    /// Words of the head line (and of the continuation lines).
    pub(super) words: Vec<Word<'t>>,
    /// Body lines of a block, with their line numbers.
    pub(super) body: Vec<(usize, &'t str)>,
}

fn split(line: usize, text: &str) -> Vec<Word<'_>> {
    text.split_whitespace().map(|text| Word { line, text }).collect()
}

fn cut(text: &str) -> Result<Vec<Statement<'_>>, Error> {
    let mut statements: Vec<Statement<'_>> = Vec::new();
    let mut in_body = false;
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let content = raw.split('#').next().unwrap_or_default().trim_end();
        if content.is_empty() {
            in_body = false;
        } else if let Some(header) = content.strip_prefix("--") {
            in_body = true;
            let words = split(line, header);
            statements.push(Statement { kind: Kind::Expect, words, body: Vec::new() });
        } else if in_body && let Some(block) = statements.last_mut() {
            block.body.push((line, content));
        } else if statements.last().is_some_and(|s| s.kind == Kind::Expect) {
            return Err(invalid(
                line,
                format!(
                    "`{content}` stands after an expectation; tasks and settings come before the first one"
                ),
            ));
        } else if content.starts_with(char::is_whitespace) {
            let Some(task) = statements.last_mut() else {
                return Err(invalid(line, "this line continues a task, but none is above it"));
            };
            task.words.extend(split(line, content));
        } else {
            let words = split(line, content);
            statements.push(Statement { kind: Kind::Head, words, body: Vec::new() });
        }
    }
    Ok(statements)
}

/// The words of one statement, read from left to right.
#[derive(Debug)]
pub(super) struct Words<'s, 't> {
    words: &'s [Word<'t>],
    next: usize,
}

impl<'s, 't> Words<'s, 't> {
    pub(super) fn new(words: &'s [Word<'t>]) -> Self {
        Self { words, next: 0 }
    }

    pub(super) fn peek(&self) -> Option<Word<'t>> {
        self.words.get(self.next).copied()
    }

    pub(super) fn next(&mut self) -> Option<Word<'t>> {
        let word = self.peek();
        self.next += 1;
        word
    }

    /// The argument after the word `of`.
    pub(super) fn argument(&mut self, of: Word<'_>, what: &str) -> Result<Word<'t>, Error> {
        self.next().ok_or_else(|| of.error(format!("`{}` needs {what}", of.text)))
    }

    pub(super) fn millis(&mut self, of: Word<'_>) -> Result<Millis, Error> {
        let word = self.argument(of, "a number of milliseconds")?;
        Millis::from_text(word.text).ok_or_else(|| {
            word.error(format!(
                "`{}` after `{}` is no number of milliseconds with at most six decimals",
                word.text, of.text
            ))
        })
    }

    pub(super) fn span(&mut self, of: Word<'_>) -> Result<Nanos, Error> {
        let millis = self.millis(of)?;
        millis.span().ok_or_else(|| of.error(format!("`{} {millis}` is negative", of.text)))
    }

    /// An integer in `range`.
    pub(super) fn integer(
        &mut self,
        of: Word<'_>,
        range: std::ops::RangeInclusive<i32>,
    ) -> Result<i32, Error> {
        let word = self.argument(of, "a number")?;
        let value = word.text.parse().ok().filter(|n| range.contains(n));
        value.ok_or_else(|| {
            word.error(format!(
                "`{}` after `{}` is no whole number from {} to {}",
                word.text,
                of.text,
                range.start(),
                range.end()
            ))
        })
    }

    /// Fails when words are left.
    pub(super) fn end(&self) -> Result<(), Error> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(word.error(format!("`{}` is one word too many", word.text))),
        }
    }
}
