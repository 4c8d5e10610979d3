//! Which crate uses which: the edges against their golden list.

use crate::tree;
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Command;

const GOLDEN: &str = "docs/layers.txt";
const HEADER: &str = "# regenerate: UPDATE_EXPECT=1 cargo test -p xtask; then read the diff";

/// What differs from the golden list.
pub(crate) fn problems() -> Result<Vec<String>> {
    let (golden, edges) = (tree::read(GOLDEN)?, edges()?);
    let only = |a: &str, b: &str, say: &str| -> Vec<String> {
        let extra = a.lines().filter(|line| !b.lines().any(|other| other == *line));
        extra.map(|line| format!("{say}: {line}")).collect()
    };
    let mut problems = only(&edges, &golden, "not in docs/layers.txt");
    problems.extend(only(&golden, &edges, "only in docs/layers.txt"));
    Ok(problems)
}

/// Names of the workspace's crates, sorted.
pub(crate) fn crates() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let mut names: Vec<String> =
        packages(&metadata).filter_map(|p| p["name"].as_str()).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// The golden list as it should be: a line a crate, then what only their tests use.
fn edges() -> Result<String> {
    let metadata = metadata()?;
    let crates = crates()?;
    let mut text = format!("{HEADER}\n");
    for name in &crates {
        let used = used_by(&metadata, name, &crates, &Value::Null);
        text += format!("{name:<13} -> {}", used.join(" ")).trim_end();
        text.push('\n');
    }
    text += "\n# and only in their tests\n";
    for name in &crates {
        let used = used_by(&metadata, name, &crates, &Value::from("dev"));
        if !used.is_empty() {
            text += &format!("{name:<13} -> {}\n", used.join(" "));
        }
    }
    Ok(text)
}

fn used_by(metadata: &Value, name: &str, crates: &[String], kind: &Value) -> Vec<String> {
    let package = packages(metadata).find(|p| p["name"] == name);
    let all = package.and_then(|p| p["dependencies"].as_array()).into_iter().flatten();
    let wanted = all.filter(|d| d["kind"] == *kind).filter_map(|d| d["name"].as_str());
    let mut used: Vec<String> =
        wanted.map(str::to_owned).filter(|used| crates.contains(used)).collect();
    used.sort();
    used
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn metadata() -> Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(tree::root())
        .output()
        .context("cargo metadata")?;
    serde_json::from_slice(&output.stdout).context("the answer of cargo metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_is_in_the_golden_list() {
        let golden = expect_test::expect_file![tree::root().join(GOLDEN)];
        golden.assert_eq(&edges().expect("cargo metadata answers"));
    }
}
