//! What of all this works on the machine at hand, found out by trying it.

use super::btf::Btf;
use super::error::BpfError;
use super::output::Output;
use super::program::Programs;
use super::rights::Rights;
use super::transfer::OpenCalls;
use crate::offer::CallProbe;
use std::path::Path;

/// What works, and what to do about the rest.
#[derive(Debug)]
pub struct Check {
    /// Whether the capabilities of this process suffice.
    pub rights: Rights,
    /// Whether the kernel's types can be read.
    pub types: Result<(), BpfError>,
    /// Whether [`Programs::load_owner`] and attaching it work.
    pub owner: Result<(), BpfError>,
    /// Whether [`Programs::load_transfers`] and attaching them work.
    pub transfers: Result<(), BpfError>,
    /// Whether [`Programs::load_futexes`] and attaching them work.
    pub futexes: Result<(), BpfError>,
    /// Whether [`Programs::load_mutex_calls`] and attaching them work; if so, the functions
    /// whose calls would not be seen because the kernel does not have them.
    pub mutex_calls: Result<Vec<&'static str>, BpfError>,
}

/// Loads and attaches every program for a moment; nothing stays in the kernel.
///
/// `btf_path` is usually [`KERNEL_BTF`](super::KERNEL_BTF); `system_calls` are the numbers of
/// `raw_syscalls:sys_enter` and `sys_exit`, where the kernel has them. The error in each part of the
/// answer says what failed, the kernel's error number, and the way out.
#[must_use]
pub fn check(btf_path: &Path, system_calls: Option<[u16; 2]>) -> Check {
    // Ids do not matter: without an output nothing is written.
    const ID: u16 = 1;
    let types = || Btf::read(btf_path).map_err(BpfError::from);
    let attached = |load: &dyn Fn(&Btf, u16, &Output) -> Result<Programs, BpfError>| {
        let programs = load(&types()?, ID, &Output::new()?)?;
        programs.attach().map(drop)?;
        Ok(programs.missing().to_vec())
    };
    let at = system_calls.unwrap_or_default();
    let transfers = |btf: &Btf, id: u16, output: &Output| {
        Programs::load_transfers(btf, id, output, at, &OpenCalls::new()?)
    };
    Check {
        rights: Rights::of_this_process(),
        types: types().map(|_| ()),
        owner: attached(&Programs::load_owner).map(|_| ()),
        transfers: attached(&transfers).map(|_| ()),
        futexes: attached(&|_: &Btf, id: u16, output: &Output| {
            Programs::load_futexes(id, output, at)
        })
        .map(|_| ()),
        mutex_calls: attached(&Programs::load_mutex_calls),
    }
}

/// The ways in which [`Programs::load_contended`] and attaching them may work, up to the first that
/// does; nothing stays in the kernel.
///
/// It takes longer than the rest: code of the kernel is changed, and changed back.
#[must_use]
pub fn check_contended(btf_path: &Path) -> Vec<(CallProbe, Result<(), BpfError>)> {
    const ID: u16 = 1;
    let mut tried = Vec::new();
    for by in [CallProbe::Fprobe, CallProbe::Kprobe, CallProbe::Fentry] {
        let works = || {
            let btf = Btf::read(btf_path)?;
            let programs = Programs::load_contended(&btf, ID, &Output::new()?, by, None)?;
            programs.attach().map(drop)
        };
        tried.push((by, works()));
        if tried.last().is_some_and(|(_, works)| works.is_ok()) {
            break;
        }
    }
    tried
}

#[cfg(test)]
mod tests {
    use super::{check, check_contended};
    use std::path::Path;

    #[test]
    fn without_the_kernels_types_every_part_names_the_kernel_option() {
        let check = check(Path::new("/nonexistent/vmlinux"), None);
        let parts = [check.types, check.owner, check.transfers, check.futexes];
        let errors = parts.map(Result::err).into_iter().chain([check.mutex_calls.err()]);
        let contended = check_contended(Path::new("/nonexistent/vmlinux"));
        let contended = contended.into_iter().map(|(_, result)| result.err());
        for error in errors.chain(contended) {
            let error = error.expect("there is no such file");
            assert_eq!(error.errno(), Some(libc::ENOENT));
            assert!(error.to_string().contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
        }
    }
}
