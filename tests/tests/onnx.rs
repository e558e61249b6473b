//! Exported networks, read back and evaluated node by node, against the networks themselves. What other runtimes make of
//! them is checked by scripts/check_onnx.py.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{D, DType, Device, Tensor};
use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_convert::onnx::proto::{FLOAT, Graph, Model, Node, Side};
use unet3p_convert::onnx::{OnnxError, OnnxOptions, export};
use unet3p_core::Backend;
use unet3p_core::ops::{Window, max_pool2d, upsample_bilinear2d};
use unet3p_models::{
    Activation, CgmGate, Encoder, Predictor, UNet3Plus, UNet3PlusConfig, UNet3PlusConfigBuilder, Variant,
};
use unet3p_tests::{OUTPUT_BUDGET, relative_error};

/// Evaluates a graph by Candle's operations.
fn evaluate(graph: &Graph, image: &Tensor) -> HashMap<String, Tensor> {
    let mut values: HashMap<String, Tensor> = HashMap::from([("image".to_owned(), image.clone())]);
    for constant in &graph.initializer {
        let dtype = if constant.data_type == FLOAT { DType::F32 } else { DType::I64 };
        let dims: Vec<usize> = constant.dims.iter().map(|&side| side as usize).collect();
        let tensor = Tensor::from_raw_buffer(&constant.raw_data, dtype, &dims, &Device::Cpu).unwrap();
        values.insert(constant.name.clone(), tensor);
    }
    for node in &graph.node {
        let operands: Vec<&Tensor> = node.input.iter().filter_map(|name| values.get(name)).collect();
        assert_eq!(
            operands.len(),
            node.input.iter().filter(|name| !name.is_empty()).count(),
            "{}",
            node.name
        );
        let result = compute(node, &operands).unwrap_or_else(|error| panic!("{}: {error}", node.name));
        assert!(values.insert(node.output[0].clone(), result).is_none(), "{} twice", node.output[0]);
    }
    values
}

fn compute(node: &Node, x: &[&Tensor]) -> candle_core::Result<Tensor> {
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name).unwrap();
    let first = |name: &str| attribute(name).ints[0] as usize;
    let column = |values: &Tensor| values.reshape((1, (), 1, 1));
    match node.op_type.as_str() {
        "Conv" => {
            let y = x[0].conv2d(x[1], first("pads"), first("strides"), 1, 1)?;
            x.get(2).map_or(Ok(y.clone()), |bias| y.broadcast_add(&column(bias)?))
        }
        "BatchNormalization" => {
            let eps = f64::from(attribute("epsilon").f);
            let scale = (x[1] / (x[4] + eps)?.sqrt()?)?;
            let shift = (x[2] - (x[3] * &scale)?)?;
            x[0].broadcast_mul(&column(&scale)?)?.broadcast_add(&column(&shift)?)
        }
        "MaxPool" => {
            let window =
                Window { side: first("kernel_shape"), stride: first("strides"), padding: first("pads") };
            max_pool2d(Backend::Candle, x[0], window)
        }
        "Resize" => {
            assert_eq!(attribute("mode").s, b"linear");
            assert_eq!(attribute("coordinate_transformation_mode").s, b"half_pixel");
            let scales = x[1].to_vec1::<f32>()?;
            assert_eq!((scales[0], scales[1], scales[2]), (1.0, 1.0, scales[3]));
            upsample_bilinear2d(Backend::Candle, x[0], scales[2] as usize)
        }
        "Relu" => x[0].relu(),
        "Add" => x[0] + x[1],
        "Mul" => x[0].broadcast_mul(x[1]),
        "Concat" => Tensor::cat(x, 1),
        "Sigmoid" => (x[0].neg()?.exp()? + 1.0)?.recip(),
        "Softmax" => {
            let exponentials = x[0].broadcast_sub(&x[0].max_keepdim(1)?)?.exp()?;
            exponentials.broadcast_div(&exponentials.sum_keepdim(1)?)
        }
        "Identity" => Ok(x[0].clone()),
        "GlobalMaxPool" => x[0].max_keepdim(D::Minus1)?.max_keepdim(D::Minus2),
        "Flatten" => x[0].flatten_from(1),
        "Gather" => x[0].contiguous()?.index_select(x[1], 1),
        "Greater" => x[0].gt(x[1]),
        "Cast" => x[0].to_dtype(DType::F32),
        other => candle_core::bail!("no operator {other}"),
    }
}

fn check(what: &str, config: UNet3PlusConfigBuilder, options: OnnxOptions) {
    let config = config.build().unwrap();
    let model = UNet3Plus::init(&config, 5, DType::F32, &Device::Cpu).unwrap();
    if !config.variant.has_cgm() {
        return compare(what, &model, options);
    }
    let parameters = model.parameters().all();
    let (_, bias) = parameters.iter().find(|(name, _)| name == "cgm.bias").unwrap();
    for (gate, logits) in [("open", [-9f32, 9.0]), ("closed", [9.0, -9.0])] {
        bias.set(&Tensor::new(&logits, &Device::Cpu).unwrap()).unwrap();
        compare(&format!("{what}, {gate}"), &model, options);
    }
}

fn compare(what: &str, model: &UNet3Plus, options: OnnxOptions) {
    let config = model.config();
    let exported = Model::decode(export(model, &options, &[("note", "a test")]).unwrap().as_slice()).unwrap();
    let graph = exported.graph.as_ref().unwrap();
    let metadata: Vec<_> = exported.metadata_props.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(metadata, ["config", "note"]);
    assert_eq!(&UNet3PlusConfig::from_json(&exported.metadata_props[0].value).unwrap(), config);

    let (batch, [height, width]) =
        (if options.size.is_some() { 1 } else { 2 }, options.size.unwrap_or([32, 64]));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let count = batch * config.in_channels * height * width;
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-2.0..2.0)).collect();
    let image = Tensor::from_vec(values, (batch, config.in_channels, height, width), &Device::Cpu).unwrap();
    let values = evaluate(graph, &image);
    let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let (heads, presence) = if options.logits {
        let found = model.all_logits(&image).unwrap();
        (found.heads, found.presence)
    } else {
        let found = model.predict_all(&image).unwrap();
        (found.probabilities, found.presence)
    };
    let kept = if options.all_heads { heads.len() } else { 1 };
    assert_eq!(names.len(), kept + usize::from(presence.is_some()), "{what}: {names:?}");
    for (name, want) in names.iter().zip(heads.iter().take(kept).chain(&presence)) {
        let error = relative_error(&values[*name], want);
        assert!(error <= OUTPUT_BUDGET, "{what}, {name}: {error:e}");
    }
}

fn small() -> UNet3PlusConfigBuilder {
    UNet3PlusConfig::builder().base_filters(4)
}

#[test]
fn graphs_compute_what_the_networks_compute() {
    let all = OnnxOptions { all_heads: true, ..OnnxOptions::default() };
    let fixed = OnnxOptions { size: Some([48, 32]), ..OnnxOptions::default() };
    check("base", small().in_channels(1), fixed);
    check("softmax", small().num_classes(3).activation(Activation::Softmax), all);
    check("deep supervision", small().variant(Variant::DeepSupervision).num_classes(2), all);
    let cgm = || small().variant(Variant::DeepSupervisionCgm);
    check("gated probabilities", cgm(), all);
    check("gated logits", cgm().cgm_gate(CgmGate::Logits), fixed);
    check("logits", cgm(), OnnxOptions { logits: true, ..all });
    check("an eps of Keras", small().batch_norm_eps(1e-3), OnnxOptions::default());
}

#[test]
fn graphs_of_other_depths() {
    let all = OnnxOptions { all_heads: true, ..OnnxOptions::default() };
    for variant in [Variant::Base, Variant::DeepSupervision, Variant::DeepSupervisionCgm] {
        for filters in [vec![4, 6, 8], vec![4, 6, 8, 12], vec![2, 4, 4, 6, 6, 8]] {
            let what = format!("{variant} of {} scales", filters.len());
            check(&what, small().filters(filters).variant(variant).in_channels(4), all);
        }
    }
}

#[test]
fn graphs_of_other_encoders() {
    for encoder in [Encoder::Vgg11Bn, Encoder::Resnet34] {
        let config = UNet3PlusConfig::builder().encoder(encoder).base_filters(4);
        check(&encoder.to_string(), config.variant(Variant::DeepSupervision), OnnxOptions::default());
    }
}

#[test]
fn inputs_and_outputs_say_their_shapes() {
    let model = UNet3Plus::init(&small().build().unwrap(), 1, DType::F32, &Device::Cpu).unwrap();
    let sides = |options: &OnnxOptions| -> Vec<Vec<Side>> {
        let exported = Model::decode(export(&model, options, &[]).unwrap().as_slice()).unwrap();
        let graph = exported.graph.unwrap();
        let values = graph.input.into_iter().chain(graph.output);
        let shape = |value: unet3p_convert::onnx::proto::Value| value.r#type?.tensor_type?.shape;
        values
            .map(|value| shape(value).unwrap().dim.into_iter().map(|d| d.value.unwrap()).collect())
            .collect()
    };
    let fixed = |n| Side::Fixed(n);
    let named = |name: &str| Side::Named(name.to_owned());
    let size = Some([32, 48]);
    assert_eq!(
        sides(&OnnxOptions { size, ..OnnxOptions::default() }),
        [[1, 3, 32, 48].map(fixed).to_vec(), [1, 1, 32, 48].map(fixed).to_vec()]
    );
    let free = |channels| vec![named("batch"), fixed(channels), named("height"), named("width")];
    assert_eq!(sides(&OnnxOptions::default()), [free(3), free(1)]);
}

#[test]
fn what_cannot_be_exported_is_an_error() {
    let model = UNet3Plus::init(&small().build().unwrap(), 1, DType::F32, &Device::Cpu).unwrap();
    let refused = |options: OnnxOptions| export(&model, &options, &[]).unwrap_err();
    let opset = refused(OnnxOptions { opset: 12, ..OnnxOptions::default() });
    assert!(matches!(opset, OnnxError::Opset { opset: 12 }), "{opset}");
    let size = refused(OnnxOptions { size: Some([32, 40]), ..OnnxOptions::default() });
    assert!(size.to_string().contains("32x40") && size.to_string().contains("multiples of 16"), "{size}");
}
