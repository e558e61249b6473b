//! Folders, lists and nnU-Net datasets as one dataset.
// Helpers beside the tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use unet3p_data::{DatasetOptions, IGNORED, Layout, MaskName, Preprocessor, SliceDataset, Source, Split};

fn save(path: PathBuf, value: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    GrayImage::from_pixel(8, 6, Luma([value])).save(path).unwrap();
}

fn options(classes: usize) -> DatasetOptions {
    DatasetOptions { classes: Some(classes), ..DatasetOptions::default() }
}

fn open(path: &Path, options: &DatasetOptions) -> unet3p_data::Result<SliceDataset> {
    SliceDataset::open(&[path.to_path_buf()], options)
}

#[test]
fn masks_are_found_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    save(path.join("images/image_1.png"), 50);
    save(path.join("masks/mask_1.png"), 1);
    save(path.join("images/2.png"), 60);
    save(path.join("masks/2.png"), 1);
    let dataset = open(path, &options(1)).unwrap();
    assert!(dataset.slices()[1].mask.ends_with("masks/mask_1.png"));

    let rule = MaskName::try_from("{name}_seg".to_string()).unwrap();
    let ruled = DatasetOptions { mask_name: Some(rule), ..options(1) };
    let message = open(path, &ruled).unwrap_err().to_string();
    assert!(message.contains("images/2.png") && message.contains("masks/2_seg.png"), "{message}");
    save(path.join("masks/2_seg.png"), 255);
    save(path.join("masks/image_1_seg.png"), 0);
    let (dataset, findings) = SliceDataset::examine(&[path.to_path_buf()], &ruled, |_, _| {}).unwrap();
    assert!(findings.problems.is_empty());
    // White is the only class.
    assert_eq!(dataset.slices()[0].pixels, [0, 48]);
    let unused: Vec<_> = findings.unused.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(unused, ["2.png", "mask_1.png"]);
}

#[test]
fn all_problems_are_found_and_the_rest_is_usable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    for name in ["a", "b", "c", "d", "e"] {
        save(path.join(format!("images/{name}.png")), 9);
        save(path.join(format!("masks/{name}.png")), 0);
    }
    std::fs::remove_file(path.join("masks/a.png")).unwrap();
    save(path.join("masks/b.png"), 3);
    std::fs::write(path.join("images/c.png"), "text").unwrap();
    GrayImage::from_pixel(8, 7, Luma([4])).save(path.join("masks/d.png")).unwrap();
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let count = |done: usize, total: usize| {
        assert!(done <= total && total == 4);
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let (dataset, findings) = SliceDataset::examine(&[path.to_path_buf()], &options(1), count).unwrap();
    assert_eq!(seen.into_inner(), 4);
    assert_eq!(dataset.slices().iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["e"]);
    let problems: Vec<String> = findings.problems.iter().map(|p| p.to_string()).collect();
    let expected = [
        ["images/a.png", "masks/a.png"],
        ["masks/b.png", "class id 3"],
        ["images/c.png", ""],
        ["masks/d.png", "7 x 8"],
        ["masks/d.png", "class id 4"],
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, parts) in problems.iter().zip(expected) {
        assert!(parts.iter().all(|part| problem.contains(part)), "{problem} / {parts:?}");
    }
}

#[test]
fn a_list_names_files_groups_and_sides() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    for (name, value) in [("x/1", 1), ("x/2", 0), ("y/1", 1)] {
        save(path.join(format!("{name}.png")), 77);
        save(path.join(format!("seg/{name}.png")), value);
    }
    let list = path.join("list.csv");
    let lines = "image,mask,group,split\nx/1.png,seg/x/1.png,p,train\nx/2.png,seg/x/2.png,p,train\ny/1.png,seg/y/1.png,q,validation\n";
    std::fs::write(&list, lines).unwrap();
    let dataset = open(&list, &options(1)).unwrap();
    assert_eq!(dataset.groups(), ["p", "q"]);
    assert_eq!(dataset.split(&Split::AsPrepared).unwrap().validation, [2]);
    assert_eq!(dataset.sample(2).unwrap().name, "y/1");
    std::fs::remove_file(path.join("x/2.png")).unwrap();
    let message = open(&list, &options(1)).unwrap_err().to_string();
    assert!(message.contains("x/2.png"), "{message}");
}

/// An nnU-Net dataset with a case of one file and the labels of `labels`.
fn nnunet(path: &Path, channels: &str, labels: &str) {
    std::fs::create_dir_all(path).unwrap();
    let index = format!(
        r#"{{"channel_names": {channels}, "labels": {labels}, "numTraining": 1, "file_ending": ".png"}}"#
    );
    std::fs::write(path.join("dataset.json"), index).unwrap();
}

#[test]
fn an_nnunet_dataset_of_pictures_is_read_directly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    nnunet(path, r#"{"0": "R", "1": "G", "2": "B"}"#, r#"{"background": 0, "b": 2, "a": 1, "ignore": 3}"#);
    std::fs::create_dir_all(path.join("imagesTr")).unwrap();
    RgbImage::from_pixel(8, 6, Rgb([255, 0, 51])).save(path.join("imagesTr/one_0000.png")).unwrap();
    for (channel, value) in [(0, 51), (1, 102), (2, 0)] {
        save(path.join(format!("imagesTr/two_a_000{channel}.png")), value);
    }
    save(path.join("labelsTr/one.png"), 2);
    save(path.join("labelsTr/two_a.png"), 3);
    assert_eq!(Source::at(path).unwrap().class_names().unwrap(), ["a", "b"]);
    let dataset = open(path, &options(2)).unwrap();
    assert_eq!(dataset.ignored(), Some(IGNORED));
    let values = |index: usize| {
        let sample = dataset.sample(index).unwrap();
        ([0, 1, 2].map(|c| sample.image.plane(c)[0]), sample.mask.data[0])
    };
    assert_eq!(values(0), ([1.0, 0.0, 0.2], 2));
    assert_eq!(values(1), ([0.2, 0.4, 0.0], IGNORED));
    assert_eq!((dataset.slices()[1].pixels.as_slice(), dataset.slices()[1].ignored), (&[0, 0, 0][..], 48));

    let gray = Preprocessor { layout: Layout::Gray, ..Preprocessor::default() };
    let message = open(path, &DatasetOptions { preprocessor: gray, ..options(2) }).unwrap_err().to_string();
    assert!(message.contains("two_a_0000.png") && message.contains("3 files"), "{message}");
}

#[test]
fn what_is_wrong_with_an_nnunet_dataset_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    save(path.join("imagesTr/a_0000.png"), 1);
    save(path.join("imagesTr/b_0000.png"), 1);
    save(path.join("imagesTr/b_0001.png"), 1);
    save(path.join("imagesTr/c_0001.png"), 1);
    save(path.join("imagesTr/d.png"), 1);
    save(path.join("labelsTr/b.png"), 1);
    save(path.join("labelsTr/z.png"), 1);
    let channels = r#"{"0": "R", "1": "G", "2": "B"}"#;
    nnunet(path, channels, r#"{"background": 0, "a": 1}"#);
    let (_, findings) = SliceDataset::examine(&[path.to_path_buf()], &options(1), |_, _| {}).unwrap();
    let problems: Vec<String> = findings.problems.iter().map(|p| p.to_string()).collect();
    for parts in [
        ["c_0001.png", "predecessor"],
        ["d.png", "CASE_0000.png"],
        ["a_0000.png", "labelsTr/a.png"],
        ["b_0000.png", "2 files"],
    ] {
        assert!(
            problems.iter().any(|p| parts.iter().all(|part| p.contains(part))),
            "{problems:#?} {parts:?}"
        );
    }
    assert_eq!((problems.len(), findings.unused), (4, vec![path.join("labelsTr/z.png")]));

    let message = || open(path, &options(1)).unwrap_err().to_string();
    nnunet(path, channels, r#"{"background": 0, "a": 2}"#);
    assert!(message().contains("without gaps"));
    nnunet(path, channels, r#"{"background": 0, "a": 1, "b": 3}"#);
    for part in ["ids 0, 1, 3", "none with 2", "data.mask_values", "name a label 2"] {
        assert!(message().contains(part), "{}", message());
    }
    for (labels, parts) in [
        (r#"{"background": 0, "ignore": 1, "a": 2}"#, ["ignore must be the highest id", "here 2"]),
        (r#"{"background": 0, "Ignore": 1, "a": 2}"#, ["ignore must be the highest id", "\"Ignore\""]),
        (r#"{"0": "background", "1": "ignore", "2": "a"}"#, ["ignore must be the highest id", "id 1"]),
        (r#"{"a": 0, "Background": 1}"#, ["background must be 0", "id 1"]),
        (r#"{"x": 0, "a": 1}"#, ["is the background", "\"x\""]),
        (r#"{"background": 0, "a": 1, "b": 1}"#, ["\"a\" and \"b\"", "id 1"]),
        (r#"{"background": 0, "a": 1, "a": 2}"#, ["both named", "\"a\""]),
        (r#"{"0": "background", "1": "a", "2": "a"}"#, ["both named", "\"a\""]),
    ] {
        nnunet(path, channels, labels);
        for text in [message(), Source::at(path).unwrap().class_names().unwrap_err().to_string()] {
            assert!(text.contains("dataset.json") && parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
    nnunet(path, channels, r#"{"background": 0, "a": 1, "IGNORE": 2}"#);
    assert_eq!(Source::at(path).unwrap().class_names().unwrap(), ["a"]);
    nnunet(path, channels, r#"{"background": 0, "a": [1, 2]}"#);
    assert!(message().contains("regions"));
    let volumes = r#"{"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}}"#;
    std::fs::write(path.join("dataset.json"), volumes).unwrap();
    assert_eq!(Source::at(path).unwrap().class_names().unwrap(), ["liver"]);
    let text = message();
    assert!(text.contains("unet3p prepare folder") && text.contains("imagesTr"), "{text}");
    std::fs::write(path.join("dataset.json"), volumes.replace("}}", r#"}, "file_ending": ".bmp"}"#)).unwrap();
    assert!(message().contains(".bmp"));
    std::fs::remove_file(path.join("dataset.json")).unwrap();
    assert!(message().contains("dataset.json"));
}

#[test]
fn a_source_is_named_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    for name in ["a", "b"] {
        save(path.join(format!("images/{name}.png")), 9);
        save(path.join(format!("masks/{name}.png")), 1);
    }
    std::fs::write(path.join("list.csv"), "image,mask,group\nimages/a.png,masks/a.png,x\n").unwrap();
    let again = path.join("images/..");
    let message = SliceDataset::open(&[path.into(), again], &options(1)).unwrap_err().to_string();
    assert!(message.contains("data.paths") && message.contains("twice"), "{message}");
    // Sources that share some of their images.
    let paths = [path.to_path_buf(), path.join("list.csv")];
    let (dataset, findings) = SliceDataset::examine(&paths, &options(1), |_, _| {}).unwrap();
    let [shared] = findings.warnings.as_slice() else { panic!("{findings:?}") };
    assert!(shared.contains("images/a.png:") && shared.contains("more than once"), "{shared}");
    assert_eq!(dataset.slices().len(), 3);
}

#[test]
fn a_path_that_is_no_source_says_what_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let message = |path: PathBuf| Source::at(&path).unwrap_err().to_string();
    let text = message(dir.path().to_path_buf());
    assert!(["images/", "imagesTr/", "CSV", "data.paths"].iter().all(|part| text.contains(part)), "{text}");
    assert!(message(dir.path().join("none.csv")).contains("does not exist"));
}
