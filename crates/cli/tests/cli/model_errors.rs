//! Models that cannot be read.

use std::fs;
use std::path::Path;

use candle_core::Device;
use unet3p_data::Preprocessor;
use unet3p_models::Variant;

use crate::support::{Place, gray_preprocessor, tiny};

/// Segments with the model `m` and describes it: both fail with the same words, and nothing is written.
#[track_caller]
fn both_fail(place: &Place, words: &[&str]) {
    place.gray("a.png", 8, 8);
    place.line("predict -i a.png -o out -m m").ends(1, words);
    assert!(!place.path("out").exists());
    place.line("info m").ends(1, words);
}

/// Weights that do not tell themselves what they are of.
fn without_metadata(path: &Path) {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    candle_core::safetensors::save(&tensors, path).unwrap();
}

#[test]
fn a_model_that_is_not_there() {
    both_fail(&Place::new(), &["m: no such model", "liver-ct", "config.json"]);
}

#[test]
fn a_folder_without_a_config() {
    let place = Place::new();
    fs::create_dir(place.path("m")).unwrap();
    both_fail(&place, &["m/config.json", "a model folder holds"]);
}

#[test]
fn a_folder_where_the_weights_should_be() {
    let place = Place::new();
    place.model();
    fs::remove_file(place.path("m/model.safetensors")).unwrap();
    fs::create_dir(place.path("m/model.safetensors")).unwrap();
    both_fail(&place, &["m/model.safetensors", "is a folder, not a file"]);
}

#[test]
fn a_folder_without_weights() {
    let place = Place::new();
    place.model();
    fs::remove_file(place.path("m/model.safetensors")).unwrap();
    both_fail(&place, &["m/model.safetensors", "a model folder holds"]);
}

#[test]
fn weights_of_another_shape() {
    let place = Place::new();
    place.model();
    place.save_model("other", &tiny(3), &gray_preprocessor());
    let weights = place.path("m/model.safetensors");
    fs::copy(place.path("other/model.safetensors"), &weights).unwrap();
    both_fail(&place, &["m/config.json", "in_channels = 1", "m/model.safetensors", "in_channels = 3"]);
    without_metadata(&weights);
    both_fail(&place, &["m/model.safetensors", "encoder.1.conv1.weight", "another shape"]);
}

#[test]
fn weights_of_another_network() {
    let place = Place::new();
    place.model();
    let mut config = tiny(1);
    config.variant = Variant::DeepSupervision;
    without_metadata(&place.path("m/model.safetensors"));
    place.write("m/config.json", config.to_json().unwrap());
    both_fail(&place, &["m/model.safetensors", "missing", "head.5.weight"]);
}

#[test]
fn weights_that_are_cut_short_or_no_weights() {
    let place = Place::new();
    place.model();
    let whole = fs::read(place.path("m/model.safetensors")).unwrap();
    for content in [&whole[..whole.len() / 2], &whole[..20], b"text, and nothing more", b""] {
        fs::write(place.path("m/model.safetensors"), content).unwrap();
        both_fail(&place, &["m/model.safetensors"]);
    }
}

#[test]
fn a_config_that_cannot_be_built() {
    let place = Place::new();
    place.model();
    let config = fs::read_to_string(place.path("m/config.json")).unwrap();
    let cases: [(&str, &str, &[&str]); 3] = [
        ("\"base\"", "\"unet4\"", &["m/config.json", "unet4", "deep_supervision_cgm"]),
        ("\"sigmoid\"", "\"softmax\"", &["m/config.json", "softmax"]),
        ("{", "[", &["m/config.json"]),
    ];
    for (from, to, words) in cases {
        place.write("m/config.json", config.replacen(from, to, 1));
        both_fail(&place, words);
    }
}

#[test]
fn an_unknown_key_is_named_and_ignored() {
    let place = Place::new();
    place.model();
    let config = fs::read_to_string(place.path("m/config.json")).unwrap();
    place.write("m/config.json", config.replacen('{', "{\"colour\": 1,", 1));
    place.line("info m").ends(0, &["warning", "m/config.json", "colour"]);
}

#[test]
fn a_preprocessor_that_does_not_fit() {
    let place = Place::new();
    place.gray("a.png", 8, 8);
    place.save_model("m", &tiny(1), &Preprocessor::default());
    place
        .line("predict -i a.png -o out -m m")
        .ends(1, &["m", "preprocessor_config.json", "3 channels", "takes 1"]);
    place.write("m/preprocessor_config.json", "{\"layout\": \"cmyk\"}");
    place.line("predict -i a.png -o out -m m").ends(1, &["m/preprocessor_config.json", "cmyk"]);
    assert!(!place.path("out").exists());
}
