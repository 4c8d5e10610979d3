//! What is read of CPUs and kernels.

use super::tree::{SMT, Tree, add_caches};
use crate::host::{Roots, name_locks, read_machine};
use expect_test::{Expect, expect};
use trace_formats::Host;

fn check(roots: &Roots, expected: &Expect) {
    expected.assert_eq(&lines(&read_machine(roots)));
}

/// A line for each field, and for each source that could not be read.
fn lines(host: &Host) -> String {
    let fields = serde_json::to_value(host).expect("serializes");
    let mut text = String::new();
    for (name, value) in fields.as_object().expect("an object") {
        if name != "unreadable" {
            text += &format!("{name} {value}\n");
        }
    }
    for source in &host.unreadable {
        text += &format!("{}: {}\n", source.path, source.error);
    }
    text
}

#[test]
fn a_machine_with_siblings_nodes_and_open_debugfs() {
    let tree = Tree::of(SMT);
    add_caches(&tree);
    check(
        &tree.roots(),
        &expect![[r#"
        autogroup false
        base_slice_ns 2100000
        boot_parameters ["isolcpus=3","preempt=full"]
        caches [{"cpus":[0,2],"kind":"data","level":1,"size_kib":32},{"cpus":[0,2],"kind":"instruction","level":1,"size_kib":64},{"cpus":[0,2],"kind":"unified","level":2,"size_kib":2048},{"cpus":[1,3],"kind":"data","level":1,"size_kib":32},{"cpus":[1,3],"kind":"instruction","level":1,"size_kib":64},{"cpus":[1,3],"kind":"unified","level":2,"size_kib":2048}]
        capacity_of_cpu [1024,446,1024,446]
        config {"CONFIG_HZ":"1000","CONFIG_PREEMPT_DYNAMIC":"y","CONFIG_PREEMPT_LAZY":"y","CONFIG_SCHED_PROXY_EXEC":"n"}
        core_of_cpu [0,1,0,1]
        cpus [0,1,2,3]
        derived {"proxy_execution":"built without CONFIG_SCHED_PROXY_EXEC"}
        features {"hrtick":false,"place_lag":true,"run_to_parity":true}
        governor_of_cpu ["schedutil","performance","schedutil","performance"]
        hz 1000
        kernel "6.18.2-test"
        llc_of_cpu [0,1,0,1]
        max_khz_of_cpu [3000000,2000000,3000000,2000000]
        migration_cost_ns 500000
        node_of_cpu [0,1,0,1]
        nr_migrate 32
        preempt_rt false
        preemption "lazy"
        proxy_execution false
        rr_timeslice_ms 90
        rt_period_us 1000000
        rt_runtime_us -1
        smt true
    "#]],
    );
}

/// debugfs is there but every read fails: a folder cannot be read as a file either.
#[test]
fn a_machine_with_closed_debugfs_and_nothing_in_boot() {
    let tree = Tree::of(&[
        ("/proc/sys/kernel/osrelease", "6.12.1\n"),
        ("/proc/sys/kernel/version", "#1 SMP PREEMPT Thu Jan 1\n"),
        ("/proc/cmdline", "quiet\n"),
        ("/sys/kernel/debug/sched/preempt/x", ""),
        ("/sys/kernel/debug/sched/features/x", ""),
        ("/sys/kernel/debug/sched/base_slice_ns/x", ""),
        ("/sys/devices/system/cpu/online", "0,2\n"),
        ("/sys/devices/system/cpu/smt/active", "1\n"),
    ]);
    let mut roots = tree.roots();
    roots.calls.tick_ns = || Ok(3_333_333);
    check(
        &roots,
        &expect![[r#"
        autogroup false
        cpus [0,2]
        derived {"hz":"resolution of CLOCK_MONOTONIC_COARSE","node_of_cpu":"/sys/devices/system/node is not there: the kernel has no NUMA","preemption":"PREEMPT in uname -v","proxy_execution":"kernels before 6.17 cannot"}
        hz 300
        kernel "6.12.1"
        node_of_cpu [0,0]
        preemption "full"
        proxy_execution false
        smt true
        /proc/config.gz, /boot/config-6.12.1, /lib/modules/6.12.1/config: none has the kernel's build options
        /sys/kernel/debug/sched/preempt: Is a directory (os error 21)
        /sys/kernel/debug/sched/features: Is a directory (os error 21)
        /sys/kernel/debug/sched/base_slice_ns: Is a directory (os error 21)
        /sys/kernel/debug/sched/migration_cost_ns: No such file or directory (os error 2)
        /sys/kernel/debug/sched/nr_migrate: No such file or directory (os error 2)
        /proc/sys/kernel/sched_rt_period_us: No such file or directory (os error 2)
        /proc/sys/kernel/sched_rt_runtime_us: No such file or directory (os error 2)
        /proc/sys/kernel/sched_rr_timeslice_ms: No such file or directory (os error 2)
        /sys/devices/system/cpu/cpu0/topology/thread_siblings_list: No such file or directory (os error 2)
        /sys/devices/system/cpu/cpu0/cache: No such file or directory (os error 2)
        /sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq: No such file or directory (os error 2)
        /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn a_cache_of_instructions_is_not_the_last_level() {
    let tree = Tree::of(&[("/sys/devices/system/cpu/online", "0-1\n")]);
    for cpu in 0..2 {
        let own = cpu.to_string();
        for (index, kind, shared) in [(0, "Data", "0-1"), (1, "Instruction", &own)] {
            let folder = format!("/sys/devices/system/cpu/cpu{cpu}/cache/index{index}");
            for (name, value) in [("level", "1"), ("type", kind), ("shared_cpu_list", shared)] {
                tree.write(&format!("{folder}/{name}"), value.as_bytes());
            }
        }
    }
    assert_eq!(read_machine(&tree.roots()).llc_of_cpu, Some(vec![0, 0]));
}

#[test]
fn build_options_are_unpacked_and_damage_is_listed() {
    let tree = Tree::of(&[("/proc/sys/kernel/osrelease", "7.3.0\n")]);
    // CONFIG_HZ=250, by gzip.
    let packed = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff, 0x73, 0xf6, 0xf7, 0x73, 0xf3, 0x74, 0x8f, 0xf7,
        0x88, 0xb2, 0x35, 0x32, 0x35, 0xe0, 2, 0, 0xfb, 0x5f, 0x3a, 1, 0xe, 0, 0, 0,
    ];
    tree.write("/proc/config.gz", &packed);
    let host = read_machine(&tree.roots());
    let why = |host: &Host| {
        let named = host.unreadable.iter().find(|u| u.path == "/proc/config.gz");
        named.map_or_else(String::new, |u| u.error.clone())
    };
    assert_eq!((host.hz, why(&host)), (Some(250), String::new()));
    tree.write("/proc/config.gz", &packed[..30]);
    let host = read_machine(&tree.roots());
    assert_eq!(host.hz, None);
    expect!["it is damaged or cut (unexpected end of file); the 14 bytes before that were read"]
        .assert_eq(&why(&host));
}

#[test]
fn locks_are_named_and_hidden_symbols_listed() {
    let tree = Tree::of(&[("/proc/kallsyms", "ffffffff82000000 d rtnl_mutex\n")]);
    let mut host = Host::default();
    name_locks(&tree.roots(), &[0xffff_ffff_8200_0000, 0x10], &mut host);
    tree.write("/proc/kallsyms", b"0000000000000000 d rtnl_mutex\n");
    name_locks(&tree.roots(), &[0xffff_ffff_8200_0000], &mut host);
    tree.write("/proc/kallsyms", b"ffffffff82000000 t rtnl_lock\n");
    let mut textual = Host::default();
    name_locks(&tree.roots(), &[0xffff_ffff_8200_0000], &mut textual);
    expect![[r#"
        locks {"0xffffffff82000000":"rtnl_mutex"}
        /proc/kallsyms: the kernel hides its addresses (kptr_restrict, or not root)
        /proc/kallsyms: hardly any data is in it: built without CONFIG_KALLSYMS_ALL
    "#]]
    .assert_eq(&(lines(&host) + &lines(&textual)));
}
