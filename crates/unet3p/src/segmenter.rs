//! A network with what it needs to know about images.

mod files;
mod images;
mod volumes;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use unet3p_data::{ClassRule, Image, LabelMap, Preprocessor, default_color};
use unet3p_models::{
    Activation, BeforeGateValues, CompileOptions, Predictor, UNet3Plus, UNet3PlusConfig, check_tile,
};

use crate::memory;
use crate::segmentation::class_areas;
use crate::{Error, ModelSource, Result, Segmentation};

/// What the classification-guided module says of an image.
#[derive(Debug, Clone, Copy)]
struct Guess {
    presence: f32,
    present: bool,
}

/// A network and its preprocessing: files in, masks out.
pub struct Segmenter {
    /// Compiled layers on the CPU, Candle's operations on a GPU.
    network: Box<dyn Predictor + Send + Sync>,
    preprocessor: Option<Preprocessor>,
    name: String,
    device: Device,
    threshold: f32,
    tta: bool,
    tile: Option<usize>,
}

impl Segmenter {
    /// Opens a model on the CPU: a bundled one (`"liver-ct"`), a model folder, a single safetensors file that was
    /// saved with its configuration, or, with the feature `hub`, a model of the Hugging Face Hub (`"org/name"` or
    /// `"org/name@revision"`). What is none of the first is looked for further on in this order; see
    /// [`ModelSource::resolve`].
    ///
    /// # Errors
    /// When there is no such model, the Hub does not give it, or its files are missing or do not fit together.
    pub fn from_pretrained(name: &str) -> Result<Self> {
        Self::load(&ModelSource::resolve(name)?, &Device::Cpu)
    }

    /// Opens a model on a device.
    ///
    /// # Errors
    /// When its files are missing or do not fit together.
    pub fn load(source: &ModelSource, device: &Device) -> Result<Self> {
        let model = source.load_model(device)?;
        Self::new(source.name(), model, source.load_preprocessor()?, device)
    }

    /// A segmenter from its parts. Without a preprocessor it takes arrays only, as the network's input.
    ///
    /// # Errors
    /// When the preprocessor makes another number of channels than the network takes.
    pub fn new(
        name: impl Into<String>,
        model: UNet3Plus,
        preprocessor: Option<Preprocessor>,
        device: &Device,
    ) -> Result<Self> {
        let name = name.into();
        if let Some(preprocessor) = &preprocessor {
            check_channels(&name, preprocessor, model.config())?;
        }
        let network: Box<dyn Predictor + Send + Sync> = if device.is_cpu() {
            let size = preprocessor.as_ref().and_then(|preprocessor| preprocessor.size);
            let default = CompileOptions::default();
            let size = size.map_or(default.size, |size| [size.height, size.width]);
            Box::new(model.compile(CompileOptions { size, ..default })?)
        } else {
            Box::new(model)
        };
        Ok(Self {
            network,
            preprocessor,
            name,
            device: device.clone(),
            threshold: 0.5,
            tta: false,
            tile: None,
        })
    }

    /// A pixel belongs to a class where its probability exceeds `threshold` (0.5 unless told). Models that end in a
    /// softmax take the most probable class and have no threshold.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f32) -> Self {
        self.threshold = threshold;
        self
    }

    /// Whether probabilities are the mean over the image and its flips: left-right, upside down, and both. Takes
    /// four times as long.
    #[must_use]
    pub fn with_tta(mut self, tta: bool) -> Self {
        self.tta = tta;
        self
    }

    /// The side of the tiles in which images are predicted, in pixels of the network's input: a multiple of
    /// [`UNet3PlusConfig::size_multiple`]. Tiles overlap by a quarter and are blended
    /// ([`Tiling`](unet3p_models::Tiling)); the network's memory is that of one tile. An image that is no larger than
    /// a tile is predicted whole. `None`, which it is unless told, predicts in tiles of 1024 what has more than
    /// 1536 x 1536 pixels, and all else whole.
    ///
    /// # Errors
    /// When the side is no such multiple.
    pub fn with_tile(mut self, tile: Option<usize>) -> Result<Self> {
        let multiple = self.config().size_multiple();
        tile.map_or(Ok(()), |tile| check_tile(tile, multiple)).map_err(Error::Model)?;
        self.tile = tile;
        Ok(self)
    }

    /// The network's configuration.
    pub fn config(&self) -> &UNet3PlusConfig {
        self.network.config()
    }

    /// How images become the network's input, where the model says so.
    pub fn preprocessor(&self) -> Option<&Preprocessor> {
        self.preprocessor.as_ref()
    }

    /// The names of the classes by their ids in a mask, without the background.
    pub fn labels(&self) -> BTreeMap<u8, String> {
        self.classes().into_iter().collect()
    }

    /// The network's probabilities for one image at its size, and what its classification guide says.
    fn probabilities(&self, image: &Image) -> Result<(Image, Option<Guess>)> {
        let (height, width) = (image.height, image.width);
        let classes = self.config().num_classes;
        check_finite(&image.data)?;
        let tiling = memory::tiling(self.config(), height, width, self.tile)?;
        let ungated = tiling.blend(&image.data, classes, |tile, (height, width)| {
            self.ungated(tile, (1, image.channels, height, width))
        })?;
        let output = ungated.finish(self.config(), height, width)?;
        let guess = match (output.presence, output.present) {
            (Some(estimate), Some(decision)) => Some(Guess {
                // [absent, present]
                presence: estimate.flatten_all()?.get(1)?.to_scalar()?,
                present: decision.get(0)?.to_scalar::<f32>()? > 0.0,
            }),
            _ => None,
        };
        let values = output.probabilities.flatten_all()?.to_vec1()?;
        Ok((Image::new(classes, height, width, values)?, guess))
    }

    /// The network's prediction for one tile.
    fn ungated(&self, tile: &[f32], shape: (usize, usize, usize, usize)) -> Result<BeforeGateValues> {
        let flips: &[&[usize]] = if self.tta { &[&[], &[3], &[2], &[2, 3]] } else { &[&[]] };
        let input = Tensor::from_slice(tile, shape, &self.device)?;
        Ok(self.network.predict_before_gate(&input, flips)?.into_values()?)
    }

    fn segmentation(
        &self,
        probabilities: Image,
        guess: Option<Guess>,
        picture: unet3p_data::Picture,
        warnings: Vec<String>,
    ) -> Result<Segmentation> {
        let rule = self.rule();
        let ids = rule.classes(&probabilities.data, probabilities.channels);
        let mask = LabelMap::new(probabilities.height, probabilities.width, ids)?;
        Ok(Segmentation {
            classes: class_areas(&mask.data, &self.classes()),
            mask,
            probabilities,
            presence: guess.map(|guess| guess.presence),
            present: guess.map(|guess| guess.present),
            warnings,
            picture,
            palette: self.palette(),
        })
    }

    fn rule(&self) -> ClassRule {
        match self.config().activation {
            Activation::Sigmoid => ClassRule::Threshold(self.threshold),
            Activation::Softmax => ClassRule::Argmax,
        }
    }

    /// Ids and names of all classes but the background.
    fn classes(&self) -> Vec<(u8, String)> {
        let config = self.config();
        config
            .class_ids()
            .map_while(|id| Some((id, u8::try_from(id).ok()?)))
            .map(|(id, byte)| {
                let label = config.id2label.get(&id);
                (byte, label.cloned().unwrap_or_else(|| format!("class {id}")))
            })
            .collect()
    }

    /// Colours by class id, the background first.
    fn palette(&self) -> Vec<[u8; 3]> {
        let colors = &self.config().label2color;
        let of = |(id, label): (u8, String)| colors.get(&label).copied().unwrap_or(default_color(id));
        std::iter::once(default_color(0)).chain(self.classes().into_iter().map(of)).collect()
    }
}

/// A layer can turn a value that is not finite into one that is: a prediction would show nothing of it.
fn check_finite(values: &[f32]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(Error::NotFinite { value }),
        None => Ok(()),
    }
}

/// Whether the preprocessor of the model `name` makes what its network takes.
pub(crate) fn check_channels(
    name: &str,
    preprocessor: &Preprocessor,
    config: &UNet3PlusConfig,
) -> Result<()> {
    let (made, taken) = (preprocessor.channels(), config.in_channels);
    if made == taken {
        return Ok(());
    }
    Err(Error::Mismatch {
        name: name.to_string(),
        problem: format!(
            "the layout in {} makes {made} channels, and the network takes {taken}; correct the layout or in_channels in \
             config.json",
            Preprocessor::FILE_NAME
        ),
    })
}
