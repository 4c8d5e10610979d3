//! What a reader can bear: length of files, headers, names that say something.

use crate::tree;
use anyhow::Result;

/// A file of more lines than this, tests aside, is refused.
const LIMIT: usize = 800;
/// A file of more lines than this deserves a look.
const REVIEW: usize = 500;
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helpers", "helper", "misc", "shared"];

/// What is refused.
pub(crate) fn problems() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in tree::files_of("rs")? {
        let text = tree::read(&path)?;
        problems.extend(problems_of(&path, &text));
    }
    for path in tree::files()? {
        let mut parts = path.split(['/', '.']);
        if let Some(part) = parts.find(|part| EMPTY_NAMES.contains(part)) {
            problems.push(format!("{path}: `{part}` does not say what is inside"));
        }
    }
    Ok(problems)
}

/// Files worth a look.
pub(crate) fn long_files() -> Result<Vec<String>> {
    let mut long = Vec::new();
    for path in tree::files_of("rs")? {
        let n = lines_of_code(&path, &tree::read(&path)?);
        if (REVIEW..=LIMIT).contains(&n) {
            long.push(format!("{path}: {n} lines without its tests"));
        }
    }
    Ok(long)
}

fn problems_of(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let n = lines_of_code(path, text);
    if n > LIMIT {
        problems.push(format!("{path}: {n} lines without its tests, at most {LIMIT}"));
    }
    if path.ends_with("/mod.rs") {
        problems.push(format!("{path}: name the file after the module"));
    }
    if !text.starts_with("//! ") {
        problems.push(format!("{path}: opens without a `//!` line that says what it answers"));
    }
    problems
}

/// Lines up to the test module; none of a file that is all test.
fn lines_of_code(path: &str, text: &str) -> usize {
    if path.contains("/tests/") || path.ends_with("/tests.rs") {
        return 0;
    }
    let is_test = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{');
    let lines: Vec<&str> = text.lines().collect();
    lines.windows(2).position(is_test).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_short_and_well_named() {
        assert_eq!(problems().expect("a readable tree"), [""; 0]);
    }

    #[test]
    fn a_long_file_counts_without_its_tests() {
        let code = "//! X.\n".to_owned() + &"fn f() {}\n".repeat(LIMIT);
        assert_eq!(problems_of("a/src/x.rs", &code).len(), 1);
        assert_eq!(problems_of("a/tests/it/x.rs", &code).len(), 0);
        let tested = "//! X.\n#[cfg(test)]\nmod tests {\n".to_owned() + &"\n".repeat(LIMIT);
        assert_eq!(lines_of_code("a/src/x.rs", &tested), 1);
    }

    #[test]
    fn names_and_headers_are_looked_at() {
        assert_eq!(problems_of("a/src/b/mod.rs", "fn f() {}").len(), 2);
    }
}
