//! Which folders and files are ours: those that nobody else can have prepared or exchanged.
//!
//! A recorder often runs as root, and in folders into which others may write. So a folder is
//! held open and its files are reached from there, whatever happens to its name meanwhile; no
//! link is followed; and what belongs to another user, or can be written by others, is refused.

mod calls;
mod ownership;

pub(crate) use ownership::{NotOurs, Why};

use crate::refusal::{Refusal, own_user};
use anyhow::{Result, anyhow};
use calls::Kind;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder, held open.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    fd: Arc<OwnedFd>,
    /// What it is called in messages.
    path: PathBuf,
}

/// What is to be done with a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Change,
}

impl Folder {
    /// The folder in which `path` lies, whoever owns it, and the name that `path` has there.
    pub(crate) fn around(path: &Path) -> io::Result<(Self, OsString)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let fd = OpenOptions::new().read(true).custom_flags(flags).open(parent)?;
        Ok((Self { fd: Arc::new(fd.into()), path: parent.to_owned() }, name.to_owned()))
    }

    /// Makes a folder in it that is ours alone.
    pub(crate) fn make(&self, name: &OsStr, path: &Path) -> Result<Self> {
        let refused = |error| Refusal::new(path, "created", "record into it", error);
        calls::make_folder(self.fd(), name).map_err(refused)?;
        let error = match self.look(name, path) {
            Ok(Ok(folder)) => return Ok(folder),
            Ok(Err(why)) => anyhow!(
                "{}: {why}, although it has just been made; record to a file elsewhere with `-o`",
                path.display()
            ),
            Err(error) => refused(error).into(),
        };
        // Removes nothing but an empty folder.
        let _ = calls::remove(self.fd(), name, Kind::Folder);
        Err(error)
    }

    /// Opens a folder in it that must be ours alone; `None` when there is nothing of this name.
    pub(crate) fn enter(&self, name: &OsStr, path: &Path) -> Result<Option<Self>> {
        match self.look(name, path) {
            Ok(Ok(folder)) => Ok(Some(folder)),
            Ok(Err(why)) => Err(NotOurs::folder(path, why).into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Refusal::new(path, "read", "know what is in it", error).into()),
        }
    }

    fn look(&self, name: &OsStr, path: &Path) -> io::Result<Result<Self, Why>> {
        let fd = File::from(calls::open(self.fd(), name, libc::O_PATH | libc::O_NOFOLLOW)?);
        Ok(match ownership::of_folder(&fd.metadata()?, own_user()) {
            Some(why) => Err(why),
            None => Ok(Self { fd: Arc::new(fd.into()), path: path.to_owned() }),
        })
    }

    /// What a file in it is called in messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn own_path(&self) -> &Path {
        &self.path
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Begins a file that only its owner may read, instead of one that has this name.
    pub(crate) fn begin(&self, name: &str) -> Result<File, Refusal> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_NOCTTY;
        let begun = match calls::remove(self.fd(), OsStr::new(name), Kind::File) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => calls::open(self.fd(), OsStr::new(name), flags),
        };
        begun.map(File::from).map_err(|error| {
            Refusal::new(&self.path(name), "created", "keep what is recorded", error)
        })
    }

    /// Removes a file that is of no use; one that stays does no harm.
    pub(crate) fn discard(&self, name: &str) {
        let _ = calls::remove(self.fd(), OsStr::new(name), Kind::File);
    }

    /// Writes a file, in one step: where the disk is full, the one before stays.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
        const NEW: &str = "new";
        self.begin(NEW)?
            .write_all(bytes)
            .and_then(|()| self.give(NEW, self, OsStr::new(name)))
            .map_err(|e| Refusal::new(&self.path(name), "written", "keep what is recorded", e))
    }

    /// Opens a file that must be there and ours alone.
    pub(crate) fn open(&self, name: &str, access: Access) -> Result<File> {
        let missing = || io::Error::from_raw_os_error(libc::ENOENT);
        let found = self.find(name, access)?;
        Ok(found.ok_or_else(|| Refusal::new(&self.path(name), "read", PURPOSE, missing()))?)
    }

    /// Opens a file that must be ours alone; `None` when there is nothing of this name.
    pub(crate) fn find(&self, name: &str, access: Access) -> Result<Option<File>> {
        let path = self.path(name);
        let not_ours = |why| NotOurs { path: path.clone(), folder: self.path.clone(), why };
        let refused = |error| Refusal::new(&path, "read", PURPOSE, error);
        // Opening a pipe would wait for somebody who writes into it.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let access = if access == Access::Read { libc::O_RDONLY } else { libc::O_RDWR };
        let file = match calls::open(self.fd(), OsStr::new(name), access | flags) {
            Ok(fd) => File::from(fd),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => return Ok(None),
                Some(libc::ELOOP) => return Err(not_ours(Why::Link).into()),
                Some(libc::EISDIR | libc::ENXIO) => return Err(not_ours(Why::NoFile).into()),
                _ => return Err(refused(error).into()),
            },
        };
        match ownership::of_file(&file.metadata().map_err(refused)?, own_user()) {
            Some(why) => Err(not_ours(why).into()),
            None => Ok(Some(file)),
        }
    }

    /// What is at this name, links followed; `None` where that cannot be known.
    pub(crate) fn kind(&self, name: &OsStr) -> Option<std::fs::FileType> {
        let fd = calls::open(self.fd(), name, libc::O_PATH).ok()?;
        Some(File::from(fd).metadata().ok()?.file_type())
    }

    /// Gives a file of this folder a name in another, in one step.
    pub(crate) fn give(&self, name: &str, to: &Self, new: &OsStr) -> io::Result<()> {
        calls::rename(self.fd(), OsStr::new(name), to.fd(), new)
    }

    /// Removes a folder of this name with the files in it.
    pub(crate) fn remove(&self, name: &OsStr, folder: &Self) -> io::Result<()> {
        // Leads to the folder that is open, whatever has its name now.
        let open = format!("/proc/self/fd/{}", folder.fd.as_raw_fd());
        for entry in std::fs::read_dir(open)? {
            calls::remove(folder.fd(), &entry?.file_name(), Kind::File)?;
        }
        calls::remove(self.fd(), name, Kind::Folder)
    }
}

const PURPOSE: &str = "put the recording together";

#[cfg(test)]
mod tests;
