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
    /// Whether [`Programs::load_contended`] and attaching them work, by each way, the best first.
    pub contended: [(CallProbe, Result<(), BpfError>); 3],
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
        contended: [CallProbe::Fprobe, CallProbe::Kprobe, CallProbe::Fentry].map(|by| {
            let load = |btf: &Btf, id: u16, output: &Output| {
                Programs::load_contended(btf, id, output, by, None)
            };
            (by, attached(&load).map(|_| ()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use std::path::Path;

    #[test]
    fn without_the_kernels_types_every_part_names_the_kernel_option() {
        let check = check(Path::new("/nonexistent/vmlinux"), None);
        let parts = [check.types, check.owner, check.transfers, check.futexes];
        let errors = parts.map(Result::err).into_iter().chain([check.mutex_calls.err()]);
        let contended = check.contended.map(|(_, result)| result.err());
        for error in errors.chain(contended) {
            let error = error.expect("there is no such file");
            assert_eq!(error.errno(), Some(libc::ENOENT));
            assert!(error.to_string().contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
        }
    }
}
