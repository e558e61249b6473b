//! ImageNet weights for the encoders: timm's and torchvision's classifiers, without their heads.
//!
//! | torchvision, timm | here |
//! |---|---|
//! | `conv1.weight`, `bn1.*` | `encoder.1.conv.weight`, `encoder.1.bn.*` |
//! | `layer{s}.{k}.conv{i}.weight`, `layer{s}.{k}.bn{i}.*` | `encoder.{s+1}.block{k+1}.conv{i}.weight`, `encoder.{s+1}.block{k+1}.bn{i}.*` |
//! | `layer{s}.{k}.downsample.0.weight`, `layer{s}.{k}.downsample.1.*` | `encoder.{s+1}.block{k+1}.downsample.conv.weight`, `encoder.{s+1}.block{k+1}.downsample.bn.*` |
//! | `features.{n}.*` (VGG: the n-th module) | `encoder.{s}.conv{i}.*`, `encoder.{s}.bn{i}.*` |
//! | `fc.*`, `classifier.*`, `pre_logits.*`, `head.*`, `*.num_batches_tracked` | left out |

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Tensor;
use unet3p_models::{Encoder, UNet3PlusConfig, check_safetensors, tensor_shapes, weight_problem};

use crate::names::{NameMismatch, is_count};
use crate::{Error, SourceKind, pytorch, source_kind};

/// What images are normalised by where a checkpoint does not say it: ImageNet's mean and standard deviation of red,
/// green and blue, for values from 0 to 1.
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// Places of the convolutions in torchvision's VGG-11, by stage; a batch normalisation follows each.
const VGG11_CONVOLUTIONS: [&[usize]; 5] = [&[0], &[4], &[8, 11], &[15, 18], &[22, 25]];

/// An encoder's weights, and how its images were normalised.
#[derive(Debug, Clone)]
pub struct EncoderWeights {
    /// Weights and statistics under our names, `encoder.*`.
    pub tensors: HashMap<String, Tensor>,
    /// Mean of red, green and blue that was subtracted from values from 0 to 1.
    pub mean: [f64; 3],
    /// Standard deviation by which the rest was divided.
    pub std: [f64; 3],
}

/// Reads a classifier's checkpoint: a safetensors file or a PyTorch state dict, or a folder with `model.safetensors`, as
/// a timm repository of the Hub is. Mean and standard deviation come from timm's `config.json` beside it, else they are
/// ImageNet's.
///
/// # Errors
/// [`Error`] naming the file that cannot be read, or listing the tensors that are missing, left over or of another
/// shape.
///
/// ```no_run
/// use unet3p_convert::encoder::read;
/// use unet3p_models::Encoder;
///
/// let weights = read("resnet34.a1_in1k".as_ref(), Encoder::Resnet34)?;
/// println!("{} tensors, mean {:?}", weights.tensors.len(), weights.mean);
/// # Ok::<(), unet3p_convert::Error>(())
/// ```
pub fn read(path: &Path, encoder: Encoder) -> Result<EncoderWeights, Error> {
    let no_classifier = |path: &Path, found| Error::NoClassifier { path: path.to_owned(), found };
    let file = if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() };
    if path.is_dir() && !file.exists() {
        return Err(no_classifier(path, "a folder without model.safetensors"));
    }
    let tensors = match source_kind(&file)? {
        SourceKind::PyTorch => pytorch::read_state_dict(&file)?,
        SourceKind::Keras => return Err(no_classifier(&file, "a Keras file")),
        SourceKind::Safetensors => {
            check_safetensors(&file).map_err(Error::SafetensorsHeader)?;
            candle_core::safetensors::load(&file, &candle_core::Device::Cpu)
                .map_err(|cause| Error::Safetensors { path: file.clone(), cause })?
                .into_iter()
                .collect()
        }
    };
    let tensors = rename(encoder, tensors).map_err(|cause| Error::Names { path: file.clone(), cause })?;
    let broken = not_finite(&tensors).map_err(|cause| Error::model(&file, cause.into()))?;
    if !broken.is_empty() {
        return Err(Error::NotFinite { path: file, tensors: broken });
    }
    let (mean, std) = normalisation(&file).unwrap_or(IMAGENET);
    Ok(EncoderWeights { tensors, mean, std })
}

/// The name in a classifier's checkpoint of the tensor that we call `name`; none for one that is no encoder's.
///
/// ```
/// use unet3p_convert::encoder::name_in_timm;
/// use unet3p_models::Encoder;
///
/// let theirs = name_in_timm(Encoder::Resnet50, "encoder.2.block1.downsample.bn.bias");
/// assert_eq!(theirs.as_deref(), Some("layer1.0.downsample.1.bias"));
/// let theirs = name_in_timm(Encoder::Vgg11Bn, "encoder.3.conv2.weight");
/// assert_eq!(theirs.as_deref(), Some("features.11.weight"));
/// ```
pub fn name_in_timm(encoder: Encoder, name: &str) -> Option<String> {
    let (stage, rest) = name.strip_prefix("encoder.")?.split_once('.')?;
    let stage: usize = stage.parse().ok()?;
    let parts: Vec<&str> = rest.split('.').collect();
    match (encoder, parts.as_slice()) {
        (Encoder::Plain, _) => None,
        (Encoder::Vgg11Bn, [layer, leaf]) => {
            let (is_norm, number) = match layer.strip_prefix("bn") {
                Some(number) => (true, number),
                None => (false, layer.strip_prefix("conv")?),
            };
            let number = if number.is_empty() { 1 } else { number.parse::<usize>().ok()? };
            let place = VGG11_CONVOLUTIONS.get(stage.checked_sub(1)?)?.get(number.checked_sub(1)?)?;
            Some(format!("features.{}.{leaf}", place + usize::from(is_norm)))
        }
        (_, [layer, leaf]) => Some(format!("{layer}1.{leaf}")),
        (_, [block, "downsample", layer, leaf]) => {
            let place = usize::from(*layer == "bn");
            Some(format!("{}.downsample.{place}.{leaf}", block_in_timm(stage, block)?))
        }
        (_, [block, layer, leaf]) => Some(format!("{}.{layer}.{leaf}", block_in_timm(stage, block)?)),
        _ => None,
    }
}

fn block_in_timm(stage: usize, block: &str) -> Option<String> {
    let block: usize = block.strip_prefix("block")?.parse().ok()?;
    Some(format!("layer{}.{}", stage.checked_sub(1)?, block.checked_sub(1)?))
}

/// A classifier's tensors under our names, once they are known to be complete.
///
/// # Errors
/// [`NameMismatch`] with the names that are missing, left over or of another shape.
pub fn rename(
    encoder: Encoder,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<HashMap<String, Tensor>, NameMismatch> {
    let builder = UNet3PlusConfig::builder().encoder(encoder);
    // three channels and the original's filters: a configuration that is always sound
    let config = builder.build().unwrap_or_default();
    let (mut renamed, mut mismatch) = (HashMap::new(), NameMismatch::default());
    for (name, shape) in tensor_shapes(&config) {
        let Some(theirs) = name_in_timm(encoder, &name) else { continue };
        match tensors.remove(&theirs) {
            None => mismatch.missing.push(theirs),
            Some(tensor) if tensor.dims() != shape => {
                mismatch.misshapen.push(format!("{theirs} is {:?}, not {shape:?}", tensor.dims()));
            }
            Some(tensor) => {
                renamed.insert(name, tensor);
            }
        }
    }
    let is_head =
        |name: &str| ["fc.", "classifier.", "pre_logits.", "head."].iter().any(|head| name.starts_with(head));
    let rest = tensors.into_iter().filter(|(name, tensor)| !is_head(name) && !is_count(name, tensor.dims()));
    mismatch.left_over = rest.map(|(name, _)| name).collect();
    if mismatch == NameMismatch::default() { Ok(renamed) } else { Err(mismatch) }
}

/// The names of tensors that nothing can be computed with, each with why.
fn not_finite(tensors: &HashMap<String, Tensor>) -> candle_core::Result<Vec<String>> {
    let mut broken = Vec::new();
    for (name, tensor) in tensors {
        if let Some(problem) = weight_problem(name, tensor)? {
            broken.push(format!("{name} ({problem})"));
        }
    }
    broken.sort();
    Ok(broken)
}

/// Mean and standard deviation of timm's `config.json` beside a checkpoint.
fn normalisation(file: &Path) -> Option<([f64; 3], [f64; 3])> {
    let text = unet3p_files::read_text(&file.with_file_name("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    let config = config.get("pretrained_cfg").unwrap_or(&config);
    let three = |key: &str| -> Option<[f64; 3]> {
        let values = config.get(key)?.as_array()?.iter().map(serde_json::Value::as_f64);
        values.collect::<Option<Vec<_>>>()?.try_into().ok()
    };
    let (mean, std) = (three("mean")?, three("std")?);
    std.iter().all(|&std| std > 0.0).then_some((mean, std))
}
