//! Models that lie in the library itself.

/// The model that does the main job when none is named: the liver on CT.
pub const DEFAULT_MODEL: &str = "liver-ct";

/// A model compiled into the library.
#[derive(Debug)]
pub struct BundledModel {
    /// Its name, as [`Segmenter::from_pretrained`](crate::Segmenter::from_pretrained) takes it.
    pub name: &'static str,
    /// Its `config.json`.
    pub config: &'static str,
    /// Its `preprocessor_config.json`.
    pub preprocessor: &'static str,
    /// Its `model.safetensors`.
    pub weights: &'static [u8],
    /// Its model card: data, metrics, licence, limits.
    pub card: &'static str,
}

/// All models compiled into the library.
pub const BUNDLED_MODELS: &[BundledModel] = &[BundledModel {
    name: DEFAULT_MODEL,
    config: include_str!("../models/liver-ct/config.json"),
    preprocessor: include_str!("../models/liver-ct/preprocessor_config.json"),
    weights: include_bytes!("../models/liver-ct/model.safetensors"),
    card: include_str!("../models/liver-ct/README.md"),
}];
