//! Files with any content: never a panic, and what is not understood is listed.

use super::tree::{SMT, Thread, Tree, add_caches};
use crate::host::{Snapshot, name_locks};
use std::path::{Path, PathBuf};

const GARBAGE: [&[u8]; 12] = [
    b"",
    b"\n",
    b"\0\0\0\0",
    b"\xff\xfe\xfd",
    b"(((",
    b")(",
    b"-1",
    b"99999999999999999999999",
    b"0-4294967295,0-4294967295",
    b"::: :::\n0::relative\n1:cpu:/../..\n",
    b"\x1f\x8b\x08\x00garbage",
    "\u{fffd} \u{1f980} = \u{2028}".as_bytes(),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder").flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

fn machine() -> Tree {
    let tree = Tree::of(SMT);
    add_caches(&tree);
    tree.write("/proc/config.gz", b"CONFIG_HZ=250\n");
    tree.write("/proc/kallsyms", b"ffffffff82000000 d rtnl_mutex\n");
    tree.write("/proc/sys/kernel/sched_autogroup_enabled", b"1\n");
    tree.write("/proc/7/autogroup", b"/autogroup-1 nice 0\n");
    tree.write("/sys/kernel/realtime", b"0\n");
    tree.thread(&Thread::new(7, "task"));
    tree.thread(&Thread { cgroup: "0::/busy.slice/a.service\n", ..Thread::new(8, "other") });
    tree
}

fn read(tree: &Tree) -> trace_formats::Host {
    let roots = tree.roots();
    let mut host = Snapshot::take(&roots).finish(Snapshot::take(&roots));
    name_locks(&roots, &[u64::MAX, 1], &mut host);
    host
}

#[test]
fn garbage_in_any_one_file_does_no_harm_to_the_others() {
    let tree = machine();
    let whole = read(&tree);
    let mut found = Vec::new();
    files(&tree.folder, &mut found);
    assert!(found.len() > 60, "{}", found.len());
    for path in found {
        let before = std::fs::read(&path).expect("file");
        for garbage in GARBAGE {
            std::fs::write(&path, garbage).expect("file");
            let host = read(&tree);
            // The sidecar is still one, and no entry appears or gets lost but that file's own.
            let text = serde_json::to_string(&host).expect("serializes");
            assert_eq!(trace_formats::Host::from_json(&text).expect("own text"), host);
            assert!(whole.tasks.len() - host.tasks.len() <= 1, "{}", path.display());
        }
        std::fs::write(&path, before).expect("file");
    }
}

#[test]
fn garbage_in_every_file_at_once_leaves_a_sidecar() {
    for garbage in GARBAGE {
        let tree = machine();
        let mut found = Vec::new();
        files(&tree.folder, &mut found);
        for path in found {
            std::fs::write(path, garbage).expect("file");
        }
        let host = read(&tree);
        assert!(host.tasks.is_empty(), "{garbage:?}");
        assert!(host.unreadable.len() > 5, "{garbage:?} {:?}", host.unreadable);
    }
}

#[test]
fn a_machine_without_any_file_leaves_a_sidecar() {
    let host = read(&Tree::of(&[("/nothing", "")]));
    assert!(host.tasks.is_empty() && host.cpus.is_none());
    assert!(host.unreadable.iter().any(|u| u.path == "/proc"), "{:?}", host.unreadable);
}
