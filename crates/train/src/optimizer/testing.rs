//! One test of every optimizer: against its formula in f64, on slices and on tensors, and over a restored state.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{CHUNK, Optimizer, is_fused};
use crate::Gradients;

/// Steps of a test.
pub(super) const STEPS: usize = 20;

/// 20 steps in f32 against f64: each adds a rounding of about 6e-8 of a weight of about 1.
const TOLERANCE: f64 = STEPS as f64 * 6e-8 * 2.0;

/// The weights after the steps: from the start, the parameter's rank and the gradient at step t.
type ByHand<'a> = &'a dyn Fn(usize, &[f64]) -> Vec<f64>;

/// Holds the optimizer that `build` makes of a parameter to the weights of `by_hand`, for the gradient
/// g(t) = c(t) w + d(t), scale 0.7 and the learning rate 0.05 / sqrt(t) at step t.
pub(super) fn both_paths(
    build: impl Fn((String, Var)) -> Box<dyn Optimizer>,
    by_hand: impl Fn(Vec<f64>, usize, ByHand<'_>) -> Vec<f64>,
) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let n = CHUNK + 35;
    let mut draw = |n: usize| (0..n).map(|_| rng.random::<f64>() * 2.0 - 1.0).collect::<Vec<_>>();
    let (start, c) = (draw(n), draw(STEPS + 1));
    let d: Vec<Vec<f64>> = (0..=STEPS).map(|_| draw(n)).collect();
    for (dtype, tolerance) in [(DType::F32, TOLERANCE), (DType::F64, 1e-12)] {
        for shape in [vec![n], vec![n, 1]] {
            let tensor = |values: &[f64]| {
                let tensor = Tensor::from_slice(values, shape.clone(), &Device::Cpu).unwrap();
                tensor.to_dtype(dtype).unwrap()
            };
            let variable = Var::from_tensor(&tensor(&start)).unwrap();
            assert_eq!(is_fused(&variable), dtype == DType::F32);
            let build = || build(("w".to_string(), variable.clone()));
            let mut optimizer = build();
            for t in 1..=STEPS {
                if t == STEPS / 2 {
                    // Another optimizer goes on from what the first one remembers.
                    let state: HashMap<_, _> = optimizer.state().unwrap().into_iter().collect();
                    optimizer = build();
                    assert!(optimizer.restore(t - 1, &HashMap::new()).is_err());
                    optimizer.restore(t - 1, &state).unwrap();
                }
                let square = (variable.sqr().unwrap() * (0.5 * c[t])).unwrap();
                let loss = (square + (variable.as_tensor() * tensor(&d[t])).unwrap()).unwrap();
                let store = loss.sum_all().unwrap().backward().unwrap();
                let gradients = Gradients::take(store, optimizer.parameters()).unwrap();
                optimizer.step(&gradients, 0.05 / (t as f64).sqrt(), 0.7).unwrap();
            }
            let gradient = |t: usize, w: &[f64]| w.iter().zip(&d[t]).map(|(w, d)| c[t] * w + d).collect();
            let want = by_hand(start.clone(), shape.len(), &gradient);
            let got = variable.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
            let got = got.to_vec1::<f64>().unwrap();
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < tolerance, "{dtype:?} {shape:?}: {worst:e}");
        }
    }
}
