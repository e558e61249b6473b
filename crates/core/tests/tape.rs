//! What a training pass on blocked maps refuses: errors, not panics of the kernels behind it.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use candle_core::{DType, Device, Result, Tensor};
use unet3p_core::ops::{max_pool2d, upsample_bilinear2d};
use unet3p_core::training::{Map, MapMemory, Tape};
use unet3p_core::{BatchNormOptions, ConvBlock, Execution, FullScaleSkip, Parameters, SegmentationHead};

fn ones(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap()
}

fn tape(shape: &[usize]) -> Result<(Tape, Map)> {
    Tape::new(&ones(shape), &MapMemory::default())
}

fn block(inputs: usize, outputs: usize, parameters: &Parameters) -> ConvBlock {
    let options = BatchNormOptions::default();
    ConvBlock::new(inputs, outputs, 1, options, Execution::Kernels, parameters.builder()).unwrap()
}

#[track_caller]
fn refused<T>(result: Result<T>, message: &str) {
    let Err(error) = result else { panic!("accepted, where {message:?} was to be said") };
    assert!(error.to_string().contains(message), "{error} does not say {message:?}");
}

#[test]
fn empty_and_other_batches() {
    for shape in [[0, 3, 8, 8], [1, 0, 8, 8], [1, 3, 0, 8], [1, 3, 8, 0]] {
        refused(tape(&shape), "an empty batch");
        let (mut tape, _) = tape(&[1, 3, 8, 8]).unwrap();
        refused(tape.input(&ones(&shape)), "in a training pass over 1 images");
        for execution in [Execution::Kernels, Execution::Composition] {
            refused(max_pool2d(execution, &ones(&shape), 2), "an empty input");
        }
    }
    let (mut tape, _) = tape(&[1, 3, 8, 8]).unwrap();
    refused(tape.input(&ones(&[2, 3, 8, 8])), "in a training pass over 1 images");
}

#[test]
fn pools_that_do_not_fit() {
    let (mut tape, x) = tape(&[1, 3, 8, 8]).unwrap();
    for levels in [4, 31, 32, 63, 64, usize::MAX] {
        refused(tape.max_pools(&x, levels), "sides must be multiples");
    }
}

#[test]
fn layers_that_do_not_fit() {
    let parameters = Parameters::init(1, DType::F32, &Device::Cpu);
    let block = block(3, 4, &parameters);
    let (mut tape, x) = tape(&[2, 3, 8, 8]).unwrap();
    for scale in [0, 1 << 61, usize::MAX] {
        refused(block.forward_on_tape(&mut tape, &x, scale, None), "upsampling of a 8x8 map by a factor of");
        for execution in [Execution::Kernels, Execution::Composition] {
            refused(upsample_bilinear2d(execution, &ones(&[2, 3, 8, 8]), scale), "by a factor of");
        }
    }
    let small = tape.input(&ones(&[2, 4, 4, 4])).unwrap();
    let many = tape.input(&ones(&[2, 40, 8, 8])).unwrap();
    for slot in [small.clone(), many, x.clone()] {
        refused(block.forward_on_tape(&mut tape, &x, 1, Some(slot)), "into a slot");
    }
    refused(block.forward_on_tape(&mut tape, &small, 1, None), "for an input of 4 channels");
    let options = BatchNormOptions::default();
    let head = SegmentationHead::new(4, 2, 1, Execution::Kernels, parameters.builder().pp("head")).unwrap();
    refused(head.forward_on_tape(&mut tape, &x), "for an input of 3 channels");
    let skip = parameters.builder().pp("skip");
    let skip = FullScaleSkip::new(1, &[3, 4], 4, options, Execution::Kernels, skip).unwrap();
    // the second source has to be half as large as the first
    let same = tape.input(&ones(&[2, 4, 8, 8])).unwrap();
    refused(skip.forward_on_tape(&mut tape, &[&x, &same]), "into a slot");
}

/// Passes over batches of other sizes share their memory.
#[test]
fn passes_at_the_same_time_keep_their_maps_apart() {
    let parameters = Parameters::init(1, DType::F32, &Device::Cpu);
    let (block, memory) = (block(3, 4, &parameters), MapMemory::default());
    let step = |images: usize| {
        let (mut tape, x) = Tape::new(&ones(&[images, 3, 8, 8]), &memory).unwrap();
        let y = block.forward_on_tape(&mut tape, &x, 1, None).unwrap();
        tape.dense(&y);
        tape
    };
    let (one, two) = (step(1), step(2));
    drop(one);
    let three = step(2);
    for tape in [two, three] {
        let y = tape.finish().unwrap().remove(0);
        assert_eq!(y.dims(), [2, 4, 8, 8]);
        y.sum_all().unwrap().backward().unwrap();
    }
}
