//! Models that lie in the library itself, and what a model's name means.

use std::path::{Path, PathBuf};

use candle_core::Device;
use unet3p_data::Preprocessor;
use unet3p_models::UNet3Plus;

use crate::{Error, Result};

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

/// Where a model comes from.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelSource {
    /// A model compiled into the library.
    Bundled(&'static BundledModel),
    /// A model folder.
    Folder(PathBuf),
}

impl ModelSource {
    /// What `name` means: the name of a bundled model, else a folder.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] when it is neither.
    pub fn resolve(name: &str) -> Result<Self> {
        if let Some(model) = BUNDLED_MODELS.iter().find(|model| model.name == name) {
            return Ok(Self::Bundled(model));
        }
        if Path::new(name).is_dir() {
            return Ok(Self::Folder(name.into()));
        }
        Err(Error::UnknownModel {
            name: name.to_string(),
            bundled: BUNDLED_MODELS.iter().map(|model| model.name).collect(),
        })
    }

    /// Its name or path.
    pub fn name(&self) -> String {
        match self {
            Self::Bundled(model) => model.name.to_string(),
            Self::Folder(folder) => folder.display().to_string(),
        }
    }

    /// Reads the network, its weights on `device`.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Bundled`] when a file is missing or does not fit.
    pub fn load_model(&self, device: &Device) -> Result<UNet3Plus> {
        match self {
            Self::Bundled(model) => UNet3Plus::from_buffers(model.config, model.weights, device)
                .map_err(|source| Error::Bundled { name: model.name, source }),
            Self::Folder(folder) => UNet3Plus::load(folder, device).map_err(Error::Model),
        }
    }

    /// Reads how images become the network's input; nothing for a folder that does not say so.
    ///
    /// # Errors
    /// [`Error::Data`] when the file cannot be read or says something that is not allowed.
    pub fn load_preprocessor(&self) -> Result<Option<Preprocessor>> {
        Ok(match self {
            Self::Bundled(model) => Some(Preprocessor::from_json(model.preprocessor)?),
            Self::Folder(folder) if !folder.join(Preprocessor::FILE_NAME).exists() => None,
            Self::Folder(folder) => Some(Preprocessor::load(folder)?),
        })
    }
}
