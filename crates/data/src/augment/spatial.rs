//! One warp for everything that moves pixels: each output pixel is looked up once in the input.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Augmentation;
use super::elastic::DisplacementField;
use super::random::{chance, log_uniform, uniform};
use super::reduce::minimum;
use crate::{Image, LabelMap, Sample};

/// Where each output pixel comes from: `[y, x]` in the input's pixel coordinates, row-major.
pub(super) struct Warp {
    height: usize,
    width: usize,
    source: Vec<[f32; 2]>,
}

impl Warp {
    /// Draws flips, rotation, scaling, shift, elastic deformation and the position of the crop.
    ///
    /// Without any of them, and with an output of the input's size, the lookup is the identity exactly.
    pub(super) fn draw(
        settings: &Augmentation,
        rng: &mut ChaCha8Rng,
        input: (usize, usize),
        output: (usize, usize),
    ) -> Self {
        let (height, width) = output;
        let mut mirror = [1.0, 1.0];
        if chance(rng, settings.flip.vertical) {
            mirror[0] = -1.0;
        }
        if chance(rng, settings.flip.horizontal) {
            mirror[1] = -1.0;
        }
        let mut angle = 0.0;
        if chance(rng, settings.rotation.probability) {
            let limit = settings.rotation.degrees.to_radians();
            angle = uniform(rng, -limit, limit);
        }
        let mut scale = [1.0, 1.0];
        if chance(rng, settings.scale.probability) {
            let [low, high] = settings.scale.range;
            let size = log_uniform(rng, low, high);
            let most = 1.0 + settings.scale.aspect;
            let aspect = log_uniform(rng, 1.0 / most, most).sqrt();
            scale = [size * aspect, size / aspect];
        }
        let mut centre = [window_centre(rng, input.0, height), window_centre(rng, input.1, width)];
        if chance(rng, settings.shift.probability) {
            let f = settings.shift.fraction;
            centre[0] += uniform(rng, -f, f) * input.0 as f64;
            centre[1] += uniform(rng, -f, f) * input.1 as f64;
        }
        let elastic = chance(rng, settings.elastic.probability).then(|| {
            let (spacing, magnitude) = (settings.elastic.spacing, settings.elastic.magnitude);
            DisplacementField::draw(rng, height, width, spacing, magnitude)
        });

        // Output to input: the inverse of "scale the object, then turn it, then mirror it".
        let (sin, cos) = angle.sin_cos();
        let matrix = [
            [mirror[0] * cos / scale[0], mirror[1] * sin / scale[0]],
            [mirror[0] * -sin / scale[1], mirror[1] * cos / scale[1]],
        ];
        let middle = [(height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0];
        let mut displacement = vec![[0.0; 2]; width];
        let mut source = Vec::with_capacity(height * width);
        for y in 0..height {
            if let Some(field) = &elastic {
                field.row(y, &mut displacement);
            }
            for (x, [dy, dx]) in displacement.iter().enumerate() {
                let p = [y as f64 - middle[0] + dy, x as f64 - middle[1] + dx];
                source.push([
                    (centre[0] + matrix[0][0] * p[0] + matrix[0][1] * p[1]) as f32,
                    (centre[1] + matrix[1][0] * p[0] + matrix[1][1] * p[1]) as f32,
                ]);
            }
        }
        Self { height, width, source }
    }

    /// Applies the warp to the image (bilinear) and to mask and regions (nearest).
    pub(super) fn apply(&self, sample: &mut Sample) {
        sample.image = self.image(&sample.image);
        let places = self.nearest(&sample.mask);
        sample.mask = self.labels(&sample.mask, &places);
        sample.regions = sample.regions.as_ref().map(|map| self.labels(map, &places));
    }

    /// Bilinear lookup; outside the input lies the channel's minimum (air, in a CT).
    fn image(&self, input: &Image) -> Image {
        let (h, w) = (input.height as isize, input.width as isize);
        let planes: Vec<(&[f32], f32)> = (0..input.channels)
            .map(|channel| {
                let plane = input.plane(channel);
                let outside = minimum(plane);
                (plane, if outside.is_finite() { outside } else { 0.0 })
            })
            .collect();
        let mut image = Image::filled(input.channels, self.height, self.width, 0.0);
        let mut corners = Vec::with_capacity(self.width);
        for (row, places) in self.source.chunks_exact(self.width).enumerate() {
            corners.clear();
            corners.extend(places.iter().map(|&place| Corner::of(place)));
            for (channel, &(plane, outside)) in planes.iter().enumerate() {
                let at = |y: isize, x: isize| {
                    if (0..h).contains(&y) && (0..w).contains(&x) {
                        plane[(y * w + x) as usize]
                    } else {
                        outside
                    }
                };
                let out = &mut image.plane_mut(channel)[row * places.len()..][..places.len()];
                for (out, &Corner { y, x, fy, fx }) in out.iter_mut().zip(&corners) {
                    let [a, b, c, d] = if y >= 0 && x >= 0 && y + 1 < h && x + 1 < w {
                        let above = (y * w + x) as usize;
                        let below = above + w as usize;
                        [plane[above], plane[above + 1], plane[below], plane[below + 1]]
                    } else {
                        [at(y, x), at(y, x + 1), at(y + 1, x), at(y + 1, x + 1)]
                    };
                    let top = a * (1.0 - fx) + b * fx;
                    let bottom = c * (1.0 - fx) + d * fx;
                    *out = top * (1.0 - fy) + bottom * fy;
                }
            }
        }
        image
    }

    /// The index of the input's pixel nearest to each place; [`OUTSIDE`] where there is none.
    fn nearest(&self, input: &LabelMap) -> Vec<usize> {
        let (h, w) = (input.height as isize, input.width as isize);
        let index = |&[y, x]: &[f32; 2]| {
            let (y, x) = (nearest(y), nearest(x));
            if (0..h).contains(&y) && (0..w).contains(&x) { (y * w + x) as usize } else { OUTSIDE }
        };
        self.source.iter().map(index).collect()
    }

    /// The labels of the pixels at `places`; outside the input lies background.
    fn labels(&self, input: &LabelMap, places: &[usize]) -> LabelMap {
        let data = places.iter().map(|&place| input.data.get(place).copied().unwrap_or(0)).collect();
        LabelMap { height: self.height, width: self.width, data }
    }
}

/// The index of a pixel that is in no image.
const OUTSIDE: usize = usize::MAX;

/// The pixel above and left of a place, and how far the place is from it.
#[derive(Clone, Copy)]
struct Corner {
    y: isize,
    x: isize,
    fy: f32,
    fx: f32,
}

impl Corner {
    fn of([y, x]: [f32; 2]) -> Self {
        let (row, column) = (floor(y), floor(x));
        Self { y: row, x: column, fy: y - row as f32, fx: x - column as f32 }
    }
}

/// The largest whole number that is not above `v`. Without SSE 4.1, which cannot be taken for granted, `f32::floor` and
/// `f32::round` are calls of library functions, and there are several for each pixel.
fn floor(v: f32) -> isize {
    let whole = v as isize;
    whole - isize::from(whole as f32 > v)
}

/// The nearest whole number; halves away from zero.
fn nearest(v: f32) -> isize {
    let whole = v as isize;
    let rest = v - whole as f32;
    whole + isize::from(rest >= 0.5) - isize::from(rest <= -0.5)
}

/// The input coordinate that the middle of the output shows: a window of `output` pixels at a random whole
/// offset inside the input, or, where the output is larger, the input at a random offset inside the output.
fn window_centre(rng: &mut ChaCha8Rng, input: usize, output: usize) -> f64 {
    let slack = input.abs_diff(output);
    let offset = rng.random_range(0..=slack) as f64;
    let start = if input >= output { offset } else { -offset };
    start + (output as f64 - 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_those_of_the_library() {
        let halves = (-9..=9).map(|i| i as f32 * 0.5);
        let around = halves.flat_map(|v| [v, f32::next_down(v), f32::next_up(v)]);
        for v in around.chain([1e7, -1e7, 0.3, -0.3, 127.49999, -0.49999997, 0.49999997]) {
            assert_eq!((floor(v), nearest(v)), (v.floor() as isize, v.round() as isize), "{v}");
        }
    }
}
