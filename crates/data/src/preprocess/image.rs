//! Image files to the network's input.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use super::{Layout, Normalize, Preprocessor, Size};
use crate::channels::beside;
use crate::decode::{Dark, Raster, Samples, decode, decode_stream};
use crate::{Error, Image, Picture, Result, resize};

/// Luma of ITU-R BT.601, as Pillow computes it.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// An image is small where the network's input is more than so many times as high or wide.
const SMALL: usize = 4;
/// Channels that differ by so much at a pixel, on average, are colours: neighbouring slices of a body differ less.
const COLORFUL: f32 = 0.2;
/// So far apart are the means of channels that are colours: those of neighbouring slices hardly differ.
const TINTED: f32 = 0.08;

/// An image file, ready for the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The network's input `[channels, height, width]`.
    pub image: Image,
    /// Height and width of the file's image, which `size` may have changed.
    pub original_size: (usize, usize),
    /// What was dropped or assumed, for the user to know.
    pub warnings: Vec<String>,
    /// The image as a person sees it, in its original size: of three slices the middle one, of other channels the first.
    pub preview: Picture,
}

impl Preprocessor {
    /// Reads a PNG, JPEG or TIFF of 8 or 16 bits (told apart by content) as the network's input.
    ///
    /// Gray becomes three equal channels where the network takes three; colour becomes luma where it
    /// takes one; an RGB image is three neighbouring slices where the layout is "slices". Transparency
    /// is dropped. With a HU window the image counts as already windowed: black and white are its ends. In the layout
    /// "channels" the other channels are read from the files beside it, see [`Preprocessor::case_files`].
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened; [`Error::File`] when it is no such image, broken, truncated, or has
    /// more than [`crate::MAX_PIXELS`] pixels, and for channels that are missing or of another size.
    ///
    /// ```
    /// use unet3p_data::{LabelMap, Preprocessor, write_mask};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("picture.png");
    /// # write_mask(&path, &LabelMap::new(1, 2, vec![0, 1])?, &[[0, 0, 0], [255, 51, 0]])?;
    /// let loaded = Preprocessor::default().load_image(&path)?;
    /// assert_eq!((loaded.image.channels, loaded.image.height, loaded.image.width), (3, 1, 2));
    /// assert_eq!(loaded.image.data, [0.0, 1.0, 0.0, 0.2, 0.0, 0.0]);
    /// # Ok::<(), unet3p_data::Error>(())
    /// ```
    pub fn load_image(&self, path: &Path) -> Result<Loaded> {
        self.validate()?;
        self.load_case(&self.case_files(path)?)
    }

    /// The files of the case that `path` belongs to. In the layout "channels" with two channels or more these are the files
    /// beside it that are named as nnU-Net names them, `CASE_0000`, `CASE_0001`, ..., in the order of the channels; else it
    /// is `path` alone.
    ///
    /// # Errors
    /// [`Error::File`] for a name that tells no channel, and for a channel that is missing or too many;
    /// [`Error::Io`] where the folder cannot be read.
    pub fn case_files(&self, path: &Path) -> Result<Vec<PathBuf>> {
        if self.layout == Layout::Channels {
            return beside(path, &self.channel_names);
        }
        Ok(vec![path.to_path_buf()])
    }

    /// Reads the files of a case as [`Preprocessor::load_image`] does: in the layout "channels" one for each channel in
    /// their order, which are gray or become their luma and have one size; else a single file.
    ///
    /// # Errors
    /// As [`Preprocessor::load_image`], and [`Error::File`] for another number of files than of channels.
    pub fn load_case(&self, files: &[PathBuf]) -> Result<Loaded> {
        self.validate()?;
        self.check_files(files)?;
        let mut warnings = Vec::new();
        let mut case: Option<Image> = None;
        for file in files {
            let planes = self.planes_of(file, &decode(file)?, &mut warnings)?;
            match (&mut case, files.first()) {
                (Some(case), Some(first)) => {
                    let size = (planes.height, planes.width);
                    if size != (case.height, case.width) {
                        let problem = format!(
                            "is {} x {} (height x width), but the first channel {} is {} x {}: all channels of a case need \
                             one size",
                            size.0,
                            size.1,
                            first.display(),
                            case.height,
                            case.width
                        );
                        return Err(Error::file(file, problem));
                    }
                    case.channels += planes.channels;
                    case.data.extend(planes.data);
                }
                _ => case = Some(planes),
            }
        }
        let planes = case.ok_or_else(|| Error::Shape("a case without a file has no image".into()))?;
        self.finish(planes, warnings)
    }

    /// Reads a PNG, JPEG or TIFF as [`Preprocessor::load_image`] does, from a stream such as a file's bytes in memory. `name`
    /// is for messages.
    ///
    /// # Errors
    /// Those of [`Preprocessor::load_image`], with `name` for the file; in the layout "channels" with two channels or more
    /// also [`Error::File`]: each is a file of its own, see [`Preprocessor::prepare_image`].
    ///
    /// ```
    /// use std::io::Cursor;
    /// use unet3p_data::{Picture, Preprocessor};
    /// let png = Picture { height: 1, width: 1, pixels: vec![[255, 0, 51]] }.to_png()?;
    /// let loaded = Preprocessor::default().read_image("upload".as_ref(), Cursor::new(png))?;
    /// assert_eq!(loaded.image.data, [1.0, 0.0, 0.2]);
    /// # Ok::<(), unet3p_data::Error>(())
    /// ```
    pub fn read_image(&self, name: &Path, stream: impl Read + Seek) -> Result<Loaded> {
        self.validate()?;
        self.check_files(&[name.to_path_buf()])?;
        let mut warnings = Vec::new();
        let planes = self.planes_of(name, &decode_stream(name, stream)?, &mut warnings)?;
        self.finish(planes, warnings)
    }

    /// Makes the network's input of an image in memory, with values from 0 (black) to 1 (white): `[1, height, width]` gray
    /// or `[3, height, width]` colours, as a file would hold them, and in the layout "channels" all channels in their order.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of channels, no pixels, or values that are not finite.
    ///
    /// ```
    /// use unet3p_data::{Image, Preprocessor};
    /// let mr = Preprocessor::for_channels(vec!["t1".into(), "t2".into()]);
    /// let image = Image::new(2, 1, 2, vec![0.0, 0.5, 1.0, 0.0])?;
    /// assert_eq!(mr.prepare_image(&image)?.image.data, [-1.0, 1.0, 1.0, -1.0]);
    /// # Ok::<(), unet3p_data::Error>(())
    /// ```
    pub fn prepare_image(&self, image: &Image) -> Result<Loaded> {
        self.validate()?;
        let fits = match self.layout {
            Layout::Channels => image.channels == self.channels(),
            _ => [1, 3].contains(&image.channels),
        };
        if !fits || image.data.is_empty() || image.data.iter().any(|value| !value.is_finite()) {
            return Err(Error::Shape(format!(
                "an image of {} channels, {} x {} pixels and {} values is given; the network is trained on {}, and finite \
                 values from 0 to 1 are needed",
                image.channels,
                image.height,
                image.width,
                image.data.len(),
                self.describe_channels()
            )));
        }
        self.finish(image.clone(), Vec::new())
    }

    /// What is made of planes with values from 0 to 1.
    fn finish(&self, planes: Image, mut warnings: Vec<String>) -> Result<Loaded> {
        let original_size = (planes.height, planes.width);
        let preview = Picture::from_planes(&planes, self.layout)?;
        let mut image = match (self.layout, planes.channels) {
            (Layout::Gray, 3) => {
                warnings.push("colour is reduced to its luma: the network takes one channel".to_owned());
                luma(&planes)
            }
            (Layout::Rgb | Layout::Slices, 1) => Image { channels: 3, data: planes.data.repeat(3), ..planes },
            _ => planes,
        };
        if let Some([x, y, _]) = self.spacing {
            warnings.push(match self.size {
                Some(Size { height, width }) => format!(
                    "the image has no pixel size: it is taken to show about {:.0} x {:.0} mm",
                    width as f64 * x,
                    height as f64 * y
                ),
                None => format!("the image has no pixel size; the network expects {x} x {y} mm a pixel"),
            });
        }
        if let Some(size) = self.size {
            image = resize(&image, size.height, size.width, self.resample)?;
        }
        self.normalize_unit(&mut image);
        Ok(Loaded { image, original_size, warnings, preview })
    }

    /// Whether a case has as many files as it needs: one for each channel in the layout "channels", else one.
    ///
    /// # Errors
    /// [`Error::File`] naming the first file and the channels that are needed; [`Error::Shape`] where there is no file.
    pub fn check_files(&self, files: &[PathBuf]) -> Result<()> {
        match files {
            [] => Err(Error::Shape(format!(
                "a case without files has no image: {} are needed",
                self.describe_channels()
            ))),
            files if files.len() == self.files_per_case() => Ok(()),
            [first, ..] => {
                let count = files.len();
                let what = if count == 1 {
                    "is one file".into()
                } else {
                    format!("is one of {count} files of a case")
                };
                let problem = format!(
                    "{what}, but the network is trained on {}; give it these",
                    self.describe_channels()
                );
                Err(Error::file(first, problem))
            }
        }
    }

    /// The planes of one file, values from 0 to 1; a channel of several is one plane.
    fn planes_of(&self, path: &Path, raster: &Raster, warnings: &mut Vec<String>) -> Result<Image> {
        let of_channel = self.layout == Layout::Channels;
        let mut said: Vec<String> =
            raster.orientation.note().into_iter().map(|note| format!("the image {note}")).collect();
        if raster.had_alpha {
            said.push("transparency is dropped".to_owned());
        }
        let mut planes = unit_planes(raster)?;
        said.extend(self.doubts(raster, &planes));
        if of_channel && planes.channels == 3 {
            said.push("colour is reduced to its luma: each file is one channel".to_owned());
            planes = luma(&planes);
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let named = |text: String| if self.files_per_case() > 1 { format!("{file}: {text}") } else { text };
        warnings.extend(said.into_iter().map(named));
        Ok(planes)
    }

    /// What does not look like what the network was trained on.
    fn doubts(&self, raster: &Raster, planes: &Image) -> Vec<String> {
        let mut doubts = Vec::new();
        if !self.stretches() {
            doubts.extend(raster.dark().map(Dark::note));
        }
        if self.window.is_some() && is_colorful(planes) {
            doubts.push("the image is in colour, but the network was trained on CT".to_owned());
        }
        if let Some(Size { height, width }) = self.size
            && (raster.height * SMALL < height || raster.width * SMALL < width)
        {
            doubts.push(format!(
                "the image of {} x {} pixels is much smaller than the {height} x {width} that the network expects",
                raster.height, raster.width
            ));
        }
        doubts
    }

    /// Whether a dark image reaches the network as a bright one does.
    pub(crate) fn stretches(&self) -> bool {
        self.layout == Layout::Channels && matches!(self.normalize, Normalize::Zscore | Normalize::Minmax)
    }

    /// Normalises values in place; those of image files and windowed volumes run from 0 to 1.
    pub(crate) fn normalize_unit(&self, image: &mut Image) {
        match self.normalize {
            Normalize::Fixed => {
                let factor = if self.do_rescale { 255.0 * self.rescale_factor } else { 255.0 };
                // 1/255 makes the factor 1 up to rounding: then values stay what they are.
                if (factor - 1.0).abs() > 1e-9 {
                    image.data.iter_mut().for_each(|v| *v *= factor as f32);
                }
                self.standardize(image);
            }
            Normalize::Window => self.standardize(image),
            Normalize::Zscore => {
                let together = Self::normalized_together(image, self.layout == Layout::Channels);
                for values in image.data.chunks_exact_mut(together) {
                    let count = values.len() as f64;
                    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
                    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
                    shift_and_scale(values, mean, variance.sqrt());
                }
            }
            Normalize::Minmax => {
                // neighbouring slices are images of their own
                let apart = matches!(self.layout, Layout::Slices | Layout::Channels);
                let together = Self::normalized_together(image, apart);
                for values in image.data.chunks_exact_mut(together) {
                    let start = (f32::INFINITY, f32::NEG_INFINITY);
                    let (low, high) = values.iter().fold(start, |(low, high), &v| (low.min(v), high.max(v)));
                    shift_and_scale(values, f64::from(low), f64::from(high) - f64::from(low));
                }
            }
        }
    }

    /// How many values are normalised together: those of a channel, or of all.
    fn normalized_together(image: &Image, apart: bool) -> usize {
        if apart { image.height * image.width } else { image.data.len() }.max(1)
    }

    /// `(value - mean) / std` per channel, where the configuration asks for it.
    fn standardize(&self, image: &mut Image) {
        if !self.do_normalize {
            return;
        }
        let pick = |values: &[f64], channel: usize| values[if values.len() == 1 { 0 } else { channel }];
        for channel in 0..image.channels {
            let (mean, std) = (pick(&self.image_mean, channel), pick(&self.image_std, channel));
            shift_and_scale(image.plane_mut(channel), mean, std);
        }
    }
}

/// `(value - shift) / scale`; a constant image (scale 0) becomes 0.
fn shift_and_scale(values: &mut [f32], shift: f64, scale: f64) {
    let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    values.iter_mut().for_each(|v| *v = ((f64::from(*v) - shift) * factor) as f32);
}

/// One or three planes with values from 0 to 1.
pub(crate) fn unit_planes(raster: &Raster) -> Result<Image> {
    let units: [f32; 256] = std::array::from_fn(|value| value as f32 / 255.0);
    let data = match &raster.samples {
        Samples::Eight(samples) => planar(samples, raster.channels, |value: &u8| units[usize::from(*value)]),
        Samples::Sixteen(samples) => {
            planar(samples, raster.channels, |value: &u16| f32::from(*value) / 65535.0)
        }
    };
    Image::new(raster.channels, raster.height, raster.width, data)
}

/// Interleaved channels, plane by plane.
fn planar<T>(samples: &[T], channels: usize, value: impl Fn(&T) -> f32) -> Vec<f32> {
    let mut planes = Vec::with_capacity(samples.len());
    for channel in 0..channels {
        planes.extend(samples.chunks_exact(channels).map(|pixel| value(&pixel[channel])));
    }
    planes
}

/// Whether three planes are colours, and no neighbouring slices.
fn is_colorful(planes: &Image) -> bool {
    if planes.channels != 3 {
        return false;
    }
    let spread = |values: [f32; 3]| {
        values.into_iter().fold(f32::MIN, f32::max) - values.into_iter().fold(f32::MAX, f32::min)
    };
    let (area, count) = (planes.height * planes.width, (planes.height * planes.width) as f32);
    let [r, g, b] = [0, 1, 2].map(|channel| planes.plane(channel));
    let differ = (0..area).map(|i| spread([r[i], g[i], b[i]])).sum::<f32>() / count;
    let means = [r, g, b].map(|plane| plane.iter().sum::<f32>() / count);
    differ > COLORFUL || spread(means) > TINTED
}

pub(crate) fn luma(planes: &Image) -> Image {
    let area = planes.height * planes.width;
    let data = (0..area).map(|i| (0..3).map(|c| LUMA[c] * planes.data[c * area + i]).sum()).collect();
    Image { channels: 1, height: planes.height, width: planes.width, data }
}
