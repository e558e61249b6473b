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

/// All that the run needs can be said by --set: no file of its own is needed then.
#[cfg(unix)]
#[test]
fn a_configuration_may_be_a_device_or_a_pipe_but_no_folder() {
    let place = Place::new();
    slices(&place);
    let sets = "--set data.paths=[\"slices\"] --set model.filters=[2,4,8,16,32] --set model.in_channels=1 \
                --set train.steps=1 --set loss.segmentation=\"dice\"";
    place.line(&format!("train -c /dev/null -o run {sets}")).ends(0, &["told by the values of the masks"]);
    place.line("train -c slices -o other").ends(2, &["slices: cannot be read"]);
}

#[test]
fn a_run_leaves_models_that_segment() {
    let place = Place::new();
    slices(&place);
    let run = place.line("train -c c.toml -o run --set train.steps=5");
    // There is no terminal here, and so no bar.
    run.ends(0, &["step 1 of 5: loss", "epoch 1", "loss", "validation loss", "Dice"]);
    assert!(run.stdout.contains("run/best") && run.stdout.contains("run/report.html"), "{}", run.stdout);
    for line in [
        "training on 4 volumes with 4 slices",
        "validating on 2 volumes with 2 slices, named by data.validation_groups",
        "classes beside the background: 1, told by model.class_names; model.num_classes = 1 (sigmoid)",
        "  1 block: 18.75 % of the pixels to train on, 18.75 % of those to validate on",
        "on cpu (",
        "steps: 5, 2 an epoch; batches of 2 slices, cropped to 32 x 32 pixels",
        "output folder: run",
    ] {
        assert!(run.stderr.contains(line), "{line}: {}", run.stderr);
        assert!(run.stderr.find(line) < run.stderr.find("epoch 1"), "{line}");
    }
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
    let cases: [(&str, &[&str]); 14] = [
        ("-c nowhere.toml", &["nowhere.toml"]),
        ("-c c.toml --set train.stpes=5", &["c.toml", "stpes"]),
        ("-c c.toml --set train.steps", &["train.steps"]),
        ("-c c.toml --set train.batch_size=0", &["train.batch_size"]),
        ("-c c.toml --set model.variant=unet4", &["unet4", "deep_supervision_cgm"]),
        (
            "-c c.toml --set model.activation=softmax --set model.num_classes=1 --set model.class_names=[]",
            &["softmax"],
        ),
        ("-c c.toml --set data.paths=[\"none\"]", &["data.paths", "none", "images/", "CSV"]),
        ("-c c.toml --set data.paths=[\"empty\"]", &["data.paths", "empty/images", "no image"]),
        ("-c c.toml --set loss.heads=[-1.0]", &["loss", "-1"]),
        (
            "-c c.toml --set model.class_names=[\"a\",\"a\"]",
            &["model.class_names", "classes 1 and 2 are both named"],
        ),
        ("-c c.toml --set model.class_names=[\"\"]", &["model.class_names", "empty name"]),
        ("-c c.toml --set model.num_classes=2", &["model.class_names", "set model.num_classes = 1"]),
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

/// Draws a block of the class `id` into the mask of a slice.
fn block(place: &Place, path: &str, id: u8) {
    let path = place.path(path);
    let mut mask = image::open(&path).unwrap().into_luma8();
    (0..4).for_each(|x| mask.put_pixel(x, 0, image::Luma([id])));
    mask.save(path).unwrap();
}

#[test]
fn the_data_tell_the_classes() {
    let place = Place::new();
    slices(&place);
    let config = CONFIG.replace("class_names = [\"block\"]\n", "");
    place.write("c.toml", &config);
    let outputs = |run: &str| place.json(&format!("{run}/best/config.json"))["num_classes"].clone();
    // By the masks.
    block(&place, "slices/masks/1.png", 2);
    let run = place.line("train -c c.toml -o masks");
    run.ends(0, &["beside the background: 2, told by the values of the masks, without names"]);
    run.ends(0, &["warning: no mask for validation holds the class 2"]);
    assert_eq!(outputs("masks"), 2);
    let softmax = "--set model.activation=softmax";
    place
        .line(&format!("train -c c.toml -o softmax {softmax}"))
        .ends(0, &["model.num_classes = 3 (softmax, with the background)"]);
    assert_eq!(outputs("softmax"), 3);
    // By the index, which names them.
    let slices: Vec<String> = (0..6).map(|i| format!(r#"{{"name": "{i}", "volume": "{i}"}}"#)).collect();
    let index = |names: &[&str]| {
        let classes: Vec<String> = names.iter().map(|name| format!(r#"{{"name": "{name}"}}"#)).collect();
        let (slices, classes) = (slices.join(","), classes.join(","));
        place.write("slices/dataset.json", format!(r#"{{"slices": [{slices}], "classes": [{classes}]}}"#));
    };
    index(&["block", "dot", "third"]);
    let run = place.line("train -c c.toml -o index");
    run.ends(0, &["beside the background: 3, told by slices/dataset.json;", "1 block: ", "3 third: 0.00 %"]);
    run.ends(0, &["warning: no mask for training holds the class 3 (third)"]);
    assert_eq!(outputs("index"), 3);
    let resolved = fs::read_to_string(place.path("index/config.toml")).unwrap();
    assert!(resolved.contains("num_classes = 3") && resolved.contains("\"dot\""), "{resolved}");
    // The index and the configuration do not agree: both commands say what to set.
    for (settings, value) in
        [("", "model.num_classes = 3 (sigmoid"), (softmax, "model.num_classes = 4 (softmax")]
    {
        for command in ["train -o no", "verify"] {
            place
                .line(&format!("{command} -c c.toml --set model.num_classes=2 {settings}"))
                .ends(2, &["model.num_classes = 2", "slices/dataset.json names 3 classes", value]);
        }
    }
    index(&["block", "block"]);
    for command in ["train -o no -c c.toml", "verify -c c.toml", "verify slices"] {
        place.line(command).ends(1, &["slices/dataset.json", "classes 1 and 2 are both named \"block\""]);
    }
    // A mask holds an id that the index does not name.
    index(&["block"]);
    let words = ["masks/1.png: holds the class id 2", "set model.num_classes = 2 (sigmoid", "too: 3)"];
    place.line("train -o no -c c.toml").ends(1, &words);
    place.line("verify -c c.toml").ends(3, &words);
    fs::remove_file(place.path("slices/dataset.json")).unwrap();
    // Values that are no ids are not counted.
    block(&place, "slices/masks/2.png", 128);
    let words = ["model.num_classes = none", "1, 2, 128 and leave others out", "data.mask_values"];
    place.line("train -o no -c c.toml").ends(2, &words);
    place.line("verify -c c.toml").ends(3, &words);
    assert!(!place.path("no").exists());
}

#[test]
fn the_volumes_that_were_drawn_are_named() {
    let place = Place::new();
    slices(&place);
    let config = CONFIG.replace("validation_groups = [\"4\", \"5\"]", "validation_fraction = 0.34");
    place.write("c.toml", config);
    place
        .line("train -c c.toml -o run")
        .ends(0, &["drawn by data.validation_fraction = 0.34 and train.seed = 0"]);
    let text = fs::read_to_string(place.path("run/config.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    let groups = config["data"]["validation_groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2, "{text}");
    assert!(!text.contains("validation_fraction"), "{text}");
    let card = fs::read_to_string(place.path("run/best/README.md")).unwrap();
    assert!(groups.iter().all(|group| card.contains(&format!("`{}`", group.as_str().unwrap()))), "{card}");
    let resumed = place.line("train --resume run --set train.steps=6");
    resumed.ends(0, &["resumed after 4 of 6"]);
    assert!(!resumed.stderr.contains("validation_fraction"), "{}", resumed.stderr);
}

/// The step itself is finite, what it makes of the weights is not.
#[test]
fn weights_that_are_no_numbers_are_not_saved() {
    let place = Place::new();
    slices(&place);
    let wild = "--set train.learning_rate=1e300 --set train.warm_up=0 --set train.optimizer=sgd --set train.steps=1 \
                --set train.clip_norm=0.0 --set loss.segmentation=bce";
    for average in ["0.0", "0.99"] {
        let run = place.line(&format!("train -c c.toml -o run {wild} --set train.ema_decay={average}"));
        run.ends(1, &["is not finite after step 1", "train.learning_rate"]);
        for file in ["last", "best", "checkpoint.safetensors"] {
            assert!(!place.path("run").join(file).exists(), "{file}");
        }
    }
}
