//! Scores that would tell of something else than the model, and are refused or warned of.

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::json;

use crate::support::Place;
use crate::train::slices;

/// A mask of one row with these values, as gray.
fn row(place: &Place, name: &str, values: &[u8]) {
    GrayImage::from_fn(values.len() as u32, 1, |x, _| Luma([values[x as usize]]))
        .save(place.path(name))
        .unwrap();
}

#[test]
fn a_prediction_that_holds_the_ignored_value_is_refused() {
    let place = Place::new();
    row(&place, "p/a.png", &[0, 255, 255, 0]);
    row(&place, "r/a.png", &[0, 1, 1, 255]);
    let run = place.line("evaluate --predictions p -r r -o m.json --ignore 255");
    run.ends(1, &["the prediction for r/a.png holds 255", "--ignore"]);
    assert!(!place.path("m.json").exists());
    row(&place, "p/a.png", &[0, 1, 1, 0]);
    place.line("evaluate --predictions p -r r -o m.json --ignore 255").ends(0, &[]);
    assert_eq!(place.json("m.json")["mean"]["1"]["Dice"], json!(1.0));
}

#[test]
fn masks_with_nothing_in_common_are_warned_of() {
    let place = Place::new();
    row(&place, "p/a.png", &[0, 1, 1, 0]);
    row(&place, "r/a.png", &[0, 5, 5, 0]);
    let run = place.line("evaluate --predictions p -r r -o m.json");
    run.ends(0, &["predictions hold the class ids 1, references 5: none is in both"]);
    let warnings = place.json("m.json")["warnings"].to_string();
    assert!(warnings.contains("none is in both"), "{warnings}");
    row(&place, "r/a.png", &[0, 7, 7, 0]);
    let run = place.line("evaluate --predictions p -r r -o n.json --ignore 7");
    run.ends(1, &["the references hold no class beside 7, which is left out"]);
}

#[test]
fn colours_and_values_are_mapped_by_set() {
    let place = Place::new();
    row(&place, "p/a.png", &[0, 1, 2, 0]);
    let colors = [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 0]];
    std::fs::create_dir(place.path("r")).unwrap();
    RgbImage::from_fn(4, 1, |x, _| Rgb(colors[x as usize])).save(place.path("r/a.png")).unwrap();
    place.line("evaluate --predictions p -r r -o m.json").ends(1, &["r/a.png", "data.mask_colors"]);
    let set = "--set data.mask_colors={\"#000000\"=0,\"#ff0000\"=1,\"#00ff00\"=2}";
    row(&place, "colour/a.png", &[0, 0, 0, 0]);
    RgbImage::from_fn(4, 1, |x, _| Rgb(colors[x as usize])).save(place.path("colour/a.png")).unwrap();
    place.line(&format!("evaluate --predictions colour -r r -o m.json {set}")).ends(0, &[]);
    assert_eq!(place.json("m.json")["mean"]["2"]["Dice"], json!(1.0));
    place.line("evaluate --predictions p -r r -o n.json --set train.steps=1").ends(2, &["data.mask_values"]);
}

#[test]
fn images_that_the_run_was_trained_on_are_warned_of() {
    let place = Place::new();
    slices(&place);
    place.line("train -c c.toml -o run -q").ends(0, &[]);
    let run = place.line("evaluate -m run -i slices -r slices -o m.json");
    run.ends(0, &["6 of 6 images lie in the data that the run was trained on", "unet3p evaluate -m run"]);
    // The run's folder stands for its best model, and a dataset for its images.
    let run = place.line("predict -m run -i slices -o out");
    run.ends(0, &["run/best is used", "only slices/images is segmented"]);
    assert_eq!(place.json("out/predictions.json")["predictions"].as_array().unwrap().len(), 6);
    place.line("train --resume run").ends(0, &["nothing is left to train"]);
    place.line("verify slices --set data.ignore_label=255").ends(2, &["-c"]);
}

#[test]
fn slices_are_scored_one_by_one_where_the_index_tells_no_places() {
    let place = Place::new();
    row(&place, "d/masks/a_z0001.png", &[0, 1]);
    row(&place, "d/images/a_z0001.png", &[0, 1]);
    place.write("d/dataset.json", r#"{"slices": [{"name": "a_z0001", "volume": "a"}]}"#);
    let line = "evaluate --predictions d/masks -r d -o m.json";
    place.line(line).ends(2, &["dataset.json", "--per-slice"]);
    place.line(&format!("{line} --per-slice")).ends(0, &[]);
}
