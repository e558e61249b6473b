//! Every operation and block on the CPU kernels and as a composition, on whatever device: equal values, and gradients
//! equal to central differences in f64; ties and kinks against written-out values.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use candle_core::{DType, Device, ModuleT, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_core::ops::*;
use unet3p_core::{
    Backend, ClassificationGuidedModule, ConvBlock, FullScaleSkip, Parameters, ResidualBlock, ResidualShape,
    ResidualStem, SegmentationHead,
};
use unet3p_tests::{device, device_of};

const BOTH: [Backend; 2] = [Backend::Kernels, Backend::Candle];
/// Step of the central differences: truncation is of order STEP^2 = 1e-10, rounding of order 1e-16 / STEP.
const STEP: f64 = 1e-5;
/// Error allowed, relative to the largest derivative of the operand (or 1): fifty times the above.
const DIFFERENCE_BUDGET: f64 = 5e-8;
/// Error allowed between the two implementations in f64: rounding of sums of a few thousand terms.
const EQUALITY_BUDGET: f64 = 1e-12;
/// Error allowed between the two implementations in f32: rounding through four normalised layers.
const SINGLE_BUDGET: f64 = 1e-5;

fn noise(rng: &mut ChaCha8Rng, shape: &[usize]) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// `tensor` where an backend is tested.
fn moved(tensor: &Tensor, backend: Backend) -> Tensor {
    tensor.to_device(&device_of(backend)).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_device(&Device::Cpu)
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

#[track_caller]
fn assert_close(what: &str, got: &[f64], want: &[f64], budget: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= budget * scale, "{what}, element {i}: {got} instead of {want}");
    }
}

/// Checks `f` at `operands`, in both implementations.
#[track_caller]
fn check(what: &str, operands: &[Tensor], f: impl Fn(Backend, &[Tensor]) -> Result<Tensor>) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let apply = |backend: Backend, operands: &[Tensor]| {
        let operands: Vec<Tensor> = operands.iter().map(|x| moved(x, backend)).collect();
        f(backend, &operands).unwrap()
    };
    let [one, two] = BOTH.map(|backend| apply(backend, operands));
    assert_eq!(one.dims(), two.dims(), "{what}");
    assert_close(&format!("{what}: values"), &values(&one), &values(&two), EQUALITY_BUDGET);
    // a random projection makes a scalar of the result
    let weights = noise(&mut rng, one.dims());
    let project = |backend, y: Tensor| (y * &moved(&weights, backend)).unwrap().sum_all().unwrap();
    let scalar =
        |backend, operands: &[Tensor]| project(backend, apply(backend, operands)).to_scalar::<f64>().unwrap();
    for backend in BOTH {
        let variables: Vec<Var> =
            operands.iter().map(|x| Var::from_tensor(&moved(x, backend)).unwrap()).collect();
        let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
        let gradients = project(backend, f(backend, &tensors).unwrap()).backward().unwrap();
        for (i, operand) in operands.iter().enumerate() {
            let got = values(gradients.get(&tensors[i]).expect("a gradient"));
            let base = values(operand);
            let want: Vec<f64> = (0..base.len())
                .map(|element| {
                    let at = |delta: f64| {
                        let mut moved = base.clone();
                        moved[element] += delta;
                        let mut operands = operands.to_vec();
                        operands[i] = Tensor::from_vec(moved, operand.dims(), &Device::Cpu).unwrap();
                        scalar(backend, &operands)
                    };
                    (at(STEP) - at(-STEP)) / (2.0 * STEP)
                })
                .collect();
            assert_close(&format!("{what}, {backend:?}, operand {i}"), &got, &want, DIFFERENCE_BUDGET);
        }
    }
}

#[test]
fn convolution() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for [batch, inputs, outputs, height, width, k] in
        [[2, 3, 2, 4, 5, 3], [1, 1, 1, 1, 1, 3], [2, 2, 3, 3, 1, 1], [1, 2, 1, 1, 6, 3]]
    {
        let operands = [
            noise(&mut rng, &[batch, inputs, height, width]),
            noise(&mut rng, &[outputs, inputs, k, k]),
            noise(&mut rng, &[outputs]),
        ];
        check("conv2d", &operands, |e, x| conv2d(e, &x[0], &x[1], Some(&x[2])));
        check("conv2d without bias", &operands[..2], |e, x| conv2d(e, &x[0], &x[1], None));
    }
}

/// With a stride, as written out: every second row and column of the convolution without.
#[test]
fn convolution_with_a_stride() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    for [inputs, outputs, height, width, kernel, stride] in
        [[2, 3, 4, 6, 1, 2], [2, 2, 4, 4, 3, 2], [1, 2, 6, 2, 7, 2], [2, 1, 3, 6, 5, 3], [1, 1, 3, 4, 3, 1]]
    {
        let operands = [
            noise(&mut rng, &[2, inputs, height, width]),
            noise(&mut rng, &[outputs, inputs, kernel, kernel]),
        ];
        check("conv2d_strided", &operands, |e, x| conv2d_strided(e, &x[0], &x[1], stride));
        let got = conv2d_strided(Backend::Kernels, &operands[0], &operands[1], stride).unwrap();
        let all = operands[0].conv2d(&operands[1], kernel / 2, 1, 1, 1).unwrap();
        let pick = |n: usize| Tensor::arange_step(0u32, n as u32, stride as u32, &Device::Cpu).unwrap();
        let want = all.index_select(&pick(height), 2).unwrap().index_select(&pick(width), 3).unwrap();
        assert_eq!(got.dims(), want.dims());
        assert_close("conv2d_strided", &values(&got), &values(&want), EQUALITY_BUDGET);
    }
}

/// A view with strides and an offset goes in like any tensor.
#[test]
fn convolution_of_a_view() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let operands = [noise(&mut rng, &[2, 5, 6, 4]), noise(&mut rng, &[2, 3, 3, 3])];
    check("conv2d of a view", &operands, |e, x| {
        conv2d(e, &x[0].narrow(1, 1, 3)?.transpose(2, 3)?, &x[1], None)
    });
}

#[test]
fn max_pooling() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for (k, height, width) in [(2, 4, 6), (2, 5, 7), (4, 4, 8), (8, 8, 9), (16, 16, 16)] {
        let x = [noise(&mut rng, &[2, 2, height, width])];
        check("max_pool2d", &x, |e, x| max_pool2d(e, &x[0], k));
    }
    let overlapping = Window { side: 3, stride: 2, padding: 1 };
    for [height, width] in [[4, 6], [2, 2], [1, 5]] {
        let x = [noise(&mut rng, &[2, 2, height, width])];
        check("overlapping max_pool2d", &x, |e, x| max_pool2d(e, &x[0], overlapping));
    }
    check("global_max_pool", &[noise(&mut rng, &[3, 2, 3, 4])], |_, x| global_max_pool(&x[0]));
}

#[test]
fn upsampling() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (scale, height, width) in [(2, 3, 4), (4, 2, 1), (8, 1, 2), (16, 1, 1), (3, 2, 3)] {
        let x = [noise(&mut rng, &[2, 2, height, width])];
        check("upsample_bilinear2d", &x, |e, x| upsample_bilinear2d(e, &x[0], scale));
        let operands =
            [noise(&mut rng, &[2, 3, height, width]), noise(&mut rng, &[2, 3, 3, 3]), noise(&mut rng, &[2])];
        check("upsample_conv2d", &operands, |e, x| upsample_conv2d(e, &x[0], scale, &x[1], &x[2]));
    }
}

#[test]
fn normalisation() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let operands = [noise(&mut rng, &[2, 3, 3, 2]), noise(&mut rng, &[3]), noise(&mut rng, &[3])];
    let fixed =
        BatchStatistics { mean: noise(&mut rng, &[3]), variance: (noise(&mut rng, &[3]) + 1.5).unwrap() };
    for fixed in [None, Some(&fixed)] {
        let fixed =
            |e| fixed.map(|f| BatchStatistics { mean: moved(&f.mean, e), variance: moved(&f.variance, e) });
        check("batch_norm", &operands, |e, x| {
            batch_norm(e, &x[0], &x[1], &x[2], 1e-3, fixed(e).as_ref()).map(|(y, _)| y)
        });
        check("batch_norm_relu", &operands, |e, x| {
            batch_norm_relu(e, &x[0], &x[1], &x[2], 1e-3, fixed(e).as_ref()).map(|(y, _)| y)
        });
    }
    let [one, two] = BOTH.map(|backend| batch_statistics(backend, &moved(&operands[0], backend)).unwrap());
    assert_close("mean", &values(&one.mean), &values(&two.mean), EQUALITY_BUDGET);
    assert_close("variance", &values(&one.variance), &values(&two.variance), EQUALITY_BUDGET);
}

#[test]
fn dropout_scales_what_it_keeps_and_repeats() {
    let x = Tensor::ones((4, 1000), DType::F64, &Device::Cpu).unwrap();
    let draw = |seed| values(&dropout(&x, 0.25, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap());
    let kept = draw(1).iter().filter(|&&v| v != 0.0).count();
    assert!(draw(1).iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-7));
    // 4000 draws with probability 0.75 spread by sqrt(4000 * 0.75 * 0.25) = 27; five times that
    assert!(kept.abs_diff(3000) < 137, "{kept}");
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    check("dropout", &[noise(&mut rng, &[5, 4])], |_, x| {
        dropout(&x[0], 0.5, &mut ChaCha8Rng::seed_from_u64(3))
    });
}

/// One tensor feeds several operations: their gradients add up.
#[test]
fn several_consumers() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let operands = [noise(&mut rng, &[2, 2, 4, 4]), noise(&mut rng, &[2, 2, 3, 3])];
    check("shared source", &operands, |e, x| {
        let pooled = upsample_bilinear2d(e, &max_pool2d(e, &x[0], 2)?, 2)?;
        let convolved = conv2d(e, &x[0], &x[1], None)?;
        conv2d(
            e,
            &Tensor::cat(&[&pooled, &convolved, &x[0]], 1)?,
            &Tensor::cat(&[&x[1], &x[1], &x[1]], 1)?,
            None,
        )
    });
}

fn gradient_of(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Vec<f64> {
    let variable = Var::from_tensor(x).unwrap();
    let gradients = f(variable.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
    values(gradients.get(variable.as_tensor()).unwrap())
}

#[test]
fn ties_and_kinks() {
    let x = Tensor::new(&[1.0f64, 2.0, 5.0, 5.0, 2.0, 2.0, 5.0, 5.0], &Device::Cpu).unwrap();
    let x = x.reshape((1, 1, 2, 4)).unwrap();
    for backend in BOTH {
        let gradient = gradient_of(&moved(&x, backend), |x| max_pool2d(backend, x, 2));
        assert_eq!(gradient, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], "{backend:?}");
    }
    assert_eq!(
        gradient_of(&x.to_device(&device()).unwrap(), global_max_pool),
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    );
    // with mean 0, variance 1, gamma 1 and beta 0 the values pass unchanged: the ReLU's derivative at 0 is 0
    let x = Tensor::new(&[-1.0f64, 0.0, 1.0, -0.0], &Device::Cpu).unwrap().reshape((1, 1, 2, 2)).unwrap();
    for backend in BOTH {
        let x = moved(&x, backend);
        let one = Tensor::ones(1, DType::F64, x.device()).unwrap();
        let zero = one.zeros_like().unwrap();
        let fixed = BatchStatistics { mean: zero.clone(), variance: one.clone() };
        let gradient =
            gradient_of(&x, |x| batch_norm_relu(backend, x, &one, &zero, 0.0, Some(&fixed)).map(|(y, _)| y));
        assert_eq!(gradient, [0.0, 0.0, 1.0, 0.0], "{backend:?}");
    }
}

/// The blocks in f32: both implementations, training and evaluation, after one update of the statistics.
#[test]
fn blocks_agree_in_f32() {
    let run = |backend: Backend| -> Result<Vec<Tensor>> {
        let parameters = Parameters::init(3, DType::F32, &device_of(backend));
        let builder = parameters.builder();
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let sizes = [(3, 24, 40), (4, 12, 20), (5, 6, 10)];
        let sources: Vec<Tensor> = sizes
            .iter()
            .map(|&(c, h, w)| moved(&noise(&mut rng, &[2, c, h, w]), backend).to_dtype(DType::F32))
            .collect::<Result<_>>()?;
        let sources: Vec<&Tensor> = sources.iter().collect();
        let block = ConvBlock::new(3, 6, 2, builder.pp("block"))?.with_backend(backend);
        let skip = FullScaleSkip::new(2, &[3, 4, 5], 7, builder.pp("skip"))?.with_backend(backend);
        let head = SegmentationHead::new(21, 2, 2, builder.pp("head"))?.with_backend(backend);
        let cgm = ClassificationGuidedModule::new(5, builder.pp("cgm"))?.with_backend(backend).with_seed(9);
        let stem = ResidualStem::new(3, 8, builder.pp("stem"))?.with_backend(backend);
        let block_of = |name: &str, inputs, outputs, stride, bottleneck| {
            let shape = ResidualShape { inputs, outputs, stride, bottleneck };
            Ok::<_, candle_core::Error>(ResidualBlock::new(shape, builder.pp(name))?.with_backend(backend))
        };
        let residual = [
            block_of("basic", 8, 8, 1, false)?,
            block_of("basic2", 8, 12, 2, false)?,
            block_of("bottleneck", 12, 16, 1, true)?,
            block_of("bottleneck2", 16, 32, 2, true)?,
        ];
        let mut outputs = Vec::new();
        for train in [true, false] {
            outputs.push(block.forward_t(sources[0], train)?);
            let features = skip.forward_t(&sources, train)?;
            assert_eq!(features.dims(), &[2, 21, 12, 20]);
            outputs.push(head.forward_t(&features, train)?);
            outputs.push(cgm.forward_t(sources[2], train)?);
            let start = stem.forward_t(&sources[0].narrow(3, 0, 32)?, train)?;
            let y = residual.iter().try_fold(start, |x, block| block.forward_t(&x, train))?;
            assert_eq!(y.dims(), &[2, 32, 3, 4]);
            outputs.push(y);
        }
        outputs.push(ClassificationGuidedModule::gate(&outputs[3])?);
        outputs.extend(parameters.buffers().into_iter().map(|(_, buffer)| buffer.as_detached_tensor()));
        Ok(outputs)
    };
    let [one, two] = BOTH.map(|backend| run(backend).unwrap());
    for (i, (one, two)) in one.iter().zip(&two).enumerate() {
        assert_close(&format!("output {i}"), &values(one), &values(two), SINGLE_BUDGET);
    }
}

/// Gradients through whole residual blocks, with batch statistics: those of the input and of a weight.
#[test]
fn residual_blocks() {
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    for (inputs, outputs, stride, bottleneck) in
        [(2, 2, 1, false), (2, 3, 2, false), (3, 4, 1, true), (4, 8, 2, true)]
    {
        let x = [noise(&mut rng, &[2, inputs, 4, 4])];
        check("residual block", &x, |backend, x| {
            let parameters = Parameters::init(4, DType::F64, x[0].device());
            let shape = ResidualShape { inputs, outputs, stride, bottleneck };
            ResidualBlock::new(shape, parameters.builder())?.with_backend(backend).forward_t(&x[0], true)
        });
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let x = Tensor::zeros((1, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for backend in BOTH {
        assert!(conv2d(backend, &x, &zeros(&[2, 4, 3, 3]), None).is_err());
        assert!(conv2d(backend, &x, &zeros(&[2, 3, 5, 5]), None).is_err());
        assert!(conv2d(backend, &x, &zeros(&[2, 3, 3, 3]), Some(&zeros(&[3]))).is_err());
        assert!(max_pool2d(backend, &x, 8).is_err());
        assert!(conv2d_strided(backend, &x, &zeros(&[2, 3, 3, 3]), 3).is_err());
        assert!(conv2d_strided(backend, &x, &zeros(&[2, 3, 2, 2]), 2).is_err());
        assert!(conv2d_strided(backend, &x, &zeros(&[2, 4, 3, 3]), 2).is_err());
        assert!(upsample_bilinear2d(backend, &x, 0).is_err());
        assert!(batch_norm(backend, &x, &zeros(&[2]), &zeros(&[2]), 1e-5, None).is_err());
        let fixed = BatchStatistics { mean: zeros(&[2]), variance: zeros(&[3]) };
        assert!(batch_norm(backend, &x, &zeros(&[3]), &zeros(&[3]), 1e-5, Some(&fixed)).is_err());
        assert!(conv2d(backend, &x, &zeros(&[0, 3, 3, 3]), None).is_err());
    }
    assert!(conv2d(Backend::Kernels, &x.to_dtype(DType::U8).unwrap(), &zeros(&[2, 3, 3, 3]), None).is_err());
    assert!(dropout(&x, 1.0, &mut ChaCha8Rng::seed_from_u64(0)).is_err());
}
