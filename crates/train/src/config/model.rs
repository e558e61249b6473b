//! The `[model]` table: the network.

use serde::{Deserialize, Serialize};
use unet3p_models::{Activation, CgmGate, Encoder, UNet3PlusConfig, Variant};

/// The `[model]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// "base" (default), "deep_supervision" or "deep_supervision_cgm".
    pub variant: Variant,
    /// "plain" (default, the paper's), "vgg11_bn", "resnet34", "resnet50" or "resnet101".
    pub encoder: Encoder,
    /// Channels of the input (default 3).
    pub in_channels: usize,
    /// Output channels; with softmax the background is one of them. Default: as many as `class_names`, `dataset.json`,
    /// `data.mask_values` or the masks tell, the first of them that does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<usize>,
    /// Channels of the encoder's stages: 3 to 6 of them, 5 in the paper. Default: the encoder's, of the plain one 64, 128, 256, 512, 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<usize>>,
    /// "sigmoid" (default) or "softmax" (class 0 is the background).
    pub activation: Activation,
    /// What the classification-guided module gates at prediction: "probabilities" (default) or "logits".
    pub cgm_gate: CgmGate,
    /// Names of the classes 1, 2, ... Default: those of `dataset.json`.
    pub class_names: Vec<String>,
    /// The model whose weights the run starts from. Default: weights drawn with the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    /// The ImageNet classifier whose weights the encoder starts from. Default: weights drawn with the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_weights: Option<String>,
    /// Whether the encoder's weights stay as they are (default no). Its batch statistics follow the new data.
    pub freeze_encoder: bool,
}

impl ModelConfig {
    /// Channels of the encoder's stages: those that are set, or the encoder's.
    pub(crate) fn filters(&self) -> Vec<usize> {
        self.filters.clone().unwrap_or_else(|| self.encoder.filters())
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        let network = UNet3PlusConfig::default();
        Self {
            variant: network.variant,
            encoder: network.encoder,
            in_channels: network.in_channels,
            num_classes: None,
            filters: None,
            activation: network.activation,
            cgm_gate: network.cgm_gate,
            class_names: Vec::new(),
            init_from: None,
            encoder_weights: None,
            freeze_encoder: false,
        }
    }
}
