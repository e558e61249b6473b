//! Maps and comparisons that the suites on blocked maps share.
#![allow(dead_code, clippy::unwrap_used)] // each suite uses its part

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use unet3p_kernels::*;

/// Relative L2 error allowed in f32 against sums in f64. Direct sums of up to 9 * 80 terms: 720^0.5 * 2^-24 = 1.6e-6;
/// Winograd's transforms lose up to four bits more on a few of them.
pub(crate) const BUDGET: f64 = 3e-6;

const ALL: [&str; 3] = ["avx512", "avx2", "portable"];

pub(crate) fn noise(rng: &mut ChaCha8Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut got.iter().zip(want).map(|(&g, &w)| f64::from(g) - f64::from(w)));
    let scale = norm(&mut want.iter().map(|&w| f64::from(w)));
    assert!(error <= BUDGET * scale, "{what}: relative error {:e}", error / scale);
}

/// Runs `check` on each instruction set, and says which ones this CPU does not have.
pub(crate) fn on_every_isa(check: impl Fn(Isa)) {
    for name in ALL {
        match Isa::named(name) {
            Some(isa) => check(isa),
            None => eprintln!("skipped: this CPU has no {name}"),
        }
    }
}

/// A map that held NaN everywhere before the values were written into it.
pub(crate) fn blocked(shape: BlockedShape, parts: &[usize], planes: &[f32]) -> AlignedBuffer {
    let mut buffer = dirty(shape);
    let area = shape.height * shape.width;
    let (mut block, mut plane) = (0, 0);
    for &part in parts {
        let blocks = part.div_ceil(LANES);
        let slot = shape.view_mut(&mut buffer).blocks(block..block + blocks);
        slot.pack(part, &planes[plane * area..][..part * area]);
        (block, plane) = (block + blocks, plane + part);
    }
    buffer
}

pub(crate) fn dirty(shape: BlockedShape) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(shape.elements());
    buffer.fill(f32::NAN);
    shape.clear_halo(&mut buffer);
    buffer
}

/// The image without halo, after checking that a kernel left the halo alone.
pub(crate) fn dense(shape: BlockedShape, buffer: &mut AlignedBuffer) -> Vec<f32> {
    let mut planes = vec![f32::NAN; shape.channels * shape.height * shape.width];
    shape.view(buffer).unpack(shape.channels, &mut planes);
    let with_halo: f64 = buffer.iter().map(|&v| f64::from(v).abs()).sum();
    let inside: f64 = planes.iter().map(|&v| f64::from(v).abs()).sum();
    assert!((with_halo - inside).abs() <= 1e-9 * inside, "halo or filling channels were written");
    planes
}

/// Blocks of channels of a concatenation, as channels of a map without gaps.
pub(crate) fn map_of(parts: &[usize], height: usize, width: usize) -> BlockedShape {
    BlockedShape { channels: parts.iter().map(|part| part.next_multiple_of(LANES)).sum(), height, width }
}

/// Images `[images, channels, height, width]` as a batch of maps that held NaN everywhere before.
pub(crate) fn batch(shape: BlockedShape, parts: &[usize], planes: &[f32]) -> AlignedBuffer {
    let one = planes.len() / images_of(parts, shape, planes);
    let mut buffer = AlignedBuffer::zeroed(shape.elements() * (planes.len() / one));
    for (to, planes) in buffer.chunks_exact_mut(shape.elements()).zip(planes.chunks_exact(one)) {
        to.copy_from_slice(&blocked(shape, parts, planes));
    }
    buffer
}

fn images_of(parts: &[usize], shape: BlockedShape, planes: &[f32]) -> usize {
    planes.len() / (parts.iter().sum::<usize>() * shape.height * shape.width)
}

/// A batch of maps of NaN, with zero halo.
pub(crate) fn dirty_batch(images: usize, shape: BlockedShape) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(images * shape.elements());
    buffer.chunks_exact_mut(shape.elements()).for_each(|to| to.copy_from_slice(&dirty(shape)));
    buffer
}

/// The channels of a concatenation of `parts`, `[images, channels, height, width]`, after checking that the halo and
/// the filling channels are zero.
pub(crate) fn dense_batch(shape: BlockedShape, parts: &[usize], buffer: &AlignedBuffer) -> Vec<f32> {
    let area = shape.height * shape.width;
    let mut planes = Vec::new();
    for map in buffer.chunks_exact(shape.elements()) {
        let mut block = 0;
        for &part in parts {
            let blocks = part.div_ceil(LANES);
            let mut dense = vec![f32::NAN; part * area];
            shape.view(map).blocks(block..block + blocks).unpack(part, &mut dense);
            planes.extend(dense);
            block += blocks;
        }
    }
    let all: f64 = buffer.iter().map(|&v| f64::from(v).abs()).sum();
    let inside: f64 = planes.iter().map(|&v| f64::from(v).abs()).sum();
    assert!((all - inside).abs() <= 1e-9 * inside.max(1e-30), "halo or filling channels were written");
    planes
}

/// A gradient with respect to a map is written over NaN, or added to what is there.
pub(crate) fn check_gradient(
    what: &str,
    images: usize,
    map: BlockedShape,
    parts: &[usize],
    want: &[f32],
    run: impl Fn(BlockedViewMut, Write),
) {
    let mut grad = dirty_batch(images, map);
    run(map.batch_mut(images, &mut grad), Write::Replace);
    assert_close(&format!("{what}, replaced"), &dense_batch(map, parts, &grad), want);
    let before: Vec<f32> = (0..want.len()).map(|i| (i % 7) as f32 - 3.0).collect();
    let mut grad = batch(map, parts, &before);
    run(map.batch_mut(images, &mut grad), Write::Add);
    let sum: Vec<f32> = before.iter().zip(want).map(|(a, b)| a + b).collect();
    assert_close(&format!("{what}, added"), &dense_batch(map, parts, &grad), &sum);
}
