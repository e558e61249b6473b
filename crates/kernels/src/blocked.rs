//! Feature maps in blocks of sixteen channels: the layout that networks run and train on.
//!
//! A map is stored as `[channels / 16, height + halo, width + halo, 16]`: the sixteen values of a pixel are one
//! register, so that every kernel vectorises over channels whatever the width of the image. The halo is one row
//! and column of zeros before the image and [`AFTER`] behind it: a convolution's zero padding, and room for a
//! Winograd tile that reaches over the border. Channels up to a multiple of sixteen are zero as well.

use std::ops::Range;

use rayon::prelude::*;

use crate::shared::Shared;
use crate::simd::LANES;
use crate::sizes::{check_len, check_range, check_size, check_within, elements};

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
    /// Where a side is 0, or they exceed the address space: `map: [blocks, rows, columns, lanes] ...`, with the halo's
    /// rows and columns.
    pub fn elements(&self) -> usize {
        elements("map", &self.extent())
    }

    /// Blocks, rows, columns and lanes, halo included; 0 where a side of the map is.
    fn extent(&self) -> [usize; 4] {
        let with_halo = |side: usize| if side == 0 { 0 } else { side.saturating_add(BEFORE + AFTER) };
        [self.blocks(), with_halo(self.height), with_halo(self.width), LANES]
    }

    fn origin(&self) -> usize {
        BEFORE * self.pitch() + BEFORE * LANES
    }

    /// Sets the halo of a map to zero, and leaves the image: what memory that held something else needs.
    ///
    /// # Panics
    /// Where `data` is not [`BlockedShape::elements`] long: `map: ...`.
    pub fn clear_halo(&self, data: &mut [f32]) {
        check_len("map", data.len(), &self.extent());
        let (pitch, inside) = (self.pitch(), self.width * LANES);
        for plane in data.chunks_exact_mut(self.plane()) {
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
    /// Where there are no such rows (`rows: ...`, `to: ...`), or `data` is not [`BlockedShape::elements`] long (`map: ...`).
    pub fn move_rows(&self, data: &mut [f32], rows: Range<usize>, to: usize) {
        check_len("map", data.len(), &self.extent());
        check_within("rows", &rows, self.height);
        check_within("to", &(to..to.saturating_add(rows.len())), self.height);
        let start = |row: usize| (BEFORE + row) * self.pitch();
        for plane in data.chunks_exact_mut(self.plane()) {
            plane.copy_within(start(rows.start)..start(rows.end), start(to));
        }
    }

    /// Sets rows of every block of channels to zero.
    ///
    /// # Panics
    /// Where there are no such rows (`rows: ...`), or `data` is not [`BlockedShape::elements`] long (`map: ...`).
    pub fn clear_rows(&self, data: &mut [f32], rows: Range<usize>) {
        check_len("map", data.len(), &self.extent());
        check_within("rows", &rows, self.height);
        let start = |row: usize| (BEFORE + row) * self.pitch();
        for plane in data.chunks_exact_mut(self.plane()) {
            plane[start(rows.start)..start(rows.end)].fill(0.0);
        }
    }

    /// The map in `data` for reading.
    ///
    /// # Panics
    /// As [`BlockedShape::batch`] of one image.
    pub fn view<'a>(&self, data: &'a [f32]) -> BlockedView<'a> {
        self.batch(1, data)
    }

    /// The map in `data` for writing.
    ///
    /// # Panics
    /// As [`BlockedShape::batch`] of one image.
    pub fn view_mut<'a>(&self, data: &'a mut [f32]) -> BlockedViewMut<'a> {
        self.batch_mut(1, data)
    }

    /// The same map of `images` images, one behind the other in `data`.
    ///
    /// # Panics
    /// Where there are no images, a side is 0, or `data` is not `images` times [`BlockedShape::elements`] long: `map: ...`,
    /// with the images, blocks, rows and columns of the map and its halo, and lanes.
    pub fn batch<'a>(&self, images: usize, data: &'a [f32]) -> BlockedView<'a> {
        BlockedView { data, layout: self.layout(images, data.len()) }
    }

    /// [`BlockedShape::batch`] for writing.
    ///
    /// # Panics
    /// As [`BlockedShape::batch`].
    pub fn batch_mut<'a>(&self, images: usize, data: &'a mut [f32]) -> BlockedViewMut<'a> {
        let layout = self.layout(images, data.len());
        BlockedViewMut { data: Shared::new(data), layout }
    }

    /// The whole of a batch in `len` elements.
    #[track_caller]
    fn layout(&self, images: usize, len: usize) -> Layout {
        let [blocks, rows, cols, lanes] = self.extent();
        check_len("map", len, &[images, blocks, rows, cols, lanes]);
        Layout {
            images,
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
pub(crate) struct Layout {
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

impl Layout {
    fn rows(mut self, rows: Range<usize>) -> Self {
        check_range("rows", &rows, self.height);
        self.origin += rows.start * self.pitch;
        self.height = rows.len();
        self
    }

    fn blocks(mut self, blocks: Range<usize>) -> Self {
        check_range("blocks", &blocks, self.blocks);
        self.origin += blocks.start * self.plane;
        self.blocks = blocks.len();
        self
    }

    fn one(mut self, image: usize) -> Self {
        check_range("image", &(image..image.saturating_add(1)), self.images);
        self.origin += image * self.image;
        self.images = 1;
        self
    }

    /// The rows and columns from these on, of which there are some.
    pub(crate) fn starting_at(mut self, row: usize, col: usize) -> Self {
        debug_assert!(row < self.height && col < self.width);
        self.origin = self.at(0, row, col);
        (self.height, self.width) = (self.height - row, self.width - col);
        self
    }

    /// Images, blocks of channels, rows and columns.
    pub(crate) fn dims(&self) -> [usize; 4] {
        [self.images, self.blocks, self.height, self.width]
    }

    /// Whether there are no rows of the map outside.
    pub(crate) fn has_all_rows(&self) -> bool {
        (self.height + BEFORE + AFTER) * self.pitch == self.plane
    }

    /// Asserts that this is one image of these channels, and that so many values are its planes.
    fn check_planes(&self, channels: usize, planes: usize) {
        let Self { height, width, .. } = *self;
        check_size("map", self.dims(), [1, channels.div_ceil(LANES), height, width]);
        check_len("planes", planes, &[channels, height, width]);
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
    pub(crate) layout: Layout,
}

impl BlockedView<'_> {
    /// These rows alone; kernels still read the rows around them as neighbours.
    ///
    /// # Panics
    /// Where there are no such rows: `rows: ...`.
    #[must_use]
    pub fn rows(self, rows: Range<usize>) -> Self {
        Self { layout: self.layout.rows(rows), ..self }
    }

    /// These blocks of channels alone.
    ///
    /// # Panics
    /// Where there are no such blocks: `blocks: ...`.
    #[must_use]
    pub fn blocks(self, blocks: Range<usize>) -> Self {
        Self { layout: self.layout.blocks(blocks), ..self }
    }

    /// One image alone.
    ///
    /// # Panics
    /// Where there is no such image: `image: ...`.
    #[must_use]
    pub fn image(self, image: usize) -> Self {
        Self { layout: self.layout.one(image), ..self }
    }

    /// Blocks of channels, rows and columns.
    pub fn size(&self) -> [usize; 3] {
        [self.layout.blocks, self.layout.height, self.layout.width]
    }

    /// Asserts that windows that start a row and column before each pixel and reach `rows` and `cols` behind the last lie
    /// within the data.
    pub(crate) fn check_reach(&self, rows: usize, cols: usize) {
        let Layout { images, image, origin, plane, pitch, blocks, height, width } = self.layout;
        assert!(origin >= BEFORE * pitch + BEFORE * LANES, "no halo before the view");
        let last = origin + (images - 1) * image + (blocks - 1) * plane;
        let last = last + (height - 1 + rows) * pitch + (width + cols) * LANES;
        assert!(
            last <= self.data.len(),
            "no halo behind the view: {:?}, {rows} rows, {cols} columns",
            self.layout
        );
    }

    /// The pixels as `[channels, height, width]`, without halo and filling.
    ///
    /// # Panics
    /// Where the view has other channels or several images (`map: ...`), or `planes` is of another length (`planes: ...`).
    pub fn unpack(&self, channels: usize, planes: &mut [f32]) {
        self.layout.check_planes(channels, planes.len());
        let Layout { height, width, .. } = self.layout;
        let area = height * width;
        planes.par_chunks_mut(LANES * area).enumerate().for_each(|(block, planes)| {
            for row in 0..height {
                let from = &self.data[self.layout.at(block, row, 0)..][..width * LANES];
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
    pub(crate) layout: Layout,
}

impl BlockedViewMut<'_> {
    /// The same view, for a shorter time.
    pub fn reborrow(&mut self) -> BlockedViewMut<'_> {
        BlockedViewMut { data: self.data, layout: self.layout }
    }

    /// These rows alone.
    ///
    /// # Panics
    /// Where there are no such rows: `rows: ...`.
    #[must_use]
    pub fn rows(self, rows: Range<usize>) -> Self {
        Self { layout: self.layout.rows(rows), ..self }
    }

    /// These blocks of channels alone: a slot of a concatenation.
    ///
    /// # Panics
    /// Where there are no such blocks: `blocks: ...`.
    #[must_use]
    pub fn blocks(self, blocks: Range<usize>) -> Self {
        Self { layout: self.layout.blocks(blocks), ..self }
    }

    /// One image alone.
    ///
    /// # Panics
    /// Where there is no such image: `image: ...`.
    #[must_use]
    pub fn image(self, image: usize) -> Self {
        Self { layout: self.layout.one(image), ..self }
    }

    /// Blocks of channels, rows and columns.
    pub fn size(&self) -> [usize; 3] {
        [self.layout.blocks, self.layout.height, self.layout.width]
    }

    /// Writes zeros.
    pub fn clear(self) {
        let Layout { images, image, blocks, height, width, .. } = self.layout;
        (0..images * blocks).into_par_iter().for_each(|task| {
            for row in 0..height {
                let at = task / blocks * image + self.layout.at(task % blocks, row, 0);
                // SAFETY: this block of this image is this task's alone.
                unsafe { self.data.slice(at, width * LANES) }.fill(0.0);
            }
        });
    }

    /// Writes `[channels, height, width]` into the view, and zeros into the channels behind them.
    ///
    /// # Panics
    /// As [`BlockedView::unpack`].
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
        self.layout.check_planes(channels, planes.len());
        let Layout { height, width, .. } = self.layout;
        let area = height * width;
        planes.par_chunks(LANES * area).enumerate().for_each(|(block, planes)| {
            for row in 0..height {
                // SAFETY: this row of this block is this task's alone.
                let to = unsafe { self.data.slice(self.layout.at(block, row, 0), width * LANES) };
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
