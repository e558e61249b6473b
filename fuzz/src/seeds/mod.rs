//! Small sound files of every format: the corpus, and what targets need beside the file that is damaged.

pub mod datasets;
pub mod hub;
pub mod images;
pub mod models;
pub mod pytorch;
pub mod training;
pub mod volumes;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A file's name and content.
pub type Seed = (String, Vec<u8>);

/// The corpus by target, but for what needs HDF5's own library.
pub fn all() -> Vec<(&'static str, Vec<Seed>)> {
    vec![
        ("nifti", volumes::plain()),
        ("nifti_gzip", volumes::compressed()),
        ("image", images::pictures()),
        ("mask", images::masks()),
        ("npy", models::arrays()),
        ("safetensors", models::weights()),
        ("model_config", models::configs()),
        ("preprocessor_config", datasets::preprocessors()),
        ("train_config", training::configs()),
        ("dataset_index", datasets::indices()),
        ("nnunet_index", datasets::nnunet()),
        ("csv_list", datasets::lists()),
        ("pytorch", pytorch::checkpoints()),
        ("checkpoint", training::checkpoints()),
        ("hub", hub::scripts()),
    ]
}

/// Noise, the same each time.
fn noise(count: usize) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(count as u64);
    (0..count).map(|_| random.random()).collect()
}

fn seed(name: &str, content: impl Into<Vec<u8>>) -> Seed {
    (name.to_owned(), content.into())
}
