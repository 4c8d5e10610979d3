//! The words of a scenario: where they are, and what they can be read as.

use super::{CpuList, Millis, quote};
use crate::{Error, ErrorKind, Nanos, Position};
use std::borrow::Cow;

/// A word as it is written, with its quotes, and its line, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'t> {
    pub(super) line: usize,
    pub(super) text: &'t str,
}

impl<'t> Word<'t> {
    /// The error that this word is.
    pub(super) fn error(self, what: impl Into<String>) -> Error {
        invalid(self.line, what)
    }

    /// The name that it is, without its quotes.
    pub(super) fn name(self) -> Result<Cow<'t, str>, Error> {
        quote::unquoted(self.text).ok_or_else(|| {
            self.error(format!(
                "`{}` is no name; in quotes, `\\\"`, `\\\\` and `\\u{{HEX}}` are the only escapes",
                self.text
            ))
        })
    }

    pub(super) fn cpus(self) -> Result<CpuList, Error> {
        CpuList::from_text(self.text)
            .ok_or_else(|| self.error(format!("`{}` is no list of CPUs, as in `0-3,8`", self.text)))
    }
}

pub(super) fn invalid(line: usize, what: impl Into<String>) -> Error {
    let line = u64::try_from(line).unwrap_or(u64::MAX);
    Error { kind: ErrorKind::Invalid { what: what.into() }, at: Position::Line(line) }
}

/// A line without its comment: what stands in front of a `#` outside of quotes.
pub(super) fn without_comment(text: &str) -> &str {
    let mut state = Quotes::default();
    let end = text.char_indices().find(|(_, c)| !state.step(*c) && *c == '#');
    end.map_or(text, |(at, _)| &text[..at]).trim_end()
}

/// The words of a line; spaces in quotes do not end one.
pub(super) fn split(line: usize, text: &str) -> Result<Vec<Word<'_>>, Error> {
    let mut state = Quotes::default();
    let words: Vec<_> = text
        .split(|c: char| !state.step(c) && c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(|text| Word { line, text })
        .collect();
    if state.open {
        return Err(invalid(line, "a quote is not closed on this line"));
    }
    Ok(words)
}

/// Whether the reader of a line is between quotes.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    /// Goes over one character: true when it is quoted.
    fn step(&mut self, c: char) -> bool {
        let was_open = self.open;
        match c {
            '"' if !self.escaped => self.open = !self.open,
            '\\' if was_open && !self.escaped => {
                self.escaped = true;
                return true;
            }
            _ => {}
        }
        self.escaped = false;
        was_open
    }
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

    /// The next word, when it is this one.
    pub(super) fn next_if(&mut self, text: &str) -> Option<Word<'t>> {
        let word = self.peek().filter(|word| word.text == text)?;
        self.next += 1;
        Some(word)
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

    /// Nanoseconds with a sign.
    pub(super) fn signed(&mut self, of: Word<'_>) -> Result<i64, Error> {
        let millis = self.millis(of)?;
        i64::try_from(millis.0)
            .map_err(|_| of.error(format!("`{} {millis}` is more than 292 years", of.text)))
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
