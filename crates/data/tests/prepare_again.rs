//! Slices that are prepared where an earlier run has written, or has failed.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{RAS, content, liver, pairs, write_person};
use unet3p_data::prepare::{DatasetIndex, FolderOptions, folder};

#[test]
fn earlier_slices_are_kept_unless_they_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [6, 6, 6], RAS);
    let regions = FolderOptions { regions: true, ..liver() };
    folder(&pairs(&input), &out, &regions, |_, _, _| {}).unwrap();
    let before = content(&out);
    let error = folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("dataset.json") && error.contains("exists"), "{error}");
    assert_eq!(content(&out), before);

    // Fewer and no regions now: nothing stale stays, and what is not ours does.
    std::fs::write(out.join("images/notes.png"), b"mine").unwrap();
    let options = FolderOptions { spacing: Some([1.0, 1.0, 6.0]), overwrite: true, ..liver() };
    let index = folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap();
    assert_eq!(index.slices.len(), 2);
    let names: Vec<PathBuf> = content(&out).into_keys().collect();
    let expected = [
        "dataset.json",
        "images/a_z0000.png",
        "images/a_z0001.png",
        "images/notes.png",
        "masks/a_z0000.png",
        "masks/a_z0001.png",
        "preprocessor_config.json",
    ];
    assert_eq!(names, expected.map(PathBuf::from));
}

#[test]
fn a_run_in_which_every_volume_fails_leaves_the_folder_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    for name in ["a", "b"] {
        write_person(&input, name, [6, 6, 4], RAS);
    }
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    let before = content(&out);
    for name in ["a", "b"] {
        let truncated = input.join(format!("labels/{name}.nii.gz"));
        let bytes = std::fs::read(&truncated).unwrap();
        std::fs::write(&truncated, &bytes[..bytes.len() / 2]).unwrap();
    }
    let options = FolderOptions { overwrite: true, ..liver() };
    let error = folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("labels/a.nii.gz") && error.contains("labels/b.nii.gz"), "{error}");
    assert_eq!(content(&out), before);
    // Into a new folder nothing is written.
    let fresh = dir.path().join("fresh");
    assert!(folder(&pairs(&input), &fresh, &liver(), |_, _, _| {}).is_err());
    assert_eq!(content(&fresh), BTreeMap::new());
}

/// Files that others see.
fn published(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = content(out);
    files.retain(|path, _| !path.starts_with(".unet3p-prepare"));
    files
}

#[test]
fn a_volume_that_fails_does_not_keep_the_others_and_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out, whole) = (dir.path().join("in"), dir.path().join("out"), dir.path().join("whole"));
    for name in ["a", "b", "c"] {
        write_person(&input, name, [6, 6, 4], RAS);
    }
    folder(&pairs(&input), &whole, &liver(), |_, _, _| {}).unwrap();
    let labels = input.join("labels/b.nii.gz");
    let good = std::fs::read(&labels).unwrap();
    std::fs::write(&labels, b"cut off").unwrap();
    let index = folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    assert_eq!(DatasetIndex::load(&out).unwrap(), index);
    assert_eq!(index.slices.len(), 8);
    let [failed] = index.failed.as_slice() else { panic!("{:?}", index.failed) };
    assert!(failed.name == "b" && failed.error.contains("labels/b.nii.gz"), "{failed:?}");
    assert!(out.join("images/c_z0001.png").exists() && !out.join("images/b_z0001.png").exists());

    // A slice that is marked shows whether it was cut again; half a file is none.
    let marked = out.join("images/a_z0001.png");
    std::fs::write(&marked, b"marked").unwrap();
    std::fs::write(out.join(".unet3p-prepare/images/.unet3p-locked-x.tmp"), b"half").unwrap();
    std::fs::write(out.join("images/c_z0002.png"), b"").unwrap();
    std::fs::write(&labels, &good).unwrap();
    let index = folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    assert!(index.failed.is_empty());
    let (mut found, mut expected) = (content(&out), content(&whole));
    assert_eq!(found.remove(Path::new("images/a_z0001.png")), Some(b"marked".to_vec()));
    expected.remove(Path::new("images/a_z0001.png"));
    assert_eq!(found, expected);
    // Now that all is there the folder is as any other.
    assert!(folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap_err().to_string().contains("exists"));
}

#[test]
fn what_has_changed_since_is_cut_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    for name in ["a", "b"] {
        write_person(&input, name, [6, 6, 6], RAS);
    }
    let labels = input.join("labels/b.nii.gz");
    let good = std::fs::read(&labels).unwrap();
    std::fs::write(&labels, b"cut off").unwrap();
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    // The volume has fewer slices now: none of the old ones stays.
    write_person(&input, "a", [6, 6, 5], RAS);
    std::fs::write(out.join("images/a_z0001.png"), b"marked").unwrap();
    std::fs::write(&labels, &good).unwrap();
    let index = folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    assert_eq!(index.slices.len(), 5 + 6);
    assert_ne!(std::fs::read(out.join("images/a_z0001.png")).unwrap(), b"marked");
    let slices = published(&out).into_keys().filter(|path| path.starts_with("images")).count();
    assert_eq!(slices, 5 + 6);

    // Other options begin anew.
    std::fs::write(&labels, b"cut off").unwrap();
    let options = FolderOptions { overwrite: true, ..liver() };
    folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap();
    std::fs::write(out.join("images/a_z0001.png"), b"marked").unwrap();
    let options = FolderOptions { window: Some([-100.0, 100.0].into()), ..options };
    folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap();
    assert_ne!(std::fs::read(out.join("images/a_z0001.png")).unwrap(), b"marked");
}

#[test]
fn a_run_that_ended_while_it_moved_its_slices_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [6, 6, 4], RAS);
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    let expected = content(&out);

    // Back to where a kill leaves it: a folder in the place of the index stops the run after the slices.
    std::fs::remove_dir_all(&out).unwrap();
    std::fs::create_dir_all(out.join("preprocessor_config.json")).unwrap();
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap_err();
    assert!(out.join("images/a_z0001.png").exists() && !out.join("dataset.json").exists());
    std::fs::remove_dir(out.join("preprocessor_config.json")).unwrap();
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    assert_eq!(content(&out), expected);
}
