//! A checkpoint file becomes a model folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use unet3p_files::NewFolder;
use unet3p_models::{Activation, MODEL_FILES, UNet3Plus, UNet3PlusConfig, weight_problem};

use crate::assumed::{self, Assumption};
use crate::names::{self, NameMismatch, Naming};
use crate::rounding::{self, Rounding};
use crate::source::{self, Checkpoint, SourceKind, SourceNaming, Told};
use crate::{Error, card, preprocessor};

/// How [`convert`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertOptions {
    /// Number format of the weights, [`DType::F32`], [`DType::F16`] or [`DType::BF16`]; default f32.
    pub dtype: DType,
    /// Whether an existing model folder is replaced; default no. A `README.md` that people have written in is
    /// kept, and so is a `preprocessor_config.json` that fits, unless the source has one of its own; one that does not fit
    /// is renamed.
    pub overwrite: bool,
    /// From logits to probabilities, against what the checkpoint says or where it does not say; default none.
    pub activation: Option<Activation>,
    /// A JSON file with keys of `config.json` that count against what the checkpoint says, and where it does not say;
    /// default none. [`ConvertOptions::activation`] counts against it.
    pub config: Option<PathBuf>,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self { dtype: DType::F32, overwrite: false, activation: None, config: None }
    }
}

/// What [`convert`] found and wrote.
#[derive(Clone, Debug)]
pub struct ConvertReport {
    /// The kind of the file.
    pub source: SourceKind,
    /// How its tensors were named; none for Keras, which numbers layers.
    pub naming: Option<Naming>,
    /// The configuration of the model folder.
    pub config: UNet3PlusConfig,
    /// Number of tensors written.
    pub tensors: usize,
    /// Number of trainable parameters: weights, biases, and the batch normalisations' scales and
    /// shifts, without running statistics.
    pub parameters: usize,
    /// What storing the weights in 16 bits lost; none for f32.
    pub rounding: Option<Rounding>,
    /// What nobody has said and predictions depend on.
    pub assumed: Vec<Assumption>,
    /// How many tensors of these names were left out, for they are no weights: the last parts, as `n_averaged`.
    pub left_out: BTreeMap<String, usize>,
}

/// Converts a checkpoint of PyTorch or Keras into a model folder.
///
/// `source` is a PyTorch checkpoint or a safetensors file with the authors' or our tensor names, or weights or a
/// model of the Keras implementation ([`pytorch`](crate::pytorch), [`keras`](crate::keras)); its contents tell
/// which, and the shapes tell variant, channels and classes. `folder` gets `config.json`, `model.safetensors`,
/// `preprocessor_config.json` and a `README.md` to complete.
///
/// A safetensors file that this library wrote keeps the configuration in its metadata, and a `preprocessor_config.json`
/// beside it goes along. Otherwise the configuration is that of the original code: sigmoid and batch normalisation with eps 1e-5 for the authors', what the file says
/// of its activation and else eps 1e-3 for Keras's; the classification guide multiplies the logits. Images are
/// taken as values over 255, in their own size, in gray for one input channel and in colour for three. The
/// preprocessor is left out, with a logged warning, for other numbers of channels, which no image file has.
///
/// [`Converted`] is the same in two steps, with the network in between.
///
/// # Errors
///
/// [`Error`] naming the file: it cannot be read, is of another kind, has tensors missing, left over
/// or of another shape (all of them are listed) or with NaN or infinite numbers, does not tell the activation, has weights that the number format
/// cannot hold, or the folder exists or cannot be written.
///
/// ```no_run
/// use unet3p_convert::{ConvertOptions, convert};
///
/// let report = convert("unet3plus.pth".as_ref(), "model".as_ref(), &ConvertOptions::default())?;
/// println!("{:?}, {} parameters", report.config.variant, report.parameters);
/// # Ok::<(), unet3p_convert::Error>(())
/// ```
pub fn convert(source: &Path, folder: &Path, options: &ConvertOptions) -> Result<ConvertReport, Error> {
    check_destination(folder, options.overwrite)?;
    Converted::read_as(source, options)?.save(folder, options)
}

/// Refuses a folder in which [`convert`] would replace something, unless that is allowed.
///
/// # Errors
///
/// [`Error::DestinationExists`] with the first such file.
pub fn check_destination(folder: &Path, overwrite: bool) -> Result<(), Error> {
    match MODEL_FILES.iter().map(|file| folder.join(file)).find(|path| path.exists()) {
        Some(path) if !overwrite => Err(Error::DestinationExists { path }),
        _ => Ok(()),
    }
}

/// A checkpoint that has become a network and is not saved yet.
///
/// ```no_run
/// use candle_core::Device;
/// use candle_core::safetensors::load;
/// use unet3p_convert::{ConvertOptions, Converted, compare};
///
/// let converted = Converted::read("unet3plus.keras".as_ref(), None)?;
/// let pair = load("input_and_output.safetensors", &Device::Cpu)?;
/// assert!(compare(converted.model(), &pair["input"], &pair["output"])?.passes());
/// converted.save("model".as_ref(), &ConvertOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Converted {
    model: UNet3Plus,
    source: SourceKind,
    naming: Option<Naming>,
    /// The `preprocessor_config.json` that belongs to the source.
    preprocessor: Option<Vec<u8>>,
    assumed: Vec<Assumption>,
    left_out: BTreeMap<String, usize>,
}

impl Converted {
    /// Reads a checkpoint. `activation` counts against what the file says, or where it does not say.
    ///
    /// # Errors
    ///
    /// As [`convert`].
    pub fn read(source: &Path, activation: Option<Activation>) -> Result<Self, Error> {
        Self::read_as(source, &ConvertOptions { activation, ..ConvertOptions::default() })
    }

    /// Reads a checkpoint with what `options` say of its configuration.
    ///
    /// # Errors
    ///
    /// As [`convert`].
    pub fn read_as(source: &Path, options: &ConvertOptions) -> Result<Self, Error> {
        let checkpoint = source::read(source)?;
        let kind = checkpoint.kind;
        let naming = match checkpoint.naming {
            SourceNaming::Names(naming, _) => Some(naming),
            SourceNaming::Numbered(_) => None,
        };
        let Renamed { told, config, tensors, broken, left_out } =
            rename(checkpoint).map_err(|cause| Error::Names { path: source.to_owned(), cause })?;
        let broken = broken.map_err(|cause| Error::model(source, cause.into()))?;
        if !broken.is_empty() {
            return Err(Error::NotFinite { path: source.to_owned(), tensors: broken });
        }
        // Read now: it may lie in the folder that will be written.
        let preprocessor = match told {
            Told::Everything(ref own) => {
                if options.config.is_none() {
                    UNet3Plus::warn_of_names_beside(source, own);
                }
                preprocessor::beside(source, config.in_channels)?
            }
            Told::Nothing | Told::Keras(_) => None,
        };
        let (config, assumed) = assumed::complete(config, &told, source, options)?;
        let model = UNet3Plus::from_tensors(&config, tensors, DType::F32, &Device::Cpu)
            .map_err(|cause| Error::model(source, cause))?;
        Ok(Self { model, source: kind, naming, preprocessor, assumed, left_out })
    }

    /// The network, with weights in f32.
    pub fn model(&self) -> &UNet3Plus {
        &self.model
    }

    /// Writes the model folder.
    ///
    /// # Errors
    ///
    /// As [`convert`].
    pub fn save(self, folder: &Path, options: &ConvertOptions) -> Result<ConvertReport, Error> {
        let Self { model, source, naming, preprocessor, mut assumed, left_out } = self;
        let config = model.config().clone();
        let rounding = match options.dtype {
            DType::F32 => None,
            dtype => Some(measured(&model, folder, dtype)?),
        };
        let new = NewFolder::of(folder).map_err(|cause| Error::io(folder, cause))?;
        // Now that nobody else makes one.
        check_destination(folder, options.overwrite)?;
        model.save_into(new.path(), options.dtype).map_err(|cause| Error::model(folder, cause))?;
        let is_default = preprocessor::save(folder, new.path(), config.in_channels, preprocessor)?;
        if is_default {
            assumed.push(assumed::preprocessing());
        }
        let (tensors, parameters) = (model.parameters().all().len(), config.parameter_count());
        let report =
            ConvertReport { source, naming, config, tensors, parameters, rounding, assumed, left_out };
        let kept = card::written_in(&folder.join(card::FILE_NAME))?;
        if kept.is_some() {
            log::warn!(
                "{}: kept, because people have written in it; see that it fits the new weights",
                folder.join(card::FILE_NAME).display()
            );
        }
        let card = kept.unwrap_or_else(|| card::text(&report, is_default).into_bytes());
        preprocessor::write(&new.path().join(card::FILE_NAME), &card)?;
        new.replace(&MODEL_FILES).map_err(|cause| Error::io(folder, cause))?;
        Ok(report)
    }
}

/// A checkpoint under our names.
struct Renamed {
    told: Told,
    config: UNet3PlusConfig,
    tensors: HashMap<String, Tensor>,
    /// The file's names of tensors that are not finite, each with what is wrong.
    broken: candle_core::Result<Vec<String>>,
    left_out: BTreeMap<String, usize>,
}

/// Gives the tensors our names, once the names and shapes are known to be complete.
fn rename(checkpoint: Checkpoint) -> Result<Renamed, NameMismatch> {
    let Checkpoint { naming, mut tensors, told, .. } = checkpoint;
    let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
    let source_of = |name: &str| naming.of(name);
    let config = match &told {
        // A file that describes its network leaves nothing to be told by shapes.
        Told::Everything(config) => {
            let mismatch = names::differences(&source_of, config, &shapes, true);
            if mismatch != NameMismatch::default() {
                return Err(mismatch);
            }
            config.clone()
        }
        Told::Nothing | Told::Keras(_) => names::infer(&source_of, &shapes)?,
    };
    let specs = names::specs(&source_of, &config);
    let problem = |spec: &names::TensorSpec| {
        let problem = weight_problem(&spec.name, tensors.get(&spec.source)?).transpose()?;
        Some(problem.map(|problem| format!("{} ({problem})", spec.source)))
    };
    let broken = specs.iter().filter_map(problem).collect();
    let renamed = specs.into_iter().filter_map(|spec| Some((spec.name, tensors.remove(&spec.source)?)));
    let renamed = renamed.collect();
    let mut left_out = BTreeMap::new();
    for name in tensors.keys() {
        *left_out.entry(names::last_part(name).to_owned()).or_default() += 1;
    }
    Ok(Renamed { told, config, tensors: renamed, broken, left_out })
}

fn measured(model: &UNet3Plus, folder: &Path, dtype: DType) -> Result<Rounding, Error> {
    rounding::measure(model, dtype).map_err(|cause| Error::model(folder, cause.into()))?.map_err(|overflow| {
        let rounding::Overflow { tensor, value } = overflow;
        Error::Overflow { path: folder.to_owned(), tensor, value, dtype: dtype.as_str() }
    })
}
