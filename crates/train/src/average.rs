//! The exponential moving average of a model's weights.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Var};
use rayon::prelude::*;

use crate::optimizer::{CHUNK, is_fused, slice, slice_mut};

/// Follows variables: a <- d a + (1 - d) w after each step, with d = min(decay, (1 + t) / (10 + t)) at step t, so
/// that the first steps' weights are forgotten quickly.
pub struct WeightAverage {
    decay: f64,
    step: usize,
    /// The average and what it follows.
    pairs: Vec<(Var, Var)>,
}

impl WeightAverage {
    /// Averages `pairs` of (average, followed) variables, which start equal.
    pub fn new(pairs: Vec<(Var, Var)>, decay: f64) -> Self {
        Self { decay, step: 0, pairs }
    }

    /// Goes on after `steps` steps, with averages that have been put back.
    pub(crate) fn restore(&mut self, steps: usize) {
        self.step = steps;
    }

    /// Takes the followed variables' present values in.
    ///
    /// # Errors
    /// Where the two variables of a pair differ in shape.
    pub fn update(&mut self) -> Result<()> {
        self.step += 1;
        let warm = (1.0 + self.step as f64) / (10.0 + self.step as f64);
        let decay = self.decay.min(warm);
        for (average, followed) in &self.pairs {
            if is_fused(average) && is_fused(followed) && average.shape() == followed.shape() {
                average.as_tensor().inplace_op2(followed.as_tensor(), &Blend { decay: decay as f32 })?;
            } else {
                let followed = followed.as_detached_tensor();
                average.set(&((average.as_detached_tensor() * decay)? + (followed * (1.0 - decay))?)?)?;
            }
        }
        Ok(())
    }
}

/// a <- a + (1 - d) (w - a): equal values stay equal.
struct Blend {
    decay: f32,
}

impl InplaceOp2 for Blend {
    fn name(&self) -> &'static str {
        "weight average"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        al: &Layout,
        followed: &CpuStorage,
        fl: &Layout,
    ) -> Result<()> {
        let (average, followed) = (slice_mut(average, al)?, slice(followed, fl)?);
        let part = 1.0 - self.decay;
        average.par_chunks_mut(CHUNK).zip(followed.par_chunks(CHUNK)).for_each(|(average, followed)| {
            for (a, w) in average.iter_mut().zip(followed) {
                *a += part * (w - *a);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};

    #[test]
    fn follows_by_the_formula() {
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-12)] {
            let variable = |value: f64| {
                Var::from_tensor(&Tensor::full(value, 5, &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
                    .unwrap()
            };
            let (average, followed) = (variable(1.0), variable(1.0));
            let mut by_hand = 1.0;
            let mut moving = WeightAverage::new(vec![(average.clone(), followed.clone())], 0.6);
            for t in 1..=30 {
                let value = f64::from(t).sin();
                followed.set(variable(value).as_tensor()).unwrap();
                moving.update().unwrap();
                let d = (f64::from(1 + t) / f64::from(10 + t)).min(0.6);
                by_hand = d * by_hand + (1.0 - d) * value;
                let got = average.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
                assert!(got.iter().all(|a| (a - by_hand).abs() < tolerance), "{t}: {got:?} {by_hand}");
            }
        }
    }
}
