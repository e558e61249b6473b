//! The folder of a training run, whose configuration says what its model is scored on.

use std::path::{Path, PathBuf};

use unet3p_train::TrainConfig;

use crate::config::read_config;
use crate::failure::Failure;
use crate::model::{self, MODELS_OF_RUN};

/// The file that tells a run's folder from others.
const CONFIG: &str = "config.toml";

/// A training run.
#[derive(Debug)]
pub(super) struct RunFolder {
    pub(super) folder: PathBuf,
    /// The model folder to score: the best, unless another one is named.
    pub(super) model: PathBuf,
    pub(super) config: TrainConfig,
}

impl RunFolder {
    /// The run whose folder `name` is, or of which it is the best or the last model; nothing for other models.
    ///
    /// # Errors
    /// Wrong usage: a configuration that cannot be read, or a run without a model.
    pub(super) fn at(name: &str) -> Result<Option<Self>, Failure> {
        let path = Path::new(name);
        if path.join(CONFIG).is_file() {
            let model = model::of_run(path).ok_or_else(|| {
                Failure::usage(format!(
                    "{name}: the run has no model yet, neither best nor last: they are written at each validation; go on \
                     with `unet3p train --resume {name}`"
                ))
            })?;
            return Ok(Some(Self::new(path, model)?));
        }
        let is_model = path.is_dir() && MODELS_OF_RUN.iter().any(|model| path.ends_with(model));
        // The folder above "best" is "".
        let above = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
        match above.filter(|above| is_model && above.join(CONFIG).is_file()) {
            Some(folder) => Ok(Some(Self::new(folder, path.to_path_buf())?)),
            None => Ok(None),
        }
    }

    fn new(folder: &Path, model: PathBuf) -> Result<Self, Failure> {
        let config = read_config(&folder.join(CONFIG), &[])?;
        Ok(Self { folder: folder.to_path_buf(), model, config })
    }

    /// Warns where some of the images lie in the data that the run learnt from.
    pub(super) fn warn_of_own<'a>(&self, images: impl Iterator<Item = &'a Path>) {
        let folders: Vec<PathBuf> =
            self.config.data.paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let is_own = |image: &Path| folders.iter().any(|folder| image.starts_with(folder));
        let (mut own, mut all) = (0, 0);
        for image in images {
            own += usize::from(image.canonicalize().is_ok_and(|image| is_own(&image)));
            all += 1;
        }
        if own > 0 {
            log::warn!(
                "{own} of {all} images lie in the data that the run was trained on ({}), so that the scores may be too \
                 good; `unet3p evaluate -m {}` scores what it was not trained on",
                self.config_path().display(),
                self.folder.display()
            );
        }
    }

    /// The configuration's file.
    pub(super) fn config_path(&self) -> PathBuf {
        self.folder.join(CONFIG)
    }
}
