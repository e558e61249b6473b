//! The way back through a pass.

use candle_core::{Device, Result, Tensor};
use unet3p_kernels::{
    AlignedBuffer, BlockedBatchNorm, BlockedConv2d, BlockedHead, BlockedShape, BlockedUpsampledConv2d,
    BlockedView, BlockedViewMut, Write, max_pools2d_blocked_backward,
};

use super::tape::{Map, Step, Tape, with_values};

/// Gradients of maps, by id.
struct Gradients(Vec<Option<AlignedBuffer>>);

/// The parts of [`Step::Layer`].
struct LayerStep<'a> {
    x: &'a Map,
    scale: usize,
    z: usize,
    norm: &'a BlockedBatchNorm,
    y: &'a Map,
    has_bias: bool,
}

impl Tape {
    /// The gradients of the parameters, in the order of registration, from those of the outputs; none where an output
    /// that depends on one has none.
    pub(super) fn backward(mut self, outputs: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let mut found = vec![None; self.parameters.len()];
        let mut grads = Gradients((0..self.maps.len()).map(|_| None).collect());
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Layer { x, scale, z, norm, y, parameters, has_bias } => {
                    let step = LayerStep { x: &x, scale, z, norm: &norm, y: &y, has_bias };
                    self.layer_backward(&mut grads, &mut found, parameters, step)?;
                    self.release(&mut grads, z);
                    self.release(&mut grads, y.id);
                }
                Step::Pools { x, pooled } => {
                    self.pools_backward(&mut grads, &x, &pooled);
                    pooled.iter().for_each(|map| self.release(&mut grads, map.id));
                }
                Step::Head { x, output, parameters } => {
                    if let Some(grad) = &outputs[output] {
                        self.head_backward(&mut grads, &mut found, parameters, &x, grad)?;
                    }
                }
                Step::Planes { x, output } => {
                    if let Some(grad) = &outputs[output] {
                        self.planes_backward(&mut grads, &x, grad)?;
                    }
                }
            }
        }
        Ok(found)
    }

    fn layer_backward(
        &self,
        grads: &mut Gradients,
        found: &mut [Option<Tensor>],
        parameters: usize,
        LayerStep { x, scale, z, norm, y, has_bias }: LayerStep<'_>,
    ) -> Result<()> {
        let Some(mut grad) = grads.0[y.id].take() else { return Ok(()) };
        let shape = self.shape(y);
        let z = self.values(z);
        let of_y = shape.batch_mut(self.images, &mut grad).blocks(y.blocks());
        let [gamma, beta] = norm.backward(z.shape.batch(self.images, &z.data), of_y);
        let grad_z = shape.batch(self.images, &grad).blocks(y.blocks());

        let weight = &self.parameters[parameters];
        let (outputs, inputs) = (gamma.len(), x.parts.iter().sum());
        let mut grad_w = vec![0.0; weight.elem_count()];
        with_values(weight, |weight| {
            if scale == 1 {
                let conv = BlockedConv2d::new(self.isa, &x.parts, outputs, weight);
                let mut memory = self.memory.take_scratch();
                conv.weight_gradient(self.view(x), grad_z, &mut grad_w, &mut memory);
                if self.values(x.id).needs_gradient {
                    self.write_gradient(grads, x, |grad_x, write| {
                        conv.input_gradient(grad_z, grad_x, write, &mut memory);
                    });
                }
                self.memory.give_back_scratch(memory);
            } else {
                let conv = BlockedUpsampledConv2d::new(self.isa, scale, inputs, outputs, weight);
                self.write_gradient(grads, x, |grad_x, write| {
                    conv.backward(self.view(x), grad_z, grad_x, write, &mut grad_w);
                });
            }
        })?;
        // other slots of a concatenation are still to be read
        grads.0[y.id] = Some(grad);
        found[parameters] = Some(Tensor::from_vec(grad_w, weight.shape(), &Device::Cpu)?);
        // normalisation takes the bias away again
        let bias = has_bias.then(|| vec![0.0; outputs]);
        for (found, vector) in found[parameters + 1..].iter_mut().zip([gamma, beta].into_iter().chain(bias)) {
            *found = Some(Tensor::from_vec(vector, outputs, &Device::Cpu)?);
        }
        Ok(())
    }

    fn pools_backward(&self, grads: &mut Gradients, x: &Map, pooled: &[Map]) {
        // a pooled map that nothing reads has no gradient, and neither have coarser ones behind it
        let read = pooled.iter().take_while(|map| grads.0[map.id].is_some()).count();
        let taken: Vec<AlignedBuffer> =
            pooled[..read].iter().filter_map(|map| grads.0[map.id].take()).collect();
        let maxima: Vec<BlockedView<'_>> = pooled[..read].iter().map(|map| self.view(map)).collect();
        let of_pooled: Vec<BlockedView<'_>> =
            pooled.iter().zip(&taken).map(|(map, grad)| self.shape(map).batch(self.images, grad)).collect();
        self.write_gradient(grads, x, |grad_x, write| {
            let mut grad_x = grad_x;
            if write == Write::Replace {
                grad_x.reborrow().clear();
            }
            max_pools2d_blocked_backward(self.isa, self.view(x), &maxima, &of_pooled, grad_x);
        });
        for (map, grad) in pooled.iter().zip(taken) {
            grads.0[map.id] = Some(grad);
        }
    }

    fn head_backward(
        &self,
        grads: &mut Gradients,
        found: &mut [Option<Tensor>],
        parameters: usize,
        x: &Map,
        grad: &Tensor,
    ) -> Result<()> {
        let weight = &self.parameters[parameters];
        let (outputs, inputs) = (weight.dim(0)?, x.parts.iter().sum());
        let mut grad_w = vec![0.0; weight.elem_count()];
        let bias = with_values(grad, |grad| {
            with_values(weight, |weight| {
                let head = BlockedHead::new(self.isa, inputs, outputs, weight);
                self.write_gradient(grads, x, |grad_x, write| {
                    head.backward(self.view(x), grad, grad_x, write, &mut grad_w);
                });
            })?;
            let sums = unet3p_kernels::channel_sums(outputs, grad.len() / (self.images * outputs), grad);
            Ok::<_, candle_core::Error>(sums.into_iter().map(|sum| sum as f32).collect::<Vec<f32>>())
        })??;
        found[parameters] = Some(Tensor::from_vec(grad_w, weight.shape(), &Device::Cpu)?);
        found[parameters + 1] = Some(Tensor::from_vec(bias, outputs, &Device::Cpu)?);
        Ok(())
    }

    fn planes_backward(&self, grads: &mut Gradients, x: &Map, grad: &Tensor) -> Result<()> {
        let channels: usize = x.parts.iter().sum();
        with_values(grad, |grad| {
            self.write_gradient(grads, x, |mut to, write| {
                for (image, planes) in grad.chunks_exact(grad.len() / self.images).enumerate() {
                    match write {
                        Write::Replace => to.reborrow().image(image).pack(channels, planes),
                        Write::Add => to.reborrow().image(image).add_planes(channels, planes),
                    }
                }
            });
        })
    }

    /// Lets `write` put a gradient of a map in its place, or add it to what other readers gave.
    fn write_gradient(
        &self,
        grads: &mut Gradients,
        map: &Map,
        write: impl FnOnce(BlockedViewMut<'_>, Write),
    ) {
        let shape = self.shape(map);
        let (mut grad, how) = match grads.0[map.id].take() {
            Some(grad) => (grad, Write::Add),
            None => (self.memory.take(self.images, shape), Write::Replace),
        };
        write(shape.batch_mut(self.images, &mut grad), how);
        grads.0[map.id] = Some(grad);
    }

    /// Gives a map and its gradient back once the last step that wrote it is undone.
    fn release(&mut self, grads: &mut Gradients, id: usize) {
        let Some(mut values) = self.maps[id].take() else { return };
        values.writers -= 1;
        if values.writers > 0 {
            self.maps[id] = Some(values);
            return;
        }
        let shape: BlockedShape = values.shape;
        self.memory.give_back(self.images, shape, values.data);
        if let Some(grad) = grads.0[id].take() {
            self.memory.give_back(self.images, shape, grad);
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        for values in self.maps.drain(..).flatten() {
            self.memory.give_back(self.images, values.shape, values.data);
        }
    }
}
