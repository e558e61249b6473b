//! Reading single-file NIfTI-1 volumes. Nothing is allocated on a header's word alone: buffers grow with
//! the voxels that are really there.

use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use nifti::{Endianness, NiftiHeader, NiftiType};

use super::header::{DATA_OFFSET, HEADER_LEN, RawHeader};
use super::{Volume, affine};
use crate::{Error, Result, open_file};

/// Volumes with more voxels are refused: 2^30, four times a 1000-slice CT.
pub const MAX_VOXELS: usize = 1 << 30;
/// Longer extensions are refused, and so is more behind the voxels.
const MAX_OFFSET: f32 = (64 << 20) as f32;
/// Bytes converted at a time; a multiple of every voxel size.
const CHUNK: usize = 1 << 16;

impl Volume<f32> {
    /// Reads a 3D volume from `.nii` or `.nii.gz` (told apart by content), scaled by the header's slope
    /// and intercept.
    ///
    /// The affine is the header's sform, else its qform, else its voxel sizes. Values that are not finite
    /// (padding outside the field of view, in some files) become the smallest finite value.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened; [`Error::File`] when it is no NIfTI-1 file, is
    /// truncated, has more than one volume or more than [`MAX_VOXELS`] voxels, or voxels that are not
    /// real numbers.
    ///
    /// ```no_run
    /// let volume = unet3p_data::Volume::read("scan.nii.gz".as_ref())?;
    /// println!("{:?} voxels of {:?} mm", volume.shape, volume.spacing());
    /// # Ok::<(), unet3p_data::Error>(())
    /// ```
    pub fn read(path: &Path) -> Result<Self> {
        let file = open_file(path)?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let head = io::BufRead::fill_buf(&mut file).map_err(|source| Error::io(path, "read", source))?;
        if head.starts_with(&[0x1f, 0x8b]) {
            let mut stream = MultiGzDecoder::new(file);
            let volume = read_stream(path, &mut stream)?;
            check_end(path, &mut stream)?;
            Ok(volume)
        } else {
            read_stream(path, &mut file)
        }
    }
}

impl Volume<u16> {
    /// Reads a label volume: whole numbers from 0 to 65535, stored as any type.
    ///
    /// # Errors
    /// As [`Volume::read`], and [`Error::File`] when a voxel is not such a number.
    pub fn read_labels(path: &Path) -> Result<Self> {
        let volume = Volume::read(path)?;
        if let Some(value) = volume.data.iter().find(|v| v.fract() != 0.0 || !(0.0..=65535.0).contains(*v)) {
            return Err(Error::file(
                path,
                format!("a voxel has the value {value}; a label map holds whole numbers from 0 to 65535"),
            ));
        }
        Ok(volume.map(|&value| value as u16))
    }
}

fn read_stream(path: &Path, stream: &mut impl Read) -> Result<Volume> {
    let mut bytes = [0; HEADER_LEN];
    stream.read_exact(&mut bytes).map_err(|error| truncated(path, error, "the header"))?;
    let header = parse_header(path, &bytes)?;
    let shape = shape(path, &header)?;
    let affine = affine::from_header(&header).ok_or_else(|| {
        Error::file(path, "has no valid affine: sform, qform and voxel sizes are all degenerate")
    })?;
    skip_extensions(path, &header, stream)?;
    let mut data = read_voxels(path, &header, shape.iter().product(), stream)?;
    let warnings = Vec::from_iter(replace_non_finite(&mut data));
    let header = Some(Box::new(RawHeader::new(&bytes, &header)));
    Ok(Volume { data, shape, affine, warnings, header })
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

fn read_voxels(path: &Path, header: &NiftiHeader, count: usize, stream: &mut impl Read) -> Result<Vec<f32>> {
    let datatype = header
        .data_type()
        .map_err(|_| Error::file(path, format!("has the unknown voxel type {}", header.datatype)))?;
    let little = header.endianness == Endianness::Little;
    macro_rules! voxels {
        ($type:ty) => {
            read_typed(path, header, count, stream, |bytes: [u8; size_of::<$type>()]| {
                let value =
                    if little { <$type>::from_le_bytes(bytes) } else { <$type>::from_be_bytes(bytes) };
                value as f64
            })
        };
    }
    match datatype {
        NiftiType::Uint8 => voxels!(u8),
        NiftiType::Int8 => voxels!(i8),
        NiftiType::Uint16 => voxels!(u16),
        NiftiType::Int16 => voxels!(i16),
        NiftiType::Uint32 => voxels!(u32),
        NiftiType::Int32 => voxels!(i32),
        NiftiType::Uint64 => voxels!(u64),
        NiftiType::Int64 => voxels!(i64),
        NiftiType::Float32 => voxels!(f32),
        NiftiType::Float64 => voxels!(f64),
        other => Err(Error::file(
            path,
            format!("has voxels of type {other:?}; integers or real numbers are needed"),
        )),
    }
}

fn read_typed<const N: usize>(
    path: &Path,
    header: &NiftiHeader,
    count: usize,
    stream: &mut impl Read,
    value: impl Fn([u8; N]) -> f64,
) -> Result<Vec<f32>> {
    let (slope, intercept) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
    let scaled = slope != 0.0 && slope.is_finite() && intercept.is_finite();
    let (slope, intercept) = if scaled { (slope, intercept) } else { (1.0, 0.0) };
    let mut data = Vec::new();
    let mut chunk = Vec::with_capacity(CHUNK);
    while data.len() < count {
        let wanted = CHUNK.min((count - data.len()) * N);
        chunk.clear();
        stream
            .by_ref()
            .take(wanted as u64)
            .read_to_end(&mut chunk)
            .map_err(|error| truncated(path, error, "the voxels"))?;
        if chunk.len() < wanted {
            let found = data.len() + chunk.len() / N;
            return Err(Error::file(path, format!("is truncated: {found} of {count} voxels are there")));
        }
        let (voxels, _) = chunk.as_chunks::<N>();
        data.extend(voxels.iter().map(|&bytes| (value(bytes) * slope + intercept) as f32));
    }
    Ok(data)
}

/// Broken compression and an early end show up as I/O errors: the file is to blame, not the disk.
fn truncated(path: &Path, error: io::Error, part: &str) -> Error {
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

/// Replaces values that are not finite, and tells how many there were.
fn replace_non_finite(data: &mut [f32]) -> Option<String> {
    let (mut lowest, mut bad) = (f32::INFINITY, 0usize);
    for &value in data.iter() {
        if value.is_finite() {
            lowest = lowest.min(value);
        } else {
            bad += 1;
        }
    }
    if bad == 0 {
        return None;
    }
    let fill = if lowest.is_finite() { lowest } else { 0.0 };
    data.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = fill);
    Some(format!("{bad} voxels are not finite and are read as {fill}"))
}
