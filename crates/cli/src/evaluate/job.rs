//! What is scored against what: three forms of the command.

use std::path::{Path, PathBuf};

use unet3p::plan::layout;
use unet3p_data::MaskOptions;
use unet3p_train::TrainConfig;

use super::args::EvaluateArgs;
use super::run_folder::RunFolder;
use crate::failure::{Failure, describe};

/// The scores of a run's own data, in the run's folder.
const OWN_SCORES: &str = "evaluation.json";

/// What `--set` takes.
const MASK_KEYS: [&str; 2] = ["data.mask_values", "data.mask_colors"];

/// The form of the command.
#[derive(Debug)]
pub(super) enum Form {
    /// Masks against masks.
    Masks { predictions: PathBuf, references: PathBuf },
    /// A model's masks of images against masks.
    Images { references: PathBuf, run: Option<RunFolder> },
    /// The model of a training run on the run's own data.
    Run(RunFolder),
}

/// The form and the file for the scores.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) form: Form,
    pub(super) output: PathBuf,
}

impl Job {
    /// What the arguments mean together.
    ///
    /// # Errors
    /// Wrong usage: an option is missing, which is named.
    pub(super) fn new(args: &EvaluateArgs) -> Result<Self, Failure> {
        let needed = |option: &str, path: &Option<PathBuf>, of: &str| {
            path.clone().ok_or_else(|| Failure::usage(format!("{option} is needed with {of}")))
        };
        let model = args.settings.model.as_deref();
        let form = match (&args.predictions, args.inputs.is_empty(), model) {
            (Some(predictions), ..) => {
                let references = needed("--references", &args.references, "--predictions")?;
                Form::Masks { predictions: predictions.clone(), references }
            }
            (None, false, _) => {
                let references = needed("--references", &args.references, "--input")?;
                let run = model.map(RunFolder::at).transpose()?.flatten();
                Form::Images { references, run }
            }
            (None, true, Some(model)) if args.references.is_none() => {
                Form::Run(RunFolder::at(model)?.ok_or_else(|| {
                    Failure::usage(format!(
                        "-m {model} is no folder of a training run (with config.toml and best/), which would say what it \
                         is scored on; name images by --input and their masks by --references"
                    ))
                })?)
            }
            (None, true, _) => {
                return Err(Failure::usage(
                    "nothing says what is scored: use --predictions DIR --references DIR for masks, --input DIR \
                     --references DIR for a model, or -m RUN alone for a training run's own validation",
                ));
            }
        };
        let output = match (&args.output, &form) {
            (Some(output), _) => output.clone(),
            (None, Form::Run(run)) => run.folder.join(OWN_SCORES),
            (None, Form::Masks { .. }) => needed("--output", &args.output, "--predictions")?,
            (None, Form::Images { .. }) => needed("--output", &args.output, "--input")?,
        };
        Ok(Self { form, output })
    }

    /// The value of references that does not count: the option's, else that of the run or of nnU-Net's index, which is
    /// said.
    pub(super) fn ignored(&self, asked: Option<u16>) -> Option<u16> {
        let (references, run) = match &self.form {
            Form::Masks { references, .. } => (references.as_path(), None),
            Form::Images { references, run } => (references.as_path(), run.as_ref()),
            Form::Run(_) => return asked,
        };
        asked.or_else(|| {
            let of_run = run.and_then(|run| Some((run.config.data.ignore_label?, run.config_path())));
            let (id, path) = of_run.or_else(|| layout::ignored(references))?;
            log::warn!("pixels of {id} in references are left out, as {} says", path.display());
            Some(id)
        })
    }

    /// How masks are read: as `settings` say, else as a run's configuration does; what is ignored is `ignore`.
    ///
    /// # Errors
    /// Wrong usage: a setting that is not about the values of masks, or cannot be read.
    pub(super) fn mask_options(
        &self,
        settings: &[String],
        ignore: Option<u16>,
    ) -> Result<MaskOptions, Failure> {
        let is_known = |setting: &&String| MASK_KEYS.iter().any(|key| setting.starts_with(key));
        if let Some(other) = settings.iter().find(|setting| !is_known(setting)) {
            let keys = MASK_KEYS.join(" or ");
            return Err(Failure::usage(format!("--set {other}: only {keys} can be set here")));
        }
        let told = TrainConfig::from_toml("data.paths = [\"masks\"]", settings)
            .map_err(|error| Failure::usage(format!("--set: {}", describe(&error).trim_end())))?;
        let run = match &self.form {
            Form::Images { run, .. } => run.as_ref(),
            // The run's own data are read by their dataset.
            Form::Masks { .. } | Form::Run(_) => None,
        };
        let data = if settings.is_empty() { run.map(|run| &run.config.data) } else { Some(&told.data) };
        Ok(MaskOptions {
            classes: None,
            values: data.and_then(|data| data.mask_values.clone()),
            colors: data.and_then(|data| data.mask_colors.clone()),
            ignore,
        })
    }

    /// The model to run, where one is.
    pub(super) fn model<'a>(&'a self, args: &'a EvaluateArgs) -> Option<&'a Path> {
        match &self.form {
            Form::Masks { .. } => None,
            Form::Images { run: Some(run), .. } | Form::Run(run) => Some(&run.model),
            Form::Images { run: None, .. } => Some(Path::new(args.settings.model())),
        }
    }
}
