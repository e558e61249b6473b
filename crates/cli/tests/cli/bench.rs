//! `unet3p bench`.

use serde_json::Value;

use crate::support::Place;

fn measured(line: &str) -> Value {
    let run = Place::new().line(line);
    run.ends(0, &[]);
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn inference_is_measured() {
    let found = measured("bench --filters 4 --size 32x48 --batch 2 --runs 2 --threads 1 --json --layers");
    for key in ["median_s", "mean_s", "min_s", "peak_rss_mb", "gmac_as_written", "gmac_executed"] {
        assert!(found[key].as_f64().is_some_and(|value| value > 0.0), "{key} of {found}");
    }
    assert!(found["min_s"].as_f64() <= found["median_s"].as_f64());
    assert!(found["gmac_executed"].as_f64() < found["gmac_as_written"].as_f64());
    for (key, value) in [("threads", 1), ("batch", 2), ("filters", 4), ("height", 32), ("width", 48)] {
        assert_eq!(found[key], value, "{key}");
    }
    assert_eq!((&found["size"], &found["variant"]), (&"32x48".into(), &"base".into()));
    assert!(["avx512", "avx2", "portable"].contains(&found["isa"].as_str().unwrap()));
    let layers = found["layers"].as_array().unwrap();
    let layer = |name: &str| layers.iter().find(|layer| layer["name"] == name).unwrap();
    assert_eq!(layer("decoder.1.branch5.conv")["algorithm"], "before upsampling");
    assert_eq!(layer("head.1")["algorithm"], "taps");
}

#[test]
fn a_training_step_is_measured() {
    let found = measured(
        "bench --train --variant deep_supervision_cgm --filters 2 --size 32 --batch 1 --runs 1 --json",
    );
    assert!(found["median_s"].as_f64().unwrap() > 0.0);
    assert_eq!((&found["train"], &found["gmac_executed"]), (&true.into(), &Value::Null));
}

#[test]
fn a_model_is_measured_as_a_table() {
    let place = Place::new();
    place.model();
    let run = place.line("bench -m m --size 16 --runs 1 --layers");
    run.ends(0, &[]);
    for word in ["median", "GMAC", "decoder.1.fuse", "encoder.5.conv2"] {
        assert!(run.stdout.contains(word), "{word} in {}", run.stdout);
    }
}

#[test]
fn wrong_usage_is_named() {
    let place = Place::new();
    place.model();
    place.line("bench -m m --filters 8").ends(2, &["--filters"]);
    place.line("bench --filters 0").ends(2, &["filters"]);
    place.line("bench --runs 0").ends(2, &["--runs"]);
    place.line("bench --train --layers").ends(2, &["--layers"]);
}

#[test]
fn a_training_step_takes_sizes_that_need_no_padding() {
    let place = Place::new();
    let run = place.line("bench --train --encoder resnet34 --filters 4 --size 48 --runs 1");
    run.ends(2, &["--size 48x48", "multiples of 32"]);
    place.line("bench --train --encoder resnet34 --filters 4 --size 32 --runs 1").ends(0, &[]);
}
