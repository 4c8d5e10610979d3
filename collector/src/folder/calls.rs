//! How a file is reached from an open folder: the standard library has no stable form of it yet.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

fn c_string(name: &OsStr) -> io::Result<CString> {
    Ok(CString::new(name.as_bytes())?)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `openat(2)`; a file that is created is nobody else's.
#[expect(unsafe_code, reason = "the C library has no safe form of it")]
pub(super) fn open(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    flags: libc::c_int,
) -> io::Result<OwnedFd> {
    let name = c_string(name)?;
    let flags = flags | libc::O_CLOEXEC;
    // SAFETY: the name outlives the call, and the kernel only reads it.
    let fd = unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags, 0o600) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `mkdirat(2)`; the folder is nobody else's.
#[expect(unsafe_code, reason = "the C library has no safe form of it")]
pub(super) fn make_folder(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name outlives the call, and the kernel only reads it.
    checked(unsafe { libc::mkdirat(folder.as_raw_fd(), name.as_ptr(), 0o700) })
}

/// `renameat(2)`: a link that has the new name already is replaced, not followed.
#[expect(unsafe_code, reason = "the C library has no safe form of it")]
pub(super) fn rename(
    from: BorrowedFd<'_>,
    name: &OsStr,
    to: BorrowedFd<'_>,
    new: &OsStr,
) -> io::Result<()> {
    let (name, new) = (c_string(name)?, c_string(new)?);
    // SAFETY: both names outlive the call, and the kernel only reads them.
    checked(unsafe {
        libc::renameat(from.as_raw_fd(), name.as_ptr(), to.as_raw_fd(), new.as_ptr())
    })
}

/// What `unlinkat(2)` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file, or a link and not what it leads to.
    File,
    /// An empty folder.
    Folder,
}

/// `unlinkat(2)`.
#[expect(unsafe_code, reason = "the C library has no safe form of it")]
pub(super) fn remove(folder: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> io::Result<()> {
    let name = c_string(name)?;
    let flags = if kind == Kind::Folder { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the name outlives the call, and the kernel only reads it.
    checked(unsafe { libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), flags) })
}
