//! `preprocessor_config.json`.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use super::Window;
use crate::channels::{listed, numbered};
use crate::{Error, MAX_CHANNELS, Resample, Result, read_text, write_atomically};

/// What the network's input channels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Red, green, blue.
    Rgb,
    /// One channel of intensity.
    Gray,
    /// A slice of a volume between its two neighbours: below (towards the feet), itself, above.
    Slices,
    /// Several gray images of one place, a file for each: the sequences of an MR scan, or CT with PET.
    /// [`Preprocessor::channel_names`] tells how many.
    Channels,
}

/// How values are brought to the range that the network was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// `value * rescale_factor` on a scale of 0 to 255, then mean and std where `do_normalize` is set.
    Fixed,
    /// The HU window to 0..1, then mean and std where `do_normalize` is set. An image file counts as
    /// already windowed.
    Window,
    /// Each image minus its mean, over its standard deviation: over all its channels, or in the layout "channels" each
    /// channel's. A constant image becomes 0.
    Zscore,
    /// Each image's smallest value to 0 and largest to 1: over all its channels, or in the layouts "slices" and
    /// "channels" each channel's. A constant image becomes 0.
    Minmax,
}

/// A size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// The key by which transformers switches `size` off.
const DO_RESIZE: &str = "do_resize";

/// The content of a model folder's `preprocessor_config.json`: how an image or a volume becomes the
/// network's input. Keys that image processors of the transformers library have keep their names.
///
/// ```
/// use unet3p_data::{Layout, Preprocessor};
/// let gray = Preprocessor::from_json(r#"{ "layout": "gray", "image_mean": [0.5], "image_std": [0.25], "do_normalize": true }"#)?;
/// assert_eq!(gray.layout, Layout::Gray);
/// assert_eq!(Preprocessor::from_json(&gray.to_json())?, gray);
/// # Ok::<(), unet3p_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preprocessor {
    /// The channels; default "rgb".
    pub layout: Layout,
    /// The names of the channels in their order, as `["flair", "t1", "t1ce", "t2"]`: one or more in the layout "channels"
    /// (1 to [`MAX_CHANNELS`]), none (default) or as many as there are in the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channel_names: Vec<String>,
    /// The size that images are resized to; null (default) keeps theirs. With a `spacing` it is for images that
    /// have none.
    pub size: Option<Size>,
    /// How images are resized: "bilinear" (default) or "nearest" (also transformers' numbers 2 and 0).
    #[serde(deserialize_with = "resample_name_or_number")]
    pub resample: Resample,
    /// Whether `rescale_factor` is applied; default true.
    pub do_rescale: bool,
    /// Factor for values from 0 to 255 (16-bit images are brought to that range first); default 1/255.
    pub rescale_factor: f64,
    /// Whether `image_mean` and `image_std` are applied; default false.
    pub do_normalize: bool,
    /// Mean per channel, or one for all; default `[0]`.
    pub image_mean: Vec<f64>,
    /// Standard deviation per channel, or one for all; default `[1]`.
    pub image_std: Vec<f64>,
    /// Normalisation; default "fixed".
    pub normalize: Normalize,
    /// The HU values that become 0 and 1, with everything outside clamped, for all channels or for each; null by
    /// default.
    pub window: Option<Window>,
    /// Distance in mm between columns, rows and slices that volumes are resampled to; null by default.
    pub spacing: Option<[f64; 3]>,
    /// The axes volumes are turned to before they are cut into slices: only "RAS" (default).
    pub orientation: String,
    /// Whether of each class in a volume only the largest connected piece is kept; default false.
    pub keep_largest_component: bool,
}

impl Default for Preprocessor {
    fn default() -> Self {
        Self {
            layout: Layout::Rgb,
            channel_names: Vec::new(),
            size: None,
            resample: Resample::Bilinear,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: false,
            image_mean: vec![0.0],
            image_std: vec![1.0],
            normalize: Normalize::Fixed,
            window: None,
            spacing: None,
            orientation: "RAS".into(),
            keep_largest_component: false,
        }
    }
}

impl Preprocessor {
    /// The file's name in a model folder.
    pub const FILE_NAME: &'static str = "preprocessor_config.json";
    /// The largest height or width that `size` may name.
    pub const MAX_SIDE: usize = 1 << 15;

    /// Slices of CT: HU `window`, resampled to `spacing` mm.
    pub fn for_slices(window: [f64; 2], spacing: Option<[f64; 3]>) -> Self {
        Self {
            layout: Layout::Slices,
            normalize: Normalize::Window,
            window: Some(window.into()),
            spacing,
            ..Self::default()
        }
    }

    /// Several gray images of one place, such as the sequences of an MR scan: each channel of each slice minus its mean,
    /// over its standard deviation.
    ///
    /// ```
    /// use unet3p_data::Preprocessor;
    /// let mr = Preprocessor::for_channels(["flair", "t1", "t1ce", "t2"].map(String::from).to_vec());
    /// assert_eq!(mr.channels(), 4);
    /// ```
    pub fn for_channels(names: Vec<String>) -> Self {
        Self {
            layout: Layout::Channels,
            channel_names: names,
            normalize: Normalize::Zscore,
            ..Self::default()
        }
    }

    /// [`Preprocessor::for_channels`] that nobody has named: they are called `0000`, `0001`, ..., as their files.
    pub fn for_numbered_channels(count: usize) -> Self {
        Self::for_channels(numbered(count))
    }

    /// Number of channels of the network's input.
    pub fn channels(&self) -> usize {
        match self.layout {
            Layout::Gray => 1,
            Layout::Rgb | Layout::Slices => 3,
            Layout::Channels => self.channel_names.len(),
        }
    }

    /// How many files a case has: one for each channel in the layout "channels", else one.
    pub fn files_per_case(&self) -> usize {
        if self.layout == Layout::Channels { self.channels() } else { 1 }
    }

    /// What the channels are, for messages: "4 channels: 0000 (flair), 0001 (t1), ...".
    pub fn describe_channels(&self) -> String {
        match self.layout {
            Layout::Gray => "1 channel, gray".into(),
            Layout::Rgb => "3 channels of one file: red, green, blue".into(),
            Layout::Slices => "3 channels of one file: a slice between its two neighbours".into(),
            Layout::Channels => listed(&self.channel_names),
        }
    }

    /// Reads the JSON text. Missing keys have their defaults; unknown keys are named in a logged warning. Where
    /// transformers' `do_resize` is false, `size` has no effect and is left out.
    ///
    /// # Errors
    /// [`Error::Setting`] for text that is not a JSON object, a value of the wrong kind, or one that
    /// [`Preprocessor::validate`] refuses.
    pub fn from_json(text: &str) -> Result<Self> {
        let invalid = |error: serde_json::Error| {
            Error::setting(
                Self::FILE_NAME,
                format!("({error})"),
                "a JSON object with the documented keys is needed",
            )
        };
        let mut keys: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(invalid)?;
        let do_resize = keys.remove(DO_RESIZE);
        // A key that is left out where it is empty is known as well.
        let known =
            serde_json::to_value(Self { channel_names: numbered(1), ..Self::default() }).map_err(invalid)?;
        let unknown: Vec<&str> =
            keys.keys().map(String::as_str).filter(|key| known.get(key).is_none()).collect();
        if !unknown.is_empty() {
            log::warn!("{}: unknown keys are ignored: {}", Self::FILE_NAME, unknown.join(", "));
        }
        let mut config: Self = serde_json::from_str(text).map_err(invalid)?;
        match do_resize {
            Some(serde_json::Value::Bool(false)) => config.size = None,
            Some(serde_json::Value::Bool(true)) if config.size.is_none() => {
                log::warn!("{}: {DO_RESIZE} has no effect without a size", Self::FILE_NAME);
            }
            None | Some(serde_json::Value::Bool(true)) => {}
            Some(other) => return Err(Error::setting(DO_RESIZE, other, "true or false is needed")),
        }
        config.validate()?;
        Ok(config)
    }

    /// The JSON text, in the order of the fields.
    pub fn to_json(&self) -> String {
        // Cannot fail: string keys only, and serde_json writes non-finite numbers as null.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads `preprocessor_config.json` from a model folder.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, otherwise as [`Preprocessor::from_json`] with the file named.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::FILE_NAME);
        Self::from_json(&read_text(&path)?).map_err(|error| Error::file(&path, error.to_string()))
    }

    /// Writes `preprocessor_config.json` into a model folder, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written, [`Error::Setting`] when the settings are invalid.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.validate()?;
        write_atomically(&folder.join(Self::FILE_NAME), |file| {
            std::io::Write::write_all(file, self.to_json().as_bytes())
        })
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the key, its value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        let channels = self.channels();
        self.check_names()?;
        let per_channel = |key: &str, values: &[f64], fits: fn(f64) -> bool, allowed: &str| {
            if [1, channels].contains(&values.len()) && values.iter().all(|&v| v.is_finite() && fits(v)) {
                return Ok(());
            }
            Err(Error::setting(key, format!("{values:?}"), format!("1 or {channels} {allowed} are needed")))
        };
        per_channel("image_mean", &self.image_mean, |_| true, "finite numbers")?;
        per_channel("image_std", &self.image_std, |v| v > 0.0, "positive numbers")?;
        if !(self.rescale_factor.is_finite() && self.rescale_factor != 0.0) {
            return Err(Error::setting(
                "rescale_factor",
                self.rescale_factor,
                "a finite number other than 0 is needed",
            ));
        }
        if let Some(size) = self.size
            && ![size.height, size.width].iter().all(|side| (1..=Self::MAX_SIDE).contains(side))
        {
            return Err(Error::setting(
                "size",
                format!("{} x {}", size.height, size.width),
                format!("height and width from 1 to {} are allowed", Self::MAX_SIDE),
            ));
        }
        match &self.window {
            Some(window) => {
                if let Some(problem) = window.problem(self.files_per_case()) {
                    return Err(Error::setting("window", window, problem));
                }
            }
            None if self.normalize == Normalize::Window => {
                return Err(Error::setting("window", "null", "normalize = \"window\" needs two HU values"));
            }
            _ => {}
        }
        if let Some(spacing) = self.spacing
            && !spacing.iter().all(|&s| s > 0.0 && s.is_finite())
        {
            return Err(Error::setting(
                "spacing",
                format!("{spacing:?}"),
                "three positive distances in mm are needed",
            ));
        }
        if self.orientation != "RAS" {
            return Err(Error::setting("orientation", &self.orientation, "only RAS is supported"));
        }
        Ok(())
    }

    /// Checks that channels are told apart by their names.
    fn check_names(&self) -> Result<()> {
        let names = &self.channel_names;
        let wrong = |allowed: String| Err(Error::setting("channel_names", format!("{names:?}"), allowed));
        let (count, fits) = match self.layout {
            Layout::Channels => (format!("1 to {MAX_CHANNELS}"), (1..=MAX_CHANNELS).contains(&names.len())),
            _ => (self.channels().to_string(), names.is_empty() || names.len() == self.channels()),
        };
        if !fits {
            return wrong(format!("{count} names are needed, one for each channel of the layout"));
        }
        let plain = |name: &String| !name.trim().is_empty() && !name.contains(char::is_control);
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        if distinct.len() < names.len() || !names.iter().all(plain) {
            return wrong("each channel needs a name of its own on one line".into());
        }
        Ok(())
    }
}

fn resample_name_or_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Resample, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Spelling {
        Number(u64),
        Name(String),
    }
    match Spelling::deserialize(deserializer)? {
        Spelling::Number(0) => Ok(Resample::Nearest),
        Spelling::Number(2) => Ok(Resample::Bilinear),
        Spelling::Name(name) if name == "nearest" => Ok(Resample::Nearest),
        Spelling::Name(name) if name == "bilinear" => Ok(Resample::Bilinear),
        Spelling::Number(other) => Err(serde::de::Error::custom(format!(
            "resample = {other}: 0 (nearest) or 2 (bilinear) is allowed"
        ))),
        Spelling::Name(other) => Err(serde::de::Error::custom(format!(
            "resample = {other:?}: \"nearest\" or \"bilinear\" is allowed"
        ))),
    }
}
