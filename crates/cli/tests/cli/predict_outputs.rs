//! Where `predict` writes: one file under its own name, and what it takes for outputs of earlier runs.

use std::fs;

use serde_json::json;
use unet3p_data::Volume;

use crate::support::{Place, size_of, slices_preprocessor, tiny};

#[test]
fn one_input_becomes_the_file_that_is_named() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 20, 16);
    let run = place.line("predict -i in/a.png -o masks/b.png -m m --overlay --save-probabilities");
    run.ends(0, &[]);
    assert!(run.stdout.contains("masks/b.png"), "{}", run.stdout);
    assert_eq!(place.files("masks"), ["b.png", "b.predictions.json", "b_overlay.png", "b_probabilities.npy"]);
    assert_eq!(size_of(&place.path("masks/b.png")), (20, 16));
    let record = place.json("masks/b.predictions.json");
    assert_eq!(record["predictions"][0]["outputs"]["mask"], "b.png");
    // The names of classes are told by the record beside the one mask.
    place
        .line("evaluate --predictions masks/b.png -r masks/b.png -o m.json")
        .ends(0, &["compared with itself"]);
    assert_eq!(place.json("m.json")["labels"], json!({"1": "liver"}));

    place.line("predict -i in/a.png -o masks/b.png -m m").ends(2, &["masks/b.png", "--overwrite"]);
    place.line("predict -i in/a.png -o masks/b.png -m m --overwrite").ends(0, &[]);
    place.line("predict -i in/a.png -o b.PNG -m m -q").ends(0, &[]);
    assert_eq!(size_of(&place.path("b.PNG")), (20, 16));
    // An array is an image as well.
    unet3p::write_npy(&place.path("one.npy"), &[1, 1, 4, 6], &[0.5; 24]).unwrap();
    place.line("predict -i one.npy -o one.png -m m").ends(0, &[]);
    assert_eq!(size_of(&place.path("one.png")), (6, 4));
}

#[test]
fn a_volume_becomes_the_file_that_is_named() {
    let place = Place::new();
    place.save_model("m", &tiny(3), &slices_preprocessor());
    let volume = place.volume("ct.nii.gz", [10, 5, 9]);
    for name in ["x.nii", "deep/x.nii.gz"] {
        place.line(&format!("predict -i ct.nii.gz -o {name} -m m")).ends(0, &[]);
        let mask = Volume::read_labels(&place.path(name)).unwrap();
        assert!(
            mask.shape == volume.shape && mask.same_grid(&Volume::read_labels(&place.path("x.nii")).unwrap())
        );
        let is_gzip = fs::read(place.path(name)).unwrap().starts_with(b"\x1f\x8b");
        assert_eq!(is_gzip, name.ends_with("gz"));
    }
    assert_eq!(place.files("deep"), ["x.nii.gz", "x.predictions.json"]);
}

#[test]
fn one_file_for_what_it_cannot_be_is_wrong_usage() {
    let place = Place::new();
    place.model();
    for name in ["a.png", "b.png", "in/c.png"] {
        place.gray(name, 8, 8);
    }
    place.volume("v.nii.gz", [4, 4, 4]);
    unet3p::write_npy(&place.path("two.npy"), &[2, 1, 4, 4], &[0.5; 32]).unwrap();
    let cases: [(&str, &[&str]); 9] = [
        ("-i a.png b.png -o o/x.png", &["there are 2 inputs", "name a folder", "-o o/x"]),
        ("-i in -o o/x.png", &["in/c.png was found in a folder", "name a folder"]),
        ("-i two.npy -o o/x.png", &["two.npy holds 2 images", "name a folder"]),
        ("-i a.png -o o/x.nii.gz", &["a.png is an image", ".png", "-o o/x"]),
        ("-i v.nii.gz -o o/x.png", &["v.nii.gz is a volume", ".nii.gz"]),
        ("-i a.png -o o/x.tif", &["-o o/x.tif", ".tif", ".png"]),
        ("-i v.nii.gz -o o/x.nrrd", &["-o o/x.nrrd", ".nii.gz"]),
        ("-i a.png -o a.png --overwrite", &["a.png is an input"]),
        ("-i a.png -o ./a.png", &["a.png is an input"]),
    ];
    for (line, words) in cases {
        place.line(&format!("predict {line} -m m")).ends(2, words);
        assert!(!place.path("x").with_file_name("o").exists(), "{line}");
    }
    // A folder may be called so.
    fs::create_dir(place.path("x.png")).unwrap();
    place.line("predict -i a.png b.png -o x.png -m m").ends(0, &[]);
    place.line("predict -i a.png -o y.png/ -m m").ends(0, &[]);
    assert_eq!(place.files("x.png"), ["a_mask.png", "b_mask.png", "predictions.json"]);
    assert_eq!(place.files("y.png"), ["a_mask.png", "predictions.json"]);
}

/// The inputs that a record lists.
fn inputs(place: &Place, record: &str) -> Vec<String> {
    let record = place.json(record);
    let entries = record["predictions"].as_array().unwrap();
    entries.iter().map(|entry| entry["input"].as_str().unwrap().to_string()).collect()
}

/// The run-level warnings of a record, as one text.
fn warnings(place: &Place, record: &str) -> String {
    place.json(record)["warnings"].to_string()
}

#[test]
fn outputs_of_earlier_runs_are_no_inputs_and_that_is_said() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 8, 8);
    place.gray("in/deep/b.png", 8, 8);
    place.line("predict -i in -o in/out1 -m m --overlay").ends(0, &[]);
    let run = place.line("predict -i in -o in/deep/out2 -m m -q");
    run.ends(0, &["warning: in/out1", "predictions.json"]);
    assert_eq!(run.stderr.matches("in/out1").count(), 1, "{}", run.stderr);
    assert_eq!(inputs(&place, "in/deep/out2/predictions.json"), ["in/a.png", "in/deep/b.png"]);
    assert!(warnings(&place, "in/deep/out2/predictions.json").contains("in/out1"));

    // Several folders, with outputs in each.
    place.line("predict -i in/deep in -o out3 -m m").ends(0, &["in/out1", "in/deep/out2"]);
    assert_eq!(inputs(&place, "out3/predictions.json"), ["in/deep/b.png", "in/a.png", "in/deep/b.png"]);
}

#[test]
fn outputs_among_the_inputs_are_told_by_their_record() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 8, 8);
    place.gray("in/b_mask.png", 8, 8);
    // Beside the inputs, into the folder itself.
    place.line("predict -i in -o in -m m --overlay").ends(0, &[]);
    assert_eq!(inputs(&place, "in/predictions.json"), ["in/a.png", "in/b_mask.png"]);
    place.line("predict -i in -o out -m m").ends(0, &["in/a_mask.png and 3 more", "in/predictions.json"]);
    assert_eq!(inputs(&place, "out/predictions.json"), ["in/a.png", "in/b_mask.png"]);
    assert!(warnings(&place, "out/predictions.json").contains("in/a_mask.png and 3 more"));
    // Only outputs.
    place.line("predict -i out -o out2 -m m").ends(2, &["out/predictions.json", "outputs of an earlier run"]);

    // Under a name of its own.
    place.gray("one/a.png", 8, 8);
    place.line("predict -i one/a.png -o one/seg.png -m m --overlay").ends(0, &[]);
    place
        .line("predict -i one -o out4 -m m")
        .ends(0, &["one/seg.png and 1 more", "one/seg.predictions.json"]);
    assert_eq!(inputs(&place, "out4/predictions.json"), ["one/a.png"]);
}

#[test]
fn what_is_said_of_files_is_in_the_record_once() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 8, 8);
    place.write("in/b.bmp", "an image of another kind");
    image::RgbaImage::new(8, 8).save(place.path("in/c.png")).unwrap();
    let run = place.line("predict -i in -o out -m m -q");
    run.ends(0, &["in/b.bmp: passed over", "in/c.png: transparency"]);
    for word in ["b.bmp", "transparency"] {
        assert_eq!(run.stderr.matches(word).count(), 1, "{}", run.stderr);
    }
    let record = place.json("out/predictions.json");
    assert_eq!(record["warnings"].as_array().unwrap().len(), 1, "{record}");
    assert!(record["predictions"][1]["warnings"].to_string().contains("transparency"), "{record}");
}
