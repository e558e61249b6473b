use std::f64::consts::TAU;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{Image, LabelMap};

const SIDE: usize = 96;

/// A disc of value 0.8 on 0.2 in all three channels, labelled 1 in the mask and 7 in the regions, off the middle.
fn disc() -> Sample {
    let inside = |y: usize, x: usize| {
        let (dy, dx) = (y as f64 - 40.0, x as f64 - 54.0);
        (dy * dy + dx * dx).sqrt() < 18.0
    };
    let mut mask = LabelMap::empty(SIDE, SIDE);
    for y in 0..SIDE {
        for x in 0..SIDE {
            mask.data[y * SIDE + x] = u8::from(inside(y, x));
        }
    }
    let plane: Vec<f32> = mask.data.iter().map(|&id| 0.2 + 0.6 * f32::from(id)).collect();
    let mut regions = mask.clone();
    regions.data.iter_mut().for_each(|id| *id *= 7);
    Sample {
        image: Image::new(3, SIDE, SIDE, [plane.clone(), plane.clone(), plane].concat()).unwrap(),
        mask,
        regions: Some(regions),
        name: "disc".into(),
        group: "discs".into(),
    }
}

/// Only the steps that move pixels, always.
fn spatial_only() -> Augmentation {
    let mut settings = Augmentation::none();
    settings.flip.horizontal = 0.5;
    settings.flip.vertical = 0.5;
    settings.rotation.probability = 1.0;
    settings.scale.probability = 1.0;
    settings.shift.probability = 1.0;
    settings.elastic.probability = 1.0;
    settings
}

fn noisy(seed: u64) -> Sample {
    let mut sample = disc();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    sample.image.data.iter_mut().for_each(|v| *v = rng.random());
    sample
}

#[test]
fn nothing_switched_on_changes_nothing() {
    let mut sample = noisy(1);
    sample.image.data.iter_mut().for_each(|v| *v = *v * 4.0 - 2.0);
    let before = sample.clone();
    Augmentation::none().apply(&mut sample, &mut ChaCha8Rng::seed_from_u64(5));
    assert_eq!(sample, before);
}

#[test]
fn zero_ranges_move_nothing() {
    let mut settings = spatial_only();
    settings.flip = Flip::default();
    settings.rotation.degrees = 0.0;
    settings.scale.range = [1.0, 1.0];
    settings.scale.aspect = 0.0;
    settings.shift.fraction = 0.0;
    settings.elastic.magnitude = 0.0;
    let mut sample = noisy(2);
    let before = sample.clone();
    settings.apply(&mut sample, &mut ChaCha8Rng::seed_from_u64(5));
    assert_eq!(sample, before);
}

#[test]
fn a_flip_is_exact() {
    let mut settings = Augmentation::none();
    settings.flip.horizontal = 1.0;
    let mut sample = noisy(3);
    let before = sample.clone();
    settings.apply(&mut sample, &mut ChaCha8Rng::seed_from_u64(5));
    assert_ne!(sample, before);
    for (row, flipped) in before.mask.data.chunks(SIDE).zip(sample.mask.data.chunks(SIDE)) {
        assert!(row.iter().eq(flipped.iter().rev()));
    }
    for (row, flipped) in before.image.data.chunks(SIDE).zip(sample.image.data.chunks(SIDE)) {
        assert!(row.iter().eq(flipped.iter().rev()));
    }
}

#[test]
fn the_mask_follows_the_image() {
    let settings = spatial_only();
    let mut moved = 0;
    for seed in 0..20 {
        let mut sample = disc();
        let before = sample.clone();
        settings.apply(&mut sample, &mut ChaCha8Rng::seed_from_u64(seed));
        moved += usize::from(sample.mask != before.mask);
        // Bilinear and nearest lookups agree on which side of the edge a pixel's own position lies, except where
        // the edge runs between the four neighbours: a band of half a pixel around a circle of about 113 pixels.
        let edge = TAU * 18.0 * 1.5;
        let plane = sample.image.plane(1);
        let differing = plane.iter().zip(&sample.mask.data).filter(|(v, id)| (**v > 0.5) != (**id == 1));
        assert!((differing.count() as f64) < 0.25 * edge, "seed {seed}");
        let regions = sample.regions.unwrap();
        assert!(regions.data.iter().zip(&sample.mask.data).all(|(r, m)| *r == m * 7));
    }
    assert!(moved >= 19);
}

#[test]
fn scale_changes_the_area_as_stated() {
    for factor in [0.75, 1.3] {
        let mut settings = Augmentation::none();
        settings.scale = Scale { probability: 1.0, range: [factor, factor], aspect: 0.0 };
        let mut sample = disc();
        let area = |map: &LabelMap| map.data.iter().filter(|&&id| id == 1).count() as f64;
        let before = area(&sample.mask);
        settings.apply(&mut sample, &mut ChaCha8Rng::seed_from_u64(1));
        let ratio = area(&sample.mask) / before;
        assert!((ratio / (factor * factor) - 1.0).abs() < 0.03, "{factor}: {ratio}");
    }
}

#[test]
fn the_same_generator_gives_the_same_sample() {
    let draw = |seed| {
        let mut sample = noisy(4);
        Augmentation::default().apply_to_size(&mut sample, [112, 80], &mut ChaCha8Rng::seed_from_u64(seed));
        sample
    };
    assert_eq!(draw(9), draw(9));
    assert_ne!(draw(9), draw(10));
}

#[test]
fn region_intensity_stays_inside_the_region() {
    let mut settings = Augmentation::none();
    settings.region_intensity.probability = 1.0;
    settings.region_intensity.edge = 0.0;
    let mut sample = disc();
    let before = sample.clone();
    settings.apply(&mut sample, &mut ChaCha8Rng::seed_from_u64(2));
    let mut changed = 0;
    for (i, (old, new)) in before.image.data.iter().zip(&sample.image.data).enumerate() {
        if before.mask.data[i % (SIDE * SIDE)] == 0 {
            assert_eq!(old, new);
        } else {
            changed += usize::from(old != new);
        }
    }
    assert_eq!(changed, 3 * before.mask.data.iter().filter(|&&id| id == 1).count());

    // A soft edge reaches three standard deviations (one pixel more for rounding) out of the region.
    settings.region_intensity.edge = 1.0;
    let mut soft = before.clone();
    settings.apply(&mut soft, &mut ChaCha8Rng::seed_from_u64(2));
    for y in 0..SIDE {
        for x in 0..SIDE {
            let (dy, dx) = (y as f64 - 40.0, x as f64 - 54.0);
            if (dy * dy + dx * dx).sqrt() > 18.0 + 3.0 * 2f64.sqrt() + 1.0 {
                assert_eq!(soft.image.data[y * SIDE + x], before.image.data[y * SIDE + x]);
            }
        }
    }
}

#[test]
fn regions_get_their_own_values() {
    let mut sample = disc();
    let regions = sample.regions.as_mut().unwrap();
    for (i, id) in regions.data.iter_mut().enumerate() {
        *id = if i % SIDE < 54 { 3 } else { 4 };
    }
    sample.image.data.fill(0.5);
    let mut settings = Augmentation::none();
    settings.region_intensity.probability = 1.0;
    settings.apply(&mut sample, &mut ChaCha8Rng::seed_from_u64(2));
    let (left, right) = (sample.image.data[10], sample.image.data[SIDE - 10]);
    assert!((left - 0.5).abs() > 1e-4 && (right - 0.5).abs() > 1e-4 && (left - right).abs() > 1e-4);
}

#[test]
fn crops_and_frames() {
    let none = Augmentation::none();
    let mut sample = disc();
    sample.image.data.iter_mut().for_each(|v| *v += 0.1);
    let before = sample.clone();
    none.apply_to_size(&mut sample, [128, 112], &mut ChaCha8Rng::seed_from_u64(8));
    assert_eq!((sample.image.height, sample.image.width), (128, 112));
    let pixels = |s: &Sample| s.mask.data.iter().filter(|&&id| id == 1).count();
    assert_eq!(pixels(&sample), pixels(&before));
    // The frame holds the minimum, and as many pixels as there are outside the original.
    let bright = |s: &Sample| s.image.plane(0).iter().filter(|&&v| v > 0.8).count();
    assert_eq!(bright(&sample), bright(&before));
    assert!(sample.image.data.iter().all(|&v| v >= 0.2));

    none.apply_to_size(&mut sample, [16, 32], &mut ChaCha8Rng::seed_from_u64(8));
    assert_eq!(sample.image.data.len(), 3 * 16 * 32);
    assert_eq!(sample.mask.data.len(), 16 * 32);
}

#[test]
fn constant_and_tiny_images_stay_finite() {
    let mut always = Augmentation::default();
    always.rotation.probability = 1.0;
    always.gamma.probability = 1.0;
    always.contrast.probability = 1.0;
    always.region_intensity.probability = 1.0;
    for (height, width, value) in [(1, 1, 0.0), (1, 40, 1.0), (33, 2, 0.4), (64, 64, 0.0)] {
        for seed in 0..10 {
            let mut sample = Sample {
                image: Image::filled(3, height, width, value),
                mask: LabelMap::empty(height, width),
                regions: Some(LabelMap::empty(height, width)),
                name: String::new(),
                group: String::new(),
            };
            always.apply_to_size(&mut sample, [32, 48], &mut ChaCha8Rng::seed_from_u64(seed));
            assert!(sample.image.data.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
}

#[test]
fn impossible_settings_are_named() {
    let wrong = |change: fn(&mut Augmentation)| {
        let mut settings = Augmentation::default();
        change(&mut settings);
        settings.validate().unwrap_err().to_string()
    };
    assert!(Augmentation::default().validate().is_ok());
    assert!(Augmentation::none().validate().is_ok());
    assert!(wrong(|s| s.noise.probability = 1.5).contains("augmentation.noise.probability = 1.5"));
    assert!(wrong(|s| s.scale.range = [1.3, 0.7]).contains("augmentation.scale.range"));
    assert!(wrong(|s| s.elastic.spacing = 0.0).contains("augmentation.elastic.spacing"));
    assert!(wrong(|s| s.rotation.degrees = f64::NAN).contains("augmentation.rotation.degrees"));
    for (message, parts) in [
        (wrong(|s| s.rotation.degrees = 720.0), ["augmentation.rotation.degrees = 720", "0 to 180"]),
        (wrong(|s| s.scale.range = [0.9, 1e9]), ["augmentation.scale.range", "high <= 10"]),
        (wrong(|s| s.blur.sigma = [0.0, 1e6]), ["augmentation.blur.sigma = [0.0, 1000000.0]", "high <= 32"]),
        (wrong(|s| s.region_intensity.edge = 1e6), ["augmentation.region_intensity.edge", "0 to 32"]),
        (wrong(|s| s.noise.std = -0.1), ["augmentation.noise.std = -0.1", "0 to 1"]),
    ] {
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let unknown = serde_json::from_str::<Augmentation>(r#"{"rotaton": {"degrees": 3}}"#);
    assert!(unknown.unwrap_err().to_string().contains("rotaton"));
}
