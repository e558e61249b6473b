//! Feature maps in blocks of sixteen channels: the layout of the inference kernels.
//!
//! A map is stored as `[channels / 16, height + halo, width + halo, 16]`: the sixteen values of a pixel are one
//! register, so that every kernel vectorises over channels whatever the width of the image. The halo is one row
//! and column of zeros before the image and [`AFTER`] behind it: a convolution's zero padding, and room for a
//! Winograd tile that reaches over the border. Channels up to a multiple of sixteen are zero as well.

use std::ops::Range;

use rayon::prelude::*;

use crate::shared::Shared;
use crate::simd::LANES;

/// Rows and columns of zeros before the image.
pub(crate) const BEFORE: usize = 1;
/// Rows and columns of zeros behind the image: what a 6x6 tile at its last pixel reaches.
pub(crate) const AFTER: usize = 4;

/// Where the elements of a blocked map lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockedShape {
    /// Channels, without the filling to a multiple of [`LANES`].
    pub channels: usize,
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
}

impl BlockedShape {
    /// Blocks of sixteen channels.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Elements between two rows.
    pub(crate) fn pitch(&self) -> usize {
        (self.width + BEFORE + AFTER) * LANES
    }

    /// Elements of one block of channels, halo included.
    pub(crate) fn plane(&self) -> usize {
        (self.height + BEFORE + AFTER) * self.pitch()
    }

    /// Elements of the map, halo included.
    ///
    /// # Panics
    /// Where they exceed the address space: what is unsafe in the kernels rests on this product.
    #[allow(clippy::expect_used)] // a size that no memory has
    pub fn elements(&self) -> usize {
        let sides = [self.height, self.width].map(|side| side.checked_add(BEFORE + AFTER));
        let factors = [Some(self.blocks()), sides[0], sides[1], Some(LANES)];
        let product = factors.into_iter().try_fold(1usize, |product, factor| product.checked_mul(factor?));
        product.expect("a map beyond the address space")
    }

    fn origin(&self) -> usize {
        BEFORE * self.pitch() + BEFORE * LANES
    }

    /// Sets the halo of a map to zero, and leaves the image: what memory that held something else needs.
    ///
    /// # Panics
    /// Where `data` is not [`BlockedShape::elements`] long.
    pub fn clear_halo(&self, data: &mut [f32]) {
        assert_eq!(data.len(), self.elements());
        let (pitch, inside) = (self.pitch(), self.width * LANES);
        for plane in data.chunks_exact_mut(self.plane().max(1)) {
            for (i, row) in plane.chunks_exact_mut(pitch).enumerate() {
                if (BEFORE..BEFORE + self.height).contains(&i) {
                    row[..BEFORE * LANES].fill(0.0);
                    row[BEFORE * LANES + inside..].fill(0.0);
                } else {
                    row.fill(0.0);
                }
            }
        }
    }

    /// Copies rows of every block of channels to `to` and those behind it, halo columns included.
    ///
    /// # Panics
    /// Where there are no such rows, or `data` is not [`BlockedShape::elements`] long.
    pub fn move_rows(&self, data: &mut [f32], rows: Range<usize>, to: usize) {
        assert_eq!(data.len(), self.elements());
        assert!(
            rows.end <= self.height && to + rows.len() <= self.height,
            "{rows:?} to {to} of {}",
            self.height
        );
        let start = |row: usize| (BEFORE + row) * self.pitch();
        for plane in data.chunks_exact_mut(self.plane()) {
            plane.copy_within(start(rows.start)..start(rows.end), start(to));
        }
    }

    /// Sets rows of every block of channels to zero.
    ///
    /// # Panics
    /// Where there are no such rows, or `data` is not [`BlockedShape::elements`] long.
    pub fn clear_rows(&self, data: &mut [f32], rows: Range<usize>) {
        assert_eq!(data.len(), self.elements());
        assert!(rows.end <= self.height, "{rows:?} of {}", self.height);
        let start = |row: usize| (BEFORE + row) * self.pitch();
        for plane in data.chunks_exact_mut(self.plane()) {
            plane[start(rows.start)..start(rows.end)].fill(0.0);
        }
    }

    /// The map in `data` for reading.
    ///
    /// # Panics
    /// Where `data` is not [`BlockedShape::elements`] long.
    pub fn view<'a>(&self, data: &'a [f32]) -> BlockedView<'a> {
        assert_eq!(data.len(), self.elements(), "{self:?}");
        BlockedView { data, place: self.place() }
    }

    /// The map in `data` for writing.
    ///
    /// # Panics
    /// Where `data` is not [`BlockedShape::elements`] long.
    pub fn view_mut<'a>(&self, data: &'a mut [f32]) -> BlockedViewMut<'a> {
        assert_eq!(data.len(), self.elements(), "{self:?}");
        BlockedViewMut { data: Shared::new(data), place: self.place() }
    }

    /// The same map of `images` images, one behind the other in `data`.
    ///
    /// # Panics
    /// Where `data` is not `images` times [`BlockedShape::elements`] long.
    pub fn batch<'a>(&self, images: usize, data: &'a [f32]) -> BlockedView<'a> {
        assert_eq!(Some(data.len()), self.elements().checked_mul(images), "{images} times {self:?}");
        BlockedView { data, place: Place { images, ..self.place() } }
    }

    /// [`BlockedShape::batch`] for writing.
    ///
    /// # Panics
    /// As [`BlockedShape::batch`].
    pub fn batch_mut<'a>(&self, images: usize, data: &'a mut [f32]) -> BlockedViewMut<'a> {
        assert_eq!(Some(data.len()), self.elements().checked_mul(images), "{images} times {self:?}");
        BlockedViewMut { data: Shared::new(data), place: Place { images, ..self.place() } }
    }

    fn place(&self) -> Place {
        Place {
            images: 1,
            image: self.elements(),
            origin: self.origin(),
            plane: self.plane(),
            pitch: self.pitch(),
            blocks: self.blocks(),
            height: self.height,
            width: self.width,
        }
    }
}

/// A rectangle of pixels in a buffer, over some blocks of channels, of each image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) images: usize,
    /// Elements between images.
    pub(crate) image: usize,
    /// Element of the first channel of pixel (0, 0).
    pub(crate) origin: usize,
    pub(crate) plane: usize,
    pub(crate) pitch: usize,
    pub(crate) blocks: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Place {
    fn rows(mut self, rows: Range<usize>) -> Self {
        assert!(rows.start < rows.end && rows.end <= self.height, "rows {rows:?} of {}", self.height);
        self.origin += rows.start * self.pitch;
        self.height = rows.len();
        self
    }

    fn blocks(mut self, blocks: Range<usize>) -> Self {
        assert!(
            blocks.start < blocks.end && blocks.end <= self.blocks,
            "blocks {blocks:?} of {}",
            self.blocks
        );
        self.origin += blocks.start * self.plane;
        self.blocks = blocks.len();
        self
    }

    fn one(mut self, image: usize) -> Self {
        assert!(image < self.images, "image {image} of {}", self.images);
        self.origin += image * self.image;
        self.images = 1;
        self
    }

    /// Element of the first lane of a pixel of a block of the first image.
    pub(crate) fn at(&self, block: usize, row: usize, col: usize) -> usize {
        self.origin + block * self.plane + row * self.pitch + col * LANES
    }
}

/// A blocked map, or rows and blocks of channels of it, for reading.
#[derive(Debug, Clone, Copy)]
pub struct BlockedView<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) place: Place,
}

impl BlockedView<'_> {
    /// These rows alone; kernels still read the rows around them as neighbours.
    ///
    /// # Panics
    /// Where there are no such rows.
    #[must_use]
    pub fn rows(self, rows: Range<usize>) -> Self {
        Self { place: self.place.rows(rows), ..self }
    }

    /// These blocks of channels alone.
    ///
    /// # Panics
    /// Where there are no such blocks.
    #[must_use]
    pub fn blocks(self, blocks: Range<usize>) -> Self {
        Self { place: self.place.blocks(blocks), ..self }
    }

    /// One image alone.
    ///
    /// # Panics
    /// Where there is no such image.
    #[must_use]
    pub fn image(self, image: usize) -> Self {
        Self { place: self.place.one(image), ..self }
    }

    /// Blocks of channels, rows and columns.
    pub fn size(&self) -> [usize; 3] {
        [self.place.blocks, self.place.height, self.place.width]
    }

    /// Asserts that windows that start a row and column before each pixel and reach `reach` rows and columns behind
    /// the last lie within the data.
    pub(crate) fn check_reach(&self, rows: usize, cols: usize) {
        let Place { images, image, origin, plane, pitch, blocks, height, width } = self.place;
        assert!(origin >= BEFORE * pitch + BEFORE * LANES, "no halo before the view");
        let last = origin + (images - 1) * image + (blocks - 1) * plane;
        let last = last + (height - 1 + rows) * pitch + (width + cols) * LANES;
        assert!(
            last <= self.data.len(),
            "no halo behind the view: {:?}, {rows} rows, {cols} columns",
            self.place
        );
    }

    /// The pixels as `[channels, height, width]`, without halo and filling.
    ///
    /// # Panics
    /// Where the view has no such channels, or `planes` is of another length.
    pub fn unpack(&self, channels: usize, planes: &mut [f32]) {
        let Place { blocks, height, width, .. } = self.place;
        assert!(channels.div_ceil(LANES) == blocks && planes.len() == channels * height * width);
        let area = height * width;
        planes.par_chunks_mut(LANES * area).enumerate().for_each(|(block, planes)| {
            for row in 0..height {
                let from = &self.data[self.place.at(block, row, 0)..][..width * LANES];
                for (lane, plane) in planes.chunks_exact_mut(area).enumerate() {
                    for (to, pixel) in plane[row * width..][..width].iter_mut().zip(from.chunks_exact(LANES))
                    {
                        *to = pixel[lane];
                    }
                }
            }
        });
    }
}

/// A blocked map, or rows and blocks of channels of it, for writing: the only one, as a mutable borrow is.
pub struct BlockedViewMut<'a> {
    pub(crate) data: Shared<'a, f32>,
    pub(crate) place: Place,
}

impl BlockedViewMut<'_> {
    /// The same view, for a shorter time.
    pub fn reborrow(&mut self) -> BlockedViewMut<'_> {
        BlockedViewMut { data: self.data, place: self.place }
    }

    /// These rows alone.
    ///
    /// # Panics
    /// Where there are no such rows.
    #[must_use]
    pub fn rows(self, rows: Range<usize>) -> Self {
        Self { place: self.place.rows(rows), ..self }
    }

    /// These blocks of channels alone: a slot of a concatenation.
    ///
    /// # Panics
    /// Where there are no such blocks.
    #[must_use]
    pub fn blocks(self, blocks: Range<usize>) -> Self {
        Self { place: self.place.blocks(blocks), ..self }
    }

    /// One image alone.
    ///
    /// # Panics
    /// Where there is no such image.
    #[must_use]
    pub fn image(self, image: usize) -> Self {
        Self { place: self.place.one(image), ..self }
    }

    /// Blocks of channels, rows and columns.
    pub fn size(&self) -> [usize; 3] {
        [self.place.blocks, self.place.height, self.place.width]
    }

    /// Writes zeros.
    pub fn clear(self) {
        let Place { images, image, blocks, height, width, .. } = self.place;
        (0..images * blocks).into_par_iter().for_each(|task| {
            for row in 0..height {
                let at = task / blocks * image + self.place.at(task % blocks, row, 0);
                // SAFETY: this block of this image is this task's alone.
                unsafe { self.data.slice(at, width * LANES) }.fill(0.0);
            }
        });
    }

    /// Writes `[channels, height, width]` into the view, and zeros into the channels behind them.
    ///
    /// # Panics
    /// Where the view has no room for these channels or `planes` is of another length.
    pub fn pack(self, channels: usize, planes: &[f32]) {
        self.each_line(channels, planes, |to| to.fill(0.0));
    }

    /// Adds `[channels, height, width]` to the view.
    ///
    /// # Panics
    /// As [`BlockedViewMut::pack`].
    pub fn add_planes(self, channels: usize, planes: &[f32]) {
        self.each_line(channels, planes, |_| ());
    }

    /// Adds planes to each line of blocks, behind `prepare`.
    fn each_line(self, channels: usize, planes: &[f32], prepare: impl Fn(&mut [f32]) + Sync) {
        let Place { blocks, height, width, .. } = self.place;
        assert!(channels.div_ceil(LANES) == blocks && planes.len() == channels * height * width);
        let area = height * width;
        planes.par_chunks(LANES * area).enumerate().for_each(|(block, planes)| {
            for row in 0..height {
                // SAFETY: this row of this block is this task's alone.
                let to = unsafe { self.data.slice(self.place.at(block, row, 0), width * LANES) };
                prepare(to);
                for (lane, plane) in planes.chunks_exact(area).enumerate() {
                    for (pixel, &value) in to.chunks_exact_mut(LANES).zip(&plane[row * width..][..width]) {
                        pixel[lane] += value;
                    }
                }
            }
        });
    }
}
