//! The voxels of a NIfTI file as numbers.

use std::io::Read;
use std::path::Path;

use nifti::{Endianness, NiftiHeader, NiftiType};

use super::read::truncated;
use crate::{Error, Result};

/// Bytes converted at a time; a multiple of every voxel size.
const CHUNK: usize = 1 << 16;

/// What stands for values that are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filling {
    /// The smallest finite value: padding is as dark as the darkest voxel.
    Lowest,
    /// 0, the background of labels.
    Zero,
}

/// How stored values become those that are meant.
pub(super) struct Values<'a> {
    path: &'a Path,
    datatype: NiftiType,
    little_endian: bool,
    slope: f64,
    intercept: f64,
    /// What was made of a scaling that makes no sense.
    warning: Option<String>,
}

impl<'a> Values<'a> {
    pub(super) fn of(path: &'a Path, header: &NiftiHeader) -> Result<Self> {
        let datatype = header
            .data_type()
            .map_err(|_| Error::file(path, format!("has the unknown voxel type {}", header.datatype)))?;
        let (stored, offset) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
        let scaled = stored != 0.0 && stored.is_finite();
        let (slope, intercept) = match (scaled, offset.is_finite()) {
            (false, _) => (1.0, 0.0),
            (true, false) => (stored, 0.0),
            (true, true) => (stored, offset),
        };
        let said = format!("the header's scaling is slope {stored}, intercept {offset}");
        let warning = if scaled && !offset.is_finite() {
            Some(format!("{said}: values are multiplied by {stored}, and nothing is added"))
        } else if !scaled && (stored != 0.0 || offset != 0.0) {
            Some(format!("{said}: values are taken as they are stored"))
        } else {
            None
        };
        let little_endian = header.endianness == Endianness::Little;
        Ok(Self { path, datatype, little_endian, slope, intercept, warning })
    }

    /// The distance between the values of neighbouring whole numbers; nothing where values are not scaled.
    pub(super) fn step(&self) -> Option<f64> {
        (self.slope != 1.0 || self.intercept != 0.0).then(|| self.slope.abs())
    }

    /// Reads `count` voxels. The buffer grows with those that are there.
    pub(super) fn read(
        &self,
        count: usize,
        stream: &mut impl Read,
        filling: Filling,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<f32>> {
        macro_rules! voxels {
            ($type:ty) => {
                self.read_typed(count, stream, |bytes: [u8; size_of::<$type>()]| {
                    let value = if self.little_endian {
                        <$type>::from_le_bytes(bytes)
                    } else {
                        <$type>::from_be_bytes(bytes)
                    };
                    value as f64
                })
            };
        }
        let (mut data, beyond) = match self.datatype {
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
                self.path,
                format!("has voxels of type {other:?}; integers or real numbers are needed"),
            )),
        }?;
        warnings.extend(self.warning.clone());
        warnings.extend(self.fill(&mut data, beyond, filling)?);
        Ok(data)
    }

    /// The values, and how many of them single precision cannot hold.
    fn read_typed<const N: usize>(
        &self,
        count: usize,
        stream: &mut impl Read,
        value: impl Fn([u8; N]) -> f64,
    ) -> Result<(Vec<f32>, usize)> {
        let (mut data, mut beyond) = (Vec::new(), 0);
        let mut chunk = Vec::with_capacity(CHUNK);
        while data.len() < count {
            let wanted = CHUNK.min((count - data.len()) * N);
            chunk.clear();
            stream
                .by_ref()
                .take(wanted as u64)
                .read_to_end(&mut chunk)
                .map_err(|error| truncated(self.path, error, "the voxels"))?;
            if chunk.len() < wanted {
                let found = data.len() + chunk.len() / N;
                let problem = format!("is truncated: {found} of {count} voxels are there");
                return Err(Error::file(self.path, problem));
            }
            let (voxels, _) = chunk.as_chunks::<N>();
            data.extend(voxels.iter().map(|&bytes| {
                let value = value(bytes) * self.slope + self.intercept;
                let single = value as f32;
                beyond += usize::from(value.is_finite() && !single.is_finite());
                single
            }));
        }
        Ok((data, beyond))
    }

    /// Replaces values that are not finite, and tells how many there were.
    fn fill(&self, data: &mut [f32], beyond: usize, filling: Filling) -> Result<Option<String>> {
        let (mut lowest, mut bad) = (f32::INFINITY, 0usize);
        for &value in data.iter() {
            if value.is_finite() {
                lowest = lowest.min(value);
            } else {
                bad += 1;
            }
        }
        if bad == 0 {
            return Ok(None);
        }
        if bad == data.len() {
            return Err(Error::file(self.path, "has no voxel with a finite value"));
        }
        let fill = match filling {
            Filling::Lowest => lowest,
            Filling::Zero => 0.0,
        };
        data.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = fill);
        let beyond = match beyond {
            0 => String::new(),
            n => format!(" ({n} of them exceed single precision)"),
        };
        Ok(Some(format!("{bad} voxels are not finite{beyond} and are read as {fill}")))
    }
}
