//! The gradients of a step, one per parameter, and their global norm.

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Result, Storage, Tensor, Var};
use rayon::prelude::*;

/// Values per piece of a parallel sum: pieces are summed in order, so that the sum does not depend on threads.
const CHUNK: usize = 1 << 14;
const LANES: usize = 8;

/// Gradients in the order of the parameters they were taken for; `None` where the loss does not depend on one.
#[derive(Default)]
pub struct Gradients(Vec<Option<Tensor>>);

impl Gradients {
    /// Takes the gradients of `parameters` out of `store`.
    ///
    /// Only these are kept: the store also holds gradients of the network's inputs, and is dropped here. The
    /// gradients are detached, or they would keep the whole graph of the step alive.
    ///
    /// # Errors
    /// Where a gradient cannot be made contiguous.
    pub fn take<'a>(mut store: GradStore, parameters: impl IntoIterator<Item = &'a Var>) -> Result<Self> {
        let mut take = |parameter: &Var| {
            store.remove(parameter.as_tensor()).map(|gradient| gradient.detach().contiguous()).transpose()
        };
        parameters.into_iter().map(&mut take).collect::<Result<_>>().map(Self)
    }

    /// The sum with those of another pass over the same parameters.
    ///
    /// # Errors
    /// Where two gradients of one parameter differ in shape.
    pub fn plus(self, other: Self) -> Result<Self> {
        let sum = |pair: (Option<Tensor>, Option<Tensor>)| match pair {
            (Some(a), Some(b)) => (a + b).map(Some),
            (a, b) => Ok(a.or(b)),
        };
        self.0.into_iter().zip(other.0).map(sum).collect::<Result<_>>().map(Self)
    }

    /// The gradients, in the order of the parameters.
    pub fn iter(&self) -> impl Iterator<Item = Option<&Tensor>> {
        self.0.iter().map(Option::as_ref)
    }

    /// The Euclidean norm of all gradients taken as one vector.
    ///
    /// # Errors
    /// Where a gradient cannot be read.
    pub fn global_norm(&self) -> Result<f64> {
        let gradients: Vec<&Tensor> = self.0.iter().flatten().collect();
        let squares = if gradients.iter().all(|gradient| gradient.device().is_cpu()) {
            gradients.par_iter().map(|gradient| sum_of_squares(gradient)).collect::<Result<Vec<f64>>>()?
        } else {
            // They are read together: a GPU stops for each reading.
            let squares = gradients.iter().map(|g| g.sqr()?.sum_all()?.to_dtype(DType::F32));
            let squares = squares.collect::<Result<Vec<Tensor>>>()?;
            Tensor::stack(&squares, 0)?.to_dtype(DType::F64)?.to_vec1()?
        };
        Ok(squares.iter().sum::<f64>().sqrt())
    }
}

/// The factor that brings gradients of norm `norm` down to `limit`; 1 where they are below it.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if norm > limit { limit / norm } else { 1.0 }
}

/// Of a gradient on the CPU.
fn sum_of_squares(gradient: &Tensor) -> Result<f64> {
    let (storage, layout) = gradient.storage_and_layout();
    if let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    {
        let sums: Vec<f64> = values[start..end].par_chunks(CHUNK).map(squares).collect();
        return Ok(sums.iter().sum());
    }
    gradient.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar()
}

/// The sum of squares, in lanes: one after the other, each addition would wait for the one before it.
fn squares(values: &[f32]) -> f64 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0f64; LANES];
    for values in whole {
        lanes.iter_mut().zip(values).for_each(|(lane, &g)| *lane += f64::from(g) * f64::from(g));
    }
    let rest = rest.iter().map(|&g| f64::from(g) * f64::from(g));
    lanes.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn norm_and_clipping() {
        let device = Device::Cpu;
        let a = Var::new(&[[1f32, 2.0], [3.0, 4.0]], &device).unwrap();
        let b = Var::new(&[5f64], &device).unwrap();
        let unused = Var::new(&[1f32], &device).unwrap();
        // d/da sum(a^2) / 2 = a, d/db = b: the norm is that of (1, 2, 3, 4, 5)
        let loss = (a.sqr().unwrap().sum_all().unwrap().to_dtype(DType::F64).unwrap()
            + b.sqr().unwrap().sum_all().unwrap())
        .unwrap()
        .affine(0.5, 0.0)
        .unwrap();
        let gradients = Gradients::take(loss.backward().unwrap(), [&a, &b, &unused]).unwrap();
        assert!((gradients.global_norm().unwrap() - 55f64.sqrt()).abs() < 1e-6);
        assert_eq!(gradients.iter().map(|g| g.is_some()).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(clip_factor(4.0, 1.0), 0.25);
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
    }
}
