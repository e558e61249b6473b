//! Training passes on blocked maps: what they refuse, as errors and not panics of the kernels behind them, and that passes
//! at the same time keep apart.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use candle_core::{DType, Device, Result, Tensor};
use unet3p_core::graph::{Conv, Graph, GraphModule, NodeId};
use unet3p_core::ops::{max_pool2d, upsample_bilinear2d};
use unet3p_core::{Backend, Parameters, conv_block};

fn ones(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap()
}

/// A graph on an image of three channels.
fn module(build: impl Fn(&mut Graph, NodeId) -> NodeId) -> (GraphModule, NodeId) {
    let mut graph = Graph::default();
    let x = graph.input("x", 3, 1);
    let output = build(&mut graph, x);
    let parameters = Parameters::init(1, DType::F32, &Device::Cpu);
    (GraphModule::new(graph, parameters.builder()).unwrap(), output)
}

#[track_caller]
fn refused<T>(result: Result<T>, message: &str) {
    let Err(error) = result else { panic!("accepted, where {message:?} was to be said") };
    assert!(error.to_string().contains(message), "{error} does not say {message:?}");
}

#[test]
fn empty_and_other_batches() {
    let (module, y) = module(|graph, x| conv_block(graph, "", x, 4, 1));
    for shape in [[0, 3, 8, 8], [1, 0, 8, 8], [1, 3, 0, 8], [1, 3, 8, 0]] {
        refused(module.forward_on_tape(&ones(&shape), &[y]), "an empty batch");
        for backend in [Backend::Kernels, Backend::Candle] {
            refused(max_pool2d(backend, &ones(&shape), 2), "an empty input");
        }
    }
    refused(module.forward_on_tape(&ones(&[1, 4, 8, 8]), &[y]), "for an input of 4 channels");
}

#[test]
fn sizes_that_do_not_fit() {
    for halvings in [4, 31] {
        let (pooled, y) = module(|graph, x| {
            let x = conv_block(graph, "", x, 4, 1);
            let pooled: Vec<NodeId> = (1..=halvings).map(|i| graph.max_pool("pool", x, 1 << i)).collect();
            pooled[halvings - 1]
        });
        refused(pooled.forward_on_tape(&ones(&[1, 3, 8, 8]), &[y]), "sides must be multiples");
    }
    for scale in [1 << 61, usize::MAX] {
        let (upsampled, y) = module(|graph, x| {
            let mut x = conv_block(graph, "one", x, 4, 1);
            x = graph.upsample("up", x, scale);
            graph.conv("conv", x, Conv::new(4, 4, 3).batch_norm("bn").relu())
        });
        refused(
            upsampled.forward_on_tape(&ones(&[2, 3, 8, 8]), &[y]),
            "upsampling of a 8x8 map by a factor of",
        );
        for backend in [Backend::Kernels, Backend::Candle] {
            refused(upsample_bilinear2d(backend, &ones(&[2, 3, 8, 8]), scale), "by a factor of");
        }
    }
}

/// What the tape has no operation for is computed behind it, and gradients flow through both.
#[test]
fn the_rest_of_a_graph_runs_on_tensors() {
    let (module, y) = module(|graph, x| {
        let one = conv_block(graph, "one", x, 4, 1);
        let other = graph.conv("other", one, Conv::new(4, 5, 1).relu());
        graph.concat("both", &[one, other])
    });
    let x = Tensor::arange(0f32, 192.0, &Device::Cpu).unwrap().sin().unwrap().reshape((1, 3, 8, 8)).unwrap();
    let on_tape = module.forward_on_tape(&x, &[y]).unwrap().remove(0);
    let on_tensors = module.forward_t(&[&x], &[y], true).unwrap().remove(0);
    let gradients = [&on_tape, &on_tensors].map(|y| y.sqr().unwrap().sum_all().unwrap().backward().unwrap());
    for (name, variable) in module.variables().iter().filter(|(name, _)| !name.contains("running")) {
        let [a, b] = [&gradients[0], &gradients[1]]
            .map(|gradients| gradients.get(variable.as_tensor()).unwrap().to_dtype(DType::F64).unwrap());
        let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
        // the bias before batch normalisation has no gradient but for rounding
        let budget = if name == "one.conv.bias" { 1e-4 } else { 1e-5 * norm(&b) };
        assert!(norm(&(&a - &b).unwrap()) <= budget, "{name}: {a} {b}");
    }
}

/// Passes over batches of other sizes share their memory.
#[test]
fn passes_at_the_same_time_keep_their_maps_apart() {
    let (module, y) = module(|graph, x| conv_block(graph, "", x, 4, 1));
    let step = |images: usize| module.forward_on_tape(&ones(&[images, 3, 8, 8]), &[y]).unwrap().remove(0);
    let (one, two) = (step(1), step(2));
    drop(one);
    let three = step(2);
    for y in [two, three] {
        assert_eq!(y.dims(), [2, 4, 8, 8]);
        y.sum_all().unwrap().backward().unwrap();
    }
}
