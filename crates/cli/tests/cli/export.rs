//! `unet3p export`.

use std::fs;

use crate::support::Place;

#[test]
fn the_bundled_model_becomes_a_file() {
    let place = Place::new();
    let run = place.line("export liver-ct -o model.onnx");
    run.ends(0, &[]);
    assert!(run.stdout.contains("opset 18, image 1 x 3 x"), "{}", run.stdout);
    let bytes = fs::read(place.path("model.onnx")).unwrap();
    // f32 weights, the operators' names, and how images are prepared
    assert!(bytes.len() > 4 * 1_694_741, "{}", bytes.len());
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for text in ["BatchNormalization", "probabilities", "deep_supervision", "preprocessor_config", "spacing"]
    {
        assert!(holds(text), "{text}");
    }
    place.line("export liver-ct -o model.onnx").ends(2, &["model.onnx", "--overwrite"]);
    let run = place.line("export liver-ct -o model.onnx --overwrite --dynamic --all-heads --opset 17");
    run.ends(0, &[]);
    assert!(run.stdout.contains("batch x 3 x height x width, sides in multiples of 16"), "{}", run.stdout);
    let run = place.line("export liver-ct -o fixed.onnx --size 100x200");
    run.ends(0, &[]);
    assert!(run.stdout.contains("1 x 3 x 112 x 208"), "{}", run.stdout);
}

#[test]
fn wrong_usage_is_told_before_any_work() {
    let place = Place::new();
    place.line("export liver-ct -o model.onnx --opset 12").ends(2, &["--opset", "12", "13..=22"]);
    let run = place.line("export liver-ct -o heads.onnx --all-heads --size 32");
    run.ends(0, &[]);
    place.line("export liver-ct -o model.onnx --size 0").ends(2, &["--size"]);
    place.line("export liver-ct -o model.onnx --size 64 --dynamic").ends(2, &["--dynamic"]);
    place.line("export liver-cd -o model.onnx").ends(1, &["liver-cd"]);
    place.line("export liver-ct -o absent/model.onnx").ends(1, &["absent"]);
    assert!(!place.path("model.onnx").exists());
}
