//! Writing single-file NIfTI-1 volumes.

use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, write::GzEncoder};

use super::header::RawHeader;
use super::{Nifti, Volume};
use crate::{Error, Result, write_atomically};

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for i16 {}
    impl Sealed for u16 {}
    impl Sealed for f32 {}
}

/// A type of voxel that can be written.
pub trait Voxel: Copy + Send + Sync + sealed::Sealed {
    /// NIfTI's code for the type.
    const DATATYPE: i16;
    /// Size in bits.
    const BITS: i16;
    /// Appends the value in the given byte order.
    fn put(self, bytes: &mut Vec<u8>, little_endian: bool);
}

macro_rules! voxel {
    ($type:ty, $code:literal) => {
        impl Voxel for $type {
            const DATATYPE: i16 = $code;
            const BITS: i16 = <$type>::to_le_bytes(0 as $type).len() as i16 * 8;
            fn put(self, bytes: &mut Vec<u8>, little_endian: bool) {
                let value = if little_endian { self.to_le_bytes() } else { self.to_be_bytes() };
                bytes.extend_from_slice(&value);
            }
        }
    };
}

voxel!(u8, 2);
voxel!(i16, 4);
voxel!(f32, 16);
voxel!(u16, 512);

impl<T: Voxel> Volume<T> {
    /// Writes `.nii`, or `.nii.gz` when the name ends in `.gz`, atomically. The affine becomes the sform; [`Nifti`] writes
    /// as a file was that is there already.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written, [`Error::Shape`] when `data` does not fill `shape`
    /// or an axis has more than 32767 voxels.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check_writable()?;
        let compress = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        write_atomically(path, |file| Nifti::default().write(self, compress, file))
    }

    /// Whether NIfTI can hold the volume.
    pub(super) fn check_writable(&self) -> Result<()> {
        let fits = self.shape.iter().all(|&n| n <= i16::MAX as usize);
        if fits && self.data.len() == self.shape.iter().product::<usize>() {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "{} voxels of shape {:?} cannot be written as NIfTI",
            self.data.len(),
            self.shape
        )))
    }

    /// Writes a header and the voxels.
    pub(super) fn write_with(
        &self,
        header: &RawHeader,
        compress: bool,
        stream: &mut (impl Write + ?Sized),
    ) -> io::Result<()> {
        if compress {
            // The encoder writes no time and no name: equal volumes give equal files.
            let mut stream = GzEncoder::new(stream, Compression::default());
            self.write_to(header, &mut stream)?;
            stream.finish().map(drop)
        } else {
            self.write_to(header, stream)
        }
    }

    fn write_to(&self, header: &RawHeader, file: &mut (impl Write + ?Sized)) -> io::Result<()> {
        file.write_all(header.bytes())?;
        file.write_all(&[0; 4])?;
        let mut bytes = Vec::new();
        for values in self.data.chunks(1 << 16) {
            bytes.clear();
            values.iter().for_each(|value| value.put(&mut bytes, header.is_little_endian()));
            file.write_all(&bytes)?;
        }
        Ok(())
    }
}
