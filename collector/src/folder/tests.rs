//! Who may read and write what is made, from its first moment.

use super::*;
use std::os::unix::fs::MetadataExt;

fn mode(file: &File) -> u32 {
    file.metadata().expect("open").mode() & 0o7777
}

#[test]
fn folders_and_files_are_made_for_their_owner_alone() {
    let path = std::env::temp_dir().join(format!("resched-modes-{}", std::process::id()));
    let (around, name) = Folder::around(&path).expect("a folder");
    let folder = around.make(&name, &path).expect("made");
    assert_eq!(mode(&File::open(&path).expect("there")), 0o700);
    // Opened, not named: nobody had a moment to read them.
    assert_eq!(mode(&folder.begin("begun").expect("made")), 0o600);
    folder.write("written", b"x").expect("written");
    assert_eq!(mode(&folder.open("written", Access::Read).expect("there")), 0o600);
    around.remove(&name, &folder).expect("removed");
    assert!(!path.exists());
}

#[test]
fn a_file_lies_in_the_folder_that_was_meant_when_it_was_opened() {
    let path = std::env::temp_dir().join(format!("resched-moved-{}", std::process::id()));
    std::fs::create_dir_all(path.join("a")).expect("made");
    let (around, name) = Folder::around(&path.join("a/run.dat")).expect("a folder");
    std::fs::rename(path.join("a"), path.join("b")).expect("moved");
    std::os::unix::fs::symlink("/", path.join("a")).expect("a link");
    around.write("new.dat", b"x").expect("written");
    around.give("new.dat", &around, &name).expect("named");
    assert_eq!(std::fs::read(path.join("b/run.dat")).expect("there"), b"x");
    std::fs::remove_dir_all(&path).expect("removed");
}
