//! The source tree: where it is, and which files are ours.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the workspace").to_path_buf()
}

/// The content of a file, by its path from the root.
pub(crate) fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// Compiles a workload, a program in one file of C.
pub(crate) fn compile(source: &Path, program: &Path) -> Result<()> {
    let mut cc = std::process::Command::new("cc");
    let status = cc.args(["-O2", "-pthread", "-o"]).arg(program).arg(source).status();
    ensure!(status.context("cc")?.success(), "{}: cannot be compiled", source.display());
    Ok(())
}

/// Every file but build output and what hides behind a dot, as paths from the root, sorted.
pub(crate) fn files() -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || (folder.is_empty() && name == "target") {
                continue;
            }
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if entry.file_type()?.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// The files whose names end in `.extension`.
pub(crate) fn files_of(extension: &str) -> Result<Vec<String>> {
    let is_one = |path: &String| Path::new(path).extension().is_some_and(|e| e == extension);
    Ok(files()?.into_iter().filter(is_one).collect())
}
