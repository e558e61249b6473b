//! PyTorch checkpoints, read without Python and without running anything.
//!
//! `torch.save` writes a zip archive: `data.pkl`, a pickle of what was saved, and one entry `data/KEY` per
//! storage with the raw numbers. What was saved is a state dict, a dictionary from names to tensors, or a
//! dictionary that holds one as `state_dict`, `model_state_dict` or `model`, beside what a training run keeps:
//! epoch numbers, optimizer states, hyper-parameters.
//!
//! A pickle is a program that may call any Python function. This reader knows the opcodes that plain data are made
//! of and refuses every other one by name. A state dict is built from an allow-list of globals (the ordered
//! dictionary, the tensor's constructors, the types of storages). Any other global, as `argparse.Namespace` or a
//! class of Lightning's, becomes an inert placeholder: nothing is looked up, imported or called, arguments and
//! attributes are read and dropped, and what such a call returns is a placeholder again. A placeholder can
//! therefore lie beside the weights, but never become a tensor or a dictionary of them; one that lies where the
//! weights should be is an error that names its class. Functions that no training run saves (`os.system`,
//! `builtins.eval`) make the whole file refused. Sizes, counts and nesting are checked against the archive's
//! directory before memory is taken for them.

mod error;
mod package;
mod pickle;
mod tensor;

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::Tensor;
use unet3p_files::{Content, open};

pub use error::CheckpointError;

use crate::Error;
use package::Package;
use tensor::TensorClaim;

/// First bytes of a file that PyTorch wrote before 1.6: the pickle of a magic number.
pub(crate) const LEGACY_MAGIC: [u8; 14] =
    [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Reads the tensors of a file with a state dict, alone or among what else a training run saved.
///
/// The tensors come on the CPU, contiguous, with the shape and number format that the file gives
/// them (f32, f64, f16, bf16 or i64), under the names of the file.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be opened, [`Error::Checkpoint`] where it holds no state dict (a whole
/// pickled module, whose code would be needed), asks for a function that no checkpoint needs, is truncated or
/// inconsistent, or claims sizes beyond what it holds.
///
/// ```no_run
/// let tensors = unet3p_convert::pytorch::read_state_dict("unet3plus.pth".as_ref())?;
/// for (name, tensor) in &tensors {
///     println!("{name} {:?} {:?}", tensor.shape(), tensor.dtype());
/// }
/// # Ok::<(), unet3p_convert::Error>(())
/// ```
pub fn read_state_dict(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let (file, _) = open(path, Content::Weights).map_err(|cause| Error::io(path, cause))?;
    read_state_dict_from(BufReader::new(file))
        .map_err(|cause| Error::Checkpoint { path: path.to_owned(), cause })
}

/// Reads the tensors of a state dict from anything that can be read and sought.
///
/// # Errors
///
/// As [`read_state_dict`], without the path.
pub fn read_state_dict_from<R: Read + Seek>(
    mut reader: R,
) -> Result<BTreeMap<String, Tensor>, CheckpointError> {
    let mut head = Vec::new();
    reader.by_ref().take(LEGACY_MAGIC.len() as u64).read_to_end(&mut head)?;
    if head == LEGACY_MAGIC {
        return Err(CheckpointError::Legacy);
    }
    reader.seek(SeekFrom::Start(0))?;

    let mut archive = Package::open(reader)?;
    let pickle = archive.pickle()?;
    let mut claims = pickle::state_dict(&pickle)?;
    check_total(&claims, archive.total_bytes())?;

    // One storage is read once, however many tensors are views of it.
    claims.sort_by_key(|(_, claim)| claim.storage.key);
    let mut tensors = BTreeMap::new();
    for group in claims.chunk_by(|(_, a), (_, b)| a.storage.key == b.storage.key) {
        let [(_, first), ..] = group else { continue };
        let mut bytes = archive.storage(first.storage.key)?;
        let item = first.storage.dtype.size_in_bytes();
        if archive.big_endian() {
            bytes.chunks_exact_mut(item).for_each(<[u8]>::reverse);
        }
        for &(name, ref claim) in group {
            if claim.storage != first.storage {
                return Err(CheckpointError::tensor(name, "its storage is described in two ways"));
            }
            let tensor = claim.materialise(name, &bytes)?;
            if tensors.insert(name.to_owned(), tensor).is_some() {
                return Err(CheckpointError::tensor(name, "it is in the file twice"));
            }
        }
    }
    Ok(tensors)
}

/// Views of one storage cost memory each, so a small file could claim many large ones. Without
/// sharing, tensors have at most one element for each byte of the archive: that is the budget.
fn check_total(claims: &[(&str, TensorClaim<'_>)], budget: u64) -> Result<(), CheckpointError> {
    let mut elements = 0u64;
    for (name, claim) in claims {
        elements = elements.saturating_add(claim.elements(name)? as u64);
    }
    if elements > budget {
        return Err(CheckpointError::TooLarge {
            what: "elements of all tensors",
            claimed: elements,
            limit: budget,
        });
    }
    Ok(())
}
