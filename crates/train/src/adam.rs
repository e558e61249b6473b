//! Adam with decoupled or L2 decay, with state of its own.

use std::sync::Mutex;

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Gradients;

/// Values per piece of a parallel update.
const CHUNK: usize = 1 << 14;

/// How the weight decay enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightDecay {
    /// w <- (1 - lr decay) w beside the step (AdamW: Loshchilov and Hutter, arXiv:1711.05101).
    Decoupled,
    /// g <- g + decay w before the moments (Adam with an L2 penalty).
    L2,
}

/// Settings of [`Adam`]; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamOptions {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Strength of the decay.
    pub decay: f64,
    /// How the decay enters.
    pub decay_kind: WeightDecay,
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.0, decay_kind: WeightDecay::Decoupled }
    }
}

/// Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1): with gradient g at step t,
///
/// m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
///
/// The decay acts on convolution kernels (tensors with two or more dimensions), not on biases and not on the
/// factors and offsets of batch normalisation. On the CPU in f32 one fused pass updates weight and moments in
/// place.
pub struct Adam {
    options: AdamOptions,
    step: i32,
    parameters: Vec<Parameter>,
}

struct Parameter {
    variable: Var,
    moments: Moments,
}

enum Moments {
    Slices { first: Vec<f32>, second: Vec<f32> },
    Tensors { first: Tensor, second: Tensor },
}

/// The numbers of one step.
#[derive(Clone, Copy)]
struct Step {
    options: AdamOptions,
    /// Decay of this parameter.
    decay: f64,
    learning_rate: f64,
    /// Factor on the gradients (clipping).
    scale: f64,
    /// 1 - b1^t and 1 - b2^t.
    correction: [f64; 2],
}

impl Adam {
    /// An optimizer of `parameters`, with moments 0.
    ///
    /// # Errors
    /// Where the moments cannot be allocated on the parameter's device.
    pub fn new(parameters: impl IntoIterator<Item = Var>, options: AdamOptions) -> Result<Self> {
        let parameter = |variable: Var| {
            let moments = if is_fused(&variable) {
                let zeros = vec![0f32; variable.elem_count()];
                Moments::Slices { first: zeros.clone(), second: zeros }
            } else {
                let zeros = variable.as_tensor().zeros_like()?.detach();
                Moments::Tensors { first: zeros.clone(), second: zeros }
            };
            Ok(Parameter { variable, moments })
        };
        let parameters = parameters.into_iter().map(parameter).collect::<Result<_>>()?;
        Ok(Self { options, step: 0, parameters })
    }

    /// The parameters, in the order that gradients come in.
    pub fn parameters(&self) -> impl Iterator<Item = &Var> {
        self.parameters.iter().map(|parameter| &parameter.variable)
    }

    /// One step with `scale` times `gradients`. A parameter without a gradient stays as it is.
    ///
    /// # Errors
    /// Where a gradient's shape is not its parameter's.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64, scale: f64) -> Result<()> {
        self.step += 1;
        let options = self.options;
        let correction = [options.beta1, options.beta2].map(|beta| 1.0 - beta.powi(self.step));
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients.iter()) {
            let Some(gradient) = gradient else { continue };
            let decay = if parameter.variable.rank() > 1 { options.decay } else { 0.0 };
            let step = Step { options, decay, learning_rate, scale, correction };
            let variable = &parameter.variable;
            if gradient.shape() != variable.shape() {
                let (expected, got) = (variable.shape().clone(), gradient.shape().clone());
                let msg = "a gradient is not of its parameter's shape".to_string();
                return Err(candle_core::Error::UnexpectedShape { msg, expected, got });
            }
            match &mut parameter.moments {
                Moments::Slices { first, second } => {
                    let update = Fused { step, moments: Mutex::new((first, second)) };
                    variable.as_tensor().inplace_op2(gradient, &update)?;
                }
                Moments::Tensors { first, second } => step.with_tensors(variable, gradient, first, second)?,
            }
        }
        Ok(())
    }
}

/// Whether a variable is updated through its slice.
pub(crate) fn is_fused(variable: &Var) -> bool {
    variable.device().is_cpu() && variable.dtype() == DType::F32 && variable.is_contiguous()
}

/// The contiguous f32 values of a CPU storage.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("expected contiguous f32 values"),
    }
}

/// The contiguous f32 values of a CPU storage, to be changed in place.
pub(crate) fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => candle_core::bail!("expected contiguous f32 values"),
    }
}

impl Step {
    fn on_slices(&self, weights: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Self { options, decay, learning_rate, scale, correction } = *self;
        let (l2, shrink) = match options.decay_kind {
            WeightDecay::L2 => (decay as f32, 1.0),
            WeightDecay::Decoupled => (0.0, (1.0 - learning_rate * decay) as f32),
        };
        let [beta1, beta2] = [options.beta1 as f32, options.beta2 as f32];
        // 1 - beta is rounded once, from f64: 1 - 0.999f32 is off by 5e-5 of its value
        let [new1, new2] = [(1.0 - options.beta1) as f32, (1.0 - options.beta2) as f32];
        let rate = (learning_rate / correction[0]) as f32;
        let root = (1.0 / correction[1]) as f32;
        let epsilon = options.epsilon as f32;
        let scale = scale as f32;
        for (((w, g), m), v) in weights.iter_mut().zip(gradients).zip(first).zip(second) {
            let g = scale * g + l2 * *w;
            *m = beta1 * *m + new1 * g;
            *v = beta2 * *v + new2 * g * g;
            *w = shrink * *w - rate * *m / ((*v * root).sqrt() + epsilon);
        }
    }

    fn with_tensors(
        &self,
        variable: &Var,
        gradient: &Tensor,
        first: &mut Tensor,
        second: &mut Tensor,
    ) -> Result<()> {
        let Self { options, decay, learning_rate, scale, correction } = *self;
        let mut weight = variable.as_detached_tensor();
        let mut gradient = (gradient * scale)?;
        match options.decay_kind {
            WeightDecay::L2 => gradient = (gradient + (&weight * decay)?)?,
            WeightDecay::Decoupled => weight = (weight * (1.0 - learning_rate * decay))?,
        }
        *first = ((&*first * options.beta1)? + (&gradient * (1.0 - options.beta1))?)?;
        *second = ((&*second * options.beta2)? + (gradient.sqr()? * (1.0 - options.beta2))?)?;
        let root = ((&*second / correction[1])?.sqrt()? + options.epsilon)?;
        let change = ((&*first * (learning_rate / correction[0]))? / root)?;
        variable.set(&(weight - change)?)
    }
}

/// The update of one parameter in place; the mutex only hands the moments through a shared reference.
struct Fused<'a> {
    step: Step,
    moments: Mutex<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        wl: &Layout,
        gradients: &CpuStorage,
        gl: &Layout,
    ) -> Result<()> {
        let (weights, gradients) = (slice_mut(weights, wl)?, slice(gradients, gl)?);
        let mut moments = self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (first, second) = &mut *moments;
        weights
            .par_chunks_mut(CHUNK)
            .zip(gradients.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
            .for_each(|((w, g), (m, v))| self.step.on_slices(w, g, m, v));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// 20 steps in f32 against f64: each step adds a rounding of about 6e-8 of a weight of about 1.
    const TOLERANCE: f64 = 20.0 * 6e-8 * 2.0;
    const STEPS: i32 = 20;

    /// The weights after [`STEPS`] steps of the textbook's Adam on the gradients g(t) = c(t) w + d(t).
    fn by_hand(start: &[f64], c: &[f64], d: &[Vec<f64>], options: AdamOptions, decays: bool) -> Vec<f64> {
        let decay = if decays { options.decay } else { 0.0 };
        let (mut w, mut m, mut v) = (start.to_vec(), vec![0.0; start.len()], vec![0.0; start.len()]);
        for t in 1..=STEPS {
            let at = t as usize - 1;
            let rate = 0.05 / f64::from(t).sqrt();
            for i in 0..w.len() {
                let mut g = 0.7 * (c[at] * w[i] + d[at][i]);
                match options.decay_kind {
                    WeightDecay::L2 => g += decay * w[i],
                    WeightDecay::Decoupled => w[i] -= rate * decay * w[i],
                }
                m[i] = options.beta1 * m[i] + (1.0 - options.beta1) * g;
                v[i] = options.beta2 * v[i] + (1.0 - options.beta2) * g * g;
                let m_hat = m[i] / (1.0 - options.beta1.powi(t));
                let v_hat = v[i] / (1.0 - options.beta2.powi(t));
                w[i] -= rate * m_hat / (v_hat.sqrt() + options.epsilon);
            }
        }
        w
    }

    #[test]
    fn equals_the_textbook_with_both_decays_and_both_paths() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let n = CHUNK + 35;
        let mut draw = |n: usize| (0..n).map(|_| rng.random::<f64>() * 2.0 - 1.0).collect::<Vec<_>>();
        let (start, c) = (draw(n), draw(STEPS as usize));
        let d: Vec<Vec<f64>> = (0..STEPS).map(|_| draw(n)).collect();
        for decay_kind in [WeightDecay::Decoupled, WeightDecay::L2] {
            for (dtype, tolerance) in [(DType::F32, TOLERANCE), (DType::F64, 1e-12)] {
                for shape in [vec![n], vec![n, 1]] {
                    let options = AdamOptions { decay: 0.1, decay_kind, ..AdamOptions::default() };
                    let tensor = |values: &[f64]| {
                        let tensor = Tensor::from_slice(values, shape.clone(), &Device::Cpu).unwrap();
                        tensor.to_dtype(dtype).unwrap()
                    };
                    let variable = Var::from_tensor(&tensor(&start)).unwrap();
                    assert_eq!(is_fused(&variable), dtype == DType::F32);
                    let mut adam = Adam::new([variable.clone()], options).unwrap();
                    for t in 1..=STEPS {
                        let at = t as usize - 1;
                        let square = (variable.sqr().unwrap() * (0.5 * c[at])).unwrap();
                        let loss = (square + (variable.as_tensor() * tensor(&d[at])).unwrap()).unwrap();
                        let store = loss.sum_all().unwrap().backward().unwrap();
                        let gradients = Gradients::take(store, adam.parameters()).unwrap();
                        adam.step(&gradients, 0.05 / f64::from(t).sqrt(), 0.7).unwrap();
                    }
                    let want = by_hand(&start, &c, &d, options, shape.len() > 1);
                    let got = variable.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
                    let got = got.to_vec1::<f64>().unwrap();
                    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(worst < tolerance, "{decay_kind:?} {dtype:?} {shape:?}: {worst:e}");
                }
            }
        }
    }
}
