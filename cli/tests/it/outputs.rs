//! Outputs: whole or not at all, and never over what is being read.

use crate::{Run, resched, scratch, skip};
use expect_test::{Expect, expect};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with a small trace, its sidecar, and `old.txt`, which must survive.
fn folder(test: &str) -> PathBuf {
    let folder = scratch(test);
    for (name, to) in
        [("localhandoff-full.report.txt", "t.txt"), ("localhandoff-full.dat", "t.dat")]
    {
        std::fs::write(folder.join(to), fixtures::bytes(&format!("recorded/{name}")))
            .expect("written");
    }
    let host = fixtures::bytes("recorded/localhandoff-full.dat.host.json");
    std::fs::write(folder.join("t.txt.host.json"), host).expect("written");
    std::fs::write(folder.join("old.txt"), "old").expect("written");
    folder
}

/// Runs a line of shell in which `$R` is the binary.
fn shell(folder: &Path, line: &str) -> Run {
    let mut command = Command::new("bash");
    command.arg("-c").arg(line).current_dir(folder).env("R", env!("CARGO_BIN_EXE_resched"));
    let output = command.output().expect("there is a bash");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("it is there")
}

/// Whatever a run left behind of files that were to be renamed.
fn parts(folder: &Path) -> usize {
    let all = std::fs::read_dir(folder).expect("a folder");
    let is_part = |name: &str| name.starts_with(".resched-");
    all.filter(|f| f.as_ref().is_ok_and(|f| is_part(&f.file_name().to_string_lossy()))).count()
}

#[test]
fn what_is_read_is_never_written() {
    let folder = folder("own-input");
    std::fs::hard_link(folder.join("t.txt"), folder.join("hard.txt")).expect("linked");
    symlink("t.txt", folder.join("soft.txt")).expect("linked");
    symlink("t.txt", folder.join("soft.svg")).expect("linked");
    symlink("t.txt.host.json", folder.join("host.csv")).expect("linked");
    let whole = read(&folder, "t.txt");
    let refused = |line: &str| {
        let run = shell(&folder, line);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{line}");
        assert_eq!(read(&folder, "t.txt"), whole, "{line}");
        run.err
    };
    let mut said = String::new();
    for line in [
        "$R replay t.txt -o t.txt",
        "$R replay t.txt -o ./hard.txt",
        "$R replay t.txt -o soft.txt",
        "$R replay - -o t.txt < t.txt",
        "$R replay t.txt --svg soft.svg",
        "$R compare old.txt t.txt --svg soft.svg",
        "$R analyze t.txt --table locks -o host.csv",
    ] {
        said += &refused(line);
    }
    expect![[r#"
        resched: t.txt: is the trace that is read; name another file for what is written
        resched: ./hard.txt: is the trace that is read; name another file for what is written
        resched: soft.txt: is the trace that is read; name another file for what is written
        resched: t.txt: is the trace that is read; name another file for what is written
        resched: soft.svg: is the trace that is read; name another file for what is written
        resched: soft.svg: is the trace that is read; name another file for what is written
        resched: host.csv: is the sidecar of t.txt; name another file for what is written
    "#]]
    .assert_eq(&said);
}

fn check_refused(args: &[&str], expected: &Expect) {
    let folder = folder("bad-place");
    std::fs::create_dir(folder.join("d.txt")).expect("made");
    let run = resched(&folder, args);
    expected.assert_eq(&run.err);
    assert_eq!((run.code, parts(&folder)), (2, 0));
}

#[test]
fn a_bad_place_is_refused_before_any_work() {
    check_refused(
        &["replay", "none.dat", "-o", "d.txt"],
        &expect![[r#"
        resched: d.txt: is a folder; name a file in it
    "#]],
    );
    check_refused(
        &["analyze", "none.dat", "--table", "locks", "-o", "no/a.csv"],
        &expect![[r#"
        resched: no/a.csv: there is no folder no; make it, or name another one
    "#]],
    );
    check_refused(
        &["analyze", "none.dat", "--table", "locks", "-o", "a.txt"],
        &expect![[r#"
        resched: a.txt: the ending says what is written: give it .csv or .parquet
    "#]],
    );
    check_refused(
        &["demo", "--svg", "old.txt/a.svg"],
        &expect![[r#"
        resched: old.txt/a.svg: cannot be written: Not a directory (os error 20)
    "#]],
    );
}

/// After an error the file that was there is there, and nothing beside it.
fn survives(folder: &Path, line: &str, why: &str) {
    let run = shell(folder, line);
    assert_eq!(run.code, 2, "{line}: {}", run.err);
    assert!(
        run.err.contains("old.txt: cannot be written: ") && run.err.contains(why),
        "{}",
        run.err
    );
    assert_eq!((read(folder, "old.txt").as_str(), parts(folder)), ("old", 0), "{line}");
}

#[test]
fn a_file_that_grows_too_large_leaves_the_old_one() {
    let line = "trap '' XFSZ; ulimit -f 20; $R replay t.dat --draws 0 -o old.txt";
    survives(&folder("too-large"), line, "File too large");
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = folder("full-disk");
    let disk = folder.join("disk");
    std::fs::create_dir(&disk).expect("made");
    let mount = "mount -t tmpfs -o size=64k tmpfs disk && printf old > disk/old.txt";
    if shell(&folder, mount).code != 0 {
        return skip("no small file system can be mounted: not root");
    }
    let line = "$R replay ../t.dat --draws 0 -o old.txt";
    let result = std::panic::catch_unwind(|| survives(&disk, line, "No space left on device"));
    shell(&folder, "umount disk");
    assert!(result.is_ok(), "see above");
}

#[test]
fn an_output_that_works_replaces_the_old_one() {
    let folder = folder("replaced");
    symlink("t.dat", folder.join("link.txt")).expect("linked");
    let run = shell(&folder, "umask 027; $R replay t.txt --draws 0 -o old.txt --svg new.svg");
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(read(&folder, "old.txt").starts_with("# tracer: nop"));
    let mode =
        |name: &str| std::fs::metadata(folder.join(name)).expect("there").permissions().mode();
    assert_eq!((mode("old.txt") & 0o777, mode("new.svg") & 0o777), (0o640, 0o640));
    // A link is replaced, and what it leads to is left alone.
    let before = std::fs::read(folder.join("t.dat")).expect("there");
    assert_eq!(resched(&folder, &["replay", "t.txt", "--draws", "0", "-o", "link.txt"]).code, 0);
    assert_eq!(std::fs::read(folder.join("t.dat")).expect("there"), before);
    assert!(read(&folder, "link.txt").starts_with("# tracer: nop"));
    assert_eq!(parts(&folder), 0);
}

#[test]
fn pipes_devices_and_descriptors_are_written_as_they_are() {
    let folder = folder("devices");
    let run = shell(&folder, "$R replay t.txt --draws 0 -o /dev/full");
    assert_eq!(run.code, 2);
    expect![[r#"
        resched: /dev/full: cannot be written: No space left on device (os error 28)
    "#]]
    .assert_eq(&run.err);
    shell(&folder, "$R replay t.txt --draws 0 -o file.txt > said.txt");
    let (schedule, said) = (read(&folder, "file.txt"), read(&folder, "said.txt"));
    for line in [
        "$R replay t.txt --draws 0 -o /dev/stdout | cat > both.txt",
        "echo first > both.txt; $R replay t.txt --draws 0 -o /dev/stdout >> both.txt",
        "mkfifo pipe; cat pipe > got.txt & $R replay t.txt --draws 0 -o pipe > said2.txt; wait; \
         cat got.txt said2.txt > both.txt",
        "$R replay t.txt --draws 0 -o >(cat > got2.txt) > said2.txt; while ! [ -s got2.txt ]; do \
         sleep 0.1; done; sleep 0.2; cat got2.txt said2.txt > both.txt",
    ] {
        let run = shell(&folder, line);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{line}");
        let both = read(&folder, "both.txt");
        let both = both.strip_prefix("first\n").unwrap_or(&both);
        assert!(both == schedule.clone() + &said, "{line}: {} bytes", both.len());
    }
    let table = "$R analyze t.txt --table locks -o /dev/stderr 2>&1 >/dev/null | head -1";
    assert!(shell(&folder, table).out.contains(','));
    assert_eq!(parts(&folder), 0);
}

/// What is made of a recording that is its user's alone is no more public than that.
#[test]
fn what_is_made_of_a_private_recording_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = scratch("private");
    let name = folder.join("run.dat");
    std::fs::write(&name, fixtures::bytes("recorded/localhandoff-contention.dat"))
        .expect("written");
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    for (given, least) in [(0o600, 0o600), (0o644, 0o600)] {
        std::fs::set_permissions(&name, std::fs::Permissions::from_mode(given)).expect("ours");
        let out = folder.join(format!("{given:o}.sched"));
        let run = resched(&folder, &["demand", "run.dat", "-o", &out.display().to_string()]);
        assert_eq!(run.code, 0, "{}", run.err);
        assert_eq!(mode(&out) & !given, 0, "{:o} of {given:o}", mode(&out));
        assert_eq!(mode(&out) & least, least);
    }
}
