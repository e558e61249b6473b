//! NIfTI-1 as a format of volumes: its header stays here, beside the voxels.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::affine::Affine;
use super::format::{VolumeReader, VolumeWriter};
use super::header::RawHeader;
use super::read::{open_volume, read_volume};
use super::values::Filling;
use super::{Volume, Voxel};
use crate::Result;

/// The format NIfTI-1, `.nii` and `.nii.gz`, with the header of the file that a volume was read from, if there was one.
///
/// A volume on the grid of that file is written with its geometry and units to the bit; scaling and extensions are
/// dropped. Any other is written with its affine as the sform, in millimetres.
///
/// ```
/// use unet3p_data::{Nifti, Volume};
/// let grid = [[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
/// let scan = Volume::new(vec![40i16; 8], [2, 2, 2], grid)?;
/// let mut bytes = Vec::new();
/// Nifti::default().write(&scan, true, &mut bytes).unwrap();
/// let (volume, nifti) = Nifti::read_from("scan.nii.gz".as_ref(), bytes.as_slice())?;
/// assert_eq!(volume.spacing(), [2.0, 2.0, 5.0]);
/// let mask = volume.map(|&value| u8::from(value > 30.0));
/// nifti.write(&mask, false, &mut Vec::new()).unwrap();
/// # Ok::<(), unet3p_data::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Nifti {
    read: Option<Box<Origin>>,
}

/// A file's header and the grid that was read from it.
#[derive(Debug, Clone, PartialEq)]
struct Origin {
    header: RawHeader,
    shape: [usize; 3],
    affine: Affine,
}

impl Nifti {
    /// Reads a 3D volume and the header of its file, as [`Volume::read`] does.
    ///
    /// # Errors
    /// Those of [`Volume::read`].
    pub fn read(path: &Path) -> Result<(Volume, Self)> {
        let (volume, header, _) = open_volume(path, Filling::Lowest)?;
        Ok(Self::with_header(volume, header))
    }

    /// Reads a 3D volume and its header from a stream, compressed or not. `name` is for messages.
    ///
    /// # Errors
    /// Those of [`Volume::read`], with `name` for the file.
    pub fn read_from(name: &Path, stream: impl Read) -> Result<(Volume, Self)> {
        let (volume, header, _) = read_volume(name, stream, Filling::Lowest)?;
        Ok(Self::with_header(volume, header))
    }

    fn with_header(volume: Volume, header: RawHeader) -> (Volume, Self) {
        let origin = Origin { header, shape: volume.shape, affine: volume.affine };
        (volume, Self { read: Some(Box::new(origin)) })
    }

    /// Writes a volume to a stream.
    ///
    /// # Errors
    /// Those of `stream`, and an error of the kind `InvalidInput` where `data` does not fill `shape` or an axis has more
    /// than 32767 voxels.
    pub fn write<T: Voxel>(
        &self,
        volume: &Volume<T>,
        compressed: bool,
        stream: &mut (impl Write + ?Sized),
    ) -> io::Result<()> {
        if let Err(problem) = volume.check_writable() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem.to_string()));
        }
        let origin =
            self.read.as_ref().filter(|read| (read.shape, read.affine) == (volume.shape, volume.affine));
        let header = match origin {
            Some(origin) => origin.header.for_voxels(T::DATATYPE, T::BITS),
            None => RawHeader::from_geometry(volume.shape, &volume.affine, volume.spacing())
                .for_voxels(T::DATATYPE, T::BITS),
        };
        volume.write_with(&header, compressed, stream)
    }
}

impl VolumeReader for Nifti {
    fn read_volume(&self, name: &Path, stream: &mut dyn Read) -> Result<(Volume, Arc<dyn VolumeWriter>)> {
        let (volume, nifti) = Self::read_from(name, stream)?;
        Ok((volume, Arc::new(nifti)))
    }
}

impl VolumeWriter for Nifti {
    fn write_labels(&self, labels: &Volume<u8>, compressed: bool, stream: &mut dyn Write) -> io::Result<()> {
        self.write(labels, compressed, stream)
    }
}
