//! Reading `/proc` and `/sys`: what cannot be read is listed, never fatal.

use super::Roots;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;

/// Bytes read of one file; the kernel's symbols have about 10 MiB, all others far less.
const FILE_LIMIT: u64 = 64 << 20;

/// Sources listed as unreadable; one broken tree must not fill the sidecar.
const LISTED_LIMIT: usize = 100;

/// Reads by the paths users know (`/proc/...`), wherever the roots are.
pub(super) struct Sources<'a> {
    pub(super) roots: &'a Roots,
    /// (path, error), each path once.
    pub(super) unreadable: Vec<(String, String)>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(roots: &'a Roots) -> Self {
        Self { roots, unreadable: Vec::new() }
    }

    /// Where a path is really found.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let roots = [
            ("/proc", &self.roots.proc),
            ("/sys", &self.roots.sys),
            ("/boot", &self.roots.boot),
            ("/lib/modules", &self.roots.modules),
        ];
        let below = |(prefix, root): &(&str, &PathBuf)| {
            let rest = path.strip_prefix(prefix)?;
            if rest.is_empty() {
                Some(PathBuf::from(root))
            } else {
                Some(root.join(rest.strip_prefix('/')?))
            }
        };
        roots.iter().find_map(below).unwrap_or_else(|| PathBuf::from(path))
    }

    pub(super) fn list(&mut self, path: &str, error: &str) {
        if self.unreadable.len() < LISTED_LIMIT && self.unreadable.iter().all(|(p, _)| p != path) {
            self.unreadable.push((path.to_owned(), error.to_owned()));
        }
    }

    /// The bytes of a file.
    pub(super) fn try_bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.resolve(path))?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A file that must be there.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        match self.try_bytes(path) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => {
                self.list(path, &error.to_string());
                None
            }
        }
    }

    /// A file that many machines do not have: its absence is not listed.
    pub(super) fn probe(&mut self, path: &str) -> Option<String> {
        match self.try_bytes(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.list(path, &error.to_string());
                None
            }
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The one number in a file that must be there.
    pub(super) fn number<T: FromStr>(&mut self, path: &str) -> Option<T> {
        let text = self.text(path)?;
        self.parsed(path, &text)
    }

    /// The one number in a file that many machines do not have.
    pub(super) fn probe_number<T: FromStr>(&mut self, path: &str) -> Option<T> {
        let text = self.probe(path)?;
        self.parsed(path, &text)
    }

    fn parsed<T: FromStr>(&mut self, path: &str, text: &str) -> Option<T> {
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            self.list(path, &not_understood(text));
        }
        parsed
    }

    /// Names in a directory, sorted; `None` and listed when it cannot be read.
    pub(super) fn names(&mut self, path: &str) -> Option<Vec<String>> {
        match std::fs::read_dir(self.resolve(path)) {
            Ok(entries) => {
                let name =
                    |e: io::Result<std::fs::DirEntry>| e.ok()?.file_name().into_string().ok();
                let mut names: Vec<String> = entries.filter_map(name).collect();
                names.sort_unstable();
                Some(names)
            }
            Err(error) => {
                self.list(path, &error.to_string());
                None
            }
        }
    }
}

/// The complaint about a file with another content than expected; shows its beginning.
pub(super) fn not_understood(text: &str) -> String {
    let shown: String = text.trim().chars().take(40).collect();
    format!("not understood: {shown:?}")
}
