//! A model folder that is ready for the Hub.

use std::path::Path;

use candle_core::DType;
use unet3p_data::Preprocessor;
use unet3p_files::NewFolder;
use unet3p_models::{MODEL_FILES, ModelCard, UNet3Plus};

use crate::segmenter::check_channels;
use crate::{Error, Result};

/// Writes a model folder as the Hugging Face Hub takes it: `config.json`, `model.safetensors` with weights of `dtype`
/// (f32 or f16), `preprocessor_config.json` and `README.md`, the model card. A model that was there is replaced in one
/// step, with all four files; what else lies in the folder is kept. Without a preprocessor the model takes arrays only.
///
/// `hf upload org/name FOLDER`, the Hub's own command, publishes it; then
/// [`Segmenter::from_pretrained`](crate::Segmenter::from_pretrained) opens it by its id.
///
/// # Errors
/// When the preprocessor makes another number of channels than the network takes, a weight is NaN or infinite, another
/// process is writing the folder, or a file cannot be written. A model that was there is then as it was.
///
/// ```
/// use unet3p::{DType, Device, ModelCard, Preprocessor, Segmenter, UNet3Plus, UNet3PlusConfig, save_pretrained};
///
/// # let place = tempfile::tempdir()?;
/// # let folder = place.path().join("liver");
/// let config = UNet3PlusConfig::builder().base_filters(4).label(1, "liver", [220, 60, 40]).build()?;
/// let model = UNet3Plus::init(&config, 0, DType::F32, &Device::Cpu)?; // or a trained one
/// let card = ModelCard { license: Some("mit".into()), summary: "An example.".into(), ..ModelCard::default() };
/// save_pretrained(&folder, &model, Some(&Preprocessor::default()), &card, DType::F16)?;
/// # let folder = folder.to_str().ok_or("not UTF-8")?;
/// assert_eq!(Segmenter::from_pretrained(folder)?.config(), &config);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn save_pretrained(
    folder: impl AsRef<Path>,
    model: &UNet3Plus,
    preprocessor: Option<&Preprocessor>,
    card: &ModelCard,
    dtype: DType,
) -> Result<()> {
    let folder = folder.as_ref();
    if let Some(preprocessor) = preprocessor {
        check_channels(&folder.display().to_string(), preprocessor, model.config())?;
    }
    let io = |source| Error::io(folder, "write", source);
    let new = NewFolder::of(folder).map_err(io)?;
    model.save_into(new.path(), dtype).map_err(Error::Model)?;
    if let Some(preprocessor) = preprocessor {
        preprocessor.save(new.path())?;
    }
    card.save(new.path(), model.config()).map_err(Error::Model)?;
    new.replace(&MODEL_FILES).map_err(io)
}
