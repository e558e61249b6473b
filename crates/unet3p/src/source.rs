//! What a model's name means, and how what it names is read.

use std::path::{Path, PathBuf};

use candle_core::Device;
use unet3p_data::Preprocessor;
use unet3p_models::UNet3Plus;

use crate::{BUNDLED_MODELS, BundledModel, Error, Result};

/// Where a model comes from.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelSource {
    /// A model compiled into the library.
    Bundled(&'static BundledModel),
    /// A model folder.
    Folder(PathBuf),
    /// A safetensors file that says itself what its weights are of. A `preprocessor_config.json` beside it is used.
    File(PathBuf),
    /// A model of the Hub, in the cache.
    #[cfg(feature = "hub")]
    Hub {
        /// Its id.
        id: unet3p_hub::ModelId,
        /// The model folder in the cache.
        folder: PathBuf,
    },
}

impl ModelSource {
    /// What `name` means: the name of a bundled model, else a folder or file, else, with the feature `hub`, the id of a
    /// model of the Hub (`org/name` or `org/name@revision`), which is fetched into the cache as the environment
    /// says ([`Hub::from_env`](unet3p_hub::Hub::from_env)).
    ///
    /// # Errors
    /// [`Error::UnknownModel`] when it is none of them; `Error::Hub` when the Hub does not give it.
    #[cfg(feature = "hub")]
    pub fn resolve(name: &str) -> Result<Self> {
        Self::resolve_with(name, &unet3p_hub::Hub::from_env(), &mut |_| {})
    }

    /// What `name` means: the name of a bundled model, else a folder or file. (With the feature `hub` of this crate, else
    /// a model of the Hub.)
    ///
    /// # Errors
    /// [`Error::UnknownModel`] when it is none of them; [`Error::NoHub`] when it may be the id of a model of the Hub.
    #[cfg(not(feature = "hub"))]
    pub fn resolve(name: &str) -> Result<Self> {
        let may_be_id =
            name.split('/').count() == 2 && name.split('/').all(|part| !part.trim_matches('.').is_empty());
        Self::local(name).ok_or_else(|| match may_be_id {
            true => Error::NoHub { name: name.to_string() },
            false => Self::unknown(name),
        })
    }

    /// [`resolve`](Self::resolve) with a Hub of one's own, and word of how far a download is.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    ///
    /// ```
    /// use unet3p::{ModelSource, hub::Hub};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// let hub = Hub::new(folder.path()).with_offline(true);
    /// assert!(ModelSource::resolve_with("liver-ct", &hub, &mut |_| {}).is_ok());
    /// let error = ModelSource::resolve_with("acme/liver-ct", &hub, &mut |_| {}).unwrap_err();
    /// assert!(error.to_string().contains("unet3p pull acme/liver-ct"));
    /// ```
    #[cfg(feature = "hub")]
    pub fn resolve_with(
        name: &str,
        hub: &unet3p_hub::Hub,
        progress: &mut dyn FnMut(unet3p_hub::Progress<'_>),
    ) -> Result<Self> {
        if let Some(source) = Self::local(name) {
            return Ok(source);
        }
        let id: unet3p_hub::ModelId = name.parse().map_err(|_| Self::unknown(name))?;
        match hub.pull(&id, progress) {
            Ok(folder) => Ok(Self::Hub { id, folder }),
            Err(source) => Err(Error::Hub { name: name.to_string(), source: Box::new(source) }),
        }
    }

    /// What `name` means without a network.
    fn local(name: &str) -> Option<Self> {
        // A folder that a killed process had moved aside; where it stays, it is missing.
        let _ = unet3p_files::recover_folder(Path::new(name));
        if let Some(model) = BUNDLED_MODELS.iter().find(|model| model.name == name) {
            return Some(Self::Bundled(model));
        }
        match Path::new(name) {
            path if path.is_dir() => Some(Self::Folder(path.into())),
            path if path.exists() => Some(Self::File(path.into())),
            _ => None,
        }
    }

    fn unknown(name: &str) -> Error {
        Error::UnknownModel {
            name: name.to_string(),
            bundled: BUNDLED_MODELS.iter().map(|model| model.name).collect(),
        }
    }

    /// Its name, path or id.
    pub fn name(&self) -> String {
        match self {
            Self::Bundled(model) => model.name.to_string(),
            Self::Folder(path) | Self::File(path) => path.display().to_string(),
            #[cfg(feature = "hub")]
            Self::Hub { id, .. } => id.to_string(),
        }
    }

    /// The file with its weights, where they are not compiled in.
    pub fn weights(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            _ => Some(self.folder()?.join("model.safetensors")),
        }
    }

    /// The folder in which its files lie, where they are not compiled in.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Bundled(_) => None,
            Self::Folder(folder) => Some(folder),
            Self::File(path) => path.parent(),
            #[cfg(feature = "hub")]
            Self::Hub { folder, .. } => Some(folder),
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
            Self::File(path) => UNet3Plus::load_file(path, device).map_err(Error::Model),
            #[cfg(feature = "hub")]
            Self::Hub { folder, .. } => UNet3Plus::load(folder, device).map_err(Error::Model),
        }
    }

    /// Reads how images become the network's input; nothing for a folder that does not say so.
    ///
    /// # Errors
    /// [`Error::Data`] when the file cannot be read or says something that is not allowed.
    pub fn load_preprocessor(&self) -> Result<Option<Preprocessor>> {
        if let Self::Bundled(model) = self {
            return Ok(Some(Preprocessor::from_json(model.preprocessor)?));
        }
        let folder = self.folder().filter(|folder| folder.join(Preprocessor::FILE_NAME).exists());
        Ok(folder.map(Preprocessor::load).transpose()?)
    }
}
