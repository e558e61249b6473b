//! Pixels as a file stores them, and as viewers show them.

use std::path::Path;

use crate::{Error, Result};

/// Interleaved samples of 8 or 16 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Samples {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

/// What the samples of a pixel mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Color {
    /// One sample; 0 is black.
    Gray,
    /// One sample; 0 is white.
    WhiteIsZero,
    /// Three samples.
    Rgb,
    /// One sample, the number of a colour.
    Palette(Vec<[u8; 3]>),
}

/// How an image is turned before it is shown: the values 1 to 8 of EXIF's and TIFF's tag Orientation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation(u8);

impl Orientation {
    /// As it is stored.
    pub(crate) const AS_STORED: Self = Self(1);

    /// The tag's value; other values than 1 to 8 turn nothing.
    pub(crate) fn of_tag(value: u64) -> Self {
        Self(u8::try_from(value).ok().filter(|value| (1..=8).contains(value)).unwrap_or(1))
    }

    /// What was done to the image, to be said; nothing where it is shown as it is stored.
    pub(crate) fn note(self) -> Option<String> {
        let how = match self.0 {
            2 => "mirrored left to right",
            3 => "turned by 180 degrees",
            4 => "mirrored top to bottom",
            5 => "mirrored at its diagonal",
            6 => "turned clockwise by 90 degrees",
            7 => "mirrored at its other diagonal",
            8 => "turned counterclockwise by 90 degrees",
            _ => return None,
        };
        Some(format!("is {how}, as its orientation (EXIF {}) says and viewers show it", self.0))
    }

    /// Whether height and width change places.
    pub(crate) fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// Pixels of `channels` samples in the order in which they are shown.
    fn apply<T: Copy>(self, samples: &[T], height: usize, width: usize, channels: usize) -> Vec<T> {
        let (rows, columns) = if self.swaps_sides() { (width, height) } else { (height, width) };
        let mut turned = Vec::with_capacity(samples.len());
        for y in 0..rows {
            for x in 0..columns {
                let (row, column) = match self.0 {
                    2 => (y, width - 1 - x),
                    3 => (height - 1 - y, width - 1 - x),
                    4 => (height - 1 - y, x),
                    5 => (x, y),
                    6 => (height - 1 - x, y),
                    7 => (height - 1 - x, width - 1 - y),
                    8 => (x, width - 1 - y),
                    _ => (y, x),
                };
                let at = (row * width + column) * channels;
                turned.extend_from_slice(&samples[at..at + channels]);
            }
        }
        turned
    }
}

impl Samples {
    fn turned(&self, orientation: Orientation, height: usize, width: usize, channels: usize) -> Self {
        match self {
            Self::Eight(samples) => Self::Eight(orientation.apply(samples, height, width, channels)),
            Self::Sixteen(samples) => Self::Sixteen(orientation.apply(samples, height, width, channels)),
        }
    }

    /// Splits pixels of `channels` samples into the first `colors` and the next one.
    pub(super) fn split(self, channels: usize, colors: usize) -> (Self, Option<Self>) {
        fn pick<T: Copy>(samples: &[T], channels: usize, range: std::ops::Range<usize>) -> Vec<T> {
            samples.chunks_exact(channels).flat_map(|pixel| &pixel[range.clone()]).copied().collect()
        }
        if channels == colors {
            return (self, None);
        }
        let (color, next) = (0..colors, colors..colors + 1);
        match self {
            Self::Eight(samples) => (
                Self::Eight(pick(&samples, channels, color)),
                Some(Self::Eight(pick(&samples, channels, next))),
            ),
            Self::Sixteen(samples) => (
                Self::Sixteen(pick(&samples, channels, color)),
                Some(Self::Sixteen(pick(&samples, channels, next))),
            ),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Eight(samples) => samples.len(),
            Self::Sixteen(samples) => samples.len(),
        }
    }

    /// The samples as numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        let (eight, sixteen): (&[u8], &[u16]) = match self {
            Self::Eight(samples) => (samples.as_slice(), &[]),
            Self::Sixteen(samples) => (&[], samples.as_slice()),
        };
        eight.iter().map(|&sample| u16::from(sample)).chain(sixteen.iter().copied())
    }

    /// The samples as numbers.
    pub(crate) fn to_numbers(&self) -> Vec<u16> {
        self.iter().collect()
    }
}

/// An image as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) color: Color,
    /// The samples of colours as they are stored: those of less than 8 bits are not stretched.
    pub(crate) samples: Samples,
    /// Opacity, one value a pixel.
    pub(crate) alpha: Option<Samples>,
    /// Bits of a stored sample.
    pub(crate) bits: u32,
    /// How it is turned before it is shown.
    pub(crate) orientation: Orientation,
    /// Whether compression has changed the values.
    pub(crate) is_lossy: bool,
}

/// An image as viewers show it, without transparency; 8 bits stay 8 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raster {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// One or three samples a pixel.
    pub(crate) channels: usize,
    pub(crate) samples: Samples,
    /// Whether there was a transparency.
    pub(crate) had_alpha: bool,
    /// How it was turned.
    pub(crate) orientation: Orientation,
}

impl Stored {
    /// Samples of colours a pixel.
    pub(crate) fn channels(&self) -> usize {
        if self.color == Color::Rgb { 3 } else { 1 }
    }

    /// The highest value that a sample can have.
    pub(crate) fn highest(&self) -> u16 {
        u16::MAX >> (16 - self.bits)
    }

    /// The pixels in the order in which they are shown.
    pub(super) fn turned(mut self) -> Self {
        let (orientation, height, width) = (self.orientation, self.height, self.width);
        if orientation == Orientation::AS_STORED {
            return self;
        }
        self.samples = self.samples.turned(orientation, height, width, self.channels());
        self.alpha = self.alpha.map(|alpha| alpha.turned(orientation, height, width, 1));
        if orientation.swaps_sides() {
            (self.height, self.width) = (width, height);
        }
        self
    }

    /// What viewers show: colours for their numbers, white for 0 where the file says so, values that fill 8 or 16 bits.
    pub(super) fn into_raster(self, path: &Path) -> Result<Raster> {
        let highest = self.highest();
        let (height, width, orientation) = (self.height, self.width, self.orientation);
        let (channels, had_alpha) = (self.channels(), self.alpha.is_some());
        let (channels, samples) = match (self.color, self.samples) {
            (Color::Palette(palette), samples) => (3, Samples::Eight(colors(path, &palette, &samples)?)),
            (Color::Gray, Samples::Eight(mut samples)) if highest < 255 => {
                let factor = 255 / highest as u8;
                samples.iter_mut().for_each(|sample| *sample *= factor);
                (1, Samples::Eight(samples))
            }
            (Color::WhiteIsZero, Samples::Eight(mut samples)) => {
                let highest = highest as u8;
                samples.iter_mut().for_each(|sample| *sample = (highest - *sample) * (255 / highest));
                (1, Samples::Eight(samples))
            }
            (Color::WhiteIsZero, Samples::Sixteen(mut samples)) => {
                samples.iter_mut().for_each(|sample| *sample = !*sample);
                (1, Samples::Sixteen(samples))
            }
            (_, samples) => (channels, samples),
        };
        Ok(Raster { height, width, channels, samples, had_alpha, orientation })
    }
}

/// The colour of a palette by its number.
pub(crate) fn palette_color(path: &Path, palette: &[[u8; 3]], number: u16) -> Result<[u8; 3]> {
    palette.get(usize::from(number)).copied().ok_or_else(|| {
        Error::file(path, format!("has the colour number {number}, but {} colours", palette.len()))
    })
}

/// The colours of a palette by their numbers.
fn colors(path: &Path, palette: &[[u8; 3]], samples: &Samples) -> Result<Vec<u8>> {
    let mut colors = Vec::with_capacity(3 * samples.len());
    for number in samples.iter() {
        colors.extend_from_slice(&palette_color(path, palette, number)?);
    }
    Ok(colors)
}

impl Raster {
    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.samples {
            Samples::Eight(samples) => samples.len(),
            Samples::Sixteen(samples) => 2 * samples.len(),
        }
    }

    /// Whether every pixel has the same value.
    pub(crate) fn is_constant(&self) -> bool {
        fn constant<T: PartialEq>(samples: &[T], channels: usize) -> bool {
            samples.chunks_exact(channels).all(|pixel| pixel == &samples[..channels])
        }
        match &self.samples {
            Samples::Eight(samples) => constant(samples, self.channels),
            Samples::Sixteen(samples) => constant(samples, self.channels),
        }
    }

    /// 16-bit samples that use a part of their range only: then the image is dark.
    pub(crate) fn dark(&self) -> Option<Dark> {
        let Samples::Sixteen(samples) = &self.samples else { return None };
        let highest = samples.iter().copied().max()?;
        match highest {
            1..256 => Some(Dark::EightBits { highest }),
            256..4096 => Some(Dark::TwelveBits { highest }),
            _ => None,
        }
    }
}

/// Values of fewer bits in 16-bit samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dark {
    EightBits { highest: u16 },
    TwelveBits { highest: u16 },
}

impl Dark {
    /// What is to be done with the image, which says so.
    pub(crate) fn note(self) -> String {
        let (highest, bits, mend) = match self {
            Self::EightBits { highest } => (highest, 8, "save it with 8 bits"),
            Self::TwelveBits { highest } => (highest, 12, "stretch its values (times 16)"),
        };
        format!(
            "the values of this 16-bit image end at {highest} of 65535, so that it is dark: if they are data of {bits} bits, {mend}"
        )
    }
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation as Reference;
    use image::{DynamicImage, RgbImage};

    use super::*;

    #[test]
    fn every_orientation_is_that_of_the_image_crate() {
        let values: Vec<u8> = (0..3 * 2 * 3).collect();
        for tag in 1..=8u8 {
            let mut wanted = DynamicImage::from(RgbImage::from_raw(3, 2, values.clone()).unwrap());
            wanted.apply_orientation(Reference::from_exif(tag).unwrap());
            let stored = Stored {
                height: 2,
                width: 3,
                color: Color::Rgb,
                samples: Samples::Eight(values.clone()),
                alpha: Some(Samples::Sixteen((0..6).collect())),
                bits: 8,
                orientation: Orientation::of_tag(u64::from(tag)),
                is_lossy: false,
            };
            let turned = stored.turned();
            assert_eq!(turned.samples, Samples::Eight(wanted.as_bytes().to_vec()), "{tag}");
            assert_eq!((turned.height, turned.width), (wanted.height() as usize, wanted.width() as usize));
            let first = wanted.as_bytes().iter().step_by(3).map(|&v| u16::from(v) / 3).collect();
            assert_eq!(turned.alpha, Some(Samples::Sixteen(first)));
            assert_eq!(turned.orientation.note().is_some(), tag > 1);
        }
        assert_eq!(Orientation::of_tag(0), Orientation::AS_STORED);
        assert_eq!(Orientation::of_tag(9), Orientation::AS_STORED);
    }
}
