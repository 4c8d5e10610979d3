//! The binary on fixtures: exit code, standard output, standard error.

mod answers;
mod demand;
mod divergence;
mod guest;
mod outputs;
mod recording;
mod refusals;
mod scenario;
mod sidecars;

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `resched` in a folder of its own.
pub(crate) fn resched(folder: &Path, args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_resched"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the binary was built with the tests");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("resched prints UTF-8");
    Run {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Says why a test does nothing on this machine.
#[expect(clippy::print_stderr, reason = "what was not tested must be said")]
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// A fixture's place, as an argument.
pub(crate) fn fixture(name: &str) -> String {
    fixtures::path(name).display().to_string()
}

/// A folder for one test's output, empty at the start.
pub(crate) fn scratch(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    folder
}
