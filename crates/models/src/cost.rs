//! What a configuration consists of: tensors, parameters, multiply-adds.

use std::collections::BTreeMap;

use unet3p_core::graph::{Conv, Node};

use crate::architecture::Architecture;
use crate::config::UNet3PlusConfig;

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

/// Every tensor of the network with its shape, by name.
pub fn tensor_shapes(config: &UNet3PlusConfig) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    for (Node { name, .. }, conv) in Architecture::new(config).graph.convolutions() {
        let Conv { inputs, outputs, kernel, bias, batch_norm, .. } = conv;
        shapes.insert(format!("{name}.weight"), vec![*outputs, *inputs, *kernel, *kernel]);
        if *bias {
            shapes.insert(format!("{name}.bias"), vec![*outputs]);
        }
        if let Some(batch_norm) = batch_norm {
            for leaf in ["weight", "bias", "running_mean", "running_var"] {
                shapes.insert(format!("{batch_norm}.{leaf}"), vec![*outputs]);
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
    for (node, conv) in Architecture::new(config).graph.convolutions() {
        let weights = conv.outputs * conv.inputs * conv.kernel * conv.kernel;
        let pixels = ((height / node.reduction) as u64).saturating_mul((width / node.reduction) as u64);
        let vectors = usize::from(conv.bias) + if conv.batch_norm.is_some() { 2 } else { 0 };
        let parameters = weights + conv.outputs * vectors;
        let multiply_adds = (weights as u64).saturating_mul(pixels);
        match parts.last_mut().filter(|last| last.name == part(&node.name)) {
            Some(last) => {
                last.parameters += parameters;
                last.multiply_adds = last.multiply_adds.saturating_add(multiply_adds);
            }
            None => parts.push(Part { name: part(&node.name).to_owned(), parameters, multiply_adds }),
        }
    }
    parts
}

/// The part of the network that a node belongs to: its name up to the first number.
fn part(name: &str) -> &str {
    let end = name.match_indices('.').nth(1).map_or(name.len(), |(at, _)| at);
    &name[..end]
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
        let config = UNet3PlusConfig::builder()
            .in_channels(crate::MAX_IN_CHANNELS)
            .num_classes(255)
            .filters([most; 5])
            .build()
            .unwrap();
        let parts = parts(&config, [usize::MAX; 2]);
        assert!(parts.iter().all(|part| part.parameters > 0));
        assert!(parts.iter().any(|part| part.multiply_adds == u64::MAX));
    }
}
