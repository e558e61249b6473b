//! The header of a safetensors file: what tensors it holds, and where.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use unet3p_files::Content;

use crate::config::UNet3PlusConfig;
use crate::error::{Error, Result};

/// Bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;
/// The largest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;
/// The entry of the file's metadata that repeats `config.json`.
pub(crate) const CONFIG_ENTRY: &str = "config";

/// A header whose tensors cover exactly the rest of the file.
pub(crate) struct Header {
    metadata: Metadata,
    /// Where the tensors' bytes begin in the file.
    pub(crate) start: u64,
}

impl Header {
    /// Reads the header at the beginning of a file of `length` bytes.
    pub(crate) fn read(mut file: impl Read, length: u64) -> Result<Self> {
        let damaged = |what: String| Error::Safetensors(what);
        let mut size = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut size).map_err(|error| cut(error, length))?;
        let header = u64::from_le_bytes(size);
        if header > MAX_HEADER || header > length.saturating_sub(LENGTH_BYTES) {
            return Err(damaged(format!(
                "a header of {header} bytes in a file of {length}: truncated, or another format"
            )));
        }
        let mut bytes = vec![0; header as usize];
        file.read_exact(&mut bytes).map_err(|error| cut(error, length))?;
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let start = LENGTH_BYTES + header;
        let (data, rest) = (metadata.data_len(), length.saturating_sub(start));
        if data as u64 != rest {
            return Err(damaged(format!(
                "the header tells of {data} bytes of data, {rest} are there: truncated?"
            )));
        }
        Ok(Self { metadata, start })
    }

    /// The tensors by name.
    pub(crate) fn tensors(&self) -> BTreeMap<String, TensorInfo> {
        self.metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect()
    }

    /// The configuration that the file repeats, where it does.
    pub(crate) fn config(&self) -> Option<&str> {
        let entry = self.metadata.metadata().as_ref()?.get(CONFIG_ENTRY)?;
        Some(entry.as_str()).filter(|json| UNet3PlusConfig::is_unet3plus_json(json))
    }
}

/// What it means that reading a file of `length` bytes failed.
pub(crate) fn cut(error: io::Error, length: u64) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::Safetensors(format!("its {length} bytes are too few: truncated?"))
        }
        _ => Error::Read(error),
    }
}

/// Opens a file of weights, and tells its length.
pub(crate) fn open(path: &Path) -> Result<(BufReader<File>, u64)> {
    let (file, length) =
        unet3p_files::open(path, Content::Weights).map_err(|source| Error::open(path, source))?;
    Ok((BufReader::new(file), length))
}

/// Checks that the file at `path` is a safetensors file whose tensors cover all of it, by its header alone. Whether
/// they are those of a network is told by [`UNet3Plus::load`](crate::UNet3Plus::load).
///
/// # Errors
/// Names the file and what is wrong with it.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// std::fs::write(&path, b"text")?;
/// let error = unet3p_models::check_safetensors(&path).unwrap_err();
/// assert!(error.to_string().ends_with("its 4 bytes are too few: truncated?"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn check_safetensors(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let (file, length) = open(path)?;
    Header::read(file, length).map(|_| ()).map_err(|error| error.in_file(path))
}
