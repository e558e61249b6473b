//! `unet3p evaluate -m RUN`: a training run's model on the run's own data.

use std::fs;

use image::{ImageBuffer, Luma};
use serde_json::{Value, json};

use crate::evaluate_slices::prepared;
use crate::support::Place;
use crate::train::slices;

/// Trains on [`slices`] and leaves `run`.
fn trained(place: &Place, settings: &str) {
    place.line(&format!("train -c c.toml -o run -q {settings}")).ends(0, &[]);
}

fn cases(record: &Value) -> Vec<&str> {
    record["metric_per_case"].as_array().unwrap().iter().map(|case| case["case"].as_str().unwrap()).collect()
}

#[test]
fn a_run_is_scored_on_its_own_validation() {
    let place = Place::new();
    slices(&place);
    trained(&place, "");
    let run = place.line("evaluate -m run");
    run.ends(0, &[]);
    assert!(
        run.stdout.contains("class 1, block: 2 cases") && run.stdout.contains("run/evaluation.csv"),
        "{run:?}"
    );
    let record = place.json("run/evaluation.json");
    assert_eq!(cases(&record), ["4", "5"]);
    assert_eq!((&record["split"], &record["model"]), (&json!("validation"), &json!("run")));
    // What predict and masks against masks give.
    for name in ["4", "5"] {
        fs::copy(place.path(&format!("slices/images/{name}.png")), place.path(&format!("in/{name}.png")))
            .unwrap();
        fs::copy(place.path(&format!("slices/masks/{name}.png")), place.path(&format!("masks/{name}.png")))
            .unwrap();
    }
    place.line("predict -i in -o out -m run/best").ends(0, &[]);
    place.line("evaluate --predictions out -r masks -o masks.json").ends(0, &[]);
    assert_eq!(place.json("masks.json")["mean"], record["mean"]);

    place.line("evaluate -m run").ends(2, &["run/evaluation.json", "--overwrite"]);
    place.line("evaluate -m run/best --overwrite").ends(0, &[]);
    assert_eq!(place.json("run/evaluation.json")["mean"], record["mean"]);
    place.line("evaluate -m run/last --split train -o train.json").ends(0, &[]);
    assert_eq!(cases(&place.json("train.json")), ["0", "1", "2", "3"]);
    // The run's folder stands for its model with other images as well.
    place.line("evaluate -m run -i in -r masks -o other.json").ends(0, &[]);
    assert_eq!(place.json("other.json")["mean"], record["mean"]);
}

#[test]
fn masks_are_read_as_the_run_reads_them() {
    let place = Place::new();
    slices(&place);
    // 16-bit gray, 1000 for the class and 700 for pixels that do not count.
    for i in 0..6 {
        let id = |x: u32, y: u32| {
            if y < 4 {
                700
            } else if (8..20).contains(&x) {
                1000
            } else {
                0u16
            }
        };
        let mask = ImageBuffer::from_fn(32, 32, |x, y| Luma([id(x, y)]));
        mask.save(place.path(&format!("slices/masks/{i}.png"))).unwrap();
    }
    let settings = "--set data.ignore_label=700 --set data.mask_values={\"0\"=0,\"1000\"=1} \
                    --set model.activation=softmax --set model.num_classes=2 --set loss.segmentation=dice_cross_entropy";
    trained(&place, settings);
    place.line("evaluate -m run").ends(0, &[]);
    let record = place.json("run/evaluation.json");
    assert_eq!(record["labels"], json!({"1": "block"}));
    let classes: Vec<&String> = record["mean"].as_object().unwrap().keys().collect();
    assert_eq!(classes, ["1"]);
    let scores = &record["metric_per_case"][0]["metrics"]["1"];
    let samples: u64 = ["TP", "FP", "FN", "TN"].iter().map(|count| scores[count].as_u64().unwrap()).sum();
    assert_eq!((samples, &scores["n_ref"]), (28 * 32, &json!(28 * 12)));
    // Other masks are read so as well.
    for name in ["4", "5"] {
        for kind in ["images", "masks"] {
            fs::copy(
                place.path(&format!("slices/{kind}/{name}.png")),
                place.path(&format!("own/{kind}/{name}.png")),
            )
            .unwrap();
        }
    }
    place.line("evaluate -m run -i own -r own -o own.json").ends(0, &["pixels of 700", "run/config.toml"]);
    assert_eq!(place.json("own.json")["mean"], record["mean"]);
}

#[test]
fn slices_are_scored_as_their_volumes() {
    let place = Place::new();
    prepared(&place);
    place.write(
        "c.toml",
        "[data]\npaths = [\"slices\"]\ncrop = [16, 16]\n[model]\nfilters = [2, 4, 8, 16, 32]\n[train]\nsteps = 2\n\
         batch_size = 2\nstatistics_batches = 1\n[loss]\nsegmentation = \"dice\"\n",
    );
    trained(&place, "");
    place.line("evaluate -m run").ends(0, &[]);
    let record = place.json("run/evaluation.json");
    assert_eq!(cases(&record), ["two"]);
    let case = &record["metric_per_case"][0];
    assert_eq!((&case["spacing"], &case["slices"]), (&json!([2.0, 0.75, 0.5]), &json!(5)));
    place.line("evaluate -m run -i slices -r slices --split validation -o m.json").ends(0, &[]);
    let other = place.json("m.json");
    assert_eq!((&other["mean"], &other["split"]), (&record["mean"], &json!("validation")));
    place.line("evaluate -m run --per-slice --overwrite").ends(0, &[]);
    assert_eq!(place.json("run/evaluation.json")["statistics"]["cases"], 5);

    // A list that tells volumes alone.
    let lines = ["one", "two"].map(|volume| {
        let line = |z: usize| {
            format!("slices/images/{volume}_z000{z}.png,slices/masks/{volume}_z000{z}.png,{volume}\n")
        };
        (0..5).map(line).collect::<String>()
    });
    place.write("list.csv", format!("image,mask,group\n{}", lines.concat()));
    place
        .line(
            "train -c c.toml -o listed -q --set data.paths=[\"list.csv\"] --set data.validation_groups=[\"one\"] \
             --set model.in_channels=3",
        )
        .ends(0, &[]);
    place.line("evaluate -m listed").ends(0, &["one: no index tells", "pixels and slices"]);
    let record = place.json("listed/evaluation.json");
    let case = &record["metric_per_case"][0];
    assert_eq!((&case["case"], &case["slices"], &case["spacing"]), (&json!("one"), &json!(5), &Value::Null));
    assert!(case["warnings"].to_string().contains("no index"), "{case}");
}

#[test]
fn what_cannot_be_scored_says_why() {
    let place = Place::new();
    place.model();
    slices(&place);
    place.line("evaluate -m m").ends(2, &["-m m", "config.toml", "--references"]);
    place.line("evaluate -m m -r slices -o m.json").ends(2, &["--input"]);
    place.line("evaluate -m m -i slices -o m.json").ends(2, &["--references is needed"]);
    place.write("c.toml", fs::read_to_string(place.path("c.toml")).unwrap().replace("\"4\", \"5\"", ""));
    trained(&place, "");
    place.line("evaluate -m run").ends(2, &["run/config.toml", "validation", "--split train"]);
    place.write("slices/masks/1.png", "no image");
    place
        .line("evaluate -m run --split train")
        .ends(1, &["slices/masks/1.png", "unet3p verify -c run/config.toml"]);
    fs::remove_dir_all(place.path("slices")).unwrap();
    place.line("evaluate -m run --split train").ends(2, &["data.paths", "slices"]);
    assert!(!place.path("run/evaluation.json").exists());
}
