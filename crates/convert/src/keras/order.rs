//! Which layer is which part of the network, by the order in which layers were made.

use std::collections::HashMap;

use super::layers::{Layer, split_number};

/// The convolutions with a batch normalisation: two in each of five encoder blocks, six in each of four decoder nodes.
const NORMALISED: usize = 10 + 24;
/// Heads with deep supervision.
const HEADS: usize = 5;

/// A class of layers, its weights in Keras's order, and their names here.
struct Class {
    name: &'static str,
    slots: &'static [(&'static str, &'static str)],
}

const CONVOLUTION: Class = Class { name: "conv2d", slots: &[("kernel", "weight"), ("bias", "bias")] };
const NORM: Class = Class {
    name: "batch_normalization",
    slots: &[
        ("gamma", "weight"),
        ("beta", "bias"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_var"),
    ],
};

/// Where the file has the tensors that we name so.
pub(super) fn source_names(layers: &[Layer]) -> HashMap<String, String> {
    let convolutions = CONVOLUTION.in_order(layers);
    let is_guide = |layer: &&Layer| {
        CONVOLUTION.find(layer, 0).is_some_and(|i| matches!(layer.weights[i].data.shape(), [1, 1, _, _]))
    };
    // The guide's convolution is the only one of 1x1.
    let has_guide = convolutions.iter().any(is_guide);
    let heads = if convolutions.len() > NORMALISED + usize::from(has_guide) + 1 { HEADS } else { 1 };
    let (parts, norms) = parts(has_guide, heads);

    let mut names = HashMap::new();
    CONVOLUTION.assign(&parts, &convolutions, &mut names);
    NORM.assign(&norms, &NORM.in_order(layers), &mut names);
    names
}

/// Our names for the convolutions and the batch normalisations, in the order in which Keras's code makes them.
fn parts(has_guide: bool, heads: usize) -> (Vec<String>, Vec<String>) {
    let (mut convolutions, mut norms) = (Vec::new(), Vec::new());
    for scale in 1..=5 {
        for number in 1..=2 {
            convolutions.push(format!("encoder.{scale}.conv{number}"));
            norms.push(format!("encoder.{scale}.bn{number}"));
        }
    }
    if has_guide {
        convolutions.push("cgm".into());
    }
    for node in (1..=4).rev() {
        let branches = (1..=5).map(|source| format!("branch{source}"));
        for part in branches.chain(["fuse".into()]) {
            convolutions.push(format!("decoder.{node}.{part}.conv"));
            norms.push(format!("decoder.{node}.{part}.bn"));
        }
    }
    convolutions.extend((1..=heads).map(|head| format!("head.{head}")));
    (convolutions, norms)
}

impl Class {
    /// The layers of this class in the order of their numbers, which begin anywhere: models made before in the same
    /// session have the first ones.
    fn in_order<'a>(&self, layers: &'a [Layer]) -> Vec<&'a Layer> {
        let number = |layer: &Layer| match split_number(&layer.name) {
            Some((class, number)) if class == self.name => Some(number),
            _ => None,
        };
        let mut numbered: Vec<_> = layers.iter().filter_map(|layer| Some((number(layer)?, layer))).collect();
        numbered.sort_by_key(|&(number, _)| number);
        numbered.into_iter().map(|(_, layer)| layer).collect()
    }

    /// The weight of a layer for a slot: by the last part of its path, which is a name or the slot's number.
    fn find(&self, layer: &Layer, slot: usize) -> Option<usize> {
        let (name, _) = self.slots[slot];
        layer.weights.iter().position(|weight| {
            let leaf = weight.path.rsplit('/').next().unwrap_or_default();
            leaf.strip_suffix(":0").unwrap_or(leaf) == name || weight.path == format!("vars/{slot}")
        })
    }

    /// Gives the `parts` the layers in turn. A part without a layer, or a slot without a weight, gets a name that says
    /// what was looked for.
    fn assign(&self, parts: &[String], layers: &[&Layer], names: &mut HashMap<String, String>) {
        for (index, part) in parts.iter().enumerate() {
            for (slot, (theirs, ours)) in self.slots.iter().enumerate() {
                let ours = format!("{part}.{ours}");
                let source = match layers.get(index) {
                    None => format!("{} number {}: {theirs} ({ours})", self.name, index + 1),
                    Some(layer) => match self.find(layer, slot) {
                        Some(weight) => layer.source_name(&layer.weights[weight]),
                        None => format!("{}/{theirs} ({ours})", layer.name),
                    },
                };
                names.insert(ours, source);
            }
        }
    }
}
