//! UNet 3+ as a graph (Huang et al. 2020, figure 1): the only description of the network. With five scales:
//!
//! Candle's forward pass, training, the CPU engine, costs, tensor names and the ONNX export are all derived from it.
//!
//! ```text
//!  image ──► E1 ────────────────► D1 ──► head 1
//!            │  ╲ ╲ ╲             ▲
//!            ▼   node d reads E(s) for s <= d and D(s) for s > d
//!            E2 ────────────────► D2 ──► head 2
//!            ▼                    ▲
//!            E3 ────────────────► D3 ──► head 3
//!            ▼                    ▲
//!            E4 ────────────────► D4 ──► head 4
//!            ▼                    ▲
//!            E5 ──────────────────┴────► head 5, classification-guided module
//! ```

use unet3p_core::graph::{Graph, NodeId};
use unet3p_core::{classification_guided_module, decoder, segmentation_head};

use crate::config::UNet3PlusConfig;

/// The graph of a network, and which of its nodes are what.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// Every operation, for an image whose sides are multiples of [`UNet3PlusConfig::size_multiple`].
    pub graph: Graph,
    /// The encoder's maps, the finest first: E1, E2, ...
    pub encoder: Vec<NodeId>,
    /// Logits of each head at the image's size, head 1 first.
    pub logits: Vec<NodeId>,
    /// Logits [absent, present] of the classification-guided module.
    pub presence: Option<NodeId>,
}

impl Architecture {
    /// The network of a configuration.
    pub fn new(config: &UNet3PlusConfig) -> Self {
        let mut graph = Graph::default();
        let image = graph.input("image", config.in_channels, 1);
        let encoder = config.encoder.maps(&mut graph, image, &config.filters);
        let features = decoder(&mut graph, &encoder, config.filters[0]);
        let heads = config.variant.heads(features.len());
        let head = |(number, &features): (usize, &NodeId)| {
            segmentation_head(&mut graph, &format!("head.{number}"), features, config.num_classes)
        };
        let logits = (1..).zip(&features[..heads]).map(head).collect();
        let presence = match encoder.last() {
            Some(&deepest) if config.variant.has_cgm() => {
                Some(classification_guided_module(&mut graph, "cgm", deepest))
            }
            _ => None,
        };
        Self { graph, encoder, logits, presence }
    }

    /// The logits of the first `heads` heads, and those of the classification-guided module last.
    pub fn outputs(&self, heads: usize) -> Vec<NodeId> {
        self.logits.iter().take(heads).copied().chain(self.presence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoder, Variant};

    /// Equation 1 for node 3 of five scales: what it reads, and by which factor.
    #[test]
    fn a_node_reads_every_scale() {
        let Architecture { graph, .. } = Architecture::new(&UNet3PlusConfig::default());
        let source = |scale: usize| {
            let name = format!("decoder.3.branch{scale}.conv");
            let (_, branch) = graph.nodes().find(|(_, node)| node.name == name).unwrap();
            let read = &graph[branch.inputs[0]];
            let source = if read.reduction == 4 && read.inputs.len() == 1 && scale != 3 {
                &graph[read.inputs[0]]
            } else {
                read
            };
            (source.name.clone(), source.reduction)
        };
        let expected = [
            ("encoder.1.conv2", 1),
            ("encoder.2.conv2", 2),
            ("encoder.3.conv2", 4),
            ("decoder.4.fuse.conv", 8),
            ("encoder.5.conv2", 16),
        ];
        for (scale, (name, reduction)) in (1..).zip(expected) {
            assert_eq!(source(scale), (name.to_owned(), reduction), "scale {scale}");
        }
    }

    #[test]
    fn maps_halve_from_scale_to_scale_and_logits_have_the_size_of_the_image() {
        for (encoder, depth) in [(Encoder::Plain, 3), (Encoder::Plain, 6), (Encoder::Resnet34, 5)] {
            let filters: Vec<usize> = (1..=depth).map(|i| 4 * i).collect();
            let config = UNet3PlusConfig::builder().encoder(encoder).filters(filters);
            let config = config.variant(Variant::DeepSupervisionCgm).build().unwrap();
            let Architecture { graph, encoder: maps, logits, presence } = Architecture::new(&config);
            let reductions: Vec<usize> = maps.iter().map(|&map| graph[map].reduction).collect();
            let expected: Vec<usize> = (0..depth).map(|i| encoder.stride() << i).collect();
            assert_eq!(reductions, expected);
            assert_eq!(reductions.last(), Some(&config.size_multiple()));
            assert_eq!(logits.len(), depth);
            assert!(logits.iter().all(|&logits| graph[logits].reduction == 1));
            assert_eq!(presence.map(|presence| graph[presence].channels), Some(2));
        }
    }
}
