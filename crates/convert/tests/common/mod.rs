//! Builds small checkpoints, sound and hostile, byte by byte.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use candle_core::Tensor;
use unet3p_convert::pytorch::{CheckpointError, read_state_dict_from};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// A pickle under construction.
#[derive(Clone)]
pub(crate) struct Pickle(pub(crate) Vec<u8>);

/// The numbers that describe a tensor and its storage in a pickle.
#[derive(Clone)]
pub(crate) struct View<'a> {
    pub(crate) storage: &'a str,
    pub(crate) key: &'a str,
    pub(crate) elements: i64,
    pub(crate) offset: i64,
    pub(crate) shape: &'a [i64],
    pub(crate) strides: &'a [i64],
}

impl Pickle {
    /// Protocol 2 and an open dictionary.
    pub(crate) fn dict() -> Self {
        Self(b"\x80\x02}(".to_vec())
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.push(b'X');
        self.0.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.raw(text.as_bytes())
    }

    /// LONG1 of eight bytes.
    pub(crate) fn int(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&[0x8a, 8]);
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn ints(self, values: &[i64]) -> Self {
        let open = self.raw(b"(");
        values.iter().fold(open, |p, &v| p.int(v)).raw(b"t")
    }

    pub(crate) fn storage(self, view: &View<'_>) -> Self {
        self.raw(b"(")
            .text("storage")
            .raw(format!("ctorch\n{}\n", view.storage).as_bytes())
            .text(view.key)
            .text("cpu")
            .int(view.elements)
            .raw(b"tQ")
    }

    /// A tensor without its name.
    pub(crate) fn tensor(self, view: &View<'_>) -> Self {
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n(")
            .storage(view)
            .int(view.offset)
            .ints(view.shape)
            .ints(view.strides)
            .raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }

    /// Closes the dictionary and the pickle.
    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(b"u.").0
    }
}

/// A 2x3 f32 tensor in storage 0, row-major.
pub(crate) fn plain() -> View<'static> {
    View { storage: "FloatStorage", key: "0", elements: 6, offset: 0, shape: &[2, 3], strides: &[3, 1] }
}

/// The pickle of a state dict with the one tensor `w`.
pub(crate) fn one(view: &View<'_>) -> Vec<u8> {
    Pickle::dict().text("w").tensor(view).end()
}

/// The six numbers of [`plain`], signed.
pub(crate) const NUMBERS: [f32; 6] = [1.5, -2.0, 0.25, -0.5, 3.0, -7.0];

pub(crate) fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// A zip archive of entries.
pub(crate) fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in entries {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A checkpoint of a pickle and the storage 0 with [`NUMBERS`].
pub(crate) fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    let storage = bytes_of(&NUMBERS);
    archive(
        &[("m/data.pkl", pickle), ("m/byteorder", b"little"), ("m/data/0", &storage)],
        CompressionMethod::Stored,
    )
}

pub(crate) fn read(file: &[u8]) -> Result<BTreeMap<String, Tensor>, CheckpointError> {
    read_state_dict_from(Cursor::new(file))
}

pub(crate) fn read_pickle(pickle: &[u8]) -> Result<BTreeMap<String, Tensor>, CheckpointError> {
    read(&checkpoint(pickle))
}
