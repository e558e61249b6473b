//! `unet3p evaluate` on slices that `unet3p prepare` cut: they are scored as the volumes they were.

use std::fs;

use serde_json::json;
use unet3p_data::{LabelMap, Volume, read_mask, write_mask};

use crate::support::{Place, slices_preprocessor, tiny};

const LINE: &str = "evaluate --predictions out --references slices/masks -o metrics.json";

/// Two volumes in RAS of 6 x 8 x 5 voxels, with label maps, cut into slices; `out` has masks that lack a row.
pub(crate) fn prepared(place: &Place) {
    let affine = [[0.5, 0.0, 0.0, 0.0], [0.0, 0.75, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    for name in ["one", "two"] {
        let shape = [6, 8, 5];
        let image = (0..6 * 8 * 5).map(|i| (i % 100) as f32).collect();
        let labels = (0..6 * 8 * 5).map(|i| u8::from(i % 6 > 1 && i / 6 % 8 > 2 && i / 48 > 0) * 5).collect();
        Volume::<f32>::new(image, shape, affine)
            .unwrap()
            .write(&place.path(&format!("ct/{name}.nii.gz")))
            .unwrap();
        let labels = Volume::<u8>::new(labels, shape, affine).unwrap();
        labels.write(&place.path(&format!("labels/{name}.nii.gz"))).unwrap();
    }
    place
        .line("prepare folder --images ct --labels labels -o slices --class liver=5 --validate-on two")
        .ends(0, &[]);
    for name in place.files("slices/masks") {
        let mut mask = read_mask(&place.path(&format!("slices/masks/{name}"))).unwrap();
        mask.data[4 * 6..5 * 6].fill(0);
        let stem = name.strip_suffix(".png").unwrap();
        write_mask(&place.path(&format!("out/{stem}_mask.png")), &mask, &[]).unwrap();
    }
}

/// Slices of `folder` stacked into a label volume.
fn stacked(place: &Place, folder: &str, suffix: &str, name: &str) {
    let slices: Vec<LabelMap> = (0..5)
        .map(|z| read_mask(&place.path(&format!("{folder}/{}_z{z:04}{suffix}.png", &name[..3]))).unwrap())
        .collect();
    let affine = [[0.5, 0.0, 0.0, 0.0], [0.0, 0.75, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let ids = slices.into_iter().flat_map(|slice| slice.data).collect();
    Volume::<u8>::new(ids, [6, 8, 5], affine).unwrap().write(&place.path(name)).unwrap();
}

#[test]
fn slices_are_scored_as_the_volume_with_its_spacing() {
    let place = Place::new();
    prepared(&place);
    let run = place.line(LINE);
    run.ends(0, &[]);
    assert!(run.stdout.contains("class 1, liver: 2 cases"), "{}", run.stdout);
    let record = place.json("metrics.json");
    let case = &record["metric_per_case"][0];
    assert_eq!((&case["case"], &case["slices"]), (&json!("one"), &json!(5)));
    assert_eq!(case["spacing"], json!([2.0, 0.75, 0.5]));
    assert_eq!(
        (&case["reference_file"], &case["prediction_file"]),
        (&json!("slices/masks/one"), &json!("out/one"))
    );

    stacked(&place, "slices/masks", "", "one.nii.gz");
    stacked(&place, "out", "_mask", "one_mask.nii.gz");
    place
        .line("evaluate --predictions one_mask.nii.gz --references one.nii.gz -o volume.json --classes 1")
        .ends(0, &[]);
    let volume = place.json("volume.json");
    assert_eq!(case["metrics"], volume["metric_per_case"][0]["metrics"]);

    // The folder itself means its masks.
    place.line("evaluate --predictions out --references slices -o folder.json").ends(0, &[]);
    assert_eq!(place.json("folder.json")["mean"], record["mean"]);
}

#[test]
fn slices_can_be_scored_singly_and_by_split() {
    let place = Place::new();
    prepared(&place);
    place.line(&format!("{LINE} --per-slice")).ends(0, &[]);
    let record = place.json("metrics.json");
    let cases = record["metric_per_case"].as_array().unwrap();
    assert_eq!((cases.len(), &cases[3]["case"]), (10, &json!("one_z0003")));
    assert_eq!(cases[3]["spacing"], json!([0.75, 0.5]));
    assert_eq!(record["statistics"]["classes"]["1"]["Dice"]["undefined"], 2);

    place.line(&format!("{LINE} --overwrite --split validation")).ends(0, &[]);
    let record = place.json("metrics.json");
    assert_eq!(record["metric_per_case"].as_array().unwrap().len(), 1);
    assert_eq!(record["metric_per_case"][0]["case"], "two");
    // Of the validation slices alone there are predictions: the others are not missed.
    for z in 0..5 {
        fs::remove_file(place.path(&format!("out/one_z{z:04}_mask.png"))).unwrap();
    }
    place.line(&format!("{LINE} --overwrite --split validation")).ends(0, &[]);
    place.line(&format!("{LINE} --overwrite")).ends(2, &["one_z0000.png"]);
}

#[test]
fn a_model_is_scored_on_a_prepared_folder() {
    let place = Place::new();
    prepared(&place);
    place.save_model("m", &tiny(3), &slices_preprocessor());
    place.line("evaluate -m m -i slices -r slices --split validation -o metrics.json").ends(0, &[]);
    let record = place.json("metrics.json");
    assert_eq!(record["metric_per_case"].as_array().unwrap().len(), 1);
    assert_eq!(record["metric_per_case"][0]["prediction_file"], "slices/images/two");
}

#[test]
fn missing_slices_are_background_and_said() {
    let place = Place::new();
    prepared(&place);
    for name in ["slices/masks/one_z0002.png", "out/one_z0002_mask.png"] {
        fs::remove_file(place.path(name)).unwrap();
    }
    place.line(LINE).ends(0, &["warning: one: 1 of the slices 0 to 4 are missing"]);
    let record = place.json("metrics.json");
    let warnings = &record["metric_per_case"][0]["warnings"];
    assert!(warnings[0].as_str().unwrap().contains("1 of the slices 0 to 4"), "{warnings}");
    assert_eq!(record["metric_per_case"][1]["warnings"], json!([]));
    let scores = &record["metric_per_case"][0]["metrics"]["1"];
    let samples: u64 = ["TP", "FP", "FN", "TN"].iter().map(|count| scores[count].as_u64().unwrap()).sum();
    assert_eq!(samples, 6 * 8 * 5);
}

#[test]
fn an_index_that_does_not_fit_is_named_and_one_of_something_else_ignored() {
    let place = Place::new();
    prepared(&place);
    place.mask("out/extra_mask.png", &["01"]);
    place.mask("slices/masks/extra.png", &["01"]);
    place.line(LINE).ends(2, &["slices/masks/extra.png", "dataset.json", "not listed"]);
    fs::remove_file(place.path("out/extra_mask.png")).unwrap();
    fs::remove_file(place.path("slices/masks/extra.png")).unwrap();

    place.mask("slices/masks/one_z0003.png", &["01"]);
    place.mask("out/one_z0003_mask.png", &["01"]);
    place.line(LINE).ends(3, &["one_z0003.png is 1 x 2", "one_z0000.png", "one size"]);

    place.write("slices/dataset.json", r#"{"slices": [{"name": "one_z0000", "volume": "one"}]}"#);
    place.line(&format!("{LINE} --overwrite")).ends(2, &["dataset.json", "unet3p prepare"]);
    // nnU-Net's.
    place.write("slices/dataset.json", r#"{"labels": {"background": 0, "liver": 1}, "numTraining": 10}"#);
    place.line(&format!("{LINE} --overwrite")).ends(0, &[]);
    let record = place.json("metrics.json");
    assert_eq!(record["metric_per_case"].as_array().unwrap().len(), 10);
    assert_eq!(record["metric_per_case"][0]["spacing"], json!(null));
}
