//! A checkpoint file becomes a model folder.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use unet3p_data::{Layout, Preprocessor, write_atomically};
use unet3p_models::{UNet3Plus, UNet3PlusConfig};

use crate::names::{NameMismatch, Naming, infer_architecture, tensor_specs};
use crate::{Error, card, pytorch};

/// Files that a model folder consists of.
const FOLDER_FILES: [&str; 4] =
    ["config.json", "model.safetensors", Preprocessor::FILE_NAME, card::FILE_NAME];

/// How [`convert`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertOptions {
    /// Number format of the weights, [`DType::F32`] or [`DType::F16`]; default f32.
    pub dtype: DType,
    /// Whether an existing model folder is written over; default no. A `README.md` that people have written in is
    /// kept.
    pub overwrite: bool,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self { dtype: DType::F32, overwrite: false }
    }
}

/// The kind of a checkpoint file, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A PyTorch state dict.
    PyTorch,
    /// A safetensors file.
    Safetensors,
}

/// What [`convert`] found and wrote.
#[derive(Clone, Debug)]
pub struct ConvertReport {
    /// The kind of the file.
    pub source: SourceKind,
    /// How its tensors were named.
    pub naming: Naming,
    /// The configuration of the model folder.
    pub config: UNet3PlusConfig,
    /// Number of tensors written.
    pub tensors: usize,
    /// Number of trainable parameters: weights, biases, and the batch normalisations' scales and
    /// shifts, without running statistics.
    pub parameters: usize,
}

/// Converts a checkpoint of the authors' PyTorch code into a model folder.
///
/// `source` is a PyTorch state dict or a safetensors file with the authors' or our tensor names; the
/// shapes tell variant, channels and classes. `folder` gets `config.json`, `model.safetensors`,
/// `preprocessor_config.json` and a `README.md` to complete.
///
/// A safetensors file that this library wrote keeps the configuration in its metadata. Otherwise it
/// is that of the authors' code: sigmoid, batch normalisation with eps 1e-5, and
/// the classification guide multiplying the logits. Images are taken as values over 255, in their
/// own size, in gray for one input channel and in colour for three. The preprocessor is left out,
/// with a logged warning, for other numbers of channels, which no image file has.
///
/// # Errors
///
/// [`Error`] naming the file: it cannot be read, is of another kind, has tensors missing, left over
/// or of another shape (all of them are listed), or the folder exists or cannot be written.
///
/// ```no_run
/// use unet3p_hub::{ConvertOptions, convert};
///
/// let report = convert("unet3plus.pth".as_ref(), "model".as_ref(), &ConvertOptions::default())?;
/// println!("{:?}, {} parameters", report.config.variant, report.parameters);
/// # Ok::<(), unet3p_hub::Error>(())
/// ```
pub fn convert(source: &Path, folder: &Path, options: &ConvertOptions) -> Result<ConvertReport, Error> {
    if !options.overwrite
        && let Some(path) = FOLDER_FILES.iter().map(|f| folder.join(f)).find(|p| p.exists())
    {
        return Err(Error::DestinationExists { path });
    }

    let kind = source_kind(source)?;
    let (tensors, embedded) = match kind {
        SourceKind::PyTorch => (pytorch::read_state_dict(source)?, None),
        SourceKind::Safetensors => read_safetensors(source)?,
    };
    let naming = Naming::detect(&tensors);
    let (inferred, tensors) =
        rename(naming, tensors).map_err(|cause| Error::Names { path: source.to_owned(), cause })?;
    let config = embedded.unwrap_or(inferred);
    let count = tensors.len();

    let model = UNet3Plus::from_tensors(&config, tensors, DType::F32, &Device::Cpu)
        .map_err(|cause| Error::model(source, cause))?;
    std::fs::create_dir_all(folder).map_err(|cause| Error::io(folder, cause))?;
    model.save(folder, options.dtype).map_err(|cause| Error::model(folder, cause))?;
    save_preprocessor(folder, config.in_channels)?;
    let report =
        ConvertReport { source: kind, naming, parameters: config.parameter_count(), tensors: count, config };
    let path = folder.join(card::FILE_NAME);
    if card::may_replace(&path) {
        let card = card::text(&report);
        write_atomically(&path, |file| std::io::Write::write_all(file, card.as_bytes()))?;
    } else {
        log::warn!(
            "{}: kept, because people have written in it; see that it fits the new weights",
            path.display()
        );
    }
    Ok(report)
}

/// Tells the kind of a checkpoint by its first bytes; names play no part.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read, [`Error::UnknownSource`] where it is of neither kind.
pub fn source_kind(path: &Path) -> Result<SourceKind, Error> {
    let io = |cause| Error::io(path, cause);
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut head = [0; pytorch::LEGACY_MAGIC.len()];
    let found = match file.read_exact(&mut head) {
        Ok(()) if head.starts_with(b"PK\x03\x04") => return Ok(SourceKind::PyTorch),
        // Its reader explains what to do about it.
        Ok(()) if head == pytorch::LEGACY_MAGIC => return Ok(SourceKind::PyTorch),
        Ok(()) if head[8] == b'{' && header_length(&head) < size => {
            return Ok(SourceKind::Safetensors);
        }
        Ok(()) if head.starts_with(b"\x89HDF\r\n\x1a\n") => "an HDF5 file (Keras)",
        Ok(()) => "neither a zip archive nor a safetensors file",
        Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => "a file of a few bytes",
        Err(cause) => return Err(io(cause)),
    };
    Err(Error::UnknownSource { path: path.to_owned(), found })
}

/// A safetensors file begins with the length of its JSON header.
fn header_length(head: &[u8; 14]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *head;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The tensors of a safetensors file, and its configuration where this library wrote it.
fn read_safetensors(path: &Path) -> Result<(BTreeMap<String, Tensor>, Option<UNet3PlusConfig>), Error> {
    let damaged = |cause| Error::Safetensors { path: path.to_owned(), cause };
    let bytes = std::fs::read(path).map_err(|cause| Error::io(path, cause))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|cause| damaged(cause.into()))?;
    let embedded = header.metadata().as_ref().and_then(|entries| entries.get("config"));
    let config = embedded
        .map(|json| UNet3PlusConfig::from_json(json))
        .transpose()
        .map_err(|cause| Error::model(path, cause))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(damaged)?;
    Ok((tensors.into_iter().collect(), config))
}

/// Gives the tensors our names, once the names and shapes are known to be complete.
fn rename(
    naming: Naming,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<(UNet3PlusConfig, HashMap<String, Tensor>), NameMismatch> {
    let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
    let config = infer_architecture(naming, &shapes)?;
    let specs = tensor_specs(naming, &config).into_iter();
    let renamed = specs.filter_map(|spec| Some((spec.name, tensors.remove(&spec.source)?)));
    Ok((config, renamed.collect()))
}

fn save_preprocessor(folder: &Path, in_channels: usize) -> Result<(), Error> {
    let layout = match in_channels {
        1 => Layout::Gray,
        3 => Layout::Rgb,
        _ => {
            log::warn!(
                "{}: no {}, because images have 1 or 3 channels and this network takes {in_channels}",
                folder.display(),
                Preprocessor::FILE_NAME
            );
            // One of the model that was here before would not fit.
            let path = folder.join(Preprocessor::FILE_NAME);
            return match std::fs::remove_file(&path) {
                Err(cause) if cause.kind() != ErrorKind::NotFound => Err(Error::io(&path, cause)),
                _ => Ok(()),
            };
        }
    };
    let preprocessor = Preprocessor { layout, ..Preprocessor::default() };
    Ok(preprocessor.save(folder)?)
}
