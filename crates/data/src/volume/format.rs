//! What file formats of volumes have in common.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::Volume;
use crate::{Result, write_atomically};

/// Reads volumes of one file format. [`Nifti`](super::Nifti) does.
pub trait VolumeReader {
    /// Reads a volume, and what writes masks as its file was written. `name` is for messages.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) with `name` for a stream that holds no such volume;
    /// [`Error::Io`](crate::Error::Io) for one that cannot be read.
    fn read_volume(&self, name: &Path, stream: &mut dyn Read) -> Result<(Volume, Arc<dyn VolumeWriter>)>;
}

/// Writes label volumes in one file format. A writer that came with a volume keeps what its file says beside voxels and
/// geometry, such as units and the exact form of the affine.
pub trait VolumeWriter: Debug + Send + Sync {
    /// Writes a label volume; `compressed` asks for the format's compression.
    ///
    /// # Errors
    /// Those of `stream`, and an error of the kind `InvalidInput` for a volume that the format cannot hold.
    fn write_labels(
        &self,
        labels: &Volume<u8>,
        compressed: bool,
        stream: &mut dyn Write,
    ) -> std::io::Result<()>;

    /// Writes a label volume to a file, atomically and compressed where the name ends in `.gz`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the file cannot be written, or cannot hold the volume.
    fn write_file(&self, labels: &Volume<u8>, path: &Path) -> Result<()> {
        let compressed = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
        write_atomically(path, |file| self.write_labels(labels, compressed, file))
    }
}
