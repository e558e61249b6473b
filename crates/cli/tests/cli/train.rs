//! `unet3p train`.

use std::fs;

use crate::support::Place;

pub(crate) const CONFIG: &str = r#"
[data]
paths = ["slices"]
validation_groups = ["4", "5"]
crop = [32, 32]

[model]
in_channels = 1
filters = [2, 4, 8, 16, 32]
class_names = ["block"]

[train]
steps = 4
batch_size = 2
statistics_batches = 1

[loss]
segmentation = "dice"
"#;

/// Six slices with a bright block, and its mask.
pub(crate) fn slices(place: &Place) {
    for i in 0..6 {
        let inside = |x: u32, y: u32| (8 + i..20 + i).contains(&x) && (6..22).contains(&y);
        image::GrayImage::from_fn(32, 32, |x, y| image::Luma([if inside(x, y) { 200 } else { 30 }]))
            .save(place.path(&format!("slices/images/{i}.png")))
            .unwrap();
        image::GrayImage::from_fn(32, 32, |x, y| image::Luma([u8::from(inside(x, y))]))
            .save(place.path(&format!("slices/masks/{i}.png")))
            .unwrap();
    }
    place.write("c.toml", CONFIG);
}

#[test]
fn a_run_leaves_models_that_segment() {
    let place = Place::new();
    slices(&place);
    let run = place.line("train -c c.toml -o run --set train.steps=5");
    run.ends(0, &["epoch 1", "loss", "validation loss", "Dice"]);
    assert!(run.stdout.contains("run/best") && run.stdout.contains("run/report.html"), "{}", run.stdout);
    let files = place.files("run");
    for file in ["config.toml", "metrics.csv", "best/config.json", "last/model.safetensors"] {
        assert!(files.iter().any(|f| f == file), "{file}: {files:?}");
    }
    assert!(files.iter().all(|f| !f.contains("tmp")), "{files:?}");
    assert!(fs::read_to_string(place.path("run/config.toml")).unwrap().contains("steps = 5"));
    place.line("predict -i slices/images -o out -m run/best").ends(0, &[]);
    let record = place.json("out/predictions.json");
    assert_eq!(record["labels"], serde_json::json!({"1": "block"}));

    place.line("train -c c.toml -o run").ends(2, &["run"]);
    let run = place.line("train -c c.toml -o quiet -q");
    run.ends(0, &[]);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
}

/// The loading threads want the pool to resize, while its only thread waits for them.
#[test]
fn one_thread_is_enough_beside_loading_threads() {
    let place = Place::new();
    slices(&place);
    let options = "--threads 1 --set data.workers=2 --set data.resize=[48,48]";
    place.line(&format!("train -c c.toml -o run {options}")).ends(0, &["epoch 1"]);
}

#[test]
fn a_wrong_configuration_names_the_key() {
    let place = Place::new();
    slices(&place);
    fs::create_dir_all(place.path("empty/images")).unwrap();
    fs::create_dir_all(place.path("empty/masks")).unwrap();
    let cases: [(&str, &[&str]); 11] = [
        ("-c nowhere.toml", &["nowhere.toml"]),
        ("-c c.toml --set train.stpes=5", &["c.toml", "stpes"]),
        ("-c c.toml --set train.steps", &["train.steps"]),
        ("-c c.toml --set train.batch_size=0", &["train.batch_size"]),
        ("-c c.toml --set model.variant=unet4", &["unet4", "deep_supervision_cgm"]),
        ("-c c.toml --set model.activation=softmax --set model.class_names=[]", &["softmax"]),
        ("-c c.toml --set data.paths=[\"none\"]", &["data.paths", "none", "images/", "CSV"]),
        ("-c c.toml --set data.paths=[\"empty\"]", &["data.paths", "empty/images", "no image"]),
        ("-c c.toml --set loss.heads=[-1.0]", &["loss", "-1"]),
        ("-c c.toml --set data.validation_groups=[\"7\"]", &["7"]),
        (
            "-c c.toml --set data.mask_values={\"0\"=0,\"9\"=2}",
            &["data.mask_values.9 = 2", "0 (background) to 1"],
        ),
    ];
    for (line, words) in cases {
        place.line(&format!("train -o run {line}")).ends(2, words);
        assert!(!place.path("run/config.toml").exists(), "{line}");
    }
    place.write("broken.toml", "[data");
    place.line("train -c broken.toml -o run").ends(2, &["broken.toml", "line 1"]);
}

#[test]
fn data_that_does_not_fit_is_a_failed_run() {
    let place = Place::new();
    slices(&place);
    let mask = fs::read(place.path("slices/masks/2.png")).unwrap();
    place.gray("slices/masks/2.png", 16, 32);
    place.line("train -c c.toml -o run").ends(1, &["2.png", "16"]);
    fs::remove_file(place.path("slices/masks/2.png")).unwrap();
    place.line("train -c c.toml -o run").ends(1, &["slices/masks", "2"]);
    fs::write(place.path("slices/masks/2.png"), &mask[..mask.len() / 2]).unwrap();
    place.line("train -c c.toml -o run").ends(1, &["2.png"]);
    place.write("file", "in the way");
    place.line("train -c c.toml -o file/run").ends(1, &["file", "not a folder"]);
}

#[test]
fn a_bundled_model_is_fine_tuned_to_other_classes_and_channels() {
    let place = Place::new();
    slices(&place);
    let line = "train -c c.toml -o run --init-from liver-ct --set train.steps=1 --set model.freeze_encoder=true \
                --set model.filters=[16,32,64,128,256] --set model.variant=deep_supervision_cgm";
    place
        .line(line)
        .ends(0, &["liver-ct: the first convolution is spread from 3 input channels to 1", "cgm"]);
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    assert!(config.contains("init_from = \"liver-ct\""), "{config}");
    // The run's own configuration is enough to start it again, and to continue it.
    place.line("train --resume run --set train.steps=2").ends(0, &["resumed after 1 of 2 steps"]);
    place.line("train -c c.toml -o other --init-from liver-ct").ends(2, &["model.filters", "[16, 32, 64"]);
    place.line("train -c c.toml -o other --init-from nowhere").ends(1, &["nowhere", "liver-ct"]);
}
