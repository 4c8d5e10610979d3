//! What is read of tasks and cgroups, at the start and at the end.

use super::tree::{SMT, Thread, Tree};
use crate::host::{Attributes, Roots, Snapshot, read_machine, read_tasks};
use expect_test::{Expect, expect};
use std::io;
use trace_formats::{Host, HostGroup};

/// A line for each cgroup and each task.
fn lines(groups: &[HostGroup], tasks: &[trace_formats::HostTask]) -> String {
    let groups = groups.iter().map(|g| serde_json::to_string(g).expect("serializes") + "\n");
    let tasks = tasks.iter().map(|t| serde_json::to_string(t).expect("serializes") + "\n");
    groups.chain(tasks).collect()
}

fn check(roots: &Roots, expected: &Expect) {
    let reading = read_tasks(roots, &read_machine(roots));
    let mut text = lines(&reading.cgroups, &reading.tasks);
    text += &format!("vanished {} slice {:?}\n", reading.vanished, reading.common_slice_ns);
    for (path, error) in &reading.unreadable {
        text += &format!("{path}: {error}\n");
    }
    expected.assert_eq(&text);
}

#[test]
fn tasks_of_a_v2_machine() {
    let tree = Tree::of(SMT);
    let deep = "0::/busy.slice/a.service/deep\n";
    tree.thread(&Thread { cgroup: deep, nice: 5, policy: 3, ..Thread::new(7, "batch (x) y") });
    tree.thread(&Thread { n_threads: 2, ..Thread::new(20, "pool") });
    let worker = Thread { pid: 20, tid: 21, cpus: "1,3-9", ..Thread::new(21, "two\nlines") };
    tree.thread(&Thread { rt_priority: 50, policy: 1, ..worker });
    let kernel = Thread { flags: 0x20_0000, cpus: "2", ..Thread::new(30, "migration/2") };
    tree.thread(&Thread { rt_priority: 99, policy: 1, ..kernel });
    tree.thread(&Thread { policy: 7, cgroup: "0::/../other\n", ..Thread::new(40, "ext") });
    tree.thread(&Thread { cgroup: "0::/gone\n", ..Thread::new(41, "left") });
    check(
        &tree.roots(),
        &expect![[r#"
            {"path":"/busy.slice","weight":250,"quota_us":50000,"period_us":100000,"uclamp_min":"20.00"}
            {"path":"/busy.slice/a.service","weight":1,"idle":true}
            {"tid":7,"comm":"batch (x) y","cgroup":"/busy.slice/a.service","policy":"batch","nice":5,"tgid":7,"start_time_ticks":100,"cgroup_full":"/busy.slice/a.service/deep"}
            {"tid":20,"comm":"pool","cgroup":"/","policy":"other","nice":0,"tgid":20,"start_time_ticks":100}
            {"tid":21,"comm":"two\nlines","affinity":[1,3],"cgroup":"/","policy":"fifo","nice":0,"rt_priority":50,"tgid":20,"start_time_ticks":100}
            {"tid":30,"comm":"migration/2","affinity":[2],"cgroup":"/","policy":"stop","nice":0,"tgid":30,"start_time_ticks":100}
            {"tid":40,"comm":"ext","cgroup":"/../other","nice":0,"tgid":40,"start_time_ticks":100,"policy_number":7}
            {"tid":41,"comm":"left","cgroup":"/gone","policy":"other","nice":0,"tgid":41,"start_time_ticks":100}
            vanished 0 slice None
            sched_getattr(2): permission denied
            /proc/PID/cgroup: tasks are in cgroups outside this cgroup namespace
            /sys/fs/cgroup/gone: the cgroup is gone or not visible
        "#]],
    );
}

#[test]
fn tasks_of_a_hybrid_v1_machine_with_sessions() {
    let tree = Tree::of(&[
        ("/proc/sys/kernel/sched_autogroup_enabled", "1\n"),
        ("/proc/7/autogroup", "/autogroup-70 nice 0\n"),
        ("/proc/8/autogroup", "/autogroup-71 nice 0\n"),
        ("/sys/fs/cgroup/cpu,cpuacct/cpu.shares", "1024\n"),
        ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.shares", "2\n"),
        ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n"),
        ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
        ("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.shares", "1535\n"),
        ("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "20000\n"),
        ("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "50000\n"),
        ("/sys/fs/cgroup/unified/cgroup.controllers", "\n"),
    ]);
    tree.thread(&Thread { cgroup: "2:cpu,cpuacct:/\n0::/user\n", ..Thread::new(7, "shell") });
    tree.thread(&Thread { cgroup: "2:cpu,cpuacct:/a/b\n0::/user\n", ..Thread::new(8, "boxed") });
    check(
        &tree.roots(),
        &expect![[r#"
            {"path":"/a","weight":1,"shares":2}
            {"path":"/a/b","weight":150,"shares":1535,"quota_us":20000,"period_us":50000}
            {"tid":7,"comm":"shell","affinity":[0,1,2,3],"cgroup":"/","policy":"other","nice":0,"tgid":7,"start_time_ticks":100,"autogroup":"/autogroup-70 nice 0"}
            {"tid":8,"comm":"boxed","affinity":[0,1,2,3],"cgroup":"/a/b","policy":"other","nice":0,"tgid":8,"start_time_ticks":100}
            vanished 0 slice None
            sched_getattr(2): permission denied
        "#]],
    );
}

/// What the kernel says of each thread here: 9 is gone, 10 has deadlines, 12 its own slice.
fn attributes(tid: i32) -> io::Result<Attributes> {
    let fair = Attributes { runtime_ns: 2_100_000, ..Attributes::default() };
    match tid {
        9 => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        10 => Ok(Attributes {
            policy: 6,
            flags: 1,
            runtime_ns: 1_000_000,
            deadline_ns: 5_000_000,
            period_ns: 10_000_000,
        }),
        12 => Ok(Attributes { runtime_ns: 100_000, ..fair }),
        13 => Ok(Attributes { runtime_ns: 700_000, ..fair }),
        14 => Err(io::ErrorKind::PermissionDenied.into()),
        15 => Ok(Attributes { policy: 1, runtime_ns: 150_000, ..fair }),
        _ => Ok(fair),
    }
}

#[test]
fn deadlines_slices_and_tasks_that_are_gone() {
    let tree = Tree::of(SMT);
    for tid in [8, 9, 11, 12, 13, 14, 15] {
        tree.thread(&Thread::new(tid, "task"));
    }
    tree.thread(&Thread { policy: 6, ..Thread::new(10, "deadline") });
    // A process whose files are gone since its number was listed.
    std::fs::create_dir_all(tree.path("/proc/16/task")).expect("folder");
    // A thread that ends between its first file and its last.
    std::fs::remove_file(tree.path("/proc/11/task/11/status")).expect("file");
    let mut roots = tree.roots();
    roots.calls.attributes = attributes;
    check(
        &roots,
        &expect![[r#"
            {"tid":8,"comm":"task","cgroup":"/","policy":"other","nice":0,"tgid":8,"start_time_ticks":100}
            {"tid":10,"comm":"deadline","cgroup":"/","policy":"deadline","nice":0,"runtime_ns":1000000,"deadline_ns":5000000,"period_ns":10000000,"tgid":10,"start_time_ticks":100,"reset_on_fork":true}
            {"tid":12,"comm":"task","cgroup":"/","policy":"other","nice":0,"runtime_ns":100000,"tgid":12,"start_time_ticks":100}
            {"tid":13,"comm":"task","cgroup":"/","policy":"other","nice":0,"tgid":13,"start_time_ticks":100}
            {"tid":14,"comm":"task","cgroup":"/","policy":"other","nice":0,"tgid":14,"start_time_ticks":100}
            {"tid":15,"comm":"task","cgroup":"/","policy":"other","nice":0,"tgid":15,"start_time_ticks":100}
            vanished 3 slice Some(2100000)
            sched_getattr(2): permission denied
        "#]],
    );
}

#[test]
fn where_debugfs_is_closed_the_common_slice_is_the_base_slice() {
    let tree = Tree::of(&[]);
    for tid in [8, 12, 13, 20, 21] {
        tree.thread(&Thread::new(tid, "task"));
    }
    let mut roots = tree.roots();
    roots.calls.attributes = |tid| {
        let runtime_ns = if tid == 12 { 100_000 } else { 5_000_000 };
        Ok(Attributes { runtime_ns, ..Attributes::default() })
    };
    let snapshot = Snapshot::take(&roots);
    assert_eq!(snapshot.machine.base_slice_ns, Some(5_000_000));
    assert!(snapshot.machine.derived.contains_key("base_slice_ns"));
    let own: Vec<_> = snapshot.tasks.tasks.iter().filter_map(|t| t.runtime_ns).collect();
    assert_eq!(own, [100_000]);
}

#[test]
fn ids_of_another_namespace_are_not_listed() {
    let tree = Tree::of(&[]);
    tree.thread(&Thread::new(7, "task"));
    std::fs::create_dir_all(tree.path("/proc/self/ns")).expect("folder");
    let link = tree.path("/proc/self/ns/pid");
    std::os::unix::fs::symlink("pid:[4026531836]", &link).expect("link");
    assert_eq!(read_tasks(&tree.roots(), &Host::default()).tasks.len(), 1);
    std::fs::remove_file(&link).expect("link");
    std::os::unix::fs::symlink("pid:[4026532001]", &link).expect("link");
    check(
        &tree.roots(),
        &expect![[r#"
        vanished 0 slice None
        /proc/self/ns/pid: this is a PID namespace: ids here are not those of events, so no task is listed
    "#]],
    );
}

#[test]
fn start_and_end_become_one() {
    let tree = Tree::of(SMT);
    let in_slice = "0::/busy.slice\n";
    tree.thread(&Thread::new(1, "steady"));
    tree.thread(&Thread { cpus: "1", ..Thread::new(2, "changed") });
    tree.thread(&Thread::new(3, "ends"));
    tree.thread(&Thread { cgroup: in_slice, ..Thread::new(4, "first") });
    let start = Snapshot::take(&tree.roots());

    tree.thread(&Thread { nice: 10, cgroup: in_slice, ..Thread::new(2, "changed") });
    std::fs::remove_dir_all(tree.path("/proc/3")).expect("folder");
    tree.thread(&Thread { start: 900, ..Thread::new(4, "second") });
    let new = "0::/busy.slice/a.service\n";
    tree.thread(&Thread { start: 901, cgroup: new, ..Thread::new(5, "forked") });
    tree.write("/sys/fs/cgroup/busy.slice/cpu.weight", b"500\n");
    tree.write("/sys/kernel/debug/sched/preempt", b"none voluntary (full) lazy\n");
    let host = start.finish(Snapshot::take(&tree.roots()));

    let machine = serde_json::to_string(&host.at_end).expect("serializes");
    let text = lines(&host.cgroups, &host.tasks) + &machine + "\n";
    expect![[r#"
        {"path":"/busy.slice","weight":250,"quota_us":50000,"period_us":100000,"uclamp_min":"20.00","at_end":{"weight":500}}
        {"path":"/busy.slice/a.service","weight":1,"idle":true}
        {"tid":1,"comm":"steady","cgroup":"/","policy":"other","nice":0,"tgid":1,"start_time_ticks":100}
        {"tid":2,"comm":"changed","affinity":[1],"cgroup":"/","policy":"other","nice":0,"tgid":2,"start_time_ticks":100,"at_end":{"affinity":null,"cgroup":"/busy.slice","nice":10}}
        {"tid":3,"comm":"ends","cgroup":"/","policy":"other","nice":0,"tgid":3,"start_time_ticks":100}
        {"tid":4,"comm":"first","cgroup":"/busy.slice","policy":"other","nice":0,"tgid":4,"start_time_ticks":100,"successors":[{"tid":4,"comm":"second","cgroup":"/","policy":"other","nice":0,"tgid":4,"start_time_ticks":900}]}
        {"tid":5,"comm":"forked","cgroup":"/busy.slice/a.service","policy":"other","nice":0,"tgid":5,"start_time_ticks":901,"only_at_end":true}
        {"preemption":"full"}
    "#]].assert_eq(&text);
}

#[test]
fn a_machine_that_stays_as_it_is_has_nothing_at_its_end() {
    let tree = Tree::of(SMT);
    tree.thread(&Thread { cgroup: "0::/busy.slice\n", ..Thread::new(1, "steady") });
    let snapshot = Snapshot::take(&tree.roots());
    let host = snapshot.clone().finish(Snapshot::take(&tree.roots()));
    assert_eq!((&host.tasks, &host.cgroups), (&snapshot.tasks.tasks, &snapshot.tasks.cgroups));
    assert!(host.at_end.is_empty(), "{:?}", host.at_end);
    let text = serde_json::to_string(&host).expect("serializes");
    assert_eq!(Host::from_json(&text).expect("own text"), host);
}
