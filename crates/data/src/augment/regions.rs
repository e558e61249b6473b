//! Grey values of single organs, as another contrast phase would show them.

use rand_chacha::ChaCha8Rng;

use super::RegionIntensity;
use super::filter::gaussian_blur;
use super::intensity::visible;
use super::random::{chance, normal, uniform};
use super::reduce::sum;
use crate::{Image, LabelMap};

/// Regions whose means differ by more than this are not made alike: lung does not turn into liver.
const SIMILAR: f32 = 0.25;

/// Gives every region r its own offset and gain about its mean m(r), in each channel:
/// v <- v + offset(r) + gain(r) (v - m(r)); the change fades over the region's edge, and where
/// a pixel is cut off by the window.
pub(super) fn apply(settings: &RegionIntensity, image: &mut Image, regions: &LabelMap, rng: &mut ChaCha8Rng) {
    if !chance(rng, settings.probability) {
        return;
    }
    let shared = normal(rng) * settings.shared_std;
    // Drawn for all ids, present or not: what one organ gets does not depend on the others.
    let mut drawn: Vec<[f32; 2]> = (0..256)
        .map(|id| {
            let offset = shared + normal(rng) * settings.offset_std;
            let gain = normal(rng) * settings.gain_std;
            if id == 0 { [0.0, 0.0] } else { [offset as f32, gain as f32] }
        })
        .collect();

    let means: Vec<_> =
        (0..image.channels).map(|channel| region_means(image.plane(channel), regions)).collect();
    let middle = &means[image.channels / 2];
    for (drawn, change) in drawn.iter_mut().zip(towards_others(middle, settings.alike, rng)) {
        drawn[0] += change;
    }
    let (height, width) = (image.height, image.width);
    let mut gain: Vec<f32> = map_ids(regions, |id| drawn[id][1]);
    gaussian_blur(&mut gain, height, width, settings.edge);
    for (channel, means) in means.iter().enumerate() {
        let plane = image.plane_mut(channel);
        let mut offset = map_ids(regions, |id| drawn[id][0] - drawn[id][1] * means[id].unwrap_or(0.0));
        gaussian_blur(&mut offset, height, width, settings.edge);
        for ((value, offset), gain) in plane.iter_mut().zip(&offset).zip(&gain) {
            *value += (offset + gain * *value) * visible(*value);
        }
    }
}

/// One value per pixel from its region's id.
fn map_ids(regions: &LabelMap, value: impl Fn(usize) -> f32) -> Vec<f32> {
    let values: [f32; 256] = std::array::from_fn(value);
    regions.data.iter().map(|&id| values[usize::from(id)]).collect()
}

/// What brings each region's mean to that of another region at random, for a share `alike` of the regions; 0 for
/// the rest.
fn towards_others(means: &[Option<f32>; 256], alike: f64, rng: &mut ChaCha8Rng) -> [f32; 256] {
    let present: Vec<f32> = means.iter().skip(1).filter_map(|&mean| mean).collect();
    let mut changes = [0.0; 256];
    for (change, &mean) in changes.iter_mut().zip(means).skip(1) {
        let Some(mean) = mean else { continue };
        if chance(rng, alike) {
            let other = present[(uniform(rng, 0.0, present.len() as f64) as usize).min(present.len() - 1)];
            *change = if (other - mean).abs() <= SIMILAR { other - mean } else { 0.0 };
        }
    }
    changes
}

/// The mean of a plane over each region, where there is one.
fn region_means(plane: &[f32], regions: &LabelMap) -> [Option<f32>; 256] {
    let mut sums = [(0f64, 0usize); 256];
    let mut rest = plane;
    // Regions are made of runs along the rows, which are summed several pixels at once.
    for run in regions.data.chunk_by(|a, b| a == b) {
        let (values, others) = rest.split_at(run.len());
        let (total, count) = &mut sums[usize::from(run[0])];
        *total += sum(values, |v| v);
        *count += run.len();
        rest = others;
    }
    sums.map(|(sum, count)| (count > 0).then(|| (sum / count as f64) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn alike_regions_share_a_mean_and_lung_stays_lung() {
        let mut means = [None; 256];
        (means[0], means[3], means[5], means[9]) = (Some(0.2), Some(0.5), Some(0.6), Some(0.05));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut met = false;
        for _ in 0..50 {
            let changes = towards_others(&means, 1.0, &mut rng);
            for (id, others) in [(3, [0.5, 0.6]), (5, [0.5, 0.6]), (9, [0.05, 0.05])] {
                let moved = means[id].unwrap() + changes[id];
                assert!(others.iter().any(|other| (moved - other).abs() < 1e-6), "{id} became {moved}");
            }
            assert_eq!(changes[0], 0.0);
            met |= changes[3] > 0.05;
        }
        assert!(met);
        assert_eq!(towards_others(&means, 0.0, &mut rng), [0.0; 256]);
    }
}
