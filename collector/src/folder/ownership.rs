//! Whose a folder or a file is, and why one that is not ours alone is not used.

use crate::refusal::own_user;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Something in the place of a recording that others may have prepared.
///
/// Displays as `PATH: WHAT IS WRONG; WAY OUT`.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: {why}, so it is not used; record to another file with `-o`, or look at the folder and \
     remove it with `rm -r {}`",
    path.display(),
    folder.display()
)]
pub(crate) struct NotOurs {
    pub path: PathBuf,
    /// The folder of the recording, which is `path` or holds it.
    pub folder: PathBuf,
    pub why: Why,
}

impl NotOurs {
    /// What is wrong with the folder itself.
    pub(crate) fn folder(path: &Path, why: Why) -> Self {
        Self { path: path.to_owned(), folder: path.to_owned(), why }
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Link,
    NoFolder,
    NoFile,
    /// Belongs to this user.
    Owner(u32),
    /// Has these permissions.
    OpenToOthers(u32),
    /// Has so many names.
    Names(u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => write!(f, "is a symbolic link"),
            Self::NoFolder => write!(f, "is no folder"),
            Self::NoFile => write!(f, "is no regular file"),
            Self::Owner(user) => {
                write!(f, "belongs to {}, and resched runs as {}", name(*user), name(own_user()))
            }
            Self::OpenToOthers(mode) => write!(f, "can be written by other users (mode {mode:o})"),
            Self::Names(n) => write!(f, "is a hard link, a file with {n} names"),
        }
    }
}

/// `nobody (uid 65534)`.
fn name(user: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_wanted = |line: &&str| line.split(':').nth(2) == Some(&user.to_string());
    match users.lines().find(is_wanted).and_then(|line| line.split(':').next()) {
        Some(name) => format!("{name} (uid {user})"),
        None => format!("uid {user}"),
    }
}

/// What is wrong with a folder, as seen by `user`.
pub(super) fn of_folder(meta: &Metadata, user: u32) -> Option<Why> {
    if meta.is_symlink() {
        return Some(Why::Link);
    }
    if !meta.is_dir() {
        return Some(Why::NoFolder);
    }
    of_anything(meta, user)
}

/// What is wrong with an open file, as seen by `user`.
pub(super) fn of_file(meta: &Metadata, user: u32) -> Option<Why> {
    if !meta.is_file() {
        return Some(Why::NoFile);
    }
    let names = (meta.nlink() != 1).then(|| Why::Names(meta.nlink()));
    of_anything(meta, user).or(names)
}

fn of_anything(meta: &Metadata, user: u32) -> Option<Why> {
    if meta.uid() != user {
        return Some(Why::Owner(meta.uid()));
    }
    let mode = meta.mode() & 0o7777;
    (mode & 0o022 != 0).then_some(Why::OpenToOthers(mode))
}
