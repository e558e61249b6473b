//! Which UNet 3+: `config.json`.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use unet3p_losses::Activation;

use crate::encoder::Encoder;
use crate::error::{Error, Result};

/// The three networks of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// One head, at full resolution.
    Base,
    /// A head at every scale (section 2.2).
    DeepSupervision,
    /// Deep supervision and the classification-guided module (section 2.3).
    DeepSupervisionCgm,
}

impl Variant {
    /// Whether every scale has a head.
    pub fn has_deep_supervision(self) -> bool {
        self != Self::Base
    }

    /// How many heads a network of so many scales has.
    pub fn heads(self, scales: usize) -> usize {
        if self.has_deep_supervision() { scales } else { 1 }
    }

    /// Whether it has the classification-guided module.
    pub fn has_cgm(self) -> bool {
        self == Self::DeepSupervisionCgm
    }
}

impl Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::DeepSupervision => "deep_supervision",
            Self::DeepSupervisionCgm => "deep_supervision_cgm",
        })
    }
}

/// What the classification-guided module's decision multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgmGate {
    /// The probabilities, as in the paper: an image without the organ is 0 everywhere.
    Probabilities,
    /// The logits, as in the authors' code: an image without the organ is 0.5 everywhere.
    Logits,
}

/// The input has at most so many channels.
pub const MAX_IN_CHANNELS: usize = 64;

/// The configuration of a [`crate::UNet3Plus`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UNet3PlusConfig {
    /// Always "unet3plus".
    model_type: ModelType,
    /// Which of the three networks. Default: base.
    pub variant: Variant,
    /// What computes the feature maps. Default: plain, the paper's.
    pub encoder: Encoder,
    /// Channels of the input, 1 to [`MAX_IN_CHANNELS`]. Default: 3.
    pub in_channels: usize,
    /// Output channels: classes. Default: 1.
    pub num_classes: usize,
    /// Channels of the encoder's stages, finest first: 3 to 6 of them, 5 in the paper. Default in
    /// [`UNet3PlusConfig::from_json`] and with [`UNet3PlusConfigBuilder::encoder`]: the encoder's; else those of the plain
    /// one, 64, 128, 256, 512, 1024.
    pub filters: Vec<usize>,
    /// From logits to probabilities. Default: sigmoid.
    pub activation: Activation,
    /// Added to the variance in batch normalisation. Default: 1e-5.
    pub batch_norm_eps: f64,
    /// Weight of a batch in the running statistics. Default: 0.1.
    pub batch_norm_momentum: f64,
    /// What the classification-guided module's decision multiplies. Default: the probabilities.
    pub cgm_gate: CgmGate,
    /// Names of the class ids.
    pub id2label: BTreeMap<usize, String>,
    /// Colours of the classes, by name, as red, green, blue.
    pub label2color: BTreeMap<String, [u8; 3]>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum ModelType {
    #[default]
    #[serde(rename = "unet3plus")]
    UNet3Plus,
}

impl Default for UNet3PlusConfig {
    fn default() -> Self {
        Self {
            model_type: ModelType::UNet3Plus,
            variant: Variant::Base,
            encoder: Encoder::Plain,
            in_channels: 3,
            num_classes: 1,
            filters: Encoder::Plain.filters(),
            activation: Activation::Sigmoid,
            batch_norm_eps: 1e-5,
            batch_norm_momentum: 0.1,
            cgm_gate: CgmGate::Probabilities,
            id2label: BTreeMap::new(),
            label2color: BTreeMap::new(),
        }
    }
}

impl UNet3PlusConfig {
    /// A builder that starts from the defaults.
    pub fn builder() -> UNet3PlusConfigBuilder {
        UNet3PlusConfigBuilder { config: Self::default() }
    }

    /// Reads and validates `config.json`. Unknown keys are warned of by name.
    ///
    /// # Errors
    /// Where the text is not a configuration, or one that cannot be built.
    pub fn from_json(json: &str) -> Result<Self> {
        Self::from_json_of(json, "config.json")
    }

    /// [`UNet3PlusConfig::from_json`], where warnings name the text's `origin`, as a path.
    ///
    /// # Errors
    /// As [`UNet3PlusConfig::from_json`]; they do not name the origin.
    pub fn from_json_of(json: &str, origin: &str) -> Result<Self> {
        let (config, unknown) = Self::parse(json)?;
        if !unknown.is_empty() {
            log::warn!("{origin}: unknown keys are ignored: {}", unknown.join(", "));
        }
        Ok(config)
    }

    /// A configuration, and the keys of its text that are unknown.
    pub(crate) fn parse(json: &str) -> Result<(Self, Vec<String>)> {
        let mut config: Self = serde_json::from_str(json)?;
        let mut unknown = Vec::new();
        if let (serde_json::Value::Object(given), serde_json::Value::Object(known)) =
            (serde_json::from_str(json)?, serde_json::to_value(&config)?)
        {
            if !given.contains_key("filters") {
                config.filters = config.encoder.filters();
            }
            unknown.extend(given.into_iter().map(|(key, _)| key).filter(|key| !known.contains_key(key)));
        }
        config.validate()?;
        Ok((config, unknown))
    }

    /// The first key in which `other` is of another network, with both values. Names and colours of classes may differ:
    /// people correct them, and no prediction depends on them.
    pub(crate) fn difference(&self, other: &Self) -> Result<Option<(String, String, String)>> {
        let plain = |config: &Self| {
            let config = Self { id2label: BTreeMap::new(), label2color: BTreeMap::new(), ..config.clone() };
            serde_json::to_value(config)
        };
        let (own, other) = (plain(self)?, plain(other)?);
        let keys = own.as_object().into_iter().flatten();
        let mut differences = keys.filter_map(|(key, value)| {
            let other = other.get(key).filter(|other| *other != value)?;
            Some((key.clone(), value.to_string(), other.to_string()))
        });
        Ok(differences.next())
    }

    /// Whether `json` says of itself that it is such a configuration, by its `model_type`. Other libraries have an entry
    /// `config` in the metadata of their files as well.
    ///
    /// ```
    /// use unet3p_models::UNet3PlusConfig;
    ///
    /// assert!(UNet3PlusConfig::is_unet3plus_json(r#"{"model_type": "unet3plus"}"#));
    /// assert!(!UNet3PlusConfig::is_unet3plus_json(r#"{"model_type": "resnet"}"#));
    /// ```
    pub fn is_unet3plus_json(json: &str) -> bool {
        let config: Result<serde_json::Value, _> = serde_json::from_str(json);
        config.is_ok_and(|config| config.get("model_type").is_some_and(|kind| kind == "unet3plus"))
    }

    /// The configuration as JSON, in a fixed order, with a newline at the end.
    ///
    /// # Errors
    /// Where a number has no JSON form, as NaN.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Checks that the network can be built and means something.
    ///
    /// # Errors
    /// Names the key, its value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        let fail =
            |key, value: String, allowed: &str| Err(Error::Config { key, value, allowed: allowed.into() });
        if !(1..=MAX_IN_CHANNELS).contains(&self.in_channels) {
            return fail("in_channels", self.in_channels.to_string(), &format!("1 to {MAX_IN_CHANNELS}"));
        }
        if !(1..=255).contains(&self.num_classes) {
            return fail("num_classes", self.num_classes.to_string(), "1 to 255");
        }
        let depths = self.encoder.depths();
        if !depths.contains(&self.filters.len()) {
            let allowed =
                format!("{} to {} numbers with encoder {}", depths.start(), depths.end(), self.encoder);
            return fail("filters", format!("{:?}", self.filters), &allowed);
        }
        if self.filters.contains(&0) || self.filters.iter().any(|&f| f > 1 << 16) {
            return fail("filters", format!("{:?}", self.filters), "each from 1 to 65536");
        }
        let widths = &self.filters[1..];
        if self.encoder.has_bottlenecks() && widths.iter().any(|width| !width.is_multiple_of(4)) {
            let allowed = format!("multiples of 4 from the second on, with encoder {}", self.encoder);
            return fail("filters", format!("{:?}", self.filters), &allowed);
        }
        if !(self.batch_norm_eps.is_finite() && self.batch_norm_eps > 0.0) {
            return fail("batch_norm_eps", self.batch_norm_eps.to_string(), "a positive number, as 1e-5");
        }
        if !(0.0..=1.0).contains(&self.batch_norm_momentum) {
            return fail("batch_norm_momentum", self.batch_norm_momentum.to_string(), "0 to 1, as 0.1");
        }
        if self.activation == Activation::Softmax && self.num_classes == 1 {
            return fail(
                "activation",
                "softmax".into(),
                "with one class softmax is 1 everywhere: take sigmoid, or two classes with the background first",
            );
        }
        if self.variant.has_cgm() && self.num_classes != 1 {
            return fail(
                "num_classes",
                self.num_classes.to_string(),
                "1 with variant deep_supervision_cgm, whose gate tells one organ's presence",
            );
        }
        Ok(())
    }

    /// The class ids that a mask can hold besides 0.
    pub fn class_ids(&self) -> std::ops::RangeInclusive<usize> {
        match self.activation {
            Activation::Sigmoid => 1..=self.num_classes,
            Activation::Softmax => 1..=self.num_classes - 1,
        }
    }

    /// Height and width inside the network are multiples of this: 16 with five scales, 32 with a residual encoder, and half
    /// or twice as many for each scale less or more. Images of other sizes are padded.
    pub fn size_multiple(&self) -> usize {
        self.encoder.stride() << self.filters.len().saturating_sub(1)
    }

    /// Trainable parameters: weights, biases and the affine terms of batch normalisation.
    pub fn parameter_count(&self) -> usize {
        crate::cost::parts(self, [1, 1]).iter().map(|part| part.parameters).sum()
    }
}

/// Builds a [`UNet3PlusConfig`] from its defaults.
#[derive(Debug, Clone)]
pub struct UNet3PlusConfigBuilder {
    config: UNet3PlusConfig,
}

impl UNet3PlusConfigBuilder {
    /// Sets [`UNet3PlusConfig::variant`].
    pub fn variant(mut self, variant: Variant) -> Self {
        self.config.variant = variant;
        self
    }

    /// Sets [`UNet3PlusConfig::in_channels`].
    pub fn in_channels(mut self, channels: usize) -> Self {
        self.config.in_channels = channels;
        self
    }

    /// Sets [`UNet3PlusConfig::num_classes`].
    pub fn num_classes(mut self, classes: usize) -> Self {
        self.config.num_classes = classes;
        self
    }

    /// Sets [`UNet3PlusConfig::filters`].
    pub fn filters(mut self, filters: impl Into<Vec<usize>>) -> Self {
        self.config.filters = filters.into();
        self
    }

    /// Sets [`UNet3PlusConfig::encoder`], and [`UNet3PlusConfig::filters`] to that encoder's.
    pub fn encoder(mut self, encoder: Encoder) -> Self {
        self.config.encoder = encoder;
        self.filters(encoder.filters())
    }

    /// Sets [`UNet3PlusConfig::filters`] to `f1` and the multiples of it that the encoder has, with the plain one its
    /// doubles, as in the paper with 64.
    pub fn base_filters(self, f1: usize) -> Self {
        let factors = self.config.encoder.factors();
        self.filters(factors.map(|factor| f1.saturating_mul(factor)))
    }

    /// Sets [`UNet3PlusConfig::activation`].
    pub fn activation(mut self, activation: Activation) -> Self {
        self.config.activation = activation;
        self
    }

    /// Sets [`UNet3PlusConfig::batch_norm_eps`].
    pub fn batch_norm_eps(mut self, eps: f64) -> Self {
        self.config.batch_norm_eps = eps;
        self
    }

    /// Sets [`UNet3PlusConfig::batch_norm_momentum`].
    pub fn batch_norm_momentum(mut self, momentum: f64) -> Self {
        self.config.batch_norm_momentum = momentum;
        self
    }

    /// Sets [`UNet3PlusConfig::cgm_gate`].
    pub fn cgm_gate(mut self, gate: CgmGate) -> Self {
        self.config.cgm_gate = gate;
        self
    }

    /// Names class `id` and gives it a colour.
    pub fn label(mut self, id: usize, name: &str, color: [u8; 3]) -> Self {
        self.config.id2label.insert(id, name.to_string());
        self.config.label2color.insert(name.to_string(), color);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// As [`UNet3PlusConfig::validate`].
    pub fn build(self) -> Result<UNet3PlusConfig> {
        self.config.validate()?;
        Ok(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip_and_defaults() {
        let config = UNet3PlusConfig::builder()
            .variant(Variant::DeepSupervisionCgm)
            .base_filters(16)
            .label(1, "liver", [220, 60, 40])
            .build()
            .unwrap();
        assert_eq!(UNet3PlusConfig::from_json(&config.to_json().unwrap()).unwrap(), config);
        assert_eq!(UNet3PlusConfig::from_json("{}").unwrap(), UNet3PlusConfig::default());
        let residual = UNet3PlusConfig::builder().encoder(Encoder::Resnet50).build().unwrap();
        assert_eq!(UNet3PlusConfig::from_json(&residual.to_json().unwrap()).unwrap(), residual);
        assert_eq!(UNet3PlusConfig::from_json(r#"{"encoder": "resnet50"}"#).unwrap(), residual);
    }

    #[test]
    fn impossible_configurations_name_the_key() {
        let json = |text: &str| UNet3PlusConfig::from_json(text).unwrap_err().to_string();
        assert!(json(r#"{"activation": "softmax"}"#).contains("softmax"));
        assert!(json(r#"{"variant": "deep_supervision_cgm", "num_classes": 2}"#).contains("num_classes = 2"));
        assert!(json(r#"{"variant": "unet4"}"#).contains("deep_supervision_cgm"));
        assert!(json(r#"{"model_type": "resnet"}"#).contains("unet3plus"));
        assert!(json(r#"{"filters": [1, 2, 3, 4, 0]}"#).contains("filters"));
        assert!(json(r#"{"encoder": "resnet50", "filters": [1, 2, 4, 8, 16]}"#).contains("multiples of 4"));
        assert!(json(r#"{"encoder": "resnet18"}"#).contains("resnet34"));
        assert!(json(r#"{"in_channels": 0}"#).contains("in_channels = 0"));
        assert!(json(r#"{"in_channels": 65}"#).contains("in_channels = 65"));
    }

    /// The counts that the reference implementation reports (without running statistics).
    #[test]
    fn parameter_counts_equal_the_reference() {
        let count = |variant, f1| {
            UNet3PlusConfig::builder().variant(variant).base_filters(f1).build().unwrap().parameter_count()
        };
        for (variant, wide, narrow) in [
            (Variant::Base, 26_971_777, 1_690_273),
            (Variant::DeepSupervision, 26_989_637, 1_694_741),
            (Variant::DeepSupervisionCgm, 26_991_687, 1_695_255),
        ] {
            assert_eq!((count(variant, 64), count(variant, 16)), (wide, narrow), "{variant}");
        }
    }
}
