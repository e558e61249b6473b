//! How a model is run, the same for every command that runs one.

use candle_core::Device;
use clap::Args;
use unet3p::{DEFAULT_MODEL, ModelSource, Segmenter};
use unet3p_models::{SIZE_MULTIPLE, check_tile};

use crate::args::Global;
use crate::failure::{Failure, describe};
use crate::model;

/// The model and its options.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// A bundled model's name, a model folder, a .safetensors file, or ORG/NAME or ORG/NAME@REV on the Hugging Face Hub
    /// [default: liver-ct]
    #[arg(short, long)]
    pub(crate) model: Option<String>,
    /// Average the image and its flips: slower, usually a little better
    #[arg(long)]
    pub(crate) tta: bool,
    /// A class needs more than this probability (models with a sigmoid; others take the most probable class)
    #[arg(long, default_value_t = 0.5, value_parser = parse_threshold, value_name = "P")]
    pub(crate) threshold: f32,
    /// Predict images in overlapping tiles of N x N pixels, N a multiple of 16: less memory [default: 1024 for images of
    /// more than 1536 x 1536 pixels, others whole]
    #[arg(long, value_parser = parse_tile, value_name = "N")]
    pub(crate) tile: Option<usize>,
}

impl Settings {
    /// The name of the model.
    pub(crate) fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(DEFAULT_MODEL)
    }

    /// Reads the model `name` on `device`, to run it with these options, and tells where it is from.
    ///
    /// # Errors
    /// A failed run when the model cannot be read.
    pub(crate) fn open(
        &self,
        name: &str,
        global: &Global,
        device: &Device,
    ) -> Result<(Segmenter, ModelSource), Failure> {
        let source = model::resolve(name, global)?;
        Ok((self.open_source(&source, device)?, source))
    }

    /// Reads the model of `source` on `device`, to run it with these options.
    ///
    /// # Errors
    /// A failed run when the model cannot be read.
    pub(crate) fn open_source(&self, source: &ModelSource, device: &Device) -> Result<Segmenter, Failure> {
        let segmenter = model::load(source, device)?;
        segmenter
            .with_threshold(self.threshold)
            .with_tta(self.tta)
            .with_tile(self.tile)
            .map_err(|e| Failure::usage(describe(&e)))
    }
}

fn parse_threshold(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("use a probability from 0 to 1".to_string()),
    }
}

fn parse_tile(text: &str) -> Result<usize, String> {
    let side = text.parse().map_err(|_| format!("use a multiple of {SIZE_MULTIPLE}"))?;
    check_tile(side, SIZE_MULTIPLE).map_err(|e| e.to_string())?;
    Ok(side)
}
