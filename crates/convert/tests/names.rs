//! Names and shapes: complete, one to one, and what differs is listed.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use unet3p_convert::names::{Naming, infer_architecture, tensor_specs};
use unet3p_models::{CgmGate, Encoder, UNet3PlusConfig, Variant};

const VARIANTS: [Variant; 3] = [Variant::Base, Variant::DeepSupervision, Variant::DeepSupervisionCgm];

/// A network whose scales all have different numbers of channels.
fn small(variant: Variant) -> UNet3PlusConfig {
    let gate = if variant.has_cgm() { CgmGate::Logits } else { CgmGate::Probabilities };
    let config = UNet3PlusConfig::builder().variant(variant).in_channels(2).filters([4, 6, 7, 9, 11]);
    config.cgm_gate(gate).build().unwrap()
}

fn shapes(naming: Naming, config: &UNet3PlusConfig) -> BTreeMap<String, Vec<usize>> {
    tensor_specs(naming, config).into_iter().map(|spec| (spec.source, spec.shape)).collect()
}

#[test]
fn names_are_one_to_one() {
    for variant in VARIANTS {
        let specs = tensor_specs(Naming::Authors, &small(variant));
        let theirs: BTreeSet<_> = specs.iter().map(|spec| &spec.source).collect();
        assert_eq!(theirs.len(), specs.len());
        assert!(specs.iter().all(|spec| !theirs.contains(&spec.name)));
        assert!(specs.iter().all(|spec| Naming::Native.of(&spec.name) == spec.name));
    }
}

#[test]
fn branches_keep_their_sources() {
    let shapes = shapes(Naming::Authors, &small(Variant::Base));
    for (theirs, ours, channels) in [
        ("h1_PT_hd4_conv", "decoder.4.branch1.conv", 4),
        ("h4_Cat_hd4_conv", "decoder.4.branch4.conv", 9),
        ("hd5_UT_hd4_conv", "decoder.4.branch5.conv", 11),
        ("hd4_UT_hd3_conv", "decoder.3.branch4.conv", 20),
        ("h2_PT_hd3_conv", "decoder.3.branch2.conv", 6),
        ("hd5_UT_hd1_conv", "decoder.1.branch5.conv", 11),
        ("hd2_UT_hd1_conv", "decoder.1.branch2.conv", 20),
        ("h1_Cat_hd1_conv", "decoder.1.branch1.conv", 4),
        ("conv2d_1", "decoder.2.fuse.conv", 20),
    ] {
        let weight = format!("{theirs}.weight");
        assert_eq!(Naming::Authors.of(&format!("{ours}.weight")), weight);
        // The number of channels tells the source.
        assert_eq!(shapes[&weight][1], channels, "{theirs}");
    }
}

#[test]
fn configurations_are_read_back() {
    for naming in [Naming::Authors, Naming::Native] {
        for variant in VARIANTS {
            let config = small(variant);
            let mut shapes = shapes(naming, &config);
            shapes.insert("conv1.conv1.1.num_batches_tracked".into(), vec![]);
            assert_eq!(Naming::detect(&shapes), (naming, String::new()));
            assert_eq!(infer_architecture(naming, &shapes), Ok(config));
        }
    }
}

/// A file of our names without its metadata: the shapes tell the encoder as well.
#[test]
fn every_encoder_is_told_by_its_names_and_shapes() {
    for encoder in Encoder::ALL {
        // The second with a downsampling convolution in each stage, the shortcuts being of other channels.
        for filters in [encoder.filters(), vec![4, 8, 16, 20, 24]] {
            for variant in VARIANTS {
                let builder =
                    UNet3PlusConfig::builder().encoder(encoder).filters(filters.clone()).variant(variant);
                let gate = if variant.has_cgm() { CgmGate::Logits } else { CgmGate::Probabilities };
                let config = builder.in_channels(2).cgm_gate(gate).build().unwrap();
                let whole = shapes(Naming::Native, &config);
                assert_eq!(Naming::detect(&whole), (Naming::Native, String::new()), "{encoder}");
                assert_eq!(infer_architecture(Naming::Native, &whole), Ok(config), "{encoder}");
                let prefixed: BTreeMap<_, _> =
                    whole.keys().map(|name| (format!("model.{name}"), ())).collect();
                assert_eq!(Naming::detect(&prefixed), (Naming::Native, "model.".to_string()), "{encoder}");
            }
        }
    }
}

/// Depth and channels are told by names and shapes as well, in files of the authors' names and of ours.
#[test]
fn every_depth_is_told_by_its_names_and_shapes() {
    for encoder in Encoder::ALL {
        for depth in encoder.depths() {
            let filters: Vec<usize> = (1..=depth).map(|i| 4 * i).collect();
            for variant in VARIANTS {
                let gate = if variant.has_cgm() { CgmGate::Logits } else { CgmGate::Probabilities };
                let of = |encoder| {
                    let config = UNet3PlusConfig::builder().encoder(encoder).filters(filters.clone());
                    config.variant(variant).in_channels(4).cgm_gate(gate).build().unwrap()
                };
                // ResNet-50 and ResNet-101 differ from the fourth scale on.
                let is_told = (encoder, depth) != (Encoder::Resnet101, 3);
                let expected = of(if is_told { encoder } else { Encoder::Resnet50 });
                let namings: &[Naming] = if encoder == Encoder::Plain {
                    &[Naming::Native, Naming::Authors]
                } else {
                    &[Naming::Native]
                };
                for &naming in namings {
                    let found = infer_architecture(naming, &shapes(naming, &of(encoder)));
                    assert_eq!(found.as_ref(), Ok(&expected), "{encoder}, {depth} scales, {naming:?}");
                }
            }
        }
    }
}

/// What is wrong is told against the encoder that the file has, not against the authors' names.
#[test]
fn a_fault_is_told_against_the_nearest_encoder() {
    for encoder in Encoder::ALL {
        let config = UNet3PlusConfig::builder().encoder(encoder).build().unwrap();
        let mut shapes = shapes(Naming::Native, &config);
        shapes.remove("decoder.2.fuse.bn.bias");
        let mismatch = infer_architecture(Naming::Native, &shapes).unwrap_err();
        assert_eq!(mismatch.missing, ["decoder.2.fuse.bn.bias"], "{encoder}: {mismatch}");
        assert!(mismatch.left_over.is_empty() && mismatch.misshapen.is_empty(), "{encoder}: {mismatch}");
    }
}

#[test]
fn every_missing_name_is_listed() {
    for variant in VARIANTS {
        let whole = shapes(Naming::Authors, &small(variant));
        for name in whole.keys() {
            let mut shapes = whole.clone();
            shapes.remove(name);
            let mismatch = infer_architecture(Naming::Authors, &shapes).unwrap_err();
            // Without the weight by which a variant is told, its bias is what is left over.
            let left = mismatch.left_over.contains(&name.replace("weight", "bias"));
            assert!(mismatch.missing.contains(name) || left, "{name}: {mismatch}");
        }
    }
}

#[test]
fn what_differs_is_listed_together() {
    let mut shapes = shapes(Naming::Authors, &small(Variant::DeepSupervision));
    shapes.remove("bn3d_1.running_var");
    shapes.remove("outconv4.bias");
    shapes.insert("extra.weight".into(), vec![1]);
    shapes.insert("h1_PT_hd4_conv.weight".into(), vec![4, 5, 3, 3]);
    let mismatch = infer_architecture(Naming::Authors, &shapes).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "its tensors are not those of a UNet 3+; 2 missing: bn3d_1.running_var, outconv4.bias; \
         1 left over: extra.weight; 1 of another shape (kernels as [output, input, height, width]): h1_PT_hd4_conv.weight is [4, 5, 3, 3], not [4, 4, 3, 3]"
    );
}

#[test]
fn impossible_shapes_are_listed() {
    let whole = shapes(Naming::Authors, &small(Variant::Base));
    for shape in [vec![], vec![4], vec![usize::MAX, 0, 3, 3], vec![0, 0, 0, 0], vec![0, 0, 3, 3]] {
        for name in ["conv1.conv1.0.weight", "conv4.conv1.0.weight", "outconv1.weight"] {
            let mut shapes = whole.clone();
            shapes.insert(name.into(), shape.clone());
            let mismatch = infer_architecture(Naming::Authors, &shapes).unwrap_err();
            assert!(!mismatch.misshapen.is_empty(), "{name} {shape:?}: {mismatch}");
        }
    }
    let nothing = infer_architecture(Naming::Authors, &BTreeMap::new()).unwrap_err();
    assert_eq!(nothing.missing.len(), whole.len());
}
