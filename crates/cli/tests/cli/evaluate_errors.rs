//! `unet3p evaluate`: what is wrong with files and flags, and what becomes of the rest.

use std::fs;

use unet3p_data::Volume;

use crate::support::Place;

const LINE: &str = "evaluate --predictions out --references masks -o metrics.json";

fn pair(place: &Place, name: &str) {
    place.mask(&format!("out/{name}_mask.png"), &["011", "010"]);
    place.mask(&format!("masks/{name}.png"), &["010", "010"]);
}

#[test]
fn wrong_usage_is_found_before_any_work() {
    let place = Place::new();
    place.model();
    pair(&place, "a");
    place.gray("images/a.png", 4, 4);
    place.write("empty/notes.txt", "no mask");
    for (line, words) in [
        ("evaluate -r masks -o m.json", &["--predictions", "--input"][..]),
        ("evaluate --predictions out -i images -r masks -o m.json", &["cannot be used"]),
        ("evaluate --predictions out -m m -r masks -o m.json", &["cannot be used", "--model"]),
        ("evaluate --predictions out --tta -r masks -o m.json", &["cannot be used", "--tta"]),
        ("evaluate --predictions out -o m.json", &["--references"]),
        ("evaluate --predictions out -r masks", &["--output"]),
        ("evaluate --predictions out -r masks -o m.csv", &["m.csv", ".json"]),
        ("evaluate --predictions out -r masks -o masks", &["masks", ".json"]),
        ("evaluate --predictions out -r none -o m.json", &["none", "cannot be read"]),
        ("evaluate --predictions empty -r masks -o m.json", &["empty", "no input found"]),
        ("evaluate --predictions out -r masks -o m.json --classes 0", &["--classes"]),
        ("evaluate --predictions out -r masks -o m.json --classes liver", &["--classes"]),
        ("evaluate --predictions out -r masks -o m.json --nsd-tolerance -1", &["--nsd-tolerance"]),
        ("evaluate --predictions out -r masks -o m.json --nsd-tolerance=inf", &["0 or more"]),
        ("evaluate --predictions out -r masks -o m.json --split validation", &["dataset.json", "--split"]),
        ("evaluate --predictions out -r masks -o m.json --split test", &["validation"]),
    ] {
        place.line(line).ends(2, words);
    }
    place.line("evaluate -m none -i images -r masks -o m.json").ends(1, &["none", "no such model"]);
    place.write("file", "in the way");
    place.line("evaluate --predictions out -r masks -o file/m.json").ends(1, &["file", "not a folder"]);
    assert_eq!(place.files("out"), ["a_mask.png"]);
}

#[test]
fn files_without_a_counterpart_are_named() {
    let place = Place::new();
    pair(&place, "a");
    place.mask("out/b_mask.png", &["0"]);
    place.mask("masks/deep/c.png", &["0"]);
    place
        .line(LINE)
        .ends(2, &["without a reference: out/b_mask.png", "without a prediction: masks/deep/c.png"]);
    for i in 0..12 {
        place.mask(&format!("masks/many{i:02}.png"), &["0"]);
    }
    place.line(LINE).ends(2, &["many08", "and 3 more"]);
    place.gray("images/x.png", 3, 2);
    place.model();
    place.line("evaluate -m m -i images -r masks -o m.json").ends(2, &["without a reference: images/x.png"]);
    assert!(!place.path("metrics.json").exists());
}

#[test]
fn two_files_of_one_name_and_two_kinds_of_one_case_are_refused() {
    let place = Place::new();
    pair(&place, "a");
    fs::copy(place.path("masks/a.png"), place.path("masks/a.tif")).unwrap();
    place.line(LINE).ends(2, &["masks/a.png", "masks/a.tif", "same name"]);
    fs::remove_file(place.path("masks/a.tif")).unwrap();
    fs::remove_file(place.path("masks/a.png")).unwrap();
    place.volume("masks/a.nii.gz", [3, 2, 2]);
    place.line(LINE).ends(2, &["out/a_mask.png", "masks/a.nii.gz", "volume"]);
}

#[test]
fn an_image_beside_its_mask_is_not_taken_for_one() {
    let place = Place::new();
    pair(&place, "a");
    place.gray("masks/b.png", 3, 2);
    place.mask("masks/b_mask.png", &["010", "010"]);
    place.mask("out/b_mask.png", &["010", "010"]);
    // Not an output of anything here: a mask with an unlucky name.
    pair(&place, "liver_overlay");
    place.line(LINE).ends(0, &[]);
    let record = place.json("metrics.json");
    let names: Vec<_> =
        record["metric_per_case"].as_array().unwrap().iter().map(|c| c["case"].clone()).collect();
    assert_eq!(names, ["a", "b", "liver_overlay"]);
    assert_eq!(record["metric_per_case"][1]["metrics"]["1"]["Dice"], 1.0);
}

#[test]
fn cases_that_fail_are_named_and_the_others_scored() {
    let place = Place::new();
    pair(&place, "a");
    pair(&place, "b");
    pair(&place, "c");
    place.mask("out/b_mask.png", &["01", "01", "01"]);
    place.write("masks/c.png", "no image");
    place
        .line(LINE)
        .ends(3, &["out/b_mask.png is 3 x 2", "masks/b.png is 2 x 3", "masks/c.png", "2 of 3 cases failed"]);
    let record = place.json("metrics.json");
    assert_eq!(record["metric_per_case"].as_array().unwrap().len(), 1);
    let failed = record["failed"].as_array().unwrap();
    assert_eq!((failed.len(), &failed[0]["case"]), (2, &serde_json::json!("b")));
    assert!(failed[1]["error"].as_str().unwrap().contains("masks/c.png"), "{record}");
    assert_eq!(fs::read_to_string(place.path("metrics.csv")).unwrap().lines().count(), 2);

    place.write("masks/a.png", "no image");
    place.line("evaluate --predictions out -r masks -o none.json").ends(1, &["all 3 cases failed"]);
    assert!(!place.path("none.json").exists());
}

#[test]
fn volumes_on_different_grids_are_refused_with_what_differs() {
    let place = Place::new();
    let write = |name: &str, shape: [usize; 3], spacing: f64, origin: f64| {
        let mut affine = [[0.0; 4]; 4];
        (0..3).for_each(|axis| affine[axis][axis] = spacing);
        affine[0][3] = origin;
        affine[3][3] = 1.0;
        Volume::new(vec![1u8; shape.iter().product()], shape, affine)
            .unwrap()
            .write(&place.path(name))
            .unwrap();
    };
    write("masks/a.nii.gz", [4, 3, 2], 1.0, 0.0);
    for (shape, spacing, origin, words) in [
        ([4, 3, 3], 1.0, 0.0, &["shape [4, 3, 3]", "[4, 3, 2]"][..]),
        ([4, 3, 2], 1.01, 0.0, &["spacing", "1.0", "mm"]),
        ([4, 3, 2], 1.0, 5.0, &["affine", "one grid"]),
    ] {
        write("out/a_mask.nii.gz", shape, spacing, origin);
        let run = place.line(LINE);
        run.ends(1, words);
        run.ends(1, &["out/a_mask.nii.gz", "masks/a.nii.gz"]);
    }
    // Rounding is no difference.
    write("out/a_mask.nii.gz", [4, 3, 2], 1.0005, 0.001);
    place.line(LINE).ends(0, &[]);
    // Values that are no class ids.
    Volume::new(
        vec![0.5f32; 24],
        [4, 3, 2],
        [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
    )
    .unwrap()
    .write(&place.path("out/a_mask.nii.gz"))
    .unwrap();
    place.line(&format!("{LINE} --overwrite")).ends(1, &["out/a_mask.nii.gz", "0.5"]);
}

#[test]
fn nothing_but_background_needs_classes() {
    let place = Place::new();
    place.mask("out/a_mask.png", &["000"]);
    place.mask("masks/a.png", &["000"]);
    place.line(LINE).ends(1, &["--classes 1"]);
    place.line(&format!("{LINE} --classes 1")).ends(0, &[]);
    let record = place.json("metrics.json");
    assert_eq!(record["mean"]["1"]["Dice"], serde_json::Value::Null);
    assert_eq!(record["statistics"]["classes"]["1"]["Dice"]["undefined"], 1);
}

#[test]
fn scores_that_another_process_writes_are_wrong_usage() {
    let place = Place::new();
    pair(&place, "a");
    let held = unet3p_files::Lock::take(&place.path("s/.unet3p-a.json.lock")).unwrap();
    let line = "evaluate --predictions out -r masks -o s/a.json";
    for flags in ["", "--overwrite"] {
        place.line(&format!("{line} {flags}")).ends(2, &["s/a.json", "another process"]);
    }
    drop(held);
    place.line(line).ends(0, &[]);
    assert_eq!(place.files("s"), ["a.csv", "a.json"]);
}
