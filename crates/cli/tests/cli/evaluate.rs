//! `unet3p evaluate`: scores as files and on the terminal.

use std::fs;

use serde_json::{Value, json};
use unet3p_data::Volume;

use crate::support::{Place, gray_preprocessor, slices_preprocessor, tiny};

const LINE: &str = "evaluate --predictions out --references masks -o metrics.json";

/// Two predictions as `predict` writes them, with all that it writes beside them, and their references.
fn pairs(place: &Place) {
    place.mask("out/a_mask.png", &["0110", "0110", "0000"]);
    place.mask("out/sub/b_mask.png", &["2000", "0000", "0001"]);
    place.gray("out/a_overlay.png", 4, 3);
    place.write("out/a_probabilities.npy", "not looked at");
    place.write("out/predictions.json", r#"{"labels": {"1": "liver", "2": "tumour"}, "predictions": []}"#);
    place.mask("masks/a.png", &["0100", "0110", "0100"]);
    place.mask("masks/sub/b.png", &["2200", "0000", "0000"]);
}

#[track_caller]
fn assert_near(value: &Value, expected: f64) {
    let found = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found}, not {expected}");
}

#[test]
fn masks_against_masks_in_json_csv_and_a_table() {
    let place = Place::new();
    pairs(&place);
    let run = place.line(LINE);
    run.ends(0, &[]);
    for word in [
        "class 1, liver: 2 cases",
        "class 2, tumour",
        "mean of 2 classes",
        "HD95",
        "undefined",
        "metrics.csv",
    ] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }

    let record = place.json("metrics.json");
    assert_eq!(record["model"], Value::Null);
    assert_eq!(record["labels"], json!({"1": "liver", "2": "tumour"}));
    let cases = record["metric_per_case"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    assert_eq!(cases[0]["prediction_file"], "out/a_mask.png");
    assert_eq!(cases[0]["reference_file"], "masks/a.png");
    assert_eq!(cases[1]["case"], "sub/b");
    let a = &cases[0]["metrics"]["1"];
    // Prediction and reference have 4 pixels each, 3 of them in common; every pixel lies on the surface.
    for (metric, expected) in [
        ("Dice", 0.75),
        ("IoU", 0.6),
        ("Precision", 0.75),
        ("Recall", 0.75),
        ("Specificity", 7.0 / 8.0),
        ("RVD", 0.0),
        ("HD", 1.0),
        ("HD95", 1.0),
        ("ASSD", 0.25),
        ("ASD", 0.25),
        ("NSD", 1.0),
    ] {
        assert_near(&a[metric], expected);
    }
    for (count, expected) in [("TP", 3), ("FP", 1), ("FN", 1), ("TN", 7), ("n_pred", 4), ("n_ref", 4)] {
        assert_eq!(a[count], expected, "{count}");
    }

    let csv = fs::read_to_string(place.path("metrics.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "case,class,label,Dice,IoU,Precision,Recall,Specificity,RVD,HD,HD95,ASSD,ASD,NSD,TP,FP,FN,TN,n_pred,n_ref,\
         reference_file,prediction_file"
    );
    assert_eq!(lines.len(), 5);
    assert!(lines[1].starts_with("a,1,liver,0.75,0.6,"), "{}", lines[1]);
    // Class 2 is nowhere in a, class 1 in the prediction alone in b.
    assert!(lines[2].starts_with("a,2,tumour,,,,,1,,,,,,,0,0,0,12,0,0,"), "{}", lines[2]);
    assert!(lines[3].starts_with("sub/b,1,liver,0,0,0,,"), "{}", lines[3]);
    assert!(lines[3].contains(",inf,inf,inf,inf,inf,0,"), "{}", lines[3]);
}

#[test]
fn what_is_undefined_or_infinite_is_left_out_of_the_means_and_counted() {
    let place = Place::new();
    pairs(&place);
    place.line(LINE).ends(0, &[]);
    let record = place.json("metrics.json");
    let b = &record["metric_per_case"][1]["metrics"]["1"];
    assert_eq!(
        (&b["Dice"], &b["HD95"], &b["RVD"], &b["Recall"]),
        (&json!(0.0), &json!("inf"), &json!("inf"), &Value::Null)
    );
    let a = &record["metric_per_case"][0]["metrics"]["2"];
    assert_eq!((&a["Dice"], &a["HD95"], &a["Specificity"]), (&Value::Null, &Value::Null, &json!(1.0)));

    assert_near(&record["mean"]["1"]["Dice"], 0.375);
    assert_near(&record["mean"]["1"]["HD95"], 1.0);
    assert_near(&record["mean"]["1"]["TP"], 1.5);
    // Of b alone: 1 of 2 pixels.
    assert_near(&record["mean"]["2"]["Dice"], 2.0 / 3.0);
    assert_near(&record["foreground_mean"]["Dice"], (0.375 + 2.0 / 3.0) / 2.0);
    let statistics = &record["statistics"];
    assert_eq!((&statistics["confidence"], &statistics["resamples"]), (&json!(0.95), &json!(1000)));
    let dice = &statistics["classes"]["1"]["Dice"];
    assert_eq!((&dice["finite"], &dice["undefined"], &dice["infinite"]), (&json!(2), &json!(0), &json!(0)));
    assert_eq!(dice["interval"], json!([0.0, 0.75]));
    let hd95 = &statistics["classes"]["1"]["HD95"];
    assert_eq!((&hd95["finite"], &hd95["undefined"], &hd95["infinite"]), (&json!(1), &json!(0), &json!(1)));
    assert_eq!(hd95["interval"], Value::Null);
    assert_eq!(statistics["classes"]["2"]["Dice"]["undefined"], 1);
    assert_eq!(statistics["foreground"]["HD95"]["infinite"], 1);
}

/// A label volume with 1 in the box `from` to `to`.
fn block(place: &Place, name: &str, spacing: [f64; 3], from: [usize; 3], to: [usize; 3]) {
    let shape = [7, 6, 5];
    let [sx, sy, sz] = spacing;
    let affine = [[-sx, 0.0, 0.0, 9.0], [0.0, sy, 0.0, -4.0], [0.0, 0.0, sz, 2.0], [0.0, 0.0, 0.0, 1.0]];
    let inside = |i: usize| {
        let index = [i % 7, i / 7 % 6, i / 42];
        (0..3).all(|axis| (from[axis]..to[axis]).contains(&index[axis]))
    };
    let ids = (0..7 * 6 * 5).map(|i| u8::from(inside(i))).collect();
    Volume::new(ids, shape, affine).unwrap().write(&place.path(name)).unwrap();
}

#[test]
fn volumes_are_measured_in_millimetres() {
    let place = Place::new();
    let spacing = [0.5, 0.75, 3.0];
    block(&place, "out/ct_mask.nii.gz", spacing, [1, 1, 1], [5, 5, 3]);
    block(&place, "masks/ct.nii", spacing, [1, 1, 1], [5, 4, 4]);
    place.line(LINE).ends(0, &[]);
    let record = place.json("metrics.json");
    let case = &record["metric_per_case"][0];
    // In the order of the arrays: slices, rows, columns.
    for (found, expected) in case["spacing"].as_array().unwrap().iter().zip([3.0, 0.75, 0.5]) {
        assert!((found.as_f64().unwrap() - expected).abs() < 1e-6, "{case}");
    }
    let scores = &case["metrics"]["1"];
    // 4 x 4 x 2 and 4 x 3 x 3 voxels, 4 x 3 x 2 in common; the reference has a slice more, 3 mm away.
    assert_near(&scores["Dice"], 48.0 / 68.0);
    assert_near(&scores["HD"], 3.0);
    assert_near(&scores["RVD"], -4.0 / 36.0);
    let nsd = |tolerance: &str| {
        place.line(&format!("{LINE} --overwrite --nsd-tolerance {tolerance}")).ends(0, &[]);
        let record = place.json("metrics.json");
        assert_near(&record["nsd_tolerance"], tolerance.parse().unwrap());
        record["metric_per_case"][0]["metrics"]["1"]["NSD"].as_f64().unwrap()
    };
    let (none, rows, all) = (nsd("0"), nsd("0.75"), nsd("3"));
    assert!(none < rows && rows < all && all == 1.0, "{none} {rows} {all}");
}

#[test]
fn a_volume_of_one_slice_is_an_image_with_spacing() {
    let place = Place::new();
    let affine = [[0.5, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    for (name, columns) in [("out/a_mask.nii.gz", 1..6), ("masks/a.nii.gz", 1..5)] {
        let ids = (0..7 * 6).map(|i| u8::from(columns.contains(&(i % 7)))).collect();
        Volume::<u8>::new(ids, [7, 6, 1], affine).unwrap().write(&place.path(name)).unwrap();
    }
    place.line(LINE).ends(0, &[]);
    let record = place.json("metrics.json");
    assert_eq!(record["metric_per_case"][0]["spacing"], json!([2.0, 0.5]));
    let scores = &record["metric_per_case"][0]["metrics"]["1"];
    assert_near(&scores["HD"], 0.5);
    // Of 5 and 4 columns of 6 rows the inner ones are not on the surface: 18 and 16 pixels, of which 4 + 4 differ.
    assert_eq!(scores["n_pred"], 30);
}

#[test]
fn black_and_white_references_are_masks_of_one_class() {
    let place = Place::new();
    place.mask("out/a_mask.png", &["0110", "0000"]);
    let white = |x: u32, y: u32| image::Luma([if y == 0 && x > 0 { 255 } else { 0 }]);
    image::GrayImage::from_fn(4, 2, white).save(place.path("masks/a.png")).unwrap();
    place.line(LINE).ends(0, &[]);
    let record = place.json("metrics.json");
    assert_near(&record["mean"]["1"]["Dice"], 0.8);
    assert_eq!(record["mean"].as_object().unwrap().len(), 1);
    // Asked for, 255 is a class like any other.
    place.line(&format!("{LINE} --overwrite --classes 255,1")).ends(0, &[]);
    let record = place.json("metrics.json");
    assert_eq!(record["mean"]["255"]["n_ref"], 3.0);
    assert_eq!(record["mean"]["1"]["n_pred"], 2.0);
}

#[test]
fn only_the_classes_asked_for_are_scored() {
    let place = Place::new();
    pairs(&place);
    place.line(&format!("{LINE} --classes 1,7")).ends(0, &["warning", "not scored: 2"]);
    let record = place.json("metrics.json");
    let keys: Vec<&String> = record["mean"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["1", "7"]);
    assert_eq!(record["statistics"]["classes"]["7"]["Dice"]["undefined"], 2);
}

#[test]
fn a_model_on_a_dataset_scores_as_its_masks_do() {
    let place = Place::new();
    place.model();
    let references = ["0011001100110011"; 16];
    for name in ["a", "deep/b"] {
        place.gray(&format!("images/{name}.png"), 16, 16);
        place.mask(&format!("masks/{name}.png"), &references);
    }
    // An array of two images, the network's input as it is.
    unet3p::write_npy(&place.path("images/c.npy"), &[2, 1, 4, 4], &[0.5; 32]).unwrap();
    for name in ["c_0", "c_1"] {
        place.mask(&format!("masks/{name}_mask.png"), &["0110"; 4]);
    }
    let run = place.line("evaluate -m m -i images -r masks -o scores/model.json --tta --threshold 0.45");
    run.ends(0, &[]);
    assert!(run.stdout.contains("class 1, liver: 4 cases"), "{}", run.stdout);
    assert_eq!(place.files("scores"), ["model.csv", "model.json"]);
    place.line("predict -m m -i images -o out --tta --threshold 0.45").ends(0, &[]);
    place.line(LINE).ends(0, &[]);
    let (model, masks) = (place.json("scores/model.json"), place.json("metrics.json"));
    assert_eq!((&model["model"], &model["labels"]), (&json!("m"), &json!({"1": "liver"})));
    for key in ["mean", "foreground_mean", "statistics"] {
        assert_eq!(model[key], masks[key], "{key}");
    }
    assert_eq!(model["metric_per_case"][0]["prediction_file"], "images/a.png");
    // Predictions written beside the images are no images, and the references there are the masks.
    place.line("predict -m m -i images -o images --overlay").ends(0, &[]);
    place.line("evaluate -m m -i images -r images -o self.json").ends(0, &[]);
    let record = place.json("self.json");
    assert_eq!(record["metric_per_case"].as_array().unwrap().len(), 4);
    assert_eq!(record["statistics"]["classes"]["1"]["HD"]["infinite"], 0);
}

#[test]
fn a_model_on_volumes_is_scored_on_their_own_grid() {
    let place = Place::new();
    place.save_model("m", &tiny(3), &slices_preprocessor());
    let volume = place.volume("images/ct.nii.gz", [20, 7, 26]);
    let ids = (0..volume.data.len()).map(|i| u8::from(i % 3 == 0)).collect();
    Volume::<u8>::new(ids, volume.shape, volume.affine)
        .unwrap()
        .write(&place.path("masks/ct.nii.gz"))
        .unwrap();
    place.line("evaluate -m m -i images -r masks -o model.json").ends(0, &[]);
    place.line("predict -m m -i images -o out").ends(0, &[]);
    place.line(LINE).ends(0, &[]);
    assert_eq!(place.json("model.json")["mean"], place.json("metrics.json")["mean"]);
}

#[test]
fn two_files_belong_together_whatever_their_names() {
    let place = Place::new();
    pairs(&place);
    place.line("evaluate --predictions out/a_mask.png --references masks/sub/b.png -o one.json").ends(0, &[]);
    assert_eq!(place.json("one.json")["metric_per_case"][0]["reference_file"], "masks/sub/b.png");
    place.save_model("m", &tiny(1), &gray_preprocessor());
    place.gray("a.png", 4, 3);
    place.line("evaluate -m m -i a.png -r masks/sub/b.png -o two.json").ends(0, &["not scored: 2"]);
}

#[test]
fn quiet_runs_say_nothing_and_existing_scores_are_kept() {
    let place = Place::new();
    pairs(&place);
    let run = place.line(&format!("{LINE} -q"));
    run.ends(0, &[]);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let before = fs::read(place.path("metrics.json")).unwrap();
    place.line(LINE).ends(2, &["metrics.json", "--overwrite"]);
    fs::remove_file(place.path("metrics.json")).unwrap();
    place.line(LINE).ends(2, &["metrics.csv", "--overwrite"]);
    place.line(&format!("{LINE} --overwrite --threads 1")).ends(0, &[]);
    assert_eq!(fs::read(place.path("metrics.json")).unwrap(), before);
}
