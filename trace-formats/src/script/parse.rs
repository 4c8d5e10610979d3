//! A scenario's text, cut into statements; each kind is read in its own file.

use super::word::{Word, Words, invalid, split, without_comment};
use super::{Lock, Script, expectation, settings, task};
use crate::{Error, LockFlags};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Reads a scenario.
///
/// # Errors
///
/// At the first word that is not understood; the error names its line and the word.
pub fn parse(text: &str) -> Result<Script, Error> {
    let statements = cut(text)?;
    let mut draft = Draft::default();
    let mut tasks = Vec::new();
    for statement in statements.iter().filter(|s| s.kind == Kind::Head) {
        let mut words = Words::new(&statement.words);
        if !settings::read(&mut words, &mut draft)? {
            tasks.push(words);
        }
    }
    settings::settle(&mut draft)?;
    for name in tasks.iter().filter_map(Words::peek) {
        draft.name_task(name)?;
    }
    for words in &mut tasks {
        let task = task::read(words, &mut draft)?;
        draft.script.tasks.push(task);
    }
    for statement in statements.iter().filter(|s| s.kind == Kind::Expect) {
        let block = expectation::read(statement, &draft)?;
        draft.script.expectations.push(block);
    }
    Ok(draft.script)
}

/// A scenario as far as it is read, and where its names are.
#[derive(Debug, Default)]
pub(super) struct Draft<'t> {
    pub(super) script: Script,
    tasks: BTreeMap<Cow<'t, str>, usize>,
    locks: BTreeMap<Cow<'t, str>, usize>,
    groups: BTreeMap<Cow<'t, str>, usize>,
    buffers: BTreeMap<Cow<'t, str>, usize>,
    /// Settings that name something for every CPU, and the end: checked when all settings are known.
    pub(super) to_check: Vec<Word<'t>>,
    /// 64-bit words that the CPU sets named so far take.
    pub(super) set_words_used: u64,
}

impl<'t> Draft<'t> {
    /// The lock of this name, new or known.
    pub(super) fn lock(&mut self, word: Word<'t>) -> Result<usize, Error> {
        let next = self.script.locks.len();
        let name = word.name()?;
        let index = *self.locks.entry(name).or_insert(next);
        if index == next {
            let (name, flags) = (word.name()?.into_owned(), LockFlags(LockFlags::MUTEX));
            self.script.locks.push(Lock { name, flags, address: None, is_preempted: false });
        }
        Ok(index)
    }

    /// The lock of this name, when it is known.
    pub(super) fn known_lock(&self, word: Word<'_>) -> Result<usize, Error> {
        let known = self.locks.get(&*word.name()?).copied();
        known.ok_or_else(|| word.error(format!("no lock is `{}`", word.text)))
    }

    pub(super) fn buffer(&self, word: Word<'_>) -> Result<usize, Error> {
        let known = self.buffers.get(&*word.name()?).copied();
        known.ok_or_else(|| {
            let text = word.text;
            word.error(format!("there is no buffer `{text}`: `pipe {text}` or `socket {text}`"))
        })
    }

    pub(super) fn name_buffer(&mut self, word: Word<'t>) -> Result<String, Error> {
        let name = word.name()?;
        if self.buffers.insert(name.clone(), self.script.buffers.len()).is_some() {
            return Err(word.error(format!("there is a buffer `{}` already", word.text)));
        }
        Ok(name.into_owned())
    }

    pub(super) fn task(&self, word: Word<'_>) -> Result<usize, Error> {
        let known = self.tasks.get(&*word.name()?).copied();
        known.ok_or_else(|| word.error(format!("no task is `{}`", word.text)))
    }

    fn name_task(&mut self, word: Word<'t>) -> Result<(), Error> {
        let next = self.tasks.len();
        if self.tasks.insert(word.name()?, next).is_some() {
            let text = word.text;
            return Err(word.error(format!(
                "there is a task `{text}` already; give it another name and `comm {text}`"
            )));
        }
        Ok(())
    }

    pub(super) fn group(&self, word: Word<'_>) -> Result<usize, Error> {
        let known = self.groups.get(&*word.name()?).copied();
        known.ok_or_else(|| {
            let text = word.text;
            word.error(format!("there is no group `{text}`: `group {text} weight 100`"))
        })
    }

    pub(super) fn name_group(&mut self, word: Word<'t>) -> Result<String, Error> {
        let name = word.name()?;
        if self.groups.insert(name.clone(), self.script.groups.len()).is_some() {
            return Err(word.error(format!("there is a group `{}` already", word.text)));
        }
        Ok(name.into_owned())
    }
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

fn cut(text: &str) -> Result<Vec<Statement<'_>>, Error> {
    let mut statements: Vec<Statement<'_>> = Vec::new();
    let mut in_body = false;
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let content = without_comment(raw);
        if content.is_empty() {
            in_body = false;
        } else if let Some(header) = content.strip_prefix("--") {
            in_body = true;
            let words = split(line, header)?;
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
            task.words.extend(split(line, content)?);
        } else {
            let words = split(line, content)?;
            statements.push(Statement { kind: Kind::Head, words, body: Vec::new() });
        }
    }
    Ok(statements)
}
