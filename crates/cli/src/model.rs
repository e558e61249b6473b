//! The model that a command line names.

use std::path::{Path, PathBuf};

use candle_core::Device;
use indicatif::ProgressBar;
use unet3p::hub::{Hub, ModelId, Progress};
use unet3p::{ModelSource, Segmenter};
use unet3p_convert::encoder::EncoderWeights;
use unet3p_files::recover_folder;
use unet3p_models::Encoder;

use crate::args::Global;
use crate::failure::{Failure, describe};
use crate::report;

/// The models in the folder of a training run, in the order in which they are looked for.
pub(crate) const MODELS_OF_RUN: [&str; 2] = ["best", "last"];

/// The model in the folder of a training run: the best, else the last; nothing where there is neither.
pub(crate) fn of_run(folder: &Path) -> Option<PathBuf> {
    MODELS_OF_RUN.map(|model| folder.join(model)).into_iter().find(|model| {
        // A killed process may have moved it aside. Where it cannot be brought back, it is missing.
        let _ = recover_folder(model);
        model.is_dir()
    })
}

/// What `name` stands for. A model of the Hub is fetched; the folder of a training run stands for its model.
///
/// # Errors
/// A failed run when it is neither a bundled model, nor a path, nor a model of the Hub: the model cannot be read.
pub(crate) fn resolve(name: &str, global: &Global) -> Result<ModelSource, Failure> {
    let mut bars = Bars::default();
    let source = ModelSource::resolve_with(name, &hub(global), &mut |progress| bars.show(progress))
        .map_err(|e| Failure::run(describe(&e)))?;
    if let ModelSource::Folder(folder) = &source
        && !folder.join("config.json").exists()
        && let Some(model) = of_run(folder)
    {
        report::note(format!("{name} is the folder of a training run: {} is used", model.display()));
        return Ok(ModelSource::Folder(model));
    }
    Ok(source)
}

/// Reads the model of `source` on `device`.
///
/// # Errors
/// A failed run when it cannot be read.
pub(crate) fn load(source: &ModelSource, device: &Device) -> Result<Segmenter, Failure> {
    log::info!("model: {}", source.name());
    Segmenter::load(source, device).map_err(|e| Failure::run(describe(&e)))
}

/// The ImageNet weights that `name` stands for: a folder or file, else a repository of the Hub, which is fetched.
///
/// # Errors
/// A failed run when they cannot be read, or are another encoder's.
pub(crate) fn encoder(name: &str, encoder: Encoder, global: &Global) -> Result<EncoderWeights, Failure> {
    let fail = |e: &dyn std::error::Error| Failure::run(describe(e));
    let path = Path::new(name);
    let fetched = if path.exists() {
        path.to_owned()
    } else {
        let id: ModelId = name.parse().map_err(|_| {
            Failure::usage(format!(
                "model.encoder_weights = {name}: no such file or folder, and no id of the Hub, which is ORG/NAME"
            ))
        })?;
        let mut bars = Bars::default();
        hub(global).pull(&id, &mut |progress| bars.show(progress)).map_err(|e| fail(&e))?
    };
    unet3p_convert::encoder::read(&fetched, encoder).map_err(|e| fail(&e))
}

/// The Hub as the environment and `--offline` say.
pub(crate) fn hub(global: &Global) -> Hub {
    let hub = Hub::from_env();
    if global.offline { hub.with_offline(true) } else { hub }
}

/// A bar for the file that arrives.
#[derive(Default)]
pub(crate) struct Bars {
    bar: Option<(String, ProgressBar)>,
}

impl Bars {
    pub(crate) fn show(&mut self, progress: Progress<'_>) {
        let bar = match self.bar.take() {
            Some((file, bar)) if file == progress.file => bar,
            _ => report::download_bar(progress.total, progress.file),
        };
        bar.set_position(progress.done);
        if progress.done == progress.total {
            bar.finish_and_clear();
        }
        self.bar = Some((progress.file.to_string(), bar));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some((_, bar)) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
