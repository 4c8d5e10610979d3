//! What is recovered, what is not, and what nobody else can have recovered in our name.

use super::*;
use crate::folder::Folder;
use crate::request::Compression;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

const MANIFEST: &str = r#"{"version":1,"via":"perf","zstd":1,"cpus":[0],"own_cpus":[],
    "pid":0,"start_ticks":0"#;

/// A place that nothing lies at.
fn place(name: &str) -> PathBuf {
    let output = std::env::temp_dir().join(format!("resched-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(spool::folder(&output));
    let _ = fs::remove_file(&output);
    output
}

fn left(name: &str, manifest: &str) -> PathBuf {
    let output = place(name);
    let spool = Spool::create(&output).expect("a folder");
    spool.write("manifest.json", manifest.as_bytes()).expect("written");
    output
}

/// What a killed recorder of one CPU left, through tracefs.
fn left_by_tracefs(name: &str) -> PathBuf {
    let manifest = MANIFEST.replace("perf", "tracefs");
    let output = left(name, &format!("{manifest}}}"));
    let folder = spool::folder(&output);
    let head = trace_head();
    let files =
        [("head", &head[..]), ("tasks", b"7 seven\n"), ("host.json", b"{}"), ("top.cpu0", b"")];
    for (file, content) in files {
        write(&folder.join(file), content);
    }
    output
}

/// Writes a file that is its owner's alone, whatever the umask.
fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
}

fn trace_head() -> Vec<u8> {
    let formats = crate::trace_dat::Formats { n_cpus: 1, ..Default::default() };
    crate::trace_dat::head(&formats, Compression::Zstd(1)).expect("a head")
}

fn sidecar(output: &Path) -> PathBuf {
    spool::with_suffix(output, ".host.json")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

fn remove(output: &Path) {
    let _ = fs::remove_file(output);
    let _ = fs::remove_file(sidecar(output));
    let _ = fs::remove_dir_all(spool::folder(output));
}

#[test]
fn what_a_killed_flight_recorder_held_is_lost_and_no_older_file_passes_for_it() {
    let output = left("flight", &format!("{MANIFEST},\"in_memory\":true}}"));
    fs::write(&output, "an older recording").expect("written");
    let error = put_together(&output).expect_err("nothing to recover").to_string();
    assert!(error.contains("keeps its stretch in memory") && error.contains("`rm -r "), "{error}");
    assert_eq!(fs::read(&output).expect("there"), b"an older recording");
    remove(&output);
}

#[test]
fn a_recorder_that_was_killed_while_it_cleaned_up_had_finished() {
    let output = left("named", &format!("{MANIFEST}}}"));
    fs::write(&output, "whole").expect("written");
    assert_eq!(put_together(&output).expect("finished"), Recovered { size: 5, cut: 0 });
    assert!(!spool::folder(&output).exists());
    remove(&output);
}

#[test]
fn a_recording_in_progress_is_named_by_its_recorder() {
    let (pid, ticks) = (std::process::id(), tracefs::start_ticks(std::process::id()));
    let alive = format!("\"pid\":{pid},\"start_ticks\":{}", ticks.expect("our own"));
    let manifest = MANIFEST.replace("\"pid\":0,\"start_ticks\":0", &alive);
    let output = left("busy", &format!("{manifest}}}"));
    let expected = format!("process {pid} is recording to {}", output.display());
    for error in [Spool::create(&output).err(), put_together(&output).err()] {
        let error = error.expect("it is being recorded").to_string();
        assert!(error.contains(&expected), "{error}");
    }
    remove(&output);
}

#[test]
fn what_is_recovered_is_its_owners_alone() {
    let output = left_by_tracefs("private");
    // As older versions left them.
    let folder = spool::folder(&output);
    fs::set_permissions(folder.join("host.json"), fs::Permissions::from_mode(0o644)).expect("ours");
    put_together(&output).expect("recovered");
    assert_eq!((mode(&output), mode(&sidecar(&output))), (0o600, 0o600));
    assert!(!folder.exists());
    remove(&output);
}

#[test]
fn a_link_in_the_folder_is_neither_read_nor_written() {
    for name in ["head", "tasks", "host.json", "top.cpu0", "manifest.json"] {
        let output = left_by_tracefs(&format!("link-{name}"));
        let folder = spool::folder(&output);
        let secret = place(&format!("secret-{name}"));
        fs::rename(folder.join(name), &secret).expect("moved");
        symlink(&secret, folder.join(name)).expect("a link");
        let error = put_together(&output).expect_err("a link").to_string();
        let expected = format!("{}: is a symbolic link", folder.join(name).display());
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("with `-o`") && error.contains("`rm -r "), "{error}");
        assert!(!output.exists() && !sidecar(&output).exists());
        remove(&output);
        fs::remove_file(secret).expect("still there");
    }
}

#[test]
fn a_link_in_the_place_of_the_new_file_is_replaced() {
    for link in ["file", "new"] {
        let output = left_by_tracefs(&format!("over-{link}"));
        let precious = place(&format!("precious-{link}"));
        fs::write(&precious, "precious").expect("written");
        symlink(&precious, spool::folder(&output).join(link)).expect("a link");
        put_together(&output).expect("recovered");
        assert_eq!(fs::read(&precious).expect("there"), b"precious");
        fs::remove_file(&precious).expect("there");
        remove(&output);
    }
}

#[test]
fn a_file_with_two_names_may_be_somebody_elses() {
    let output = left_by_tracefs("hard");
    let other = place("hard-other");
    fs::hard_link(spool::folder(&output).join("head"), &other).expect("a second name");
    let error = put_together(&output).expect_err("two names").to_string();
    assert!(error.contains("head: is a hard link, a file with 2 names"), "{error}");
    fs::remove_file(other).expect("there");
    remove(&output);
}

#[test]
fn a_link_in_the_place_of_the_output_is_replaced_and_not_followed() {
    let output = left_by_tracefs("out");
    let precious = place("out-precious");
    fs::write(&precious, "precious").expect("written");
    symlink(&precious, &output).expect("a link");
    symlink(&precious, sidecar(&output)).expect("a link");
    put_together(&output).expect("recovered");
    assert_eq!(fs::read(&precious).expect("there"), b"precious");
    assert!(fs::symlink_metadata(&output).expect("there").is_file());
    assert!(fs::symlink_metadata(sidecar(&output)).expect("there").is_file());
    fs::remove_file(&precious).expect("there");
    remove(&output);
}

#[test]
fn neither_file_is_replaced_before_both_are_whole() {
    let output = left_by_tracefs("whole");
    // Refused when half of the new file is written.
    let manifest = spool::folder(&output).join("manifest.json");
    let none = fs::read_to_string(&manifest).expect("there").replace("\"zstd\":1", "\"zstd\":null");
    fs::write(&manifest, none).expect("written");
    fs::remove_file(spool::folder(&output).join("top.cpu0")).expect("there");
    fs::write(&output, "good").expect("written");
    fs::write(sidecar(&output), "good too").expect("written");
    put_together(&output).expect_err("pages are missing");
    assert_eq!(fs::read(&output).expect("there"), b"good");
    assert_eq!(fs::read(sidecar(&output)).expect("there"), b"good too");
    let folder = spool::folder(&output);
    assert!(folder.join("host.json").exists() && !folder.join("file").exists());
    write(&folder.join("top.cpu0"), b"");
    put_together(&output).expect("the next try finds all there is");
    remove(&output);
}

/// The folder is put in another's place while it is open: what has its name now is left alone.
#[test]
fn what_takes_the_folders_name_is_not_touched() {
    let output = left_by_tracefs("swapped");
    let spool = Spool::find(&output).expect("ours").expect("there");
    let (folder, aside) = (spool::folder(&output), place("swapped-aside"));
    fs::rename(&folder, &aside).expect("moved");
    fs::create_dir(&folder).expect("made");
    fs::write(folder.join("head"), "another's").expect("written");
    assert_eq!(
        content(spool.folder().open("head", Access::Read).expect("ours")).expect("read"),
        trace_head()
    );
    spool.remove().expect_err("another folder has its name");
    assert_eq!(fs::read(folder.join("head")).expect("there"), b"another's");
    assert_eq!(fs::read_dir(&aside).expect("there").count(), 0);
    fs::remove_dir(aside).expect("empty");
    remove(&output);
}

#[test]
fn a_folder_that_others_may_have_prepared_is_named_with_what_is_wrong_and_not_recovered() {
    let output = left_by_tracefs("open");
    let folder = spool::folder(&output);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("ours");
    refused(&output, "can be written by other users (mode 777)");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("ours");
    let aside = place("open-aside");
    fs::rename(&folder, &aside).expect("moved");
    symlink(&aside, &folder).expect("a link");
    refused(&output, "is a symbolic link");
    fs::remove_file(&folder).expect("the link");
    fs::write(&folder, "").expect("written");
    refused(&output, "is no folder");
    fs::remove_file(&folder).expect("the file");
    fs::remove_dir_all(aside).expect("there");
}

#[test]
#[expect(clippy::print_stderr, reason = "what was not tested must be said")]
fn a_folder_of_another_user_is_not_recovered() {
    let output = left_by_tracefs("foreign");
    let folder = spool::folder(&output);
    if std::os::unix::fs::chown(&folder, Some(65534), None).is_err() {
        eprintln!("skipped: only root can give a folder away");
        return remove(&output);
    }
    refused(&output, "belongs to nobody (uid 65534), and resched runs as root (uid 0)");
    std::os::unix::fs::chown(&folder, Some(0), None).expect("ours again");
    std::os::unix::fs::chown(folder.join("head"), Some(65534), None).expect("given away");
    let error = put_together(&output).expect_err("another's file").to_string();
    assert!(error.contains("head: belongs to nobody (uid 65534)"), "{error}");
    remove(&output);
}

/// Neither a new recording nor `--recover` uses the folder, and nobody is sent there.
fn refused(output: &Path, why: &str) {
    for error in [Spool::create(output).err(), put_together(output).err()] {
        let error = error.expect("refused").to_string();
        let expected = format!("{}: {why}", spool::folder(output).display());
        assert!(error.starts_with(&expected), "{error}");
        assert!(!error.contains("--recover"), "{error}");
        assert!(error.contains("with `-o`") && error.contains("`rm -r "), "{error}");
    }
    assert!(!output.exists() && !sidecar(output).exists());
}

#[test]
fn a_pipe_in_the_folder_is_not_waited_for() {
    let output = left_by_tracefs("pipe");
    let head = spool::folder(&output).join("head");
    fs::remove_file(&head).expect("there");
    let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&head).status();
    assert!(made.expect("mkfifo").success());
    let error = put_together(&output).expect_err("a pipe").to_string();
    assert!(error.contains("head: is no regular file"), "{error}");
    remove(&output);
}

#[test]
fn a_name_with_a_nul_is_refused_like_any_other() {
    let (around, _) = Folder::around(&place("nul")).expect("a folder");
    let error = around.begin("a\0b").expect_err("no such name").to_string();
    assert!(error.contains("cannot be created"), "{error}");
}
