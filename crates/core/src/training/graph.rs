//! A pass as part of Candle's graph.
//!
//! Candle's custom operations have at most three operands, a pass has a hundred parameters: a chain of operations, each
//! with two of them, leads to a token, from which the outputs come. On the way back the outputs leave their gradients
//! in shared memory, the token goes back through the whole pass once all of them have, and the chain hands out what it
//! found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::tape::Tape;

/// What the operations of one pass share.
struct Pass {
    /// Until the way back.
    tape: Option<Tape>,
    /// Gradients of the outputs, as they come.
    outputs: Vec<Option<Tensor>>,
    /// Gradients of the parameters, until they are handed out.
    parameters: Vec<Option<Tensor>>,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Pass>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pass> {
        // a panic elsewhere ends the pass: what is there is not used again
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tape {
    /// The outputs, `[batch, channels, height, width]` each, in the order in which they were asked for. The loss that is
    /// computed from them may go backward once.
    ///
    /// # Errors
    /// None that occurs in practice: the tensors are there.
    pub(crate) fn finish(mut self) -> Result<Vec<Tensor>> {
        let outputs = std::mem::take(&mut self.outputs);
        let parameters = self.parameters.clone();
        let shared = Shared(Arc::new(Mutex::new(Pass {
            tape: Some(self),
            outputs: vec![None; outputs.len()],
            parameters: vec![None; parameters.len()],
        })));
        let mut token = Tensor::zeros(1, candle_core::DType::F32, &candle_core::Device::Cpu)?;
        for (i, pair) in parameters.chunks(2).enumerate() {
            let link = Link { shared: shared.clone(), first: 2 * i };
            token = match pair {
                [one, two] => token.apply_op3(one, two, link)?,
                _ => token.apply_op2(&pair[0], link)?,
            };
        }
        let token = token.apply_op1(Back(shared.clone()))?;
        let attach = |(index, (values, dims)): (usize, (Vec<f32>, [usize; 4]))| {
            let values = Mutex::new(Some(values));
            token.apply_op1(Output { shared: shared.clone(), index, values, dims })
        };
        outputs.into_iter().enumerate().map(attach).collect()
    }
}

/// The token that goes on from an operation.
fn token() -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![0.0]), Shape::from(1))
}

/// Hands two parameters their gradients.
struct Link {
    shared: Shared,
    /// The number of the first.
    first: usize,
}

impl Link {
    fn take(&self, i: usize) -> Option<Tensor> {
        self.shared.lock().parameters[self.first + i].take()
    }
}

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        "training-pass-parameter"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(token())
    }
    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.clone()), self.take(0)))
    }
}

impl CustomOp3 for Link {
    fn name(&self) -> &'static str {
        "training-pass-parameters"
    }
    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(token())
    }
    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.clone()), self.take(0), self.take(1)))
    }
}

/// Goes back through the pass: Candle calls it when every output has its gradient.
struct Back(Shared);

impl CustomOp1 for Back {
    fn name(&self) -> &'static str {
        "training-pass"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(token())
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (tape, outputs) = {
            let mut pass = self.0.lock();
            (pass.tape.take(), std::mem::take(&mut pass.outputs))
        };
        let Some(tape) = tape else { bail!("a training pass goes backward once: run it forward again") };
        let found = tape.backward(&outputs)?;
        self.0.lock().parameters = found;
        Ok(Some(grad.clone()))
    }
}

/// An output's values, and the place for its gradient.
struct Output {
    shared: Shared,
    index: usize,
    values: Mutex<Option<Vec<f32>>>,
    dims: [usize; 4],
}

impl CustomOp1 for Output {
    fn name(&self) -> &'static str {
        "training-pass-output"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok((CpuStorage::F32(values.unwrap_or_default()), Shape::from(self.dims.to_vec())))
    }
    fn bwd(&self, token: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        if let Some(place) = self.shared.lock().outputs.get_mut(self.index) {
            *place = Some(grad.detach().contiguous()?);
        }
        Ok(Some(token.zeros_like()?))
    }
}
