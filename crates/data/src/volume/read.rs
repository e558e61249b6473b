//! Reading single-file NIfTI-1 volumes. Nothing is allocated on a header's word alone: buffers grow with
//! the voxels that are really there.

use std::io::{self, BufReader, Read};
use std::path::Path;

use nifti::NiftiHeader;

use super::Volume;
use super::geometry::Geometry;
use super::gzip::Members;
use super::header::{DATA_OFFSET, HEADER_LEN, RawHeader};
use super::values::{Filling, Values};
use crate::{Error, Result, guard, open_file};

/// Volumes with more voxels are refused: 2^30, four times a 1000-slice CT.
pub const MAX_VOXELS: usize = 1 << 30;
/// Longer extensions are refused, and so is more behind the voxels.
const MAX_OFFSET: f32 = (64 << 20) as f32;

impl Volume<f32> {
    /// Reads a 3D volume from `.nii` or `.nii.gz` (told apart by content), scaled by the header's slope
    /// and intercept.
    ///
    /// The affine is the header's sform, else its qform, else what nibabel makes of the voxel sizes. Values that are
    /// not finite (padding outside the field of view, in some files) become the smallest finite value. What a header
    /// leaves open or contradicts itself in is told by [`Volume::warnings`].
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened; [`Error::File`] when it is no NIfTI-1 file, is
    /// truncated, has more than one volume or more than [`MAX_VOXELS`] voxels, or voxels that are not
    /// real numbers, or none of them finite.
    ///
    /// ```no_run
    /// let volume = unet3p_data::Volume::read("scan.nii.gz".as_ref())?;
    /// println!("{:?} voxels of {:?} mm", volume.shape, volume.spacing());
    /// # Ok::<(), unet3p_data::Error>(())
    /// ```
    pub fn read(path: &Path) -> Result<Self> {
        open_volume(path, Filling::Lowest).map(|(volume, ..)| volume)
    }
}

impl Volume<u16> {
    /// Reads a label volume: whole numbers from 0 to 65535, stored as any type. Voxels that are not finite are 0.
    ///
    /// Scaled values are rounded, by no more than what the scaling of whole numbers to stored ones has lost.
    ///
    /// # Errors
    /// As [`Volume::read`], and [`Error::File`] when a voxel is not such a number.
    pub fn read_labels(path: &Path) -> Result<Self> {
        let (volume, _, step) = open_volume(path, Filling::Zero)?;
        Self::of_values(path, &volume, step)
    }

    /// As [`Volume::read_labels`], from a stream, compressed or not. `name` is for messages.
    ///
    /// # Errors
    /// As [`Volume::read_labels`], with `name` for the file.
    pub fn read_labels_from(name: &Path, stream: impl Read) -> Result<Self> {
        let (volume, _, step) = read_volume(name, stream, Filling::Zero)?;
        Self::of_values(name, &volume, step)
    }

    /// Whole numbers from values that neighbouring stored ones have `step` between them.
    fn of_values(path: &Path, volume: &Volume, step: Option<f64>) -> Result<Self> {
        let tolerance = step.map_or(0.0, |step| (0.5 * step).min(0.05) + f64::from(f32::EPSILON) * 65536.0);
        let (mut wrong, mut off) = (None, 0.0f64);
        let mut labels = volume.map(|&value| {
            let nearest = value.round();
            let distance = f64::from((value - nearest).abs());
            off = off.max(distance);
            if distance > tolerance || !(0.0..=65535.0).contains(&nearest) {
                wrong = wrong.or(Some(value));
            }
            nearest as u16
        });
        if let Some(value) = wrong {
            return Err(Error::file(
                path,
                format!("a voxel has the value {value}; a label map holds whole numbers from 0 to 65535"),
            ));
        }
        if off > 1e-3 {
            labels
                .warnings
                .push(format!("scaled labels are up to {off:.4} from whole numbers, and are rounded"));
        }
        Ok(labels)
    }
}

/// A volume, its header, and how far apart neighbouring values are where they are scaled.
type Read3d = (Volume, RawHeader, Option<f64>);

/// Reads the volume of a file.
pub(super) fn open_volume(path: &Path, filling: Filling) -> Result<Read3d> {
    read_volume(path, open_file(path)?, filling)
}

/// Reads the volume of a stream, compressed or not.
pub(super) fn read_volume(path: &Path, stream: impl Read, filling: Filling) -> Result<Read3d> {
    let mut file = BufReader::with_capacity(1 << 16, stream);
    guard(path, || {
        let head = io::BufRead::fill_buf(&mut file).map_err(|source| Error::io(path, "read", source))?;
        if head.starts_with(&[0x1f, 0x8b]) {
            let mut stream = Members::new(file);
            let volume = read_stream(path, &mut stream, filling)?;
            check_end(path, &mut stream)?;
            Ok(volume)
        } else {
            read_stream(path, &mut file, filling)
        }
    })
}

fn read_stream(path: &Path, stream: &mut impl Read, filling: Filling) -> Result<Read3d> {
    let mut bytes = [0; HEADER_LEN];
    stream.read_exact(&mut bytes).map_err(|error| truncated(path, error, "the header"))?;
    let header = parse_header(path, &bytes)?;
    let shape = shape(path, &header)?;
    let Geometry { affine, readings, mut warnings } =
        Geometry::of(&header, shape).map_err(|problem| Error::file(path, problem))?;
    skip_extensions(path, &header, stream)?;
    let values = Values::of(path, &header)?;
    let data = values.read(shape.iter().product(), stream, filling, &mut warnings)?;
    let header = RawHeader::new(&bytes, &header);
    Ok((Volume { data, shape, affine, warnings, readings }, header, values.step()))
}

/// Reads a compressed stream to its end, where its checksum is.
fn check_end(path: &Path, stream: &mut impl Read) -> Result<()> {
    let most = MAX_OFFSET as u64;
    let rest = io::copy(&mut stream.take(most + 1), &mut io::sink());
    match rest.map_err(|error| truncated(path, error, "its end"))? {
        bytes if bytes <= most => Ok(()),
        _ => Err(Error::file(path, format!("is corrupt: more than {most} bytes follow its voxels"))),
    }
}

fn parse_header(path: &Path, bytes: &[u8; HEADER_LEN]) -> Result<NiftiHeader> {
    let size: [u8; 4] = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if [540i32.to_le_bytes(), 540i32.to_be_bytes()].contains(&size) {
        return Err(Error::file(path, "is a NIfTI-2 file; save it as NIfTI-1 (.nii or .nii.gz)"));
    }
    if ![348i32.to_le_bytes(), 348i32.to_be_bytes()].contains(&size) {
        return Err(Error::file(path, "is not a NIfTI-1 file (.nii or .nii.gz)"));
    }
    match &bytes[344..348] {
        b"n+1\0" => {}
        b"ni1\0" => {
            return Err(Error::file(
                path,
                "is the header of a .hdr/.img pair; save it as a single .nii or .nii.gz",
            ));
        }
        _ => {
            return Err(Error::file(
                path,
                "is not a NIfTI-1 file (.nii or .nii.gz): its magic code is wrong",
            ));
        }
    }
    NiftiHeader::from_reader(&bytes[..])
        .map_err(|error| Error::file(path, format!("has a broken NIfTI header: {error}")))
}

/// The three extents; further axes must have one entry.
fn shape(path: &Path, header: &NiftiHeader) -> Result<[usize; 3]> {
    let rank = usize::from(header.dim[0]);
    if !(1..=7).contains(&rank) {
        return Err(Error::file(path, format!("has a broken NIfTI header: {rank} dimensions")));
    }
    let extents = &header.dim[1..=rank];
    // Extents are signed in the standard, the header's parser reads them unsigned.
    if extents.iter().any(|&n| n == 0 || n > i16::MAX as u16) {
        return Err(Error::file(path, format!("has a broken NIfTI header: extents {extents:?}")));
    }
    if extents.iter().skip(3).any(|&n| n != 1) {
        return Err(Error::file(
            path,
            format!(
                "has extents {extents:?}; a single 3D volume is needed: split the series into its volumes"
            ),
        ));
    }
    let shape = [0, 1, 2].map(|axis| usize::from(extents.get(axis).copied().unwrap_or(1)));
    // Cannot overflow: three extents below 2^15.
    if shape.iter().product::<usize>() > MAX_VOXELS {
        return Err(Error::file(path, format!("has {shape:?} voxels; at most {MAX_VOXELS} are read")));
    }
    Ok(shape)
}

fn skip_extensions(path: &Path, header: &NiftiHeader, stream: &mut impl Read) -> Result<()> {
    let offset = header.vox_offset;
    if !(0.0..=MAX_OFFSET).contains(&offset) {
        return Err(Error::file(path, format!("has a broken NIfTI header: voxels start at byte {offset}")));
    }
    // Writers that leave the offset at 0 mean the smallest one.
    let skip = (offset as usize).max(DATA_OFFSET) - HEADER_LEN;
    let skipped = io::copy(&mut stream.take(skip as u64), &mut io::sink());
    match skipped {
        Ok(n) if n == skip as u64 => Ok(()),
        Ok(_) => Err(Error::file(path, "is truncated: it ends before its voxels start")),
        Err(error) => Err(truncated(path, error, "what precedes the voxels")),
    }
}

/// Broken compression and an early end show up as I/O errors: the file is to blame, not the disk.
pub(super) fn truncated(path: &Path, error: io::Error, part: &str) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::file(path, format!("is truncated, or no NIfTI file: it ends within {part}"))
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::file(path, format!("is corrupt: {error} while reading {part}"))
        }
        _ => Error::io(path, "read", error),
    }
}
