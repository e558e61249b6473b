//! What each layer of a forward pass did, and how long it took.

use std::time::{Duration, Instant};

use super::layer::Algorithm;

/// One layer of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// Its name: of a convolution the name of its tensors.
    pub name: String,
    /// How it is computed; none for pooling.
    pub algorithm: Option<Algorithm>,
    /// Multiply-adds that are executed for one image.
    pub multiply_adds: u64,
    /// Time of the last forward pass.
    pub time: Duration,
}

/// The layers of a forward pass, in the order in which they first ran.
#[derive(Default)]
pub(super) struct Times(Vec<LayerReport>);

impl Times {
    /// Runs `work` and adds its time to the layer's.
    pub(super) fn measure(
        &mut self,
        name: &str,
        algorithm: impl Into<Option<Algorithm>>,
        work: impl FnOnce(),
    ) {
        let start = Instant::now();
        work();
        let time = start.elapsed();
        match self.0.iter_mut().find(|layer| layer.name == name) {
            Some(layer) => layer.time += time,
            None => self.0.push(LayerReport {
                name: name.to_owned(),
                algorithm: algorithm.into(),
                multiply_adds: 0,
                time,
            }),
        }
    }

    /// States what a layer executes for one image.
    pub(super) fn count(&mut self, name: &str, multiply_adds: u64) {
        if let Some(layer) = self.0.iter_mut().find(|layer| layer.name == name) {
            layer.multiply_adds = multiply_adds;
        }
    }

    pub(super) fn into_layers(self) -> Vec<LayerReport> {
        self.0
    }
}
