//! The readers.

use crate::mutate::{self, Mutator};
use crate::targets::{arrays, configs, datasets, foreign, hub, images, models, training, volumes};

/// What a reader says of a file: taken, or its error.
pub type Outcome = Result<(), String>;

/// One reader.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Reads a file of these bytes.
    pub run: fn(&[u8]) -> Outcome,
    /// Damages a file of its format, perhaps with parts of another.
    pub mutate: Mutator,
    /// Files of `tests/golden` that belong to the corpus.
    pub golden: &'static [&'static str],
}

/// All of them.
pub static TARGETS: [Target; 16] = [
    target("nifti", volumes::plain, mutate::bytes),
    target("nifti_gzip", volumes::compressed, mutate::gzip),
    target("image", images::image, mutate::png),
    target("mask", images::mask, mutate::png),
    target("npy", arrays::npy, mutate::text),
    target("safetensors", models::weights, mutate::safetensors),
    target("model_config", models::config, mutate::text),
    target("preprocessor_config", configs::preprocessor, mutate::text),
    target("train_config", configs::train, mutate::text),
    target("dataset_index", datasets::index, mutate::text),
    target("nnunet_index", datasets::nnunet, mutate::text),
    target("csv_list", datasets::list, mutate::text),
    target("pytorch", foreign::pytorch, mutate::zip),
    Target { golden: &["keras3/base.h5"], ..target("keras", foreign::keras, mutate::zip) },
    target("checkpoint", training::checkpoint, mutate::safetensors),
    target("hub", hub::pull, mutate::text),
];

const fn target(name: &'static str, run: fn(&[u8]) -> Outcome, mutate: Mutator) -> Target {
    Target { name, run, mutate, golden: &[] }
}
