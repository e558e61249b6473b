//! Weights of the Keras implementation, read without Python.
//!
//! | file | weights | what it tells besides |
//! |---|---|---|
//! | `model.save_weights("x.hdf5")`, Keras 2 | a group for each layer: `conv2d_3/conv2d_3/kernel:0` | the names of all layers, so the activation |
//! | `model.save("x.h5")` | the same below `model_weights` | all: attribute `model_config` |
//! | `model.save_weights("x.weights.h5")`, Keras 3.6 or newer | `layers/conv2d_3/vars/0`, numbered in the order of the graph; the layer's name is an attribute | nothing |
//! | `model.save("x.keras")` | a zip archive with the same as `model.weights.h5` | all: `config.json` |
//!
//! The implementation names no layer, so Keras numbers each class of them in the order in which they were made:
//! encoder, classification guide, decoder nodes 4 to 1 with branches 1 to 5 and the fusing convolution, heads. The
//! numbers tell which layer is which, wherever they begin.
//!
//! Damaged files are errors. Sizes are checked against the length of the file before memory is taken for them.

mod error;
mod layers;
mod order;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use candle_core::{Device, Tensor};
use hdf5_reader::messages::datatype::Datatype;
use hdf5_reader::{Dataset, Hdf5File, OpenOptions};
use unet3p_files::{Content, open};

pub use error::KerasError;
pub use settings::KerasSettings;

use crate::archive::{Archive, unpacked_limit};
use crate::{Error, source};
use layers::Layer;
use settings::Description;

/// First bytes of an HDF5 file.
pub(crate) const HDF5_MAGIC: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// The weights in a `.keras` archive.
pub(crate) const ARCHIVED_WEIGHTS: &str = "model.weights.h5";
/// The description of the model in a `.keras` archive.
const ARCHIVED_CONFIG: &str = "config.json";
/// The largest description accepted; a UNet 3+ has one of 100 KB.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// The weights in a Keras file.
#[derive(Clone, Debug)]
pub struct KerasWeights {
    /// Every tensor of the file under the file's name for it, kernels of four dimensions as
    /// `[output, input, height, width]`.
    pub tensors: BTreeMap<String, Tensor>,
    /// The file's names by ours. A tensor that is not there has a name that says what was looked for.
    pub names: HashMap<String, String>,
    /// What the file tells of the configuration besides.
    pub settings: KerasSettings,
}

/// Reads the weights of a Keras file, of any of the kinds in the module's table.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be opened, [`Error::Keras`] where it is damaged, has HDF5 features that are not
/// read, holds no layers, or does not tell which layer is which.
///
/// ```no_run
/// let weights = unet3p_convert::keras::read_weights("unet3plus.hdf5".as_ref())?;
/// let kernel = &weights.tensors[&weights.names["encoder.1.conv1.weight"]];
/// println!("{:?}, {:?}", kernel.dims(), weights.settings.activation);
/// # Ok::<(), unet3p_convert::Error>(())
/// ```
pub fn read_weights(path: &Path) -> Result<KerasWeights, Error> {
    let io = |cause| Error::io(path, cause);
    let keras = |cause| Error::Keras { path: path.to_owned(), cause };
    let (mut file, _) = open(path, Content::Weights).map_err(io)?;
    let mut magic = Vec::new();
    file.by_ref().take(HDF5_MAGIC.len() as u64).read_to_end(&mut magic).map_err(io)?;
    if magic == HDF5_MAGIC {
        return from_hdf5(source::read_weights(path)?, None).map_err(keras);
    }
    from_archive(file).map_err(keras)
}

fn from_archive(file: File) -> Result<KerasWeights, KerasError> {
    let mut archive = Archive::open(BufReader::new(file))?;
    let config = archive.read(ARCHIVED_CONFIG, MAX_CONFIG_BYTES)?;
    let weights = archive.read(ARCHIVED_WEIGHTS, u64::MAX)?;
    from_hdf5(weights, Some(&config))
}

fn from_hdf5(bytes: Vec<u8>, config: Option<&[u8]>) -> Result<KerasWeights, KerasError> {
    let length = bytes.len() as u64;
    // Also what compressed chunks may unpack to.
    let limit = unpacked_limit(length);
    let bound = usize::try_from(limit).unwrap_or(usize::MAX);
    // Each chunk is read once: none is kept.
    let options = OpenOptions::default()
        .with_max_read_bytes(bound)
        .with_max_chunk_bytes(bound)
        .with_chunk_cache_bytes(0);
    let file = Hdf5File::from_vec_with_options(bytes, options)?;
    let end = file.superblock().eof_address;
    if end > length {
        return Err(KerasError::Hdf5(format!("truncated: it has {length} bytes of {end}")));
    }

    let description = match (config, file.root_group()?.attribute("model_config")) {
        (Some(config), _) => Some(Description::from_json(config)?),
        (None, Ok(attribute)) => Some(Description::from_json(attribute.read_string()?.as_bytes())?),
        (None, Err(hdf5_reader::error::Error::AttributeNotFound(_))) => None,
        (None, Err(cause)) => return Err(cause.into()),
    };
    let (layers, bare) = layers::layers(&file, description.as_ref())?;
    if layers.is_empty() {
        return Err(KerasError::NoLayers);
    }
    let settings = match &description {
        Some(description) => description.settings()?,
        None => {
            let names = layers.iter().map(|layer| &layer.name).chain(&bare);
            settings::settings_by_names(names.map(String::as_str))
        }
    };
    Ok(KerasWeights { tensors: read_tensors(&layers, limit)?, names: order::source_names(&layers), settings })
}

/// Reads every weight, at most `limit` bytes together.
fn read_tensors(layers: &[Layer], limit: u64) -> Result<BTreeMap<String, Tensor>, KerasError> {
    let mut claimed = 0u64;
    let mut tensors = BTreeMap::new();
    for layer in layers {
        for weight in &layer.weights {
            let name = layer.source_name(weight);
            let elements = weight.data.num_elements()?;
            claimed = claimed.saturating_add(elements.saturating_mul(weight.data.raw_element_size()? as u64));
            if claimed > limit {
                return Err(KerasError::TooLarge { what: "bytes of all weights", claimed, limit });
            }
            tensors.insert(name.clone(), read_tensor(&name, &weight.data)?);
        }
    }
    Ok(tensors)
}

/// Reads a dataset, and a kernel [height, width, input, output] in our layout.
fn read_tensor(name: &str, data: &Dataset) -> Result<Tensor, KerasError> {
    let shape: Vec<usize> = data.shape().iter().map(|&side| side as usize).collect();
    let hdf5 = |cause: hdf5_reader::error::Error| KerasError::Hdf5(format!("{name}: {cause}"));
    let flat = match data.dtype() {
        Datatype::FloatingPoint { size: 4, .. } => {
            Tensor::from_iter(data.read_array::<f32>().map_err(hdf5)?, &Device::Cpu)
        }
        Datatype::FloatingPoint { size: 8, .. } => {
            Tensor::from_iter(data.read_array::<f64>().map_err(hdf5)?, &Device::Cpu)
        }
        other => {
            let found = match other {
                Datatype::FloatingPoint { size, .. } => format!("f{}", 8 * u32::from(*size)),
                other => format!("{other:?}"),
            };
            return Err(KerasError::NumberFormat { name: name.to_owned(), found });
        }
    };
    let tensor = flat.and_then(|flat| flat.reshape(shape)).and_then(|tensor| match tensor.rank() {
        4 => tensor.permute((3, 2, 0, 1))?.contiguous(),
        _ => Ok(tensor),
    });
    tensor.map_err(|cause| KerasError::Hdf5(format!("{name}: {cause}")))
}
