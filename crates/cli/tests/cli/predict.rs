//! What `predict` makes of good input.

use std::fs;

use serde_json::json;
use unet3p_data::{Preprocessor, Size, read_mask};

use crate::support::{Place, gray_preprocessor, size_of, tiny, tiny_cgm};

#[test]
fn one_image_becomes_a_mask_of_its_size_and_a_record() {
    let place = Place::new();
    place.model();
    place.gray("scan.png", 37, 21);
    let run = place.line("predict -i scan.png -o out -m m --overlay --save-probabilities");
    run.ends(0, &[]);
    assert!(run.stdout.contains("out"), "{}", run.stdout);
    let files = place.files("out");
    assert_eq!(files, ["predictions.json", "scan_mask.png", "scan_overlay.png", "scan_probabilities.npy"]);
    assert_eq!(size_of(&place.path("out/scan_mask.png")), (37, 21));
    assert_eq!(size_of(&place.path("out/scan_overlay.png")), (37, 21));

    let mask = read_mask(&place.path("out/scan_mask.png")).unwrap();
    let (shape, probabilities) = unet3p::read_npy(&place.path("out/scan_probabilities.npy")).unwrap();
    assert_eq!(shape, [1, 21, 37]);
    let expected: Vec<u8> = probabilities.iter().map(|&p| u8::from(p > 0.5)).collect();
    assert_eq!(mask.data, expected);

    let record = place.json("out/predictions.json");
    assert_eq!(record["model"], "m");
    assert_eq!(record["labels"], json!({"1": "liver"}));
    let pixels = mask.data.iter().filter(|&&id| id == 1).count();
    let entry = &record["predictions"][0];
    assert_eq!(entry["input"], "scan.png");
    assert_eq!(entry["size"], json!([21, 37]));
    assert_eq!(
        entry["outputs"],
        json!({
            "mask": "scan_mask.png",
            "overlay": "scan_overlay.png",
            "probabilities": "scan_probabilities.npy",
        })
    );
    let fraction = pixels as f64 / (21.0 * 37.0);
    assert_eq!(
        entry["classes"],
        json!([{"id": 1, "label": "liver", "pixels": pixels, "fraction": fraction}])
    );
    assert!(entry["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(entry["warnings"], json!([]));
    assert!(entry.get("presence").is_none(), "no classification guide: {entry}");
}

#[test]
fn every_kind_of_image_gives_a_mask_of_its_size() {
    let place = Place::new();
    place.model();
    place.gray("one.png", 1, 1);
    place.gray("photo.jpg", 18, 9);
    place.gray("slide.tif", 5, 33);
    image::ImageBuffer::from_fn(20, 10, |x, y| image::Luma([(x * 3000 + y) as u16]))
        .save(place.path("deep.png"))
        .unwrap();
    image::RgbaImage::from_fn(16, 16, |x, y| image::Rgba([x as u8, y as u8, 9, 128]))
        .save(place.path("rgba.png"))
        .unwrap();
    image::RgbImage::from_fn(7, 70, |x, y| image::Rgb([x as u8, y as u8, 200]))
        .save(place.path("rgb.PNG"))
        .unwrap();
    let run = place.line("predict -i . -o out -m m");
    run.ends(0, &["warning", "rgba.png", "transparency"]);
    for (name, size) in [
        ("one", (1, 1)),
        ("photo", (18, 9)),
        ("slide", (5, 33)),
        ("deep", (20, 10)),
        ("rgba", (16, 16)),
        ("rgb", (7, 70)),
    ] {
        assert_eq!(size_of(&place.path(&format!("out/{name}_mask.png"))), size, "{name}");
    }
}

#[test]
fn folders_keep_their_shape_and_outputs_are_no_inputs() {
    let place = Place::new();
    place.model();
    place.gray("data/a.png", 8, 8);
    place.gray("data/deep/er/b.png", 8, 8);
    place.write("data/notes.txt", "not an image");
    place.write("data/.hidden.png", "not an image");
    place.line("predict -i data -o data/out -m m --overlay").ends(0, &[]);
    let expected =
        ["a_mask.png", "a_overlay.png", "deep/er/b_mask.png", "deep/er/b_overlay.png", "predictions.json"];
    assert_eq!(place.files("data/out"), expected);
    place.line("predict -i data -o data/out -m m --overwrite").ends(0, &[]);
    assert_eq!(place.files("data/out"), expected);
    // Into the folder itself, twice: the masks of the first run are not segmented by the second.
    fs::remove_dir_all(place.path("data/out")).unwrap();
    for flags in ["", "--overwrite"] {
        place.line(&format!("predict -i data -o data -m m {flags}")).ends(0, &[]);
        let record = place.json("data/predictions.json");
        assert_eq!(record["predictions"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn flips_change_probabilities_a_little_and_are_the_mean_they_claim_to_be() {
    let place = Place::new();
    place.model();
    // An image that equals its flips: averaging changes nothing.
    image::GrayImage::from_fn(32, 32, |x, y| {
        let (x, y) = (x.min(31 - x), y.min(31 - y));
        image::Luma([(x * 8 + y) as u8])
    })
    .save(place.path("even.png"))
    .unwrap();
    place.line("predict -i even.png -o one -m m --save-probabilities").ends(0, &[]);
    place.line("predict -i even.png -o two -m m --save-probabilities --tta").ends(0, &[]);
    let read = |folder: &str| {
        let path = place.path(&format!("{folder}/even_probabilities.npy"));
        unet3p::read_npy(&path).unwrap().1
    };
    let (one, two) = (read("one"), read("two"));
    assert!(one.iter().zip(&two).any(|(a, b)| a != b));
    // The mean over the flips is even itself, up to the rounding of four f32 additions.
    for y in 0..32 {
        for x in 0..32 {
            let difference = two[y * 32 + x] - two[(31 - y) * 32 + 31 - x];
            assert!(difference.abs() < 1e-5, "{difference} at {y}, {x}");
        }
    }
    assert_eq!(place.json("two/predictions.json")["tta"], true);
}

#[test]
fn the_threshold_is_exclusive_and_recorded() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 16, 16);
    let pixels = |threshold: &str| {
        let out = format!("out{threshold}");
        place.line(&format!("predict -i a.png -o {out} -m m --threshold {threshold}")).ends(0, &[]);
        let record = place.json(&format!("{out}/predictions.json"));
        record["predictions"][0]["classes"][0]["pixels"].as_u64().unwrap()
    };
    assert_eq!(pixels("0"), 256);
    assert_eq!(pixels("1"), 0);
    assert!(pixels("0.3") >= pixels("0.6"));
}

#[test]
fn models_with_a_size_give_masks_of_the_images_size() {
    let place = Place::new();
    let how = Preprocessor { size: Some(Size { height: 32, width: 48 }), ..gray_preprocessor() };
    place.save_model("m", &tiny(1), &how);
    place.gray("a.png", 101, 67);
    place.line("predict -i a.png -o out -m m --save-probabilities --overlay").ends(0, &[]);
    assert_eq!(size_of(&place.path("out/a_mask.png")), (101, 67));
    assert_eq!(size_of(&place.path("out/a_overlay.png")), (101, 67));
    let shape = unet3p::read_npy_shape(&place.path("out/a_probabilities.npy")).unwrap();
    assert_eq!(shape, [1, 67, 101]);
}

#[test]
fn a_classification_guide_tells_the_presence() {
    let place = Place::new();
    place.save_model("m", &tiny_cgm(1), &gray_preprocessor());
    place.gray("a.png", 32, 32);
    for flags in ["", "--tta --overwrite"] {
        place.line(&format!("predict -i a.png -o out -m m {flags}")).ends(0, &[]);
        let record = place.json("out/predictions.json");
        let presence = record["predictions"][0]["presence"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&presence), "{presence}");
        // Where the guide decides that there is no organ, the mask is empty.
        let present = record["predictions"][0]["present"].as_bool().unwrap();
        let pixels = record["predictions"][0]["classes"][0]["pixels"].as_u64().unwrap();
        assert!(present || pixels == 0, "{record}");
    }
}

#[test]
fn arrays_are_the_networks_input() {
    let place = Place::new();
    place.save_model("m", &tiny(2), &gray_preprocessor());
    // Without preprocessor_config.json, arrays are all that can be segmented.
    fs::remove_file(place.path("m/preprocessor_config.json")).unwrap();
    let values: Vec<f32> = (0..2 * 20 * 24).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let several: Vec<f32> = values.iter().chain(&values).copied().collect();
    unet3p::write_npy(&place.path("one.npy"), &[2, 20, 24], &values).unwrap();
    unet3p::write_npy(&place.path("two.npy"), &[2, 2, 20, 24], &several).unwrap();
    place.line("predict -i one.npy two.npy -o out -m m --overlay").ends(0, &[]);
    assert_eq!(
        place.files("out"),
        [
            "one_mask.png",
            "one_overlay.png",
            "predictions.json",
            "two_0_mask.png",
            "two_0_overlay.png",
            "two_1_mask.png",
            "two_1_overlay.png",
        ]
    );
    let mask = fs::read(place.path("out/one_mask.png")).unwrap();
    assert_eq!(fs::read(place.path("out/two_1_mask.png")).unwrap(), mask);
    let record = place.json("out/predictions.json");
    assert_eq!(record["predictions"].as_array().unwrap().len(), 3);
    assert_eq!(record["predictions"][2]["index"], 1);

    place.gray("a.png", 8, 8);
    place.line("predict -i a.png -o images -m m").ends(1, &["a.png", "preprocessor_config.json", ".npy"]);
}

#[test]
fn quiet_is_quiet_and_the_bundled_model_is_the_default() {
    let place = Place::new();
    place.gray("a.png", 48, 40);
    let run = place.line("predict -i a.png -o out --threads 1 -q");
    run.ends(0, &[]);
    // What can change the meaning of the result is said all the same.
    assert_eq!((run.stdout.as_str(), run.stderr.lines().count()), ("", 1), "{run:?}");
    assert!(run.stderr.starts_with("warning: a.png: the image has no pixel size"), "{run:?}");
    assert_eq!(size_of(&place.path("out/a_mask.png")), (48, 40));
    assert_eq!(place.json("out/predictions.json")["model"], "liver-ct");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 64, 48);
    let outputs = ["1", "2"].map(|threads| {
        place
            .line(&format!("predict -i a.png -o t{threads} -m m --threads {threads} --save-probabilities"))
            .ends(0, &[]);
        fs::read(place.path(&format!("t{threads}/a_mask.png"))).unwrap()
    });
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn arrays_of_several_images_are_segmented_again_into_their_own_folder() {
    let place = Place::new();
    place.model();
    unet3p::write_npy(&place.path("d/one.npy"), &[1, 1, 4, 4], &[0.5; 16]).unwrap();
    unet3p::write_npy(&place.path("d/two.npy"), &[2, 1, 4, 4], &[0.5; 32]).unwrap();
    for flags in ["", "--overwrite"] {
        let command = format!("predict -i d -o d -m m --overlay --save-probabilities {flags}");
        place.line(&command).ends(0, &[]);
        let record = place.json("d/predictions.json");
        let entries = record["predictions"].as_array().unwrap();
        let found: Vec<_> =
            entries.iter().map(|e| (e["index"].clone(), e["outputs"]["mask"].clone())).collect();
        let expected = [(0, "one_0_mask.png"), (0, "two_0_mask.png"), (1, "two_1_mask.png")];
        assert_eq!(found, expected.map(|(index, mask)| (json!(index), json!(mask))));
    }
}

#[test]
fn tiles_give_outputs_of_the_same_size_and_one_that_holds_the_image_the_same_values() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 75, 41);
    unet3p::write_npy(&place.path("in/b.npy"), &[1, 33, 16], &[0.5; 33 * 16]).unwrap();
    let run = |out: &str, flags: &str| {
        place.line(&format!("predict -i in -o {out} -m m --save-probabilities {flags}")).ends(0, &[]);
        assert_eq!(size_of(&place.path(&format!("{out}/a_mask.png"))), (75, 41));
        assert_eq!(size_of(&place.path(&format!("{out}/b_mask.png"))), (16, 33));
        let probabilities = fs::read(place.path(&format!("{out}/a_probabilities.npy"))).unwrap();
        (probabilities, place.json(&format!("{out}/predictions.json")))
    };
    let (whole, record) = run("whole", "--tta");
    assert_eq!(record["tile"], json!(null));
    let (one, record) = run("one", "--tta --tile 80");
    assert_eq!(record["tile"], 80);
    assert!(one == whole);
    let (tiled, record) = run("tiled", "--tta --tile 32");
    assert_eq!(record["tile"], 32);
    assert_eq!(tiled.len(), whole.len());
    assert!(tiled != whole);
}
