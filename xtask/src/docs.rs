//! What documents claim about the code: paths, types and commands exist.

use crate::{TASKS, layers, tree};
use anyhow::Result;

/// Documents whose commands are looked up.
const WITH_COMMANDS: [&str; 2] = ["README.md", "CONTRIBUTING.md"];
const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// Longest architecture a newcomer reads.
const ARCHITECTURE_LINES: usize = 200;

/// What is claimed and is not so.
pub(crate) fn problems() -> Result<Vec<String>> {
    let mut problems = architecture()?;
    let crates = layers::crates()?;
    for document in WITH_COMMANDS {
        for command in commands(&tree::read(document)?) {
            if let Some(problem) = wrong_command(&command, &crates)? {
                problems.push(format!("{document}: `{command}`: {problem}"));
            }
        }
    }
    for document in tree::files_of("md")? {
        for (line, text) in prose(&tree::read(&document)?) {
            if let Some(end) = inner_sentence_end(text) {
                problems.push(format!("{document}:{line}: a new sentence, a new line: `{end}`"));
            }
        }
    }
    Ok(problems)
}

/// The `cargo test` command that README promises.
pub(crate) fn test_command() -> Result<Option<String>> {
    let commands = commands(&tree::read("README.md")?);
    Ok(commands.into_iter().find(|command| command.starts_with("cargo test")))
}

fn architecture() -> Result<Vec<String>> {
    let text = tree::read(ARCHITECTURE)?;
    let mut problems = Vec::new();
    let n = text.lines().count();
    if n > ARCHITECTURE_LINES {
        problems.push(format!("{ARCHITECTURE}: {n} lines, at most {ARCHITECTURE_LINES}"));
    }
    let mut sources = String::new();
    for path in tree::files_of("rs")? {
        sources += &tree::read(&path)?;
    }
    for (line, text) in prose(&text) {
        for name in text.split('`').skip(1).step_by(2) {
            if !exists(name, &sources) {
                problems.push(format!("{ARCHITECTURE}:{line}: there is no `{name}`"));
            }
        }
    }
    Ok(problems)
}

/// Paths are looked up in the tree, names that begin like a type in the sources.
fn exists(name: &str, sources: &str) -> bool {
    let is_file = ["rs", "md", "toml", "txt", "sched"];
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    if name.contains('/') && !name.contains(' ') || extension.is_some_and(|e| is_file.contains(&e))
    {
        return tree::root().join(name).exists();
    }
    let last = name.rsplit("::").next().unwrap_or(name);
    if !last.starts_with(|c: char| c.is_ascii_uppercase())
        || !last.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return true;
    }
    ["struct", "enum", "trait", "type"].iter().any(|kind| {
        let definition = format!("{kind} {last}");
        sources.match_indices(&definition).any(|(at, _)| {
            let after = sources[at + definition.len()..].chars().next();
            after.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_')
        })
    })
}

/// Lines of fenced blocks that call cargo, without comments.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(str::lines).map(|line| line.trim_start_matches("$ "));
    let calls = lines.filter(|line| line.starts_with("cargo ") || line.contains(" cargo "));
    calls.map(|line| line.split('#').next().unwrap_or(line).trim().to_owned()).collect()
}

fn wrong_command(command: &str, crates: &[String]) -> Result<Option<String>> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let after = |flag: &str| words.iter().skip_while(|w| **w != flag).nth(1).copied();
    if let Some(name) = after("-p")
        && !crates.iter().any(|known| known == name)
    {
        return Ok(Some(format!("there is no crate `{name}`")));
    }
    if let Some(task) = after("xtask")
        && !TASKS.contains(&task)
    {
        return Ok(Some(format!("there is no task `{task}`")));
    }
    if words.contains(&"run")
        && after("-p") == Some("cli")
        && let Some(subcommand) = after("--")
    {
        let mut sources = String::new();
        for path in tree::files_of("rs")?.iter().filter(|path| path.starts_with("cli/src/")) {
            sources += &tree::read(path)?.to_lowercase();
        }
        let known = |pattern: String| sources.contains(&pattern);
        if !known(format!("{subcommand}(")) && !known(format!("{subcommand},")) {
            return Ok(Some(format!("resched has no command `{subcommand}`")));
        }
    }
    Ok(None)
}

/// Lines outside fenced blocks and tables, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block && !line.starts_with('|') && !line.starts_with("    ") {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The first place where a sentence ends inside a line and another begins.
fn inner_sentence_end(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let list_number = |word: &str| word.trim_end_matches('.').parse::<u32>().is_ok();
    let pair = words.windows(2).find(|pair| {
        let ends = pair[0].ends_with(['.', '?', '!']) && !list_number(pair[0]);
        ends && pair[1].starts_with(|c: char| c.is_ascii_uppercase() || c == '`')
    });
    pair.map(|pair| pair.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_claim_what_is_so() {
        assert_eq!(problems().expect("readable documents"), [""; 0]);
    }

    #[test]
    fn readme_promises_a_test_command() {
        assert!(test_command().expect("a README").is_some());
    }

    #[test]
    fn names_are_looked_up() {
        let sources = "pub struct Trace {}\npub enum Kind {}";
        assert!(exists("model::Trace", sources) && exists("Kind", sources));
        assert!(!exists("Trac", sources) && !exists("Tracer", sources));
        assert!(exists("docs/terms.md", sources) && !exists("docs/none.md", sources));
        assert!(exists("cargo xtask check", sources));
    }

    #[test]
    fn commands_are_looked_up() {
        let wrong = |command| {
            let crates = ["xtask".to_owned(), "cli".to_owned()];
            wrong_command(command, &crates).expect("readable sources").is_some()
        };
        assert!(!wrong("cargo test -p xtask") && wrong("cargo test -p nothing"));
        assert!(!wrong("cargo xtask check") && wrong("cargo xtask dance"));
        assert!(wrong("cargo run --release -p cli -- dance"));
    }

    #[test]
    fn two_sentences_on_a_line_are_found() {
        assert_eq!(inner_sentence_end("One. Two."), Some("One. Two.".to_owned()));
        assert_eq!(inner_sentence_end("1. One, e.g. two of 7.3 things."), None);
    }
}
