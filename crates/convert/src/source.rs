//! Which kind of checkpoint a file is, and its tensors under the file's names.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use unet3p_files::{Content, open};
use unet3p_models::{UNet3PlusConfig, check_safetensors};

use crate::archive::Archive;
use crate::keras::{self, KerasSettings};
use crate::names::Naming;
use crate::{Error, pytorch};

/// The kind of a checkpoint file, told by its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A PyTorch checkpoint.
    PyTorch,
    /// Weights or a model of Keras.
    Keras,
    /// A safetensors file.
    Safetensors,
}

/// What a file holds.
pub(crate) struct Checkpoint {
    pub(crate) kind: SourceKind,
    pub(crate) naming: SourceNaming,
    /// The tensors under the file's names.
    pub(crate) tensors: BTreeMap<String, Tensor>,
    pub(crate) told: Told,
}

/// From our names to the file's.
pub(crate) enum SourceNaming {
    /// By rule, after something that stands before all of them.
    Names(Naming, String),
    /// Name by name: Keras numbers its layers.
    Numbered(HashMap<String, String>),
}

/// What a file says of the configuration, besides its shapes.
pub(crate) enum Told {
    Nothing,
    Keras(KerasSettings),
    Everything(UNet3PlusConfig),
}

impl SourceNaming {
    pub(crate) fn of(&self, name: &str) -> String {
        match self {
            Self::Names(naming, prefix) => format!("{prefix}{}", naming.of(name)),
            Self::Numbered(names) => names.get(name).cloned().unwrap_or_else(|| name.to_owned()),
        }
    }
}

/// Tells the kind of a checkpoint by its contents; names play no part.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read, [`Error::UnknownSource`] where it is of no kind.
///
/// ```no_run
/// use unet3p_convert::{SourceKind, source_kind};
///
/// assert_eq!(source_kind("unet3plus.pth".as_ref())?, SourceKind::PyTorch);
/// # Ok::<(), unet3p_convert::Error>(())
/// ```
pub fn source_kind(path: &Path) -> Result<SourceKind, Error> {
    let io = |cause| Error::io(path, cause);
    let (mut file, size) = open(path, Content::Weights).map_err(io)?;
    let mut head = [0; pytorch::LEGACY_MAGIC.len()];
    let found = match file.read_exact(&mut head) {
        Ok(()) if head.starts_with(b"PK\x03\x04") => return Ok(archive_kind(file)),
        // Its reader explains what to do about it.
        Ok(()) if head == pytorch::LEGACY_MAGIC => return Ok(SourceKind::PyTorch),
        Ok(()) if head.starts_with(keras::HDF5_MAGIC) => return Ok(SourceKind::Keras),
        Ok(()) if head[8] == b'{' && header_length(&head) < size => {
            return Ok(SourceKind::Safetensors);
        }
        Ok(()) if head[8] == b'{' => "a safetensors file that is cut short in its header, or another format",
        Ok(()) => "neither a zip archive, an HDF5 file nor a safetensors file",
        Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => "a file of a few bytes: truncated?",
        Err(cause) => return Err(io(cause)),
    };
    Err(Error::UnknownSource { path: path.to_owned(), found })
}

/// All bytes of a file of weights.
pub(crate) fn read_weights(path: &Path) -> Result<Vec<u8>, Error> {
    let read = || {
        let (mut file, length) = open(path, Content::Weights)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.read_to_end(&mut bytes).map(|_| bytes)
    };
    read().map_err(|cause| Error::io(path, cause))
}

/// A zip archive of Keras has its weights at the top. What cannot be opened is left to PyTorch's reader, which says
/// what is wrong with it.
fn archive_kind(file: File) -> SourceKind {
    match Archive::open(BufReader::new(file)) {
        Ok(archive) if archive.names().any(|name| name == keras::ARCHIVED_WEIGHTS) => SourceKind::Keras,
        _ => SourceKind::PyTorch,
    }
}

/// A safetensors file begins with the length of its JSON header.
fn header_length(head: &[u8; 14]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *head;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Reads a checkpoint of any kind.
pub(crate) fn read(path: &Path) -> Result<Checkpoint, Error> {
    let kind = source_kind(path)?;
    let (tensors, told) = match kind {
        SourceKind::Keras => {
            let keras = keras::read_weights(path)?;
            let naming = SourceNaming::Numbered(keras.names);
            return Ok(Checkpoint {
                kind,
                naming,
                tensors: keras.tensors,
                told: Told::Keras(keras.settings),
            });
        }
        SourceKind::PyTorch => (pytorch::read_state_dict(path)?, Told::Nothing),
        SourceKind::Safetensors => read_safetensors(path)?,
    };
    let (naming, prefix) = match told {
        // Written by this library, under its names.
        Told::Everything(_) => (Naming::Native, String::new()),
        Told::Nothing | Told::Keras(_) => Naming::detect(&tensors),
    };
    Ok(Checkpoint { kind, naming: SourceNaming::Names(naming, prefix), tensors, told })
}

/// The tensors of a safetensors file, and its configuration where this library wrote it.
fn read_safetensors(path: &Path) -> Result<(BTreeMap<String, Tensor>, Told), Error> {
    let damaged = |cause| Error::Safetensors { path: path.to_owned(), cause };
    check_safetensors(path).map_err(Error::SafetensorsHeader)?;
    let bytes = read_weights(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|cause| damaged(cause.into()))?;
    let entry = header.metadata().as_ref().and_then(|entries| entries.get("config"));
    let told = match entry.filter(|json| UNet3PlusConfig::is_unet3plus_json(json)) {
        Some(json) => Told::Everything(
            UNet3PlusConfig::from_json_of(json, &path.display().to_string())
                .map_err(|cause| Error::model(path, cause))?,
        ),
        None => Told::Nothing,
    };
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(damaged)?;
    Ok((tensors.into_iter().collect(), told))
}
