//! `unet3p verify`.

use std::fs;

use image::{GrayImage, Luma};

use crate::support::{Place, size_of};
use crate::train::slices;

#[test]
fn a_sound_dataset_is_counted_and_shown() {
    let place = Place::new();
    slices(&place);
    let run = place.line("verify -c c.toml -o out");
    run.ends(0, &[]);
    for part in ["training  validation", "block, slices", "32 x 32", "6 slices, no problem"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let record = place.json("out/verify.json");
    assert_eq!(record["problems"], serde_json::json!([]));
    assert_eq!(record["training"]["volumes"], serde_json::json!(["0", "1", "2", "3"]));
    let block = &record["validation"]["classes"][0];
    assert_eq!((block["label"].as_str(), block["slices"].as_u64()), (Some("block"), Some(2)));
    // A block of 12 x 16 pixels on each of two slices of 32 x 32.
    assert_eq!((block["pixels"].as_u64(), block["share"].as_f64()), (Some(384), Some(0.1875)));
    assert_eq!(record["contact_sheet"], serde_json::json!(["0", "1", "2", "3", "4", "5"]));
    let (width, height) = size_of(&place.path("out/contact_sheet.png"));
    assert!(width > 500 && height > 300);

    place.line("verify slices -o out").ends(2, &["contact_sheet.png", "--overwrite"]);
    place.line("verify slices -o out --overwrite -q").ends(0, &[]);
    assert_eq!(place.files("out"), ["contact_sheet.png", "verify.json"]);
}

#[test]
fn every_problem_is_named() {
    let place = Place::new();
    slices(&place);
    fs::remove_file(place.path("slices/masks/1.png")).unwrap();
    GrayImage::from_pixel(32, 32, Luma([7])).save(place.path("slices/masks/2.png")).unwrap();
    GrayImage::from_pixel(32, 16, Luma([0])).save(place.path("slices/masks/3.png")).unwrap();
    let image = fs::read(place.path("slices/images/4.png")).unwrap();
    fs::write(place.path("slices/images/4.png"), &image[..image.len() - 20]).unwrap();
    let words = [
        "images/1.png",
        "masks/1.png",
        "masks/2.png: holds the class id 7",
        "masks/3.png: is 16 x 32",
        "images/4.png",
        // Without the broken image there is no volume 4.
        "validation_groups = 4",
        "5 problems",
    ];
    let run = place.line("verify -c c.toml -o out");
    run.ends(3, &words);
    assert_eq!(run.stderr.matches("error: ").count(), 6, "{}", run.stderr);
    let record = place.json("out/verify.json");
    assert_eq!(record["problems"].as_array().unwrap().len(), 5);
    assert_eq!(record["contact_sheet"], serde_json::json!(["0", "5"]));
    // Any id is fine where nothing says how many there are.
    place.line("verify slices").ends(3, &["3 problems"]);
    place.line("verify slices --classes 1").ends(3, &["class id 7"]);
}

#[test]
fn what_training_would_accept_is_a_warning() {
    let place = Place::new();
    slices(&place);
    fs::copy(place.path("slices/images/0.png"), place.path("slices/images/5.png")).unwrap();
    GrayImage::new(32, 32).save(place.path("slices/images/1.png")).unwrap();
    GrayImage::new(32, 32).save(place.path("slices/masks/more.png")).unwrap();
    let run = place.line("verify -c c.toml --set model.num_classes=2 --set model.class_names=[]");
    run.ends(
        0,
        &[
            "warning: equal images, in training and in validation",
            "images/0.png, slices/images/5.png",
            "one value everywhere (1): slices/images/1.png",
            "masks without an image (1): slices/masks/more.png",
            "no mask for training holds the class 2",
        ],
    );
    assert!(!run.stderr.contains("for validation, so that"), "{}", run.stderr);
}

#[test]
fn a_split_without_validation_is_a_warning_unless_it_is_meant() {
    let place = Place::new();
    slices(&place);
    let said = "no slice is for validation";
    place.line("verify slices").ends(0, &[said, "data.validation_fraction"]);
    place.write("d.toml", crate::train::CONFIG.replace("validation_groups = [\"4\", \"5\"]", ""));
    place.line("verify -c d.toml").ends(0, &[said]);
    place.line("train -c d.toml -o run -q").ends(0, &[said]);
    for line in ["verify -c d.toml", "train -c d.toml -o meant"] {
        let run = place.line(&format!("{line} --set data.validation_groups=[]"));
        run.ends(0, &[]);
        assert!(!run.stderr.contains(said), "{}", run.stderr);
    }
}

#[test]
fn a_folder_that_is_named_twice_is_refused() {
    let place = Place::new();
    slices(&place);
    let twice = "--set data.paths=[\"slices\",\"./slices\"]";
    for line in [
        "verify slices ./slices".into(),
        format!("verify -c c.toml {twice}"),
        format!("train -c c.toml -o r {twice}"),
    ] {
        place.line(&line).ends(2, &["data.paths = ./slices", "is there twice, also as slices"]);
    }
}

#[test]
fn names_values_and_lists_are_followed() {
    let place = Place::new();
    slices(&place);
    for i in 0..6 {
        let (from, to) = (format!("slices/masks/{i}.png"), format!("slices/masks/{i}_seg.png"));
        fs::rename(place.path(&from), place.path(&to)).unwrap();
    }
    place.line("verify slices").ends(3, &["6 problems"]);
    place.line("verify slices --mask-name {name}_seg").ends(0, &[]);
    place.line("verify slices --mask-name seg").ends(2, &["{name}"]);
    let lines: String =
        (0..6).map(|i| format!("slices/images/{i}.png,slices/masks/{i}_seg.png,{i}\n")).collect();
    place.write("list.csv", format!("image,mask,group\n{lines}"));
    place.line("verify list.csv").ends(0, &[]);
    place.line("train -c c.toml -o run --set data.paths=[\"list.csv\"] --set train.steps=1").ends(0, &[]);
    place.write("list.csv", format!("image,mask,group\nnone.png,slices/masks/0_seg.png,x\n{lines}"));
    place.line("verify list.csv").ends(3, &["none.png", "1 problem found"]);
}

#[test]
fn wrong_usage_is_found_before_any_work() {
    let place = Place::new();
    slices(&place);
    place.line("verify").ends(2, &["PATH"]);
    place.line("verify nowhere").ends(2, &["nowhere", "does not exist"]);
    place.line("verify slices -c c.toml").ends(2, &["--config"]);
    place.line("verify -c c.toml --set data.validation_groups=[\"9\"]").ends(2, &["9"]);
    place.line("verify -c c.toml --set data.mask_values={\"0\"=5}").ends(2, &["data.mask_values.0 = 5"]);
    place.write("file", "in the way");
    place.line("verify slices -o file").ends(1, &["file", "not a folder"]);
    place.line("verify slices --overwrite").ends(2, &["--output"]);
}
