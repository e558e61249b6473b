//! `unet3p evaluate`: folders that hold images and masks, pixels that are left out, predictions that are missing.

use std::fs;

use image::Luma;
use serde_json::{Value, json};

use crate::support::Place;

const IMAGES: &str = "evaluate -m m -i data -r data -o m.json";
const MASKS: &str = "evaluate --predictions out -r masks -o m.json";

/// The files of the first case of the scores.
fn files(record: &Value) -> (&Value, &Value) {
    let case = &record["metric_per_case"][0];
    (&case["prediction_file"], &case["reference_file"])
}

#[test]
fn a_dataset_is_taken_apart_into_images_and_masks() {
    let place = Place::new();
    place.model();
    for name in ["a", "deep/b"] {
        place.gray(&format!("data/images/{name}.png"), 6, 2);
        place.mask(&format!("data/masks/{name}.png"), &["011000"; 2]);
    }
    place.line(IMAGES).ends(0, &[]);
    let record = place.json("m.json");
    assert_eq!(record["metric_per_case"].as_array().unwrap().len(), 2);
    assert_eq!(files(&record), (&json!("data/images/a.png"), &json!("data/masks/a.png")));
    assert_eq!(record["mean"]["1"]["n_ref"], 4.0);
    // One of the two is enough, and predictions are not taken apart.
    place.line("evaluate -m m -i data -r data/masks -o n.json").ends(0, &[]);
    place.line("evaluate -m m -i data/images -r data -o n.json --overwrite").ends(0, &[]);
    assert_eq!(place.json("n.json")["mean"], record["mean"]);
    place.line("predict -m m -i data/images -o out").ends(0, &[]);
    place.line("evaluate --predictions out -r data -o n.json --overwrite").ends(0, &[]);
    assert_eq!(place.json("n.json")["mean"], record["mean"]);

    // Nothing tells images from masks.
    place.gray("flat/a.png", 6, 2);
    place
        .line("evaluate -m m -i flat -r flat -o x.json")
        .ends(2, &["flat/a.png", "its own reference", "--references"]);
    fs::create_dir_all(place.path("above/x")).unwrap();
    fs::rename(place.path("data"), place.path("above/data")).unwrap();
    place.line("evaluate -m m -i above -r above -o x.json").ends(2, &["its own reference"]);
}

#[test]
fn a_dataset_of_nnunet_is_taken_apart_and_its_ignored_pixels_are_left_out() {
    let place = Place::new();
    place.model();
    place.gray("data/imagesTr/a_0000.png", 6, 2);
    place.mask("data/labelsTr/a.png", &["011022"; 2]);
    place
        .write("data/dataset.json", "\u{feff}{\"labels\": {\"background\": 0, \"liver\": 1, \"ignore\": 2}}");
    place.line(IMAGES).ends(0, &["pixels of 2 in references", "data/dataset.json"]);
    let record = place.json("m.json");
    assert_eq!(files(&record), (&json!("data/imagesTr/a_0000.png"), &json!("data/labelsTr/a.png")));
    assert_eq!(record["ignore"], 2);
    assert!(record["warnings"].to_string().contains("data/dataset.json"), "{record}");
    assert_eq!(samples(&record["metric_per_case"][0]["metrics"]["1"]), 8);
    place.line("evaluate -m m -i data/imagesTr -r data/labelsTr -o n.json").ends(0, &[]);
    assert_eq!(place.json("n.json")["mean"], record["mean"]);
    place.gray("data/imagesTr/a_0001.png", 6, 2);
    place
        .line(&format!("{IMAGES} --overwrite"))
        .ends(1, &["a_0000.png: is one of 2 files", "1 channel, gray"]);
}

/// How many pixels were counted.
fn samples(scores: &Value) -> u64 {
    ["TP", "FP", "FN", "TN"].iter().map(|count| scores[count].as_u64().unwrap()).sum()
}

#[test]
fn ignored_pixels_are_in_no_count_and_no_surface() {
    let place = Place::new();
    place.mask("out/a_mask.png", &["11109", "11110", "00011"]);
    place.mask("masks/a.png", &["11199", "11099", "00009"]);
    place.line(&format!("{MASKS} --classes 1 --ignore 9")).ends(0, &[]);
    let record = place.json("m.json");
    let scores = &record["metric_per_case"][0]["metrics"]["1"];
    // Left are 3, 3 and 4 pixels of the rows.
    let counts = ["TP", "FP", "FN", "TN"].map(|count| scores[count].as_u64().unwrap());
    assert_eq!((counts, &record["ignore"]), ([5, 2, 0, 3], &json!(9)));
    assert_eq!((&scores["Specificity"], &scores["n_ref"]), (&json!(0.6), &json!(5)));
    // The same as if those pixels were background in both files.
    place.mask("out/a_mask.png", &["11100", "11100", "00010"]);
    place.mask("masks/a.png", &["11100", "11000", "00000"]);
    place.line("evaluate --predictions out -r masks -o n.json --classes 1").ends(0, &[]);
    let background = &place.json("n.json")["metric_per_case"][0]["metrics"]["1"];
    for metric in ["Dice", "IoU", "Precision", "Recall", "HD", "HD95", "ASSD", "NSD"] {
        assert_eq!(scores[metric], background[metric], "{metric}");
    }
    // What is left out is no class, in either file.
    place.mask("out/a_mask.png", &["19"]);
    place.mask("masks/a.png", &["19"]);
    place.line(&format!("{MASKS} --ignore 9 --overwrite")).ends(0, &[]);
    let keys: Vec<String> = place.json("m.json")["mean"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["1"]);
    place.line(&format!("{MASKS} --ignore 1 --classes 1 --overwrite")).ends(2, &["--ignore", "--classes 1"]);
    place.mask("masks/a.png", &["99"]);
    place.line(&format!("{MASKS} --ignore 9 --classes 1 --overwrite")).ends(0, &["every pixel"]);
    assert_eq!(place.json("m.json")["mean"]["1"]["Dice"], Value::Null);
}

#[test]
fn ignored_voxels_are_left_out_of_volumes() {
    let place = Place::new();
    let affine = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    for (name, high) in [("out/a_mask.nii.gz", 1), ("masks/a.nii.gz", 300)] {
        // Class 1 in the first slice; in the last one class 1 against 300.
        let ids = (0..27u16)
            .map(|i| {
                if i < 9 {
                    1
                } else if i >= 18 {
                    high
                } else {
                    0
                }
            })
            .collect();
        unet3p_data::Volume::<u16>::new(ids, [3, 3, 3], affine).unwrap().write(&place.path(name)).unwrap();
    }
    place.line(&format!("{MASKS} --ignore 300")).ends(0, &[]);
    let scores = &place.json("m.json")["metric_per_case"][0]["metrics"]["1"];
    assert_eq!((samples(scores), &scores["Dice"], &scores["HD"]), (18, &json!(1.0), &json!(0.0)));
}

#[test]
fn missing_predictions_are_named_and_the_others_scored_where_that_is_allowed() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.mask(&format!("masks/{name}.png"), &["011"]);
    }
    place.mask("out/a_mask.png", &["011"]);
    place.mask("out/x_mask.png", &["011"]);
    let words = ["without a prediction: masks/b.png, masks/c.png", "without a reference: out/x_mask.png"];
    place.line(MASKS).ends(2, &words);
    place.line(MASKS).ends(2, &["--allow-missing"]);
    assert!(!place.path("m.json").exists());
    let run = place.line(&format!("{MASKS} --allow-missing -q"));
    run.ends(0, &words);
    run.ends(0, &["2 of 3 references have no prediction"]);
    let record = place.json("m.json");
    assert_eq!((&record["missing"], &record["statistics"]["cases"]), (&json!(["b", "c"]), &json!(1)));
    let warning = record["warnings"].to_string();
    assert!(words.iter().all(|word| warning.contains(word)), "{warning}");

    fs::remove_file(place.path("out/a_mask.png")).unwrap();
    place.line(&format!("{MASKS} --allow-missing --overwrite")).ends(2, &["none is left"]);
}

#[test]
fn what_is_said_of_masks_is_in_the_scores() {
    let place = Place::new();
    place.model();
    place.mask("masks/a.png", &["0110", "0220"]);
    place.write("masks/b.bmp", "a mask of another kind");
    image::RgbaImage::new(4, 2).save(place.path("images/a.png")).unwrap();
    let run = place.line("evaluate -m m -i images -r masks -o m.json -q");
    run.ends(0, &["masks/b.bmp: passed over", "not scored: 2", "a: transparency"]);
    let record = place.json("m.json");
    let warnings = record["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2, "{record}");
    assert!(record["metric_per_case"][0]["warnings"].to_string().contains("transparency"), "{record}");
}

/// Writes a mask in 8-bit gray, of rows of values.
fn gray(place: &Place, name: &str, rows: &[&[u8]]) {
    let value = |x: u32, y: u32| Luma([rows[y as usize][x as usize]]);
    image::GrayImage::from_fn(rows[0].len() as u32, rows.len() as u32, value).save(place.path(name)).unwrap();
}

#[test]
fn what_255_means_is_decided_once_for_a_run_and_said() {
    let place = Place::new();
    // In one prediction 1 and 255 are two classes: so they are everywhere.
    gray(&place, "out/a.png", &[&[0, 255, 255]]);
    gray(&place, "out/b.png", &[&[1, 255, 0]]);
    gray(&place, "masks/a.png", &[&[0, 255, 255]]);
    gray(&place, "masks/b.png", &[&[0, 255, 0]]);
    place.line(MASKS).ends(0, &["class id 255", "out/b.png holds 1"]);
    let record = place.json("m.json");
    assert_eq!(record["mean"]["255"]["Dice"], 1.0);
    assert_eq!(record["warnings"].as_array().unwrap().len(), 1, "{record}");
    // In none: class 1, also against predictions with the id 1.
    gray(&place, "out/a.png", &[&[0, 1, 1]]);
    gray(&place, "out/b.png", &[&[0, 1, 0]]);
    place.line(&format!("{MASKS} --overwrite")).ends(0, &["255 is taken for class 1"]);
    let record = place.json("m.json");
    assert_eq!((&record["mean"]["1"]["Dice"], &record["mean"]["255"]), (&json!(1.0), &Value::Null));
    // Against another class, 255 is one of several.
    gray(&place, "out/b.png", &[&[0, 2, 0]]);
    place.line(&format!("{MASKS} --overwrite")).ends(0, &["class id 255", "out/b.png holds 2"]);
}

#[test]
fn masks_that_training_reads_are_scored() {
    let place = Place::new();
    image::ImageBuffer::from_fn(3, 1, |x, _| Luma([x as u16])).save(place.path("out/a.png")).unwrap();
    image::RgbImage::from_fn(3, 1, |x, _| image::Rgb([x as u8; 3])).save(place.path("masks/a.png")).unwrap();
    place.line(MASKS).ends(0, &[]);
    let record = place.json("m.json");
    assert_eq!((&record["mean"]["1"]["Dice"], &record["mean"]["2"]["Dice"]), (&json!(1.0), &json!(1.0)));
    image::RgbImage::from_fn(3, 1, |_, _| image::Rgb([255, 0, 0])).save(place.path("masks/a.png")).unwrap();
    place.line(&format!("{MASKS} --overwrite")).ends(1, &["masks/a.png", "data.mask_colors"]);
}
