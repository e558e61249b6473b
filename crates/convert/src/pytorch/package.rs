//! What lies in the archive of a state dict: the pickle, the storages, their byte order.

use std::io::{Read, Seek};

use super::CheckpointError;
use crate::archive::Archive;

/// Largest `data.pkl` accepted. A tensor takes about 110 bytes of it, 1100 tensors 120 KB.
const MAX_PICKLE_BYTES: u64 = 8 << 20;

/// The archive that `torch.save` writes.
pub(super) struct Package<R> {
    archive: Archive<R>,
    /// The folder that everything lies in, with its slash: `archive/`.
    root: String,
    big_endian: bool,
}

impl<R: Read + Seek> Package<R> {
    pub(super) fn open(reader: R) -> Result<Self, CheckpointError> {
        let archive = Archive::open(reader)?;
        let root = archive
            .names()
            .find_map(|name| name.strip_suffix("data.pkl"))
            .filter(|root| root.is_empty() || root.ends_with('/'))
            .ok_or_else(|| CheckpointError::Archive("it has no entry data.pkl".into()))?
            .to_owned();
        let mut package = Self { archive, root, big_endian: false };
        package.big_endian = package.read_byte_order()?;
        Ok(package)
    }

    /// The pickle that describes the tensors.
    pub(super) fn pickle(&mut self) -> Result<Vec<u8>, CheckpointError> {
        Ok(self.archive.read(&format!("{}data.pkl", self.root), MAX_PICKLE_BYTES)?)
    }

    /// The raw bytes of a storage, in the file's byte order.
    pub(super) fn storage(&mut self, key: &str) -> Result<Vec<u8>, CheckpointError> {
        Ok(self.archive.read(&format!("{}data/{key}", self.root), u64::MAX)?)
    }

    /// Whether the storages hold big-endian numbers.
    pub(super) fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// Unpacked bytes of all entries, by the directory.
    pub(super) fn total_bytes(&self) -> u64 {
        self.archive.total_bytes()
    }

    /// Files written before PyTorch 2.1 do not state their byte order; they are little-endian.
    fn read_byte_order(&mut self) -> Result<bool, CheckpointError> {
        let name = format!("{}byteorder", self.root);
        if !self.archive.names().any(|entry| entry == name) {
            return Ok(false);
        }
        match self.archive.read(&name, 16)?.as_slice() {
            b"little" => Ok(false),
            b"big" => Ok(true),
            _ => Err(CheckpointError::Archive("its byteorder is neither `little` nor `big`".into())),
        }
    }
}
