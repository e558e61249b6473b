//! Names and shapes: complete, one to one, and what differs is listed.

use std::collections::{BTreeMap, BTreeSet};

use unet3p_hub::names::{Architecture, Naming, TensorSpec, infer_architecture, tensor_specs};
use unet3p_models::Variant;

const VARIANTS: [Variant; 3] = [Variant::Base, Variant::DeepSupervision, Variant::DeepSupervisionCgm];

fn small(variant: Variant) -> Architecture {
    Architecture { variant, in_channels: 2, num_classes: 3, filters: [4, 6, 7, 9, 11] }
}

fn shapes(specs: &[TensorSpec]) -> BTreeMap<String, Vec<usize>> {
    let pairs = specs.iter();
    pairs.map(|spec| (spec.source.clone(), spec.shape.clone())).collect()
}

#[test]
fn parameters_are_those_of_the_paper() {
    let paper = [64, 128, 256, 512, 1024];
    let quarter = paper.map(|f| f / 4);
    let expected =
        [(paper, [26_971_777, 26_989_637, 26_991_687]), (quarter, [1_690_273, 1_694_741, 1_695_255])];
    for (filters, counts) in expected {
        for (variant, count) in VARIANTS.into_iter().zip(counts) {
            let architecture = Architecture { variant, in_channels: 3, num_classes: 1, filters };
            let parameters: usize = tensor_specs(Naming::Authors, &architecture)
                .iter()
                .filter(|spec| !spec.name.contains("running_"))
                .map(|spec| spec.shape.iter().product::<usize>())
                .sum();
            assert_eq!(parameters, count, "{variant:?} {filters:?}");
        }
    }
}

#[test]
fn names_are_one_to_one() {
    for variant in VARIANTS {
        let specs = tensor_specs(Naming::Authors, &small(variant));
        let ours: BTreeSet<_> = specs.iter().map(|spec| &spec.name).collect();
        let theirs: BTreeSet<_> = specs.iter().map(|spec| &spec.source).collect();
        assert_eq!((ours.len(), theirs.len()), (specs.len(), specs.len()));
        for spec in tensor_specs(Naming::Native, &small(variant)) {
            assert_eq!(spec.name, spec.source);
            assert!(ours.contains(&spec.name), "{}", spec.name);
        }
    }
}

#[test]
fn branches_keep_their_sources() {
    let specs = tensor_specs(Naming::Authors, &small(Variant::Base));
    // The shape tells the source: scales have different numbers of channels.
    for (source, name, channels) in [
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
        let weight = format!("{source}.weight");
        let spec = specs.iter().find(|spec| spec.source == weight).unwrap();
        assert_eq!(spec.name, format!("{name}.weight"));
        assert_eq!(spec.shape[1], channels, "{source}");
    }
}

#[test]
fn architectures_are_read_back() {
    for naming in [Naming::Authors, Naming::Native] {
        for variant in VARIANTS {
            let architecture = small(variant);
            let mut shapes = shapes(&tensor_specs(naming, &architecture));
            shapes.insert("conv1.conv1.1.num_batches_tracked".into(), vec![]);
            assert_eq!(infer_architecture(naming, &shapes), Ok(architecture));
        }
    }
}

#[test]
fn every_missing_name_is_listed() {
    for variant in VARIANTS {
        let specs = tensor_specs(Naming::Authors, &small(variant));
        let whole = shapes(&specs);
        for name in whole.keys() {
            let mut shapes = whole.clone();
            shapes.remove(name);
            match infer_architecture(Naming::Authors, &shapes) {
                // Without the weight by which a variant is told, its bias is what is left over.
                Err(mismatch) => assert!(
                    mismatch.missing.contains(name)
                        || mismatch.left_over.contains(&name.replace("weight", "bias")),
                    "{name}: {mismatch}"
                ),
                Ok(found) => panic!("{name}: {found:?}"),
            }
        }
    }
}

#[test]
fn what_differs_is_listed_together() {
    let mut shapes = shapes(&tensor_specs(Naming::Authors, &small(Variant::DeepSupervision)));
    shapes.remove("bn3d_1.running_var");
    shapes.remove("outconv4.bias");
    shapes.insert("extra.weight".into(), vec![1]);
    shapes.insert("h1_PT_hd4_conv.weight".into(), vec![4, 5, 3, 3]);
    let mismatch = infer_architecture(Naming::Authors, &shapes).unwrap_err();
    assert_eq!(mismatch.missing, ["bn3d_1.running_var", "outconv4.bias"]);
    assert_eq!(mismatch.left_over, ["extra.weight"]);
    assert_eq!(mismatch.wrong_shape.len(), 1);
    let text = mismatch.to_string();
    for part in [
        "2 missing: bn3d_1.running_var, outconv4.bias",
        "1 left over: extra.weight",
        "h1_PT_hd4_conv.weight is [4, 5, 3, 3] instead of [4, 4, 3, 3]",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn impossible_shapes_are_listed() {
    let whole = shapes(&tensor_specs(Naming::Authors, &small(Variant::Base)));
    for shape in [vec![], vec![4], vec![usize::MAX, 0, 3, 3], vec![0, 0, 0, 0]] {
        let mut shapes = whole.clone();
        shapes.insert("conv1.conv1.0.weight".into(), shape.clone());
        let mismatch = infer_architecture(Naming::Authors, &shapes).unwrap_err();
        assert!(!mismatch.wrong_shape.is_empty(), "{shape:?}: {mismatch}");
    }
    let nothing = infer_architecture(Naming::Authors, &BTreeMap::new()).unwrap_err();
    assert_eq!(nothing.missing.len(), whole.len());
}
