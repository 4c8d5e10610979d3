//! `resched record` in the lab's guest kernel, with proxy execution off and on: skipped, and said
//! so, where there is no emulator or no lab.

use crate::{resched, scratch, skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// What the guest runs: every detail through tracefs, and the last through perf too, and with
/// programs of ours instead of the kernel's own probes.
const JOB: &str = r#"
cd /run/w
record() { "$R" record --via $1 --detail $2 -o $2.$3 -- ./pibench $LAB/scenarios/uni/classic3.scn 1 \
    > /mnt/$2.$3.txt 2>&1 && cp $2.$3 $2.$3.host.json /mnt/; }
"$R" record --check > /mnt/check.txt 2>&1
for detail in contention owner sections full; do record tracefs $detail tracefs; done
record perf full perf
# A kernel that does not say that it has fprobe or kprobe events.
mount --bind /dev/null /sys/kernel/tracing/README
record tracefs full fentry
umount /sys/kernel/tracing/README
ls /sys/kernel/tracing/instances > /mnt/left.txt; cat /sys/kernel/tracing/dynamic_events >> /mnt/left.txt
"#;

fn lab() -> Result<PathBuf, String> {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/lab");
    if !lab.join("vm.sh").exists() {
        return Err("there is no lab beside the repository".to_owned());
    }
    for command in ["qemu-system-x86_64", "busybox"] {
        if Command::new(command).arg("--help").output().is_err() {
            return Err(format!("{command} is not installed"));
        }
    }
    Ok(lab)
}

/// Two guests at a time would take each other's CPU time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Boots the guest and runs the job; some boots of the emulator fail by themselves.
///
/// # Errors
///
/// When the guest does not even begin the job: that is the emulator's failure, not ours.
fn boot(lab: &Path, folder: &Path, proxy: &str) -> Result<(), String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let job = folder.join("job.in.sh");
    let binary = env!("CARGO_BIN_EXE_resched");
    std::fs::write(&job, format!("R={binary}\n{JOB}")).expect("a writable folder");
    for _ in 0..3 {
        let out = Command::new("bash")
            .arg(lab.join("vm.sh"))
            .args([folder, Path::new(proxy), Path::new("1"), &job])
            .env("VM_TIMEOUT", "900")
            // The guest's clock counts instructions: how busy this machine is does not matter.
            .env("ICOUNT", "1")
            .output()
            .expect("bash");
        assert!(!out.stdout.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        if folder.join("left.txt").exists() {
            return Ok(());
        }
    }
    assert!(!folder.join("check.txt").exists(), "three boots, and none ran the job to its end");
    Err("the guest does not boot here".to_owned())
}

fn check(proxy: &str, is_baseline: impl Fn(&Path, &str)) {
    let lab = match lab() {
        Ok(lab) => lab,
        Err(why) => {
            skip(&why);
            return;
        }
    };
    let folder = scratch(&format!("guest-{proxy}"));
    if let Err(why) = boot(&lab, &folder, proxy) {
        skip(&why);
        return;
    }
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    assert_eq!(read("left.txt"), "", "neither instances nor dynamic events stay");
    assert!(read("check.txt").contains("fprobe events: every mutex call"), "{}", read("check.txt"));
    let files = [
        "contention.tracefs",
        "owner.tracefs",
        "sections.tracefs",
        "full.tracefs",
        "full.perf",
        "full.fentry",
    ];
    for file in files {
        let said = read(&format!("{file}.txt"));
        assert!(said.contains(" · nothing lost"), "{file}: {said}");
        let seen_with = match file {
            "full.fentry" => "seen with BPF fentry and fexit",
            _ => "seen with fprobe events",
        };
        assert_eq!(file.starts_with("full"), said.contains(seen_with), "{said}");
        let info = resched(&folder, &["info", "--json", file]);
        let info: serde_json::Value = serde_json::from_str(&info.out).expect("JSON");
        let count = |event: &str| info["counts"][event].as_u64().unwrap_or(0);
        assert!(count("contention_begin") > 20, "{file}: {info}");
        assert_eq!(file.starts_with("contention"), count("lock_owner") == 0, "{file}: {info}");
        let sees_calls = file.starts_with("full") || file.starts_with("sections");
        assert_eq!(sees_calls, count("mutex_unlock_in") > 20, "{file}: {info}");
        let analyzed = resched(&folder, &["analyze", file]);
        assert_eq!(analyzed.code, 0, "{}", analyzed.err);
        is_baseline(&folder, file);
    }
}

#[test]
fn every_detail_records_and_replays_with_proxy_execution_off() {
    check("0", |folder, file| {
        let replay = resched(folder, &["replay", file, "--draws", "0"]);
        // A guest that was disturbed may be too far off; what it predicts is printed all the same.
        assert!([0, 3].contains(&replay.code), "{file}: {}{}", replay.out, replay.err);
        let inversion = replay.out.lines().find(|line| line.starts_with("inversion"));
        let inversion = inversion.unwrap_or_else(|| panic!("{}", replay.out));
        let change =
            inversion.split_whitespace().find_map(|word| word.strip_prefix('-')?.parse().ok());
        assert!(change.is_some_and(|gone: u32| gone >= 50), "{inversion}");
    });
}

#[test]
fn with_proxy_execution_on_the_recording_says_so_and_is_no_baseline() {
    check("1", |folder, file| {
        let replay = resched(folder, &["replay", file]);
        assert_eq!(replay.code, 3, "{file}: {}", replay.out);
        assert!(replay.err.contains("recorded with proxy execution on"), "{}", replay.err);
    });
}
