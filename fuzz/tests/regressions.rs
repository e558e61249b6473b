//! What was a finding once, and what is right instead, where that is more than an error.

#![allow(clippy::unwrap_used)]

use unet3p_fuzz::{TARGETS, regressions_folder};

/// The error of a reader for a file that was a finding.
#[track_caller]
fn refused(target: &str, file: &str) -> String {
    let target = TARGETS.iter().find(|known| known.name == target).unwrap();
    let bytes = std::fs::read(regressions_folder().join(target.name).join(file)).unwrap();
    (target.run)(&bytes).unwrap_err()
}

#[test]
fn a_palette_that_is_cut_within_a_colour_is_named_with_its_file() {
    assert!(refused("image", "palette_of_no_triples.png").contains("picture.png"));
}

#[test]
fn settings_that_are_no_numbers_are_named_when_they_are_read() {
    for (file, key) in [
        ("fraction_of_nan.toml", "data.validation_fraction"),
        ("mean_of_nan.toml", "data.image_mean"),
        ("deviation_of_infinity.toml", "data.image_std"),
    ] {
        let error = refused("train_config", file);
        assert!(error.contains(key), "{error}");
    }
}
