//! Weights of the Keras implementation, as `model.save_weights` writes them in its legacy HDF5 format.
//!
//! Each layer is a group `NAME/NAME/`, with `kernel:0` and `bias:0` or the four vectors of a batch normalisation.
//! A layer's place in the network follows from the order in which layers were made, the number at the end of its
//! name: encoder, classification guide, decoder nodes 4 to 1 with branches 1 to 5 and the fusing convolution,
//! heads.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use hdf5_reader::Hdf5File;
use hdf5_reader::group::Group;

/// Convolutions of the encoder, then those of the decoder: two in each of five blocks, six in each of four nodes.
const ENCODER: usize = 10;
const DECODER: usize = 24;

/// Reads the weights of a file under our names and in our layout (kernels [output, input, height, width]).
///
/// # Panics
/// Where the file is not the weights of one of the three variants.
pub fn read_weights(path: &Path) -> HashMap<String, Tensor> {
    let file = Hdf5File::open(path).expect("an HDF5 file");
    let root = file.root_group().expect("a root group");
    let layers = root.groups().expect("groups");
    let convolutions = in_order(&layers, "conv2d");
    let norms = in_order(&layers, "batch_normalization");
    assert_eq!(norms.len(), ENCODER + DECODER, "batch normalisations");

    let mut weights = HashMap::new();
    let mut norms = norms.into_iter();
    for ((name, norm), layer) in convolution_names(&convolutions).into_iter().zip(&convolutions) {
        let kernel = read(layer, "kernel:0").permute((3, 2, 0, 1)).and_then(|kernel| kernel.contiguous());
        weights.insert(format!("{name}.weight"), kernel.expect("a kernel of four dimensions"));
        weights.insert(format!("{name}.bias"), read(layer, "bias:0"));
        let Some(norm) = norm else { continue };
        let layer = norms.next().expect("a batch normalisation for the convolution");
        for (ours, theirs) in [
            ("weight", "gamma:0"),
            ("bias", "beta:0"),
            ("running_mean", "moving_mean:0"),
            ("running_var", "moving_variance:0"),
        ] {
            weights.insert(format!("{norm}.{ours}"), read(layer, theirs));
        }
    }
    weights
}

/// The layers `KIND`, `KIND_1`, `KIND_2`, ... in the order of their numbers.
fn in_order<'a>(layers: &'a [Group], kind: &str) -> Vec<&'a Group> {
    let number = |layer: &&Group| match layer.name().strip_prefix(kind)? {
        "" => Some(0),
        suffix => suffix.strip_prefix('_')?.parse::<usize>().ok(),
    };
    let mut numbered: Vec<_> = layers.iter().filter_map(|layer| Some((number(&layer)?, layer))).collect();
    numbered.sort_by_key(|&(number, _)| number);
    numbered.into_iter().map(|(_, layer)| layer).collect()
}

/// Our names for the convolutions, and for the batch normalisations behind them, in the order of creation.
fn convolution_names(convolutions: &[&Group]) -> Vec<(String, Option<String>)> {
    let mut names = Vec::new();
    for scale in 1..=5 {
        for conv in 1..=2 {
            names.push((format!("encoder.{scale}.conv{conv}"), Some(format!("encoder.{scale}.bn{conv}"))));
        }
    }
    // The guide's convolution is the only one of 1x1.
    if shape(convolutions[ENCODER], "kernel:0")[0] == 1 {
        names.push(("cgm".into(), None));
    }
    for node in (1..=4).rev() {
        let branches = (1..=5).map(|source| format!("decoder.{node}.branch{source}"));
        for part in branches.chain([format!("decoder.{node}.fuse")]) {
            names.push((format!("{part}.conv"), Some(format!("{part}.bn"))));
        }
    }
    let heads = convolutions.len() - names.len();
    assert!(heads == 1 || heads == 5, "{heads} heads");
    names.extend((1..=heads).map(|head| (format!("head.{head}"), None)));
    names
}

fn dataset(layer: &Group, name: &str) -> hdf5_reader::Dataset {
    let weights = layer.group(layer.name()).expect("a group of the layer's name in the layer's group");
    weights.dataset(name).unwrap_or_else(|error| panic!("{} {name}: {error}", layer.name()))
}

fn shape(layer: &Group, name: &str) -> Vec<usize> {
    dataset(layer, name).shape().iter().map(|&side| side as usize).collect()
}

fn read(layer: &Group, name: &str) -> Tensor {
    let values = dataset(layer, name).read_array::<f32>().expect("f32 values");
    let values: Vec<f32> = values.iter().copied().collect();
    Tensor::from_vec(values, shape(layer, name), &Device::Cpu).expect("as many values as the shape says")
}
