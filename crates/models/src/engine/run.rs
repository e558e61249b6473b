//! One image on its way through the steps.

use std::ops::Range;

use unet3p_core::graph::{Conv, NodeId, Op};
use unet3p_kernels::{
    BlockedView, BlockedViewMut, Isa, TapRows, add_relu_blocked, max_pool2d_3x3_blocked, max_pools2d_blocked,
    unfold2d_blocked, upsample_bilinear2d,
};

use super::Engine;
use super::layer::{Folded, Packed};
use super::memory::{BorrowedMap, MapId};
use super::plan::{KEPT_FOR_HEAD, KEPT_FOR_TILES, Plan, Scratch, TILE, output};
use super::report::{LayerReport, Times};
use super::schedule::{Head, Step};
use super::strip::{Strip, readable, strips};
use crate::padding::padding_source;

/// What one image gives.
pub(super) struct Prediction {
    /// Logits `[classes, height, width]` of each head that was asked for.
    pub(super) logits: Vec<Vec<f32>>,
    /// Logits [absent, present].
    pub(super) presence: Option<[f32; 2]>,
}

/// A forward pass under way.
pub(super) struct Run<'a> {
    engine: &'a Engine,
    plan: &'a mut Plan,
    /// Rows and columns of the image.
    size: [usize; 2],
    times: Times,
    found: Prediction,
}

/// Where the last of several convolutions writes.
enum Target<'a> {
    Whole(BorrowedMap<'a>),
    /// Logits of a head, as planes.
    Planes(&'a mut Vec<f32>),
}

impl<'a> Run<'a> {
    pub(super) fn new(engine: &'a Engine, plan: &'a mut Plan, size: [usize; 2], heads: usize) -> Self {
        let found = Prediction { logits: vec![Vec::new(); heads], presence: None };
        Self { engine, plan, size, times: Times::default(), found }
    }

    /// Computes every step, but for the heads that are not asked for.
    pub(super) fn run(mut self, image: &[f32]) -> (Prediction, Vec<LayerReport>) {
        let engine = self.engine;
        self.read(image);
        for (number, step) in engine.schedule.steps.iter().enumerate() {
            match step {
                Step::Strips { first, then, head } => self.strips(number, first, then, *head),
                &Step::Strided(id) => self.strided(number, id),
                Step::Halvings { source, pools } => self.halvings(*source, pools),
                &Step::OverlappingPool(id) => self.overlapping_pool(id),
                &Step::AddRelu(id) => self.add_relu(id),
                Step::Head(head) if head.number < self.found.logits.len() => self.head(*head),
                Step::Head(_) => {}
                &Step::Scores(id) => self.scores(id),
            }
        }
        let logits = std::mem::take(&mut self.found.logits);
        self.found.logits = logits.into_iter().map(|planes| self.crop(planes)).collect();
        (self.found, self.times.into_layers())
    }

    /// Pads the image and turns it into blocks.
    fn read(&mut self, image: &[f32]) {
        let ([height, width], [rows, cols]) = (self.size, self.plan.size);
        let channels = self.engine.schedule.graph[self.engine.schedule.image].channels;
        let map = self.plan.map(self.engine.schedule.image);
        let [input] = self.plan.memory.borrow([map]);
        let mut input = input.for_writing();
        if self.size == self.plan.size {
            return input.view_mut().pack(channels, image);
        }
        let columns: Vec<usize> = (0..cols).map(|j| padding_source(j, width, cols)).collect();
        let mut padded = Vec::with_capacity(channels * rows * cols);
        for plane in image.chunks_exact(height * width) {
            for i in 0..rows {
                let row = &plane[padding_source(i, height, rows) * width..][..width];
                padded.extend(columns.iter().map(|&j| row[j]));
            }
        }
        input.view_mut().pack(channels, &padded);
    }

    fn layer(&self, id: NodeId) -> &'a Packed {
        let Some(layer) = &self.engine.layers[id.index()] else { unreachable!("a convolution is packed") };
        layer
    }

    /// The name of a node and what its convolution reads.
    fn reads(&self, id: NodeId) -> (&'a str, NodeId) {
        let node = &self.engine.schedule.graph[id];
        (&node.name, node.inputs[0])
    }

    /// Rows and columns of a node's map.
    fn size_of(&self, id: NodeId) -> [usize; 2] {
        self.plan.size.map(|side| side / self.engine.schedule.graph[id].reduction)
    }

    /// Convolutions, strip by strip.
    fn strips(&mut self, number: usize, first: &[NodeId], then: &[NodeId], head: Option<Head>) {
        let schedule = &self.engine.schedule;
        let whole = output(schedule, first);
        let [height, width] = self.size_of(whole);
        let layers: Vec<(&str, &Packed)> =
            first.iter().chain(then).map(|&id| (self.reads(id).0, self.layer(id))).collect();
        let (first_layers, followers) = layers.split_at(first.len());
        let head_layer = head.map(|head| (self.reads(head.conv).0, self.layer(head.conv)));
        let last = then.last().copied().unwrap_or(whole);

        let Scratch { rows, ref windows, .. } = self.plan.scratch[number];
        let rows = if windows.is_empty() { height } else { rows };
        let mut sources: Vec<MapId> = Vec::new();
        let of_first: Vec<usize> = first
            .iter()
            .map(|&id| {
                let map = self.plan.map(self.reads(id).1);
                sources.iter().position(|&source| source == map).unwrap_or_else(|| {
                    sources.push(map);
                    sources.len() - 1
                })
            })
            .collect();
        let mut ids = sources.clone();
        ids.extend(windows);
        ids.extend((head.is_none()).then(|| self.plan.map(last)));
        let mut borrowed = self.plan.memory.borrow_all(&ids).into_iter();
        let sources: Vec<BorrowedMap<'_>> = borrowed.by_ref().take(sources.len()).collect();
        let mut windows: Vec<Strip<'_>> = Vec::new();
        for i in 0..ids.len() - sources.len() - usize::from(head.is_none()) {
            let kept = if i == then.len() { KEPT_FOR_HEAD } else { KEPT_FOR_TILES };
            windows.extend(borrowed.next().map(|window| Strip::new(height, kept, window)));
        }
        let mut logits = Vec::new();
        let mut target = match borrowed.next() {
            Some(map) => Target::Whole(map.for_writing()),
            None => {
                let classes = head.map_or(0, |head| schedule.graph[head.conv].channels);
                logits.resize(classes * height * width, 0.0);
                Target::Planes(&mut logits)
            }
        };
        let mut tap_rows: Vec<Option<TapRows>> = first_layers
            .iter()
            .zip(&of_first)
            .map(|((_, layer), &source)| match layer {
                Packed::Upsampled { layer, .. } => {
                    Some(layer.rows_for(rows.min(height), sources[source].shape.width))
                }
                _ => None,
            })
            .collect();

        let times = &mut self.times;
        for written in strips(height, rows) {
            let to = match (windows.first_mut(), &mut target) {
                (Some(window), _) => window.advance(written.clone()),
                (None, Target::Whole(map)) => map.view_mut().rows(written.clone()),
                (None, Target::Planes(_)) => unreachable!("a head reads a strip"),
            };
            let branches = first_layers.iter().zip(&mut tap_rows).zip(of_first.iter().map(|&i| &sources[i]));
            side_by_side(times, branches, written.clone(), to);
            let mut written = written;
            for (i, &(name, layer)) in followers.iter().enumerate() {
                written = readable(&written, height, 1, TILE);
                if written.is_empty() {
                    break;
                }
                let (read, rest) = windows.split_at_mut(i + 1);
                let x = read[i].rows(written.clone());
                let y = match (rest.first_mut(), &mut target) {
                    (Some(window), _) => window.advance(written.clone()),
                    (None, Target::Whole(map)) => map.view_mut().rows(written.clone()),
                    (None, Target::Planes(_)) => unreachable!("a head reads a strip"),
                };
                times.measure(name, layer.algorithm(), || layer.run(x, y));
            }
            if let (Some((name, Packed::Head(layer))), Target::Planes(planes), Some(window)) =
                (head_layer, &mut target, windows.last())
            {
                let ready = readable(&written, height, 1, 1);
                if !ready.is_empty() {
                    let run = || layer.run(window.rows(ready.clone()), ready.start, height, planes);
                    times.measure(name, head_layer.map(|(_, layer)| layer.algorithm()), run);
                }
            }
        }
        for (name, layer) in layers.iter().chain(&head_layer) {
            self.times.count(name, layer.multiply_adds([height, width]));
        }
        if let Some(head) = head {
            self.found.logits[head.number] = enlarge(logits, [height, width], head.scale);
        }
    }

    /// A convolution by the neighbourhoods of its input, or 1x1.
    fn strided(&mut self, number: usize, id: NodeId) {
        let (name, x) = self.reads(id);
        let (x, y) = (self.plan.map(x), self.plan.map(id));
        let layer = self.layer(id);
        let Op::Conv(Conv { inputs, kernel, stride, .. }) = self.engine.schedule.graph[id].op else {
            unreachable!("a convolution")
        };
        let Plan { memory, scratch, .. } = &mut *self.plan;
        let times = &mut self.times;
        match scratch[number].neighbourhoods {
            Some(neighbourhoods) => {
                let [x, neighbourhoods, y] = memory.borrow([x, neighbourhoods, y]);
                let (mut neighbourhoods, mut y) = (neighbourhoods.for_writing(), y.for_writing());
                times.measure(name, layer.algorithm(), || {
                    unfold2d_blocked(x.view(), inputs, kernel, stride, neighbourhoods.view_mut());
                    layer.run(neighbourhoods.view(), y.view_mut());
                });
            }
            None => {
                let [x, y] = memory.borrow([x, y]);
                let mut y = y.for_writing();
                times.measure(name, layer.algorithm(), || layer.run(x.view(), y.view_mut()));
            }
        }
        self.times.count(name, layer.multiply_adds(self.size_of(id)));
    }

    fn halvings(&mut self, source: NodeId, pools: &[NodeId]) {
        let ids: Vec<MapId> = std::iter::once(&source).chain(pools).map(|&id| self.plan.map(id)).collect();
        let mut maps = self.plan.memory.borrow_all(&ids).into_iter();
        let Some(x) = maps.next() else { return };
        let mut pooled: Vec<BorrowedMap<'_>> = maps.map(BorrowedMap::for_writing).collect();
        let mut views: Vec<_> = pooled.iter_mut().map(BorrowedMap::view_mut).collect();
        let run = || max_pools2d_blocked(self.engine.isa, x.view(), &mut views);
        self.times.measure(&self.engine.schedule.graph[pools[0]].name, None, run);
    }

    fn overlapping_pool(&mut self, id: NodeId) {
        let (name, x) = self.reads(id);
        let [x, y] = [x, id].map(|id| self.plan.map(id));
        let [x, y] = self.plan.memory.borrow([x, y]);
        let mut y = y.for_writing();
        self.times.measure(name, None, || max_pool2d_3x3_blocked(self.engine.isa, x.view(), y.view_mut()));
    }

    fn add_relu(&mut self, id: NodeId) {
        let node = &self.engine.schedule.graph[id];
        let [sum, shortcut] = [id, node.inputs[1]].map(|id| self.plan.map(id));
        let [mut sum, shortcut] = self.plan.memory.borrow([sum, shortcut]);
        let isa: Isa = self.engine.isa;
        self.times.measure(&node.name, None, || add_relu_blocked(isa, shortcut.view(), sum.view_mut()));
    }

    /// At the resolution of its map, then upsampled.
    fn head(&mut self, head: Head) {
        let (name, x) = self.reads(head.conv);
        let packed = self.layer(head.conv);
        let Packed::Head(layer) = packed else { unreachable!("a head is packed as one") };
        let size @ [height, width] = self.size_of(head.conv);
        let mut logits = vec![0.0; self.engine.schedule.graph[head.conv].channels * height * width];
        let [x] = self.plan.memory.borrow([self.plan.map(x)]);
        self.times.measure(name, packed.algorithm(), || layer.run(x.view(), 0, height, &mut logits));
        self.times.count(name, layer.multiply_adds(height, width));
        self.found.logits[head.number] = enlarge(logits, size, head.scale);
    }

    /// The largest values of a 1x1 convolution to two channels.
    fn scores(&mut self, id: NodeId) {
        let (name, x) = self.reads(id);
        let packed = self.layer(id);
        let Packed::Scores(Folded { weight, bias }) = packed else {
            unreachable!("scores are packed as such")
        };
        let [map] = self.plan.memory.borrow([self.plan.map(x)]);
        let channels = self.engine.schedule.graph[x].channels;
        let area = map.shape.height * map.shape.width;
        let mut planes = vec![0.0; channels * area];
        let mut largest = [0.0; 2];
        self.times.measure(name, packed.algorithm(), || {
            map.view().unpack(channels, &mut planes);
            for (class, largest) in largest.iter_mut().enumerate() {
                let mut sums = vec![bias[class]; area];
                for (plane, &weight) in planes.chunks_exact(area).zip(&weight[class * channels..]) {
                    sums.iter_mut().zip(plane).for_each(|(sum, &value)| *sum += weight * value);
                }
                *largest = sums.into_iter().fold(f32::NEG_INFINITY, f32::max);
            }
        });
        self.found.presence = Some(largest);
    }

    fn crop(&self, planes: Vec<f32>) -> Vec<f32> {
        if self.size == self.plan.size {
            return planes;
        }
        let ([height, width], [rows, cols]) = (self.size, self.plan.size);
        let lines = planes.chunks_exact(rows * cols).flat_map(|plane| plane.chunks_exact(cols).take(height));
        lines.flat_map(|line| &line[..width]).copied().collect()
    }
}

/// Rows of convolutions whose outputs lie side by side in `to`.
fn side_by_side<'a>(
    times: &mut Times,
    branches: impl ExactSizeIterator<
        Item = ((&'a (&'a str, &'a Packed), &'a mut Option<TapRows>), &'a BorrowedMap<'a>),
    >,
    rows: Range<usize>,
    mut to: BlockedViewMut<'_>,
) {
    let blocks = to.size()[0] / branches.len();
    for (i, (((name, layer), tap_rows), x)) in branches.enumerate() {
        let y = to.reborrow().blocks(i * blocks..(i + 1) * blocks);
        match (layer, tap_rows) {
            (Packed::Upsampled { layer: upsampled, .. }, Some(tap_rows)) => {
                let run = || upsampled.run(x.view(), rows.clone(), y, tap_rows);
                times.measure(name, layer.algorithm(), run);
            }
            _ => {
                let x: BlockedView<'_> = x.view().rows(rows.clone());
                times.measure(name, layer.algorithm(), || layer.run(x, y));
            }
        }
    }
}

/// Planes of `size`, upsampled bilinearly.
fn enlarge(planes: Vec<f32>, size: [usize; 2], scale: usize) -> Vec<f32> {
    if scale == 1 {
        return planes;
    }
    let mut large = vec![0.0; planes.len() * scale * scale];
    upsample_bilinear2d(size, scale, &planes, &mut large);
    large
}
