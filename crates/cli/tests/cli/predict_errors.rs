//! What `predict` says about input and outputs that are not as they should be.

use std::fs;

use crate::support::Place;

#[test]
fn no_input_is_found_before_any_work() {
    let place = Place::new();
    place.model();
    fs::create_dir(place.path("empty")).unwrap();
    place.write("notes.txt", "text");
    place.gray("a.png", 4, 4);
    let cases: [(&str, &[&str]); 4] = [
        ("-i empty", &["empty", "no input found", ".nii.gz"]),
        ("-i nowhere.png", &["nowhere.png"]),
        ("-i a.png nowhere.png", &["nowhere.png"]),
        ("-i notes.txt", &["notes.txt", ".png"]),
    ];
    for (inputs, words) in cases {
        place.line(&format!("predict {inputs} -o out -m m")).ends(2, words);
        assert!(!place.path("out").exists(), "{inputs}");
    }
}

#[test]
fn one_bad_input_alone_is_a_failed_run() {
    let place = Place::new();
    place.model();
    place.write("text.png", "this is no image");
    place.write("empty.png", "");
    place.gray("whole.png", 64, 64);
    let whole = fs::read(place.path("whole.png")).unwrap();
    place.write("cut.png", &whole[..whole.len() / 2]);
    place.write("text.npy", "this is no array");
    place.write("text.nii.gz", "this is no volume");
    place.write("text.nii", "this is no volume");
    unet3p::write_npy(&place.path("rank.npy"), &[4, 4], &[0.0; 16]).unwrap();
    unet3p::write_npy(&place.path("rgb.npy"), &[3, 2, 2], &[0.0; 12]).unwrap();
    unet3p::write_npy(&place.path("nan.npy"), &[1, 1, 2], &[f32::NAN, 0.0]).unwrap();
    unet3p::write_npy(&place.path("none.npy"), &[0, 1, 2, 2], &[]).unwrap();
    let cases: [(&str, &str); 10] = [
        ("text.png", ""),
        ("empty.png", ""),
        ("cut.png", ""),
        ("text.npy", "numpy.save"),
        ("text.nii.gz", ""),
        ("text.nii", ""),
        ("rank.npy", "[channels, height, width]"),
        ("rgb.npy", "the model takes 1"),
        ("nan.npy", "finite"),
        ("none.npy", "no side 0"),
    ];
    for (name, word) in cases {
        let out = format!("out/{name}_");
        place.line(&format!("predict -i {name} -o {out} -m m")).ends(1, &[name, word]);
        assert_eq!(place.files(&out), ["predictions.json"]);
        let entry = &place.json(&format!("{out}/predictions.json"))["predictions"][0];
        assert_eq!(entry["input"], name);
        assert!(entry["error"].as_str().unwrap().contains(name), "{entry}");
    }
}

#[test]
fn of_ten_inputs_one_bad_nine_are_written() {
    let place = Place::new();
    place.model();
    for i in 0..9 {
        place.gray(&format!("in/{i}.png"), 20 + i, 16);
    }
    place.write("in/5b.png", "this is no image");
    let run = place.line("predict -i in -o out -m m");
    run.ends(3, &["5b.png", "1 of 10"]);
    let masks: Vec<_> = place.files("out").into_iter().filter(|f| f.ends_with("_mask.png")).collect();
    let expected: Vec<_> = (0..9).map(|i| format!("{i}_mask.png")).collect();
    assert_eq!(masks, expected);
    assert_eq!(place.files("out").len(), 10);
    let record = place.json("out/predictions.json");
    let failed: Vec<_> = record["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry.get("error").is_some())
        .map(|entry| entry["input"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["in/5b.png"]);
    // Errors are named under -q as well, results are not.
    let run = place.line("predict -i in -o out -m m -q --overwrite");
    run.ends(3, &["5b.png"]);
    assert_eq!(run.stdout, "");
}

#[test]
fn existing_outputs_are_kept_unless_told_otherwise() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 8, 8);
    for existing in ["a_mask.png", "predictions.json"] {
        let out = format!("out_{existing}");
        place.write(&format!("{out}/{existing}"), "mine");
        place.line(&format!("predict -i a.png -o {out} -m m")).ends(2, &[existing, "--overwrite"]);
        assert_eq!(place.files(&out), [existing]);
        assert_eq!(fs::read(place.path(&format!("{out}/{existing}"))).unwrap(), b"mine");
        place.line(&format!("predict -i a.png -o {out} -m m --overwrite")).ends(0, &[]);
        assert_eq!(place.files(&out), ["a_mask.png", "predictions.json"]);
        assert_ne!(fs::read(place.path(&format!("{out}/{existing}"))).unwrap(), b"mine");
    }
    // What this run does not write may lie there.
    place.write("extra/a_overlay.png", "mine");
    place.line("predict -i a.png -o extra -m m").ends(0, &[]);
}

#[test]
fn two_inputs_with_one_output_are_wrong_usage() {
    let place = Place::new();
    place.model();
    place.gray("a/scan.png", 8, 8);
    place.gray("b/scan.png", 8, 8);
    place.gray("a/scan.jpg", 8, 8);
    place.gray("own/x.png", 8, 8);
    place.gray("own/x_mask.png", 8, 8);
    let cases: [(&str, &[&str]); 5] = [
        ("-i a/scan.png b/scan.png -o out", &["a/scan.png", "b/scan.png", "scan_mask.png"]),
        ("-i a -o out", &["scan.png", "scan.jpg"]),
        ("-i a/scan.png -i b -o out", &["a/scan.png", "b/scan.png"]),
        ("-i b/scan.png b/scan.png -o out", &["b/scan.png"]),
        ("-i own/x.png own/x_mask.png -o own --overwrite", &["x_mask.png", "is an input"]),
    ];
    for (line, words) in cases {
        place.line(&format!("predict {line} -m m")).ends(2, words);
        assert!(!place.path("out").exists(), "{line}");
    }
}

#[test]
fn an_output_folder_that_cannot_be_is_a_failed_run() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 8, 8);
    place.gray("in/b/c.png", 8, 8);
    place.write("file", "not a folder");
    for out in ["file", "file/below"] {
        place.line(&format!("predict -i a.png -o {out} -m m")).ends(1, &["file", "not a folder"]);
    }
    assert_eq!(fs::read(place.path("file")).unwrap(), b"not a folder");
    // In the way of one of two inputs only.
    place.gray("in/a.png", 8, 8);
    place.write("out/b", "in the way");
    let run = place.line("predict -i in -o out -m m");
    run.ends(3, &["out/b"]);
    assert_eq!(place.files("out"), ["a_mask.png", "b", "predictions.json"]);
}

#[test]
fn an_array_whose_header_lies_is_a_failed_input() {
    let place = Place::new();
    place.model();
    place.gray("b.png", 8, 8);
    for shape in ["(99999999999, 1, 4, 4)", "(99999999999, 1, 0, 4)"] {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        place.write("a.npy", bytes);
        place.line("predict -i a.npy b.png -o out -m m --overwrite").ends(3, &["a.npy", "99999999999"]);
        assert_eq!(place.files("out"), ["b_mask.png", "predictions.json"]);
    }
}

#[test]
fn an_image_beyond_memory_is_a_failed_input() {
    let place = Place::new();
    // 20 bytes times a block of 16 filters a pixel: 16 GiB are 53.7 million pixels, which as one tile are too many.
    place.model();
    place.gray("a.png", 8, 8);
    image::GrayImage::new(8192, 7000).save(place.path("large.png")).unwrap();
    let run = place.line("predict -i large.png a.png -o out -m m --tile 8192");
    run.ends(3, &["large.png", "7000x8192", "GiB", "smaller tiles", "smaller image"]);
    assert_eq!(place.files("out"), ["a_mask.png", "predictions.json"]);
}

#[test]
fn a_failed_input_leaves_no_output() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 8, 8);
    // A folder where the overlay would be: the mask before it is written, and removed.
    fs::create_dir_all(place.path("out/a_overlay.png/x")).unwrap();
    place.line("predict -i a.png -o out -m m --overlay --overwrite").ends(1, &["a_overlay.png"]);
    assert_eq!(place.files("out"), ["predictions.json"]);
}

/// A PNG of 32 x 32 pixels whose palette is shorter than its values: the `png` crate panics on it.
const PANICS: [u8; 92] = [
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x20, 0x08, 0x03, 0x00, 0x00, 0x00, 0x44, 0xa4, 0x8a, 0xc6, 0x00,
    0x00, 0x00, 0x05, 0x50, 0x4c, 0x54, 0x45, 0x01, 0x02, 0x03, 0x04, 0x05, 0xe3, 0x4f, 0xba, 0xe8, 0x00,
    0x00, 0x00, 0x12, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x60, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c,
    0x02, 0xec, 0x00, 0x00, 0x04, 0x20, 0x00, 0x01, 0x86, 0xb3, 0x3d, 0x44, 0x00, 0x00, 0x00, 0x00, 0x49,
    0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

#[test]
fn a_decoder_that_panics_costs_one_input() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 20, 16);
    place.write("in/m.png", PANICS);
    place.gray("in/z.png", 20, 16);
    place.line("predict -i in -o out -m m").ends(3, &["in/m.png", "1 of 3"]);
    assert_eq!(place.files("out"), ["a_mask.png", "predictions.json", "z_mask.png"]);
    let record = place.json("out/predictions.json");
    assert_eq!(record["finished"], true);
    assert!(record["predictions"][1]["error"].as_str().unwrap().contains("in/m.png"), "{record}");

    place.mask("out/m_mask.png", &["01"]);
    for name in ["a", "z"] {
        fs::copy(place.path(&format!("out/{name}_mask.png")), place.path(&format!("masks/{name}.png")))
            .unwrap();
    }
    place.write("masks/m.png", PANICS);
    place.line("evaluate --predictions out -r masks -o m.json --classes 1").ends(3, &["m", "1 of 3 cases"]);
    assert_eq!(place.json("m.json")["metric_per_case"].as_array().unwrap().len(), 2);
}

/// A pipe would wait for a writer for ever, a device has no end.
#[cfg(unix)]
#[test]
fn what_is_named_like_an_array_and_is_no_file_is_a_failed_input() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 20, 16);
    fs::create_dir(place.path("in/folder.npy")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", place.path("in/device.npy")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(place.path("in/pipe.npy")).status().unwrap();
    assert!(made.success());
    place.line("predict -i in -o out -m m").ends(3, &["folder.npy", "device.npy", "pipe.npy", "3 of 4"]);
    assert_eq!(place.files("out"), ["a_mask.png", "predictions.json"]);
}
