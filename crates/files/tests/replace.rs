//! Folders replaced as a whole.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use unet3p_files::{NewFolder, recover_folder, write};

const PARTS: [&str; 3] = ["config", "weights", "card"];

/// All files below a folder with their content, hidden ones too.
fn content(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let below = content(&entry.path()).into_iter();
            found.extend(below.map(|(path, text)| (format!("{name}/{path}"), text)));
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    found
}

fn fill(new: &NewFolder, parts: &[&str], text: &str) {
    for part in parts {
        write(&new.path().join(part), |file| std::io::Write::write_all(file, text.as_bytes())).unwrap();
    }
}

fn replace(folder: &Path, parts: &[&str], text: &str) {
    let new = NewFolder::of(folder).unwrap();
    fill(&new, parts, text);
    new.replace(&PARTS).unwrap();
}

#[test]
fn what_belongs_to_others_is_kept_and_what_is_not_written_anew_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("a/model");
    replace(&folder, &PARTS, "one");
    for (name, text) in [("notes.txt", "mine"), ("logs/run/1.csv", "mine"), (".hidden", "mine")] {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
    // Left by a process that was killed while it wrote a file of its own.
    fs::write(folder.join(".unet3p-x.tmp"), "half").unwrap();
    replace(&folder, &PARTS[..2], "two");
    let expected = [
        (".hidden", "mine"),
        ("config", "two"),
        ("logs/run/1.csv", "mine"),
        ("notes.txt", "mine"),
        ("weights", "two"),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(name, text)| (format!("a/model/{name}"), text.to_string())).collect();
    assert_eq!(content(place.path()), expected);
}

#[test]
fn a_folder_that_is_not_finished_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    replace(&folder, &PARTS, "one");
    let before = content(place.path());
    let new = NewFolder::of(&folder).unwrap();
    fill(&new, &PARTS, "two");
    // One at a time; another folder is no concern of it.
    let error = NewFolder::of(&folder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    assert!(error.to_string().contains("another process is writing this folder"), "{error}");
    assert!(NewFolder::of(&place.path().join("model-b")).is_ok());
    drop(new);
    assert_eq!(content(place.path()), before);
    replace(&folder, &PARTS, "three");
}

#[test]
fn what_killed_processes_left_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    replace(&folder, &PARTS, "one");
    let before = content(place.path());
    for left in [".unet3p-model-aB3dE6.tmp", ".unet3p-other-aB3dE6.tmp", ".unet3p-model-b-aB3dE6.tmp"] {
        fs::create_dir(place.path().join(left)).unwrap();
        fs::write(place.path().join(left).join("weights"), "half").unwrap();
    }
    // The lock's owner is gone, and with it the lock.
    fs::write(place.path().join(".unet3p-model.lock"), "").unwrap();
    replace(&folder, &PARTS, "one");
    let mut after = content(place.path());
    assert!(after.remove(".unet3p-other-aB3dE6.tmp/weights").is_some());
    assert!(after.remove(".unet3p-model-b-aB3dE6.tmp/weights").is_some());
    assert_eq!(after, before);
}

#[test]
fn a_folder_that_was_moved_aside_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    replace(&folder, &PARTS, "one");
    let before = content(place.path());
    fs::rename(&folder, place.path().join(".model.old")).unwrap();
    recover_folder(&folder).unwrap();
    recover_folder(&folder).unwrap();
    assert_eq!(content(place.path()), before);
    // What is there is never replaced by an old one.
    fs::create_dir(place.path().join(".model.old")).unwrap();
    recover_folder(&folder).unwrap();
    assert_eq!(content(place.path()), before);
}

#[cfg(unix)]
#[test]
fn links_modes_and_mounts() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    replace(&folder, &PARTS, "one");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // As of anything that is made without more ado.
    fs::create_dir(place.path().join("plain")).unwrap();
    fs::write(place.path().join("plain/file"), "").unwrap();
    assert_eq!(mode(&folder), mode(&place.path().join("plain")));
    assert_eq!(mode(&folder.join("config")), mode(&place.path().join("plain/file")));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
    symlink("notes.txt", folder.join("link")).unwrap();
    // By a link to it.
    let link = place.path().join("current");
    symlink("model", &link).unwrap();
    replace(&link, &PARTS, "two");
    assert!(link.is_symlink() && folder.join("link").is_symlink());
    assert_eq!((mode(&folder), content(&folder)["config"].as_str()), (0o750, "two"));
    // One in which nobody may write.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o550)).unwrap();
    assert_eq!(NewFolder::of(&folder).unwrap_err().kind(), ErrorKind::PermissionDenied);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
    // The working directory stays the folder that it is.
    let inode = fs::metadata(&folder).unwrap().ino();
    let here = std::env::current_dir().unwrap();
    std::env::set_current_dir(&folder).unwrap();
    replace(Path::new("."), &PARTS[..2], "three");
    std::env::set_current_dir(here).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().ino(), inode);
    let after = content(&folder);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["config", "link", "weights"]);
    assert_eq!(after["config"], "three");
}
