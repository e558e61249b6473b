//! The way back through a pass.

use candle_core::{Device, Result, Tensor};
use unet3p_kernels::{
    AlignedBuffer, BlockedBatchNorm, BlockedConv2d, BlockedHead, BlockedShape, BlockedUpsampledConv2d,
    BlockedView, BlockedViewMut, Write, add_relu_blocked_backward, max_pool2d_3x3_blocked_backward,
    max_pools2d_blocked_backward,
};

use super::tape::{Map, Tape, TapeLayer, TapeStep, with_values};

/// Gradients of maps, by id.
struct Gradients(Vec<Option<AlignedBuffer>>);

impl Tape {
    /// The gradients of the parameters, in the order of registration, from those of the outputs; none where an output
    /// that depends on one has none.
    pub(super) fn backward(mut self, outputs: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let mut found = vec![None; self.parameters.len()];
        let mut grads = Gradients((0..self.maps.len()).map(|_| None).collect());
        while let Some(step) = self.steps.pop() {
            match step {
                TapeStep::Layer { layer, norm, parameters } => {
                    self.layer_backward(&mut grads, &mut found[parameters..], &layer, &norm)?;
                    self.release(&mut grads, layer.z);
                    self.release(&mut grads, layer.y.id);
                }
                TapeStep::OverlappingPool { x, y } => {
                    if let Some(grad) = grads.0[y.id].take() {
                        let grad_y = self.shape(&y).batch(self.images, &grad);
                        self.write_gradient(&mut grads, &x, |grad_x, write| {
                            let [x, y] = [&x, &y].map(|map| self.view(map));
                            max_pool2d_3x3_blocked_backward(self.isa, x, y, grad_y, grad_x, write);
                        });
                        grads.0[y.id] = Some(grad);
                    }
                    self.release(&mut grads, y.id);
                }
                TapeStep::AddRelu { a, b, y } => {
                    self.add_relu_backward(&mut grads, [&a, &b], &y);
                    self.release(&mut grads, y.id);
                }
                TapeStep::Pools { x, pooled } => {
                    self.pools_backward(&mut grads, &x, &pooled);
                    pooled.iter().for_each(|map| self.release(&mut grads, map.id));
                }
                TapeStep::Head { x, output, parameters } => {
                    if let Some(grad) = &outputs[output] {
                        self.head_backward(&mut grads, &mut found, parameters, &x, grad)?;
                    }
                }
                TapeStep::Planes { x, output } => {
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
        layer: &TapeLayer,
        norm: &BlockedBatchNorm,
    ) -> Result<()> {
        let &TapeLayer { ref x, kernel, scale, z, ref y, has_bias } = layer;
        let Some(mut grad) = grads.0[y.id].take() else { return Ok(()) };
        let parameters = self.parameters.len() - found.len();
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
                let conv = BlockedConv2d::with_kernel(self.isa, &x.parts, kernel, weight);
                let mut memory = self.memory.take_scratch();
                conv.weight_gradient(self.view(x), grad_z, &mut grad_w, &mut memory);
                if self.values(x.id).needs_gradient {
                    self.write_gradient(grads, x, |grad_x, write| {
                        conv.input_gradient(grad_z, grad_x, write, &mut memory);
                    });
                }
                self.memory.give_back_scratch(memory);
            } else {
                let conv = BlockedUpsampledConv2d::new(self.isa, scale, inputs, weight);
                self.write_gradient(grads, x, |grad_x, write| {
                    conv.backward(self.view(x), grad_z, grad_x, write, &mut grad_w);
                });
            }
        })?;
        // other slots of a concatenation are still to be read
        grads.0[y.id] = Some(grad);
        found[0] = Some(Tensor::from_vec(grad_w, weight.shape(), &Device::Cpu)?);
        // normalisation takes the bias away again
        let bias = has_bias.then(|| vec![0.0; outputs]);
        for (found, vector) in found[1..].iter_mut().zip([gamma, beta].into_iter().chain(bias)) {
            *found = Some(Tensor::from_vec(vector, outputs, &Device::Cpu)?);
        }
        Ok(())
    }

    fn add_relu_backward(&self, grads: &mut Gradients, operands: [&Map; 2], y: &Map) {
        let Some(grad) = grads.0[y.id].take() else { return };
        let shape = self.shape(y);
        let mut taken = operands.map(|map| self.take_gradient(grads, map));
        let mut views = taken.each_mut().map(|(grad, write)| (shape.batch_mut(self.images, grad), *write));
        let grad_y = shape.batch(self.images, &grad);
        add_relu_blocked_backward(self.isa, self.view(y), grad_y, &mut views);
        for (map, (grad, _)) in operands.into_iter().zip(taken) {
            grads.0[map.id] = Some(grad);
        }
        grads.0[y.id] = Some(grad);
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
                let head = BlockedHead::new(self.isa, inputs, weight);
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
        let (mut grad, how) = self.take_gradient(grads, map);
        write(self.shape(map).batch_mut(self.images, &mut grad), how);
        grads.0[map.id] = Some(grad);
    }

    /// A map's gradient, taken out to be written, and how: what other readers gave stays.
    fn take_gradient(&self, grads: &mut Gradients, map: &Map) -> (AlignedBuffer, Write) {
        match grads.0[map.id].take() {
            Some(grad) => (grad, Write::Add),
            None => (self.memory.take(self.images, self.shape(map)), Write::Replace),
        }
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
