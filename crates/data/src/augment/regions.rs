//! Grey values of single organs, as another contrast phase would show them.

use rand_chacha::ChaCha8Rng;

use super::RegionIntensity;
use super::filter::gaussian_blur;
use super::intensity::visible;
use super::random::{chance, normal};
use crate::{Image, LabelMap};

/// Gives every region r its own offset and gain about its mean m(r), in each channel:
/// v <- v + offset(r) + gain(r) (v - m(r)); the change fades over the region's edge, and where
/// a pixel is cut off by the window.
pub(super) fn apply(settings: &RegionIntensity, image: &mut Image, regions: &LabelMap, rng: &mut ChaCha8Rng) {
    if !chance(rng, settings.probability) {
        return;
    }
    let shared = normal(rng) * settings.shared_std;
    // Drawn for all ids, present or not: what one organ gets does not depend on the others.
    let drawn: Vec<[f32; 2]> = (0..256)
        .map(|id| {
            let offset = shared + normal(rng) * settings.offset_std;
            let gain = normal(rng) * settings.gain_std;
            if id == 0 { [0.0, 0.0] } else { [offset as f32, gain as f32] }
        })
        .collect();

    let (height, width) = (image.height, image.width);
    let mut gain: Vec<f32> = map_ids(regions, |id| drawn[id][1]);
    gaussian_blur(&mut gain, height, width, settings.edge);
    for channel in 0..image.channels {
        let plane = image.plane_mut(channel);
        let means = region_means(plane, regions);
        let mut offset = map_ids(regions, |id| drawn[id][0] - drawn[id][1] * means[id]);
        gaussian_blur(&mut offset, height, width, settings.edge);
        for ((value, offset), gain) in plane.iter_mut().zip(&offset).zip(&gain) {
            *value += (offset + gain * *value) * visible(*value);
        }
    }
}

/// One value per pixel from its region's id.
fn map_ids(regions: &LabelMap, value: impl Fn(usize) -> f32) -> Vec<f32> {
    let value = |&id: &u8| value(usize::from(id));
    regions.data.iter().map(value).collect()
}

/// The mean of a plane over each region, 0 where there is none.
fn region_means(plane: &[f32], regions: &LabelMap) -> [f32; 256] {
    let mut sums = [(0f64, 0u32); 256];
    for (value, &id) in plane.iter().zip(&regions.data) {
        let (sum, count) = &mut sums[usize::from(id)];
        *sum += f64::from(*value);
        *count += 1;
    }
    sums.map(|(sum, count)| (sum / f64::from(count.max(1))) as f32)
}
