//! What a configuration consists of: tensors, parameters, multiply-adds.

use std::collections::BTreeMap;

use unet3p_core::ConvBlock;

use crate::config::UNet3PlusConfig;
use crate::encoder::Stage;

/// One part of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name, as in the tensors' names: `encoder.1`, `decoder.4`, `head.1`, `cgm`.
    pub name: String,
    /// Trainable parameters.
    pub parameters: usize,
    /// Multiply-adds of its convolutions, as written, for one image; `u64::MAX` where they are beyond it.
    pub multiply_adds: u64,
}

/// A convolution, with batch normalisation behind it or without.
struct Convolution {
    part: String,
    conv: String,
    bn: Option<String>,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    bias: bool,
    /// Rows and columns of the image for one of the output.
    reduction: usize,
}

fn convolutions(config: &UNet3PlusConfig) -> Vec<Convolution> {
    let [f1, .., f5] = config.filters;
    let (levels, width) = (config.filters.len(), f1 * config.filters.len());
    let reduction = |level: usize| config.encoder.stride() << (level - 1);
    let mut all = encoder_convolutions(config);
    let mut push = |part: String, names: [&str; 2], inputs, outputs, level| {
        let [conv, bn] = names.map(|name| format!("{part}.{name}"));
        let (bn, reduction) = (Some(bn), reduction(level));
        all.push(Convolution { part, conv, bn, inputs, outputs, kernel: 3, bias: true, reduction });
    };
    for node in (1..levels).rev() {
        let part = format!("decoder.{node}");
        for (source, inputs) in source_channels(config, node).into_iter().enumerate() {
            let [conv, bn] = ["conv", "bn"].map(|name| format!("branch{}.{name}", source + 1));
            push(part.clone(), [&conv, &bn], inputs, f1, node);
        }
        push(part, ["fuse.conv", "fuse.bn"], width, width, node);
    }
    let mut plain = |part: String, inputs, outputs, kernel, level| {
        let (conv, reduction) = (part.clone(), reduction(level));
        all.push(Convolution { conv, part, bn: None, inputs, outputs, kernel, bias: true, reduction });
    };
    let heads = if config.variant.has_deep_supervision() { levels } else { 1 };
    for level in 1..=heads {
        let inputs = if level == levels { f5 } else { width };
        plain(format!("head.{level}"), inputs, config.num_classes, 3, level);
    }
    if config.variant.has_cgm() {
        plain("cgm".into(), f5, 2, 1, levels);
    }
    all
}

fn encoder_convolutions(config: &UNet3PlusConfig) -> Vec<Convolution> {
    let mut all = Vec::new();
    let stages = config.encoder.stages(config.in_channels, config.filters);
    for (level, stage) in stages.into_iter().enumerate() {
        let (part, reduction) = (format!("encoder.{}", level + 1), config.encoder.stride() << level);
        let mut push = |[conv, bn]: [String; 2], [inputs, outputs, kernel]: [usize; 3], bias, reduction| {
            let [conv, bn] = [conv, bn].map(|name| format!("{part}.{name}"));
            let (part, bn) = (part.clone(), Some(bn));
            all.push(Convolution { part, conv, bn, inputs, outputs, kernel, bias, reduction });
        };
        match stage {
            Stage::Convolutions { inputs, outputs, count } => {
                for (i, names) in ConvBlock::names(count).enumerate() {
                    let inputs = if i == 0 { inputs } else { outputs };
                    push(names, [inputs, outputs, 3], true, reduction);
                }
            }
            Stage::Stem { inputs, outputs } => {
                push(["conv", "bn"].map(String::from), [inputs, outputs, 7], false, reduction);
            }
            Stage::Residual { blocks, .. } => {
                for (k, block) in (1..).zip(blocks) {
                    // what comes before the stride is still at the resolution of the block's input
                    let mut at = reduction / block.stride;
                    for (names, [inputs, outputs, kernel, stride]) in block.named_convolutions() {
                        at = (at * stride).min(reduction);
                        push(
                            names.map(|name| format!("block{k}.{name}")),
                            [inputs, outputs, kernel],
                            false,
                            at,
                        );
                    }
                }
            }
        }
    }
    all
}

/// Channels that the five sources of a decoder node have, finest first: the encoder's up to the node, the
/// decoder's below, the encoder's at the bottom.
pub(crate) fn source_channels(config: &UNet3PlusConfig, node: usize) -> Vec<usize> {
    let levels = config.filters.len();
    let width = config.filters[0] * levels;
    (1..=levels)
        .map(|source| if source > node && source < levels { width } else { config.filters[source - 1] })
        .collect()
}

/// Every tensor of the network with its shape, by name.
pub fn tensor_shapes(config: &UNet3PlusConfig) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    for Convolution { conv, bn, inputs, outputs, kernel, bias, .. } in convolutions(config) {
        shapes.insert(format!("{conv}.weight"), vec![outputs, inputs, kernel, kernel]);
        if bias {
            shapes.insert(format!("{conv}.bias"), vec![outputs]);
        }
        if let Some(bn) = bn {
            for name in ["weight", "bias", "running_mean", "running_var"] {
                shapes.insert(format!("{bn}.{name}"), vec![outputs]);
            }
        }
    }
    shapes
}

/// The parts of the network in the order of computation, with parameters and multiply-adds (as written: every
/// head, upsampling before convolution) for one image of `[height, width]`, padded as the network pads it.
pub fn parts(config: &UNet3PlusConfig, size: [usize; 2]) -> Vec<Part> {
    let multiple = config.size_multiple();
    let [height, width] = size.map(|n| n.max(1).checked_next_multiple_of(multiple).unwrap_or(n));
    let mut parts: Vec<Part> = Vec::new();
    for Convolution { part, bn, inputs, outputs, kernel, bias, reduction, .. } in convolutions(config) {
        let weights = outputs * inputs * kernel * kernel;
        let pixels = ((height / reduction) as u64).saturating_mul((width / reduction) as u64);
        let vectors = usize::from(bias) + if bn.is_some() { 2 } else { 0 };
        let (parameters, multiply_adds) =
            (weights + outputs * vectors, (weights as u64).saturating_mul(pixels));
        match parts.last_mut().filter(|last| last.name == part) {
            Some(last) => {
                last.parameters += parameters;
                last.multiply_adds = last.multiply_adds.saturating_add(multiply_adds);
            }
            None => parts.push(Part { name: part, parameters, multiply_adds }),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Encoder;

    /// torchvision's counts without the classifiers.
    #[test]
    fn encoders_have_the_published_numbers_of_parameters() {
        for (encoder, count) in [
            (Encoder::Vgg11Bn, 9_225_984),
            (Encoder::Resnet34, 21_284_672),
            (Encoder::Resnet50, 23_508_032),
            (Encoder::Resnet101, 42_500_160),
        ] {
            let config = UNet3PlusConfig::builder().encoder(encoder).build().unwrap();
            let parts =
                parts(&config, [224, 224]).into_iter().filter(|part| part.name.starts_with("encoder."));
            assert_eq!(parts.map(|part| part.parameters).sum::<usize>(), count, "{encoder}");
        }
    }

    /// torchvision's 4.09 GMAC of a ResNet-50 at 224x224, of which the classifier has 0.002.
    #[test]
    fn strides_are_counted_where_they_are() {
        let config = UNet3PlusConfig::builder().encoder(Encoder::Resnet50).build().unwrap();
        let parts = parts(&config, [224, 224]).into_iter().filter(|part| part.name.starts_with("encoder."));
        let giga = parts.map(|part| part.multiply_adds).sum::<u64>() as f64 / 1e9;
        assert!((giga - 4.087).abs() < 0.002, "{giga}");
    }

    #[test]
    fn the_largest_configuration_on_the_largest_image_is_counted_without_overflow() {
        let most = 1 << 16;
        let config =
            UNet3PlusConfig::builder().in_channels(most).num_classes(255).filters([most; 5]).build().unwrap();
        let parts = parts(&config, [usize::MAX; 2]);
        assert!(parts.iter().all(|part| part.parameters > 0));
        assert!(parts.iter().any(|part| part.multiply_adds == u64::MAX));
    }
}
