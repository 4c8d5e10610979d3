//! The fixtures against their manifest: no file unlisted, none changed unnoticed.

use crate::tree;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

const MANIFEST: &str = "fixtures/manifest.toml";
const FOLDERS: [&str; 2] = ["fixtures/recorded/", "fixtures/broken/"];
const KEYS: [&str; 6] = ["name", "sha256", "kernel", "command", "shows", "licence"];
/// A recording larger than this belongs elsewhere.
const LARGEST: usize = 200 * 1024;

type Entry = BTreeMap<String, String>;

/// What is wrong with the fixtures.
pub(crate) fn problems() -> Result<Vec<String>> {
    let entries = entries(&tree::read(MANIFEST)?);
    let mut problems = Vec::new();
    for entry in &entries {
        problems.extend(problems_of(entry)?);
    }
    for path in tree::files()? {
        let is_listed = |entry: &Entry| format!("fixtures/{}", entry["name"]) == path;
        let must_be = FOLDERS.iter().any(|folder| path.starts_with(folder));
        if must_be && !entries.iter().filter(|e| e.contains_key("name")).any(is_listed) {
            problems.push(format!("{path}: not in {MANIFEST}"));
        }
    }
    Ok(problems)
}

fn problems_of(entry: &Entry) -> Result<Vec<String>> {
    let Some(name) = entry.get("name") else {
        return Ok(vec![format!("{MANIFEST}: an entry without a name")]);
    };
    let mut problems = Vec::new();
    for key in KEYS {
        if entry.get(key).is_none_or(String::is_empty) {
            problems.push(format!("{name}: no `{key}` in {MANIFEST}"));
        }
    }
    let path = tree::root().join("fixtures").join(name);
    let bytes = fs::read(&path).with_context(|| format!("{name}, named in {MANIFEST}"))?;
    let hash = hex(&Sha256::digest(&bytes));
    if entry.get("sha256") != Some(&hash) {
        problems.push(format!("{name}: sha256 is {hash}"));
    }
    if bytes.len() > LARGEST {
        problems.push(format!("{name}: {} bytes, at most {LARGEST}", bytes.len()));
    }
    Ok(problems)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes text");
        text
    })
}

/// The `[[file]]` tables of the manifest; each value is a string on one line.
fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        if line == "[[file]]" {
            entries.push(Entry::new());
        } else if let Some((key, value)) = line.split_once(" = ")
            && let Some(entry) = entries.last_mut()
        {
            entry.insert(key.to_owned(), value.trim_matches('"').to_owned());
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixtures_are_what_the_manifest_says() {
        assert_eq!(problems().expect("a readable manifest"), [""; 0]);
    }

    #[test]
    fn a_changed_file_and_a_missing_key_are_found() {
        let text = "[[file]]\nname = \"manifest.toml\"\nsha256 = \"00\"\nkernel = \"7.3\"\n";
        let [entry] = &entries(text)[..] else { panic!("one entry") };
        let problems = problems_of(entry).expect("the file exists");
        assert!(problems[0].contains("`command`"), "{problems:?}");
        assert!(problems[3].contains("sha256 is"), "{problems:?}");
    }
}
