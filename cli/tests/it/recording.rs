//! `resched record` on the running kernel: skipped, and said so, where that may not be recorded.

use crate::{Run, resched, scratch, skip};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock};

/// Why nothing can be recorded here; `None` where it can. Tests run at the same time and ask
/// once.
fn obstacle() -> Option<String> {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    let look = || {
        let run = resched(&scratch("record-obstacle"), &["record", "--check"]);
        (run.code != 0).then(|| format!("nothing can be recorded here:\n{}{}", run.out, run.err))
    };
    OBSTACLE.get_or_init(look).clone()
}

/// Ends a test where its premise does not hold.
macro_rules! needs {
    ($obstacle:expr) => {
        if let Some(why) = $obstacle {
            skip(&why);
            return;
        }
    };
}

/// Why a command cannot be used here.
fn lacks(command: &str) -> Option<String> {
    let found = Command::new(command).arg("--version").output().is_ok();
    (!found).then(|| format!("{command} is not installed"))
}

/// Why not even root may do a thing here, by trying it in a namespace of its own.
fn forbids(script: &str) -> Option<String> {
    let tried = Command::new("unshare").args(["-m", "sh", "-c", script]).output();
    let worked = tried.is_ok_and(|output| output.status.success());
    (!worked).then(|| format!("this machine does not let `{script}` be done"))
}

/// Runs a shell script in a mount namespace of its own; `$R` is resched.
fn in_namespace(folder: &Path, script: &str) -> Run {
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .env("R", env!("CARGO_BIN_EXE_resched"))
        .current_dir(folder)
        .output()
        .expect("unshare was tried before");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Run { code, out: text(output.stdout), err: text(output.stderr) }
}

/// Held while there may be an instance whose recorder a test has killed.
static KILLED: RwLock<()> = RwLock::new(());

/// Tracefs instances of recorders that are gone.
fn leftovers() -> Vec<String> {
    let _none_is_meant_to_be_there = KILLED.read().unwrap_or_else(PoisonError::into_inner);
    let entries = std::fs::read_dir("/sys/kernel/tracing/instances").into_iter().flatten();
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    // Recorders of other tests may be at work.
    let is_gone = |name: &String| {
        let pid = name.strip_prefix("resched.").and_then(|rest| rest.split('.').next());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    names.filter(is_gone).collect()
}

fn counts_of_info(folder: &Path, file: &str) -> BTreeMap<String, u64> {
    let run = resched(folder, &["info", "--json", file]);
    assert_eq!(run.code, 0, "{}", run.err);
    let info: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    let counts = info["counts"].as_object().expect("counts");
    counts.iter().map(|(name, n)| (name.clone(), n.as_u64().expect("a number"))).collect()
}

/// Counts the event names that another program prints, a line an event.
fn counts_of(folder: &Path, program: &str, args: &[&str]) -> BTreeMap<String, u64> {
    let output = Command::new(program).args(args).current_dir(folder).output().expect(program);
    let mut counts = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let is_event = |word: &&str| {
            let name = word.trim_end_matches(':');
            let name = name.rsplit(':').next().unwrap_or_default();
            word.ends_with(':')
                && ["sched_", "contention_", "contended_", "hrtimer_", "lock_owner"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        };
        let name = line.split_whitespace().find(is_event).map(|word| word.trim_end_matches(':'));
        if let Some(name) = name.and_then(|name| name.rsplit(':').next()) {
            *counts.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

const BUSY: &str =
    "for i in 1 2 3 4 5 6 7 8 9; do (cat /proc/self/stat | cat | cat) >/dev/null; done";

#[test]
fn trace_cmd_counts_what_info_counts() {
    needs!(obstacle().or_else(|| lacks("trace-cmd")));
    let folder = scratch("record-trace-cmd");
    let run = resched(&folder, &["record", "-o", "run.dat", "--", "sh", "-c", BUSY]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.starts_with("run.dat · tracefs · "), "{}", run.out);
    assert!(run.out.contains(" · nothing lost\nended: sh ended\n"), "{}", run.out);
    let ours = counts_of_info(&folder, "run.dat");
    assert!(ours.get("sched_process_exec").is_some_and(|n| *n >= 9), "{ours:?}");
    assert_eq!(counts_of(&folder, "trace-cmd", &["report", "run.dat"]), ours);
    assert!(!folder.join("run.dat.recording").exists());
    assert_eq!(leftovers(), [""; 0]);
}

#[test]
fn perf_counts_what_info_counts_packed_or_not() {
    needs!(obstacle().or_else(|| lacks("perf")));
    let folder = scratch("record-perf");
    for compress in ["none", "zstd"] {
        let args = ["record", "--via", "perf", "--compress", compress, "-o", "run.data"];
        let run = resched(&folder, &[&args[..], &["--", "sh", "-c", BUSY]].concat());
        needs!((run.code != 0).then(|| run.err.clone()));
        let ours = counts_of_info(&folder, "run.data");
        assert!(ours.get("sched_process_exec").is_some_and(|n| *n >= 9), "{ours:?}");
        let args = ["script", "-i", "run.data", "-F", "comm,tid,cpu,time,event,trace"];
        assert_eq!(counts_of(&folder, "perf", &args), ours, "{compress}");
    }
}

#[test]
fn the_machine_comes_along() {
    needs!(obstacle());
    let folder = scratch("record-host");
    let run =
        resched(&folder, &["record", "-o", "run.dat", "--", "nice", "-n", "7", "sleep", "0.2"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let text = std::fs::read_to_string(folder.join("run.dat.host.json")).expect("the sidecar");
    let host: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    assert_eq!(host["kernel"], release.trim());
    assert_eq!(host["clock"], "mono");
    assert_eq!(host["interrupted"], serde_json::Value::Null);
    let own = i64::from(std::process::id());
    let tasks = host["tasks"].as_array().expect("tasks");
    assert!(tasks.iter().any(|task| task["tgid"] == own || task["tid"] == own), "{text}");
}

#[test]
fn a_killed_recording_can_be_finished_and_leaves_no_instance() {
    needs!(obstacle());
    // Not at one moment only: during the start, while recording, long after.
    for (round, millis) in [30, 150, 400, 1700].into_iter().enumerate() {
        let folder = scratch(&format!("record-killed-{round}"));
        let via = if round % 2 == 0 { "tracefs" } else { "perf" };
        let mut recorder = Command::new(env!("CARGO_BIN_EXE_resched"))
            .args(["record", "--via", via, "-o", "run.dat", "--duration", "20s"])
            .current_dir(&folder)
            .stderr(Stdio::null())
            .spawn()
            .expect("resched starts");
        std::thread::sleep(std::time::Duration::from_millis(millis));
        let left = KILLED.write().unwrap_or_else(PoisonError::into_inner);
        recorder.kill().expect("it runs");
        recorder.wait().expect("it is gone");
        assert!(!folder.join("run.dat").exists(), "a half-written trace must not pass for whole");
        if folder.join("run.dat.recording").exists() {
            let again = resched(&folder, &["record", "-o", "run.dat", "--duration", "1ms"]);
            assert_eq!(again.code, 2, "{}", again.out);
            assert!(again.err.contains("resched record --recover run.dat"), "{}", again.err);
            let recovered = resched(&folder, &["record", "--recover", "run.dat"]);
            if recovered.code == 0 {
                assert!(recovered.out.contains("it ends where its recorder was killed"));
                let info = resched(&folder, &["info", "run.dat"]);
                assert_eq!(info.code, 0, "{}", info.err);
                assert!(info.out.contains("its recorder was killed"), "{}", info.out);
            } else {
                let early = "the recorder was killed before it recorded anything";
                assert!(recovered.err.contains(early), "{}", recovered.err);
            }
        }
        let _ = std::fs::remove_dir_all(folder.join("run.dat.recording"));
        let next = resched(&folder, &["record", "-o", "next.dat", "--duration", "10ms"]);
        assert_eq!(next.code, 0, "{}", next.err);
        drop(left);
        assert_eq!(leftovers(), [""; 0], "after {millis} ms");
    }
}

#[test]
fn a_full_disk_ends_the_recording_with_a_way_out() {
    let mount = "mount -t tmpfs -o size=200k none /mnt";
    needs!(obstacle().or_else(|| forbids(mount)));
    let folder = scratch("record-full");
    let script = format!(
        "{mount} && echo good | tee /mnt/run.dat > /mnt/run.dat.host.json || exit 1; \
         while :; do cat /proc/self/stat | cat; done > /dev/null & \
         $R record --compress none -o /mnt/run.dat --duration 20s; code=$?; kill $!; \
         $R record --recover /mnt/run.dat && exit 1; cat /mnt/run.dat /mnt/run.dat.host.json; \
         mount -o remount,size=8m /mnt && $R record --recover /mnt/run.dat && \
         $R info /mnt/run.dat && ls /mnt; exit $code"
    );
    let run = in_namespace(&folder, &script);
    assert_eq!(run.code, 2, "{}{}", run.out, run.err);
    assert_eq!(run.err.matches("disk is full").count(), 2, "{}{}", run.out, run.err);
    assert!(run.err.contains("resched record --recover /mnt/run.dat"), "{}", run.err);
    // What was there stays, until there is room for what was recorded.
    assert!(run.out.starts_with("good\ngood\n/mnt/run.dat · "), "{}", run.out);
    assert!(run.out.ends_with("\nrun.dat\nrun.dat.host.json\n"), "{}{}", run.out, run.err);
    assert_eq!(leftovers(), [""; 0]);
}

/// The instance of a recorder, once it records.
fn tracing_of(recorder: &mut Child, folder: &Path) -> PathBuf {
    let prefix = format!("resched.{}.", recorder.id());
    let is_on = |dir: &PathBuf| {
        let name = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        name && std::fs::read_to_string(dir.join("tracing_on")).is_ok_and(|on| on.trim() == "1")
    };
    // Before that it only tries whether an instance can be made.
    let is_prepared = || folder.join("run.dat.recording/top.cpu0").exists();
    loop {
        let entries = std::fs::read_dir("/sys/kernel/tracing/instances").into_iter().flatten();
        let dirs = entries.flatten().map(|entry| entry.path());
        if is_prepared()
            && let Some(dir) = dirs.into_iter().find(is_on)
        {
            return dir;
        }
        assert_eq!(recorder.try_wait().expect("our child"), None, "it records");
        std::thread::yield_now();
    }
}

fn recorder(folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_resched"))
        .args(["record", "--via", "tracefs", "-o", "run.dat", "--duration", "60s"])
        .current_dir(folder)
        .stderr(Stdio::null())
        .spawn()
        .expect("resched starts")
}

#[test]
fn the_tracing_of_a_killed_recorder_is_ended_and_that_of_others_goes_on() {
    needs!(obstacle());
    let alive_folder = scratch("record-left-alive");
    let mut alive = recorder(&alive_folder);
    let goes_on = tracing_of(&mut alive, &alive_folder);
    for how in [["record", "--check"].as_slice(), &["record", "--recover", "run.dat"]] {
        let folder = scratch("record-left");
        // Recorders of other tests often find it first and say so in our place; not for ever.
        let is_told = (0..200).any(|_| {
            let _ = std::fs::remove_dir_all(folder.join("run.dat.recording"));
            let mut killed = recorder(&folder);
            let left = tracing_of(&mut killed, &folder);
            let _left = KILLED.write().unwrap_or_else(PoisonError::into_inner);
            killed.kill().expect("it runs");
            killed.wait().expect("it is gone");
            let run = resched(&folder, how);
            assert!(!left.exists(), "{how:?}: {}{}", run.out, run.err);
            let name = left.file_name().expect("a name").to_string_lossy().into_owned();
            let line = format!("ended the tracing of killed recorder {} ({name})", killed.id());
            run.out.contains(&line) || run.err.contains(&line)
        });
        assert!(is_told, "{how:?}");
        assert!(goes_on.exists(), "{how:?}");
    }
    let _left = KILLED.write().unwrap_or_else(PoisonError::into_inner);
    alive.kill().expect("it runs");
    alive.wait().expect("it is gone");
    assert_eq!(resched(&alive_folder, &["record", "--recover", "run.dat"]).code, 0);
    assert!(!goes_on.exists());
}

#[test]
fn what_another_user_has_prepared_is_not_used_and_nobody_is_sent_there() {
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    needs!(obstacle().or_else(|| forbids(&format!("{nobody} true"))));
    let folder = scratch("record-prepared");
    // Other users may not get as far as the folders of this test.
    let script = format!(
        r#"mount -t tmpfs -o mode=1777 none /mnt && echo secret > secret && echo precious > precious
        here=$PWD; cd /mnt
        {nobody} sh -c 'mkdir run.dat.recording && cd run.dat.recording && ln -s "$1/secret" head &&
            ln -s "$1/precious" file && touch top.cpu0 && echo "$2" > manifest.json' sh "$here" \
            '{{"version":1,"via":"tracefs","zstd":null,"cpus":[0],"own_cpus":[],"pid":0,"start_ticks":0}}'
        $R record -o run.dat -- true; echo code $?
        $R record --recover run.dat; echo code $?
        ls; cat "$here/precious""#
    );
    let run = in_namespace(&folder, &script);
    assert_eq!(run.out, "code 2\ncode 2\nrun.dat.recording\nprecious\n", "{}", run.err);
    let whose =
        "run.dat.recording: belongs to nobody (uid 65534), and resched runs as root (uid 0)";
    assert_eq!(run.err.matches(whose).count(), 2, "{}", run.err);
    assert!(!run.err.contains("--recover"), "{}", run.err);
}

#[test]
fn a_recording_is_its_owners_alone_whatever_the_umask() {
    needs!(obstacle().or_else(|| forbids("umask 000")));
    let folder = scratch("record-private");
    let look = "find . -mindepth 1 -path '*.recording*' -printf '%m '; echo\n";
    std::fs::write(folder.join("look"), look).expect("a script");
    let script = "umask 000; $R record -o run.dat -- sh look || exit; \
         $R record --via perf -o run.dat -- sh look || exit; \
         $R record --flight 400ms -o run.dat -- sh -c \
         'exec > /dev/null 2>&1; kill -USR1 $PPID; exec sleep 5' || exit; \
         find . -name 'run*' -printf '%f %m\\n' | sort";
    let run = in_namespace(&folder, script);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    let modes: Vec<&str> = run.out.lines().filter(|line| !line.contains([':', '·'])).collect();
    for while_it_grows in &modes[..2] {
        let modes: Vec<&str> = while_it_grows.split_whitespace().collect();
        assert!(modes.len() > 5 && modes[0] == "700", "{}", run.out);
        assert!(modes[1..].iter().all(|mode| *mode == "600"), "{}", run.out);
    }
    let files =
        ["run.1.dat 600", "run.1.dat.host.json 600", "run.dat 600", "run.dat.host.json 600"];
    assert_eq!(modes[2..], files, "{}", run.out);
}

#[test]
fn an_overrun_is_counted_as_the_kernel_counts_it() {
    needs!(obstacle());
    let folder = scratch("record-overrun");
    // A recorder that is stopped cannot empty its buffers.
    let script = "$R record --json --buffer 64KiB -o run.dat -- sh -c '\
         kill -STOP $PPID; i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i+1)); done; \
         kill -CONT $PPID; sleep 0.1' > summary.json";
    needs!(forbids("true"));
    let run = in_namespace(&folder, script);
    assert_eq!(run.code, 0, "{}", run.err);
    let text = std::fs::read_to_string(folder.join("summary.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let sum = |list: &str, field: &str| -> u64 {
        let entries = summary[list].as_array().expect("a list");
        entries.iter().filter_map(|entry| entry[field].as_u64()).sum()
    };
    let kernel = sum("lost_by_kernel", "overrun");
    assert!(kernel > 100, "{text}");
    assert_eq!(sum("lost", "events"), kernel, "{text}");
    let info = resched(&folder, &["info", "--json", "run.dat"]);
    let info: serde_json::Value = serde_json::from_str(&info.out).expect("JSON");
    let gaps = info["lost"].as_array().expect("a list");
    assert_eq!(gaps.iter().filter_map(|gap| gap["events"].as_u64()).sum::<u64>(), kernel);
}

#[test]
fn nobody_is_told_to_become_root_and_how() {
    let run = "setpriv --reuid 65534 --clear-groups true";
    needs!(obstacle().or_else(|| forbids(run)));
    let folder = scratch("record-nobody");
    let open = Command::new("chmod").arg("777").arg(&folder).status().expect("chmod");
    assert!(open.success());
    // The folders above may be closed to others: the binary is opened before.
    let script = "exec 3<$R; setpriv --reuid 65534 --clear-groups sh -c \
         '/proc/self/fd/3 record -o /tmp/never.dat --duration 1s'";
    let run = in_namespace(&folder, script);
    assert_eq!(run.code, 2, "{}{}", run.out, run.err);
    assert!(run.err.contains("run it as root (`sudo resched record …`)"), "{}", run.err);
    assert!(!Path::new("/tmp/never.dat.recording").exists());
}

#[test]
fn without_tracefs_the_mount_is_named() {
    let hide = "umount -l /sys/kernel/tracing; umount -l /sys/kernel/debug; true";
    needs!(obstacle().or_else(|| forbids(hide)));
    let folder = scratch("record-no-tracefs");
    let script = format!("({hide}) 2>/dev/null; $R record -o run.dat --duration 1s");
    let run = in_namespace(&folder, &script);
    assert_eq!(run.code, 2, "{}{}", run.out, run.err);
    assert!(run.err.contains("`mount -t tracefs none /sys/kernel/tracing`"), "{}", run.err);
}

#[test]
fn without_the_right_to_bpf_waits_are_still_recorded() {
    let drop = "setpriv --bounding-set -sys_admin,-bpf,-perfmon --inh-caps -all";
    needs!(obstacle().or_else(|| forbids(&format!("{drop} true"))));
    let folder = scratch("record-no-bpf");
    let owner =
        in_namespace(&folder, &format!("{drop} $R record --detail owner -o o.dat --duration 1s"));
    assert_eq!(owner.code, 2, "{}{}", owner.out, owner.err);
    assert!(owner.err.contains("setcap cap_bpf,cap_perfmon+ep"), "{}", owner.err);
    let waits = in_namespace(&folder, &format!("{drop} $R record -o w.dat --duration 50ms"));
    assert_eq!(waits.code, 0, "{}", waits.err);
}

#[test]
fn a_flight_recorder_writes_its_last_stretch_on_a_signal() {
    needs!(obstacle());
    let folder = scratch("record-flight");
    let script = "$R record --flight 400ms --dumps 1 -o run.dat -- sh -c \
         'exec > /dev/null 2>&1; sleep 1.2; kill -USR1 $PPID; sleep 5'";
    needs!(forbids("true"));
    let run = in_namespace(&folder, script);
    assert!(run.err.contains("wrote run.1.dat: SIGUSR1"), "{}{}", run.out, run.err);
    assert!(!folder.join("run.dat").exists() && folder.join("run.1.dat.host.json").exists());
    let info = resched(&folder, &["info", "--json", "run.1.dat"]);
    let info: serde_json::Value = serde_json::from_str(&info.out).expect("JSON");
    let span = info["span_ns"].as_u64().expect("a span");
    // Idle CPUs write their pages seldom: a page more than was asked for may be kept.
    assert!((100_000_000..1_500_000_000).contains(&span), "{span} ns of 400 ms");
}

#[test]
fn without_a_flight_recorder_its_signal_changes_nothing() {
    needs!(obstacle());
    needs!(forbids("true"));
    for via in ["tracefs", "perf"] {
        let folder = scratch(&format!("record-signal-{via}"));
        let script =
            format!("$R record --via {via} -o run.dat -- sh -c 'kill -USR1 $PPID; exec sleep 0.3'");
        let run = in_namespace(&folder, &script);
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(run.err.contains("SIGUSR1 writes out nothing without `--flight`"), "{}", run.err);
        let mut left: Vec<_> = std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["run.dat", "run.dat.host.json"], "{via}");
    }
}

#[test]
fn a_recording_of_one_command_is_no_basis_for_a_replay() {
    needs!(obstacle());
    let folder = scratch("record-only");
    let args = ["record", "--only", "command", "-o", "run.dat", "--", "sh", "-c", BUSY];
    let run = resched(&folder, &args);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("this recording can be looked at, not replayed"), "{}", run.err);
    let counts = counts_of_info(&folder, "run.dat");
    assert!(counts.get("sched_process_exec").is_some_and(|n| *n >= 9), "{counts:?}");
    let replay = resched(&folder, &["replay", "run.dat", "--draws", "0"]);
    assert_eq!(replay.code, 3, "{}{}", replay.out, replay.err);
    assert!(replay.err.contains("only some tasks were recorded"), "{}", replay.err);
}

#[test]
fn owners_are_recorded_through_both_engines() {
    needs!(obstacle());
    let folder = scratch("record-owner");
    for via in ["tracefs", "perf"] {
        let args = ["record", "--detail", "owner", "--via", via, "-o", "run.dat", "--", "sh", "-c"];
        let run = resched(&folder, &[&args[..], &[BUSY]].concat());
        needs!((run.code != 0).then(|| run.err.clone()));
        let info = resched(&folder, &["info", "run.dat"]);
        assert_eq!(info.code, 0, "{}", info.err);
    }
}
