//! Checkpoints as PyTorch pickles them.

use candle_core::Tensor;
use unet3p_models::Variant;
use zip::CompressionMethod;

use super::{Seed, models, seed};
use crate::mutate::pack;

/// A network under our names, and a training state around one tensor.
pub fn checkpoints() -> Vec<Seed> {
    let network = models::network(Variant::Base);
    let parameters = network.parameters().all().into_iter();
    let all: Vec<(String, Tensor)> =
        parameters.map(|(name, variable)| (name, variable.as_detached_tensor())).collect();
    let mut nested = Archive::default();
    nested.pickle.extend(b"}(");
    nested.text("epoch");
    nested.pickle.extend(b"K\x07");
    nested.text("optimizer");
    nested.pickle.extend(b"}\x94N\x88\x89]G\x3f\xf0\0\0\0\0\0\0a00");
    nested.pickle.extend(b"K\x01");
    nested.text("state_dict");
    nested.state_dict(&all[..1]);
    nested.pickle.extend(b"u.");
    let mut plain = Archive::default();
    plain.state_dict(&all);
    plain.pickle.push(b'.');
    vec![seed("state_dict.pth", plain.finish()), seed("nested.pth", nested.finish())]
}

/// An archive in the making: the pickle, and the storages that it names by number.
struct Archive {
    pickle: Vec<u8>,
    storages: Vec<Vec<u8>>,
}

impl Default for Archive {
    fn default() -> Self {
        Self { pickle: b"\x80\x02".to_vec(), storages: Vec::new() }
    }
}

impl Archive {
    fn text(&mut self, text: &str) {
        self.pickle.push(b'X');
        self.pickle.extend((text.len() as u32).to_le_bytes());
        self.pickle.extend(text.as_bytes());
    }

    fn number(&mut self, number: usize) {
        self.pickle.push(b'J');
        self.pickle.extend((number as i32).to_le_bytes());
    }

    fn tuple(&mut self, numbers: &[usize]) {
        self.pickle.push(b'(');
        numbers.iter().for_each(|&number| self.number(number));
        self.pickle.push(b't');
    }

    /// An ordered dictionary of tensors.
    fn state_dict(&mut self, tensors: &[(String, Tensor)]) {
        self.pickle.extend(b"ccollections\nOrderedDict\n)R(");
        for (name, tensor) in tensors {
            self.text(name);
            self.tensor(tensor);
        }
        self.pickle.push(b'u');
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`.
    fn tensor(&mut self, tensor: &Tensor) {
        let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("weights in f32");
        self.pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.pickle.extend(b"ctorch\nFloatStorage\n");
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.number(values.len());
        self.pickle.extend(b"tQ");
        self.number(0);
        self.tuple(tensor.dims());
        self.tuple(tensor.stride());
        self.pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        self.storages.push(values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    fn finish(self) -> Vec<u8> {
        let mut entries =
            vec![("m/data.pkl".to_owned(), self.pickle), ("m/byteorder".to_owned(), b"little".to_vec())];
        let storages = self.storages.into_iter().enumerate();
        entries.extend(storages.map(|(key, storage)| (format!("m/data/{key}"), storage)));
        pack(&entries, CompressionMethod::Stored)
    }
}
