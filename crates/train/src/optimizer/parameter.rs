//! A parameter and the tensors of its shape that an optimizer remembers.

use std::collections::HashMap;
use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;

use super::in_place::{CHUNK, is_fused, slice, slice_mut};

/// A parameter with `N` remembered tensors of its shape, which start at 0.
pub(super) struct Parameter<const N: usize> {
    name: String,
    variable: Var,
    memory: Memory<N>,
}

enum Memory<const N: usize> {
    /// Beside a variable that is updated through its slice.
    Slices([Vec<f32>; N]),
    Tensors([Tensor; N]),
}

/// How one parameter moves: the same formula on slices and on tensors.
pub(super) trait Rule<const N: usize>: Sync {
    /// Moves `weights` and `memory` in place.
    fn on_slices(&self, weights: &mut [f32], gradients: &[f32], memory: [&mut [f32]; N]);

    /// The new weight; `memory` is replaced.
    fn on_tensors(&self, weight: Tensor, gradient: &Tensor, memory: &mut [Tensor; N]) -> Result<Tensor>;
}

impl<const N: usize> Parameter<N> {
    pub(super) fn new((name, variable): (String, Var)) -> Result<Self> {
        let memory = if is_fused(&variable) {
            Memory::Slices(std::array::from_fn(|_| vec![0.0; variable.elem_count()]))
        } else {
            let zeros = variable.as_tensor().zeros_like()?.detach();
            Memory::Tensors(std::array::from_fn(|_| zeros.clone()))
        };
        Ok(Self { name, variable, memory })
    }

    pub(super) fn variable(&self) -> &Var {
        &self.variable
    }

    /// Moves the parameter by `rule`.
    pub(super) fn update(&mut self, gradient: &Tensor, rule: &impl Rule<N>) -> Result<()> {
        if gradient.shape() != self.variable.shape() {
            let (expected, got) = (self.variable.shape().clone(), gradient.shape().clone());
            let msg = format!("the gradient of {} is not of its shape", self.name);
            return Err(candle_core::Error::UnexpectedShape { msg, expected, got });
        }
        match &mut self.memory {
            Memory::Slices(memory) => {
                let fused = Fused { rule, memory: Mutex::new(memory) };
                self.variable.as_tensor().inplace_op2(gradient, &fused)
            }
            Memory::Tensors(memory) => {
                let weight = rule.on_tensors(self.variable.as_detached_tensor(), gradient, memory)?;
                self.variable.set(&weight)
            }
        }
    }

    /// The remembered tensors as `NAME.LABEL`.
    pub(super) fn state(&self, labels: [&str; N]) -> Result<Vec<(String, Tensor)>> {
        let tensor = |i: usize| match &self.memory {
            Memory::Slices(memory) => {
                Tensor::from_slice(&memory[i], self.variable.shape(), self.variable.device())
            }
            Memory::Tensors(memory) => Ok(memory[i].clone()),
        };
        let named = |i: usize| Ok((format!("{}.{}", self.name, labels[i]), tensor(i)?));
        (0..N).map(named).collect()
    }

    /// Takes up what [`state`](Self::state) gave.
    pub(super) fn restore(&mut self, labels: [&str; N], state: &HashMap<String, Tensor>) -> Result<()> {
        for (i, label) in labels.into_iter().enumerate() {
            let name = format!("{}.{label}", self.name);
            let Some(tensor) = state.get(&name) else {
                candle_core::bail!("the optimizer's state has no {name}")
            };
            if tensor.shape() != self.variable.shape() {
                let (expected, got) = (self.variable.shape().clone(), tensor.shape().clone());
                return Err(candle_core::Error::UnexpectedShape { msg: name, expected, got });
            }
            match &mut self.memory {
                Memory::Slices(memory) => memory[i] = tensor.flatten_all()?.to_vec1()?,
                Memory::Tensors(memory) => {
                    memory[i] = tensor.to_dtype(self.variable.dtype())?.to_device(self.variable.device())?;
                }
            }
        }
        Ok(())
    }
}

/// The update of one parameter in place; the mutex only hands the memory through a shared reference.
struct Fused<'a, const N: usize, R> {
    rule: &'a R,
    memory: Mutex<&'a mut [Vec<f32>; N]>,
}

impl<const N: usize, R: Rule<N>> InplaceOp2 for Fused<'_, N, R> {
    fn name(&self) -> &'static str {
        "optimizer step"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        wl: &Layout,
        gradients: &CpuStorage,
        gl: &Layout,
    ) -> Result<()> {
        let (weights, gradients) = (slice_mut(weights, wl)?, slice(gradients, gl)?);
        let mut memory = self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut pieces = memory.each_mut().map(|values| values.chunks_mut(CHUNK));
        let pieces: Vec<[&mut [f32]; N]> = (0..weights.len().div_ceil(CHUNK))
            .map(|_| pieces.each_mut().map(|chunks| chunks.next().unwrap_or_default()))
            .collect();
        weights
            .par_chunks_mut(CHUNK)
            .zip(gradients.par_chunks(CHUNK))
            .zip(pieces)
            .for_each(|((weights, gradients), memory)| self.rule.on_slices(weights, gradients, memory));
        Ok(())
    }
}
