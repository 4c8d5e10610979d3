//! What a task says: results on standard output, progress beside them.

/// A line of the result.
#[expect(clippy::print_stdout, reason = "a report for a terminal")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}

/// A line of progress.
#[expect(clippy::print_stderr, reason = "progress of a task at a terminal")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
