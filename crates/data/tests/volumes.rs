//! Volumes to the model's grid and back.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{RAS, affine, at, indices, orientations, product, random, rotation, volume};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_data::{ClassRule, Error, Image, Normalize, Orientation, Preprocessor, Size, Volume};

/// f32 arithmetic on values of about 100.
const ROUNDING: f32 = 1e-4;

fn plain() -> Preprocessor {
    Preprocessor::for_slices([-1.0, 1.0], None)
}

/// Something whose value tells where it was taken.
fn place([x, y, z]: [f64; 3]) -> f32 {
    (x + 0.01 * y - 7.0 * z) as f32
}

#[test]
fn every_orientation_is_turned_to_ras_and_back() {
    let shape = [3, 4, 5];
    for axes in orientations() {
        for tilt in [0.0, 25.0] {
            let grid = product(&rotation(tilt), &affine(axes, [0.5, 1.5, 4.0], [-20.0, 3.0, 8.0]));
            let native = volume(shape, grid, place);
            let orientation = Orientation::of(&native);
            let ras = orientation.to_ras(&native);
            for world in 0..3 {
                let row = ras.affine[world];
                assert!(row[world] > 0.0, "{axes:?}: {row:?}");
                assert!((0..3).all(|axis| row[axis].abs() <= ras.affine[axis][axis] + 1e-9));
            }
            for (value, index) in ras.data.iter().zip(indices(ras.shape)) {
                assert!((value - place(at(&ras.affine, index))).abs() < ROUNDING);
            }
            assert_eq!(orientation.from_ras(&ras.data, ras.shape).unwrap(), native.data);
            assert_eq!(Orientation::of(&ras).code(), "RAS");
        }
    }
}

#[test]
fn orientations_have_the_usual_names() {
    let code = |axes| Orientation::of(&volume([2, 2, 2], affine(axes, [1.0; 3], [0.0; 3]), place)).code();
    assert_eq!(code([(0, -1.0), (1, 1.0), (2, 1.0)]), "LAS");
    assert_eq!(code([(2, -1.0), (0, 1.0), (1, -1.0)]), "IRP");
    let letters: std::collections::BTreeSet<String> = orientations().into_iter().map(code).collect();
    assert_eq!(letters.len(), 48);
}

#[test]
fn slices_show_the_front_above_and_the_patients_right_on_the_left() {
    for axes in orientations() {
        let native = volume([4, 4, 4], affine(axes, [2.0; 3], [10.0, 20.0, 30.0]), |p| p[0] as f32);
        let normalized = |normalize, value: fn([f64; 3]) -> f32, z| {
            let v = volume([4, 4, 4], native.affine, value);
            let raw = Preprocessor { normalize, window: None, ..plain() };
            raw.prepare_volume(&v).unwrap().slice(z).unwrap()
        };
        let right = normalized(Normalize::Minmax, |p| p[0] as f32, 1);
        let front = normalized(Normalize::Minmax, |p| p[1] as f32, 1);
        // Minmax makes the three equal channels of a slice run from 0 to 1.
        assert_eq!(right.plane(1)[..4], [1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0], "{axes:?}");
        assert_eq!([0, 4, 8, 12].map(|i| front.plane(1)[i]), [1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
        // From the feet to the head: below, itself, above. Z-scores are over all three.
        let up = |z| {
            let slice = normalized(Normalize::Zscore, |p| p[2] as f32, z);
            [0, 1, 2].map(|c| slice.plane(c)[0])
        };
        let close = |found: [f32; 3], expected: [f32; 3]| {
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-5), "{axes:?}: {found:?}");
        };
        close(up(1), [-1.5f32.sqrt(), 0.0, 1.5f32.sqrt()]);
        // The lowest slice is its own lower neighbour, the highest its own upper one.
        close(up(0), [-0.5f32.sqrt(), -0.5f32.sqrt(), 2f32.sqrt()]);
        close(up(3), [-2f32.sqrt(), 0.5f32.sqrt(), 0.5f32.sqrt()]);
    }
}

#[test]
fn on_its_own_grid_a_mask_comes_back_exactly() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (n, axes) in orientations().into_iter().enumerate() {
        let grid = product(&rotation(10.0), &affine(axes, [0.7, 1.3, 5.0], [1.0, 2.0, 3.0]));
        let shape = [4, 3, 5];
        let labels: Vec<u8> = (0..60).map(|_| rng.random_range(0..3)).collect();
        let native = Volume::new(labels.iter().map(|&v| f32::from(v)).collect(), shape, grid).unwrap();
        // The image holds the labels; the "network" reads them off the middle channel.
        let preprocessor = Preprocessor::for_slices([0.0, 2.0], None);
        let prepared = preprocessor.prepare_volume(&native).unwrap();
        let probabilities: Vec<Image> = (0..prepared.len())
            .map(|z| {
                let slice = prepared.slice(z).unwrap();
                let classes = [0.0, 0.5, 1.0];
                let data =
                    classes.iter().flat_map(|&c| slice.plane(1).iter().map(move |&v| f32::from(v == c)));
                Image::new(3, slice.height, slice.width, data.collect()).unwrap()
            })
            .collect();
        let softmax = prepared.restore(&probabilities, ClassRule::Argmax).unwrap();
        assert_eq!(
            (softmax.data.as_slice(), softmax.shape, softmax.affine),
            (&labels[..], shape, grid),
            "{n}"
        );
        // Without its background channel the same is a network that ends in a sigmoid.
        let foreground: Vec<Image> = probabilities
            .iter()
            .map(|p| Image::new(2, p.height, p.width, p.data[p.height * p.width..].to_vec()).unwrap())
            .collect();
        assert_eq!(prepared.restore(&foreground, ClassRule::Threshold(0.5)).unwrap().data, labels);
    }
}

#[test]
fn a_ball_survives_another_spacing() {
    let ball = |[x, y, z]: [f64; 3]| if (x * x + y * y + z * z).sqrt() < 20.0 { 1.0 } else { -1.0 };
    for axes in [RAS, [(2, -1.0), (0, 1.0), (1, -1.0)]] {
        let spacing = [1.0, 2.0, 4.0];
        let shape = [60, 30, 16];
        let corner = [0, 1, 2].map(|world| {
            let axis = (0..3).find(|&a| axes[a].0 == world).unwrap();
            -axes[axis].1 * spacing[axis] * (shape[axis] - 1) as f64 / 2.0
        });
        let native = volume(shape, affine(axes, spacing, corner), ball);
        let preprocessor = Preprocessor { spacing: Some([3.0, 3.0, 3.0]), ..plain() };
        let prepared = preprocessor.prepare_volume(&native).unwrap();
        let world = [0, 1, 2].map(|w| {
            let axis = (0..3).find(|&a| axes[a].0 == w).unwrap();
            (shape[axis] as f64 * spacing[axis] / 3.0).round() as usize
        });
        assert_eq!((prepared.size(), prepared.len()), ((world[1], world[0]), world[2]));
        let probabilities: Vec<Image> = (0..prepared.len())
            .map(|z| {
                let slice = prepared.slice(z).unwrap();
                Image::new(1, slice.height, slice.width, slice.plane(1).to_vec()).unwrap()
            })
            .collect();
        let restored = prepared.restore(&probabilities, ClassRule::Threshold(0.5)).unwrap();
        let (mut both, mut sum) = (0, 0);
        for (&found, &wanted) in restored.data.iter().zip(&native.data) {
            both += usize::from(found == 1 && wanted > 0.0);
            sum += usize::from(found == 1) + usize::from(wanted > 0.0);
        }
        // Voxels of 4 mm at best place an outline of 20 mm radius within about half a voxel of 3 mm.
        let dice = 2.0 * both as f64 / sum as f64;
        assert!(dice > 0.95, "{dice}");
    }
}

#[test]
fn a_size_is_for_what_has_no_spacing() {
    let native = volume([6, 8, 4], affine(RAS, [1.0, 1.0, 2.0], [0.0; 3]), |_| 0.5);
    let size = Some(Size { height: 10, width: 7 });
    let prepare = |spacing| {
        let preprocessor = Preprocessor { size, spacing, ..plain() };
        preprocessor.prepare_volume(&native).unwrap()
    };
    let spaced = prepare(Some([2.0, 2.0, 1.0]));
    assert_eq!((spaced.size(), spaced.len()), ((4, 3), 8));
    let sized = prepare(None);
    assert_eq!((sized.size(), sized.len()), ((10, 7), 4));
    // A constant stays what it is, (0.5 + 1) / 2, whatever the grid.
    assert!(sized.slice(3).unwrap().data.iter().all(|v| (v - 0.75).abs() < 1e-6));
    for (found, wanted) in sized.spacing().into_iter().zip([6.0 / 7.0, 0.8, 2.0]) {
        assert!((found - wanted).abs() < 1e-12);
    }
}

#[test]
fn a_grid_that_no_memory_holds_is_refused() {
    let native = volume([500, 500, 4], affine(RAS, [1.0, 1.0, 1.0], [0.0; 3]), |_| 0.5);
    let refusal = |spacing, size| {
        let preprocessor = Preprocessor { size, spacing, ..plain() };
        preprocessor.prepare_volume(&native).unwrap_err().to_string()
    };
    // Each axis is allowed, all together are not; nor is the way to few voxels over many.
    for spacing in [[0.02, 0.02, 1.0], [400.0, 400.0, 0.0005]] {
        let message = refusal(Some(spacing), None);
        assert!(message.contains("spacing = [") && message.contains("voxels"), "{message}");
    }
    let message = refusal(None, Some(Size { height: 32768, width: 32768 }));
    assert!(message.contains("size = 32768 x 32768"), "{message}");
}

#[test]
fn a_grid_grows_in_proportion_to_the_voxels_that_are_there() {
    let refusal = |shape, size: f64, spacing: f64| {
        let native = volume(shape, affine(RAS, [size; 3], [0.0; 3]), |_| 0.5);
        let preprocessor = Preprocessor { spacing: Some([spacing; 3]), ..plain() };
        preprocessor.prepare_volume(&native).err().map(|error| error.to_string())
    };
    // 512 voxels in a header that says 383 mm would become 2^30.
    let message = refusal([8, 8, 8], 383.0, 3.0).unwrap();
    for word in ["383 x 383 x 383 mm", "spacing = [3.0, 3.0, 3.0]", "at most 1048576", "header"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(refusal([80, 80, 80], 5.0, 1.0).unwrap().contains("at most 8192000"));
    // A small grid is always made, a larger one up to 16 times.
    assert_eq!(refusal([8, 8, 8], 12.0, 1.0), None);
    assert_eq!(refusal([48, 48, 48], 2.5, 1.0), None);
}

#[test]
fn what_the_model_was_not_made_for_is_said() {
    let prepare = |shape, sizes, spacing, value: f32| {
        let native =
            volume(shape, affine(RAS, sizes, [0.0; 3]), |[x, ..]| if x > 0.0 { value } else { -1000.0 });
        let preprocessor = Preprocessor::for_slices([-200.0, 250.0], spacing);
        preprocessor.prepare_volume(&native).unwrap().warnings().to_vec()
    };
    let three = Some([3.0; 3]);
    assert_eq!(prepare([64, 64, 8], [0.8, 0.8, 5.0], three, 40.0), Vec::<String>::new());
    // Small as it is, it keeps its pixels.
    assert_eq!(prepare([12, 12, 8], [1.0; 3], None, 40.0), Vec::<String>::new());
    for (shape, sizes) in [([37, 29, 11], [0.0013, 0.0011, 0.004]), ([64, 64, 8], [0.6, 0.6, 5.0])] {
        let [warning] = &prepare(shape, sizes, three, 40.0)[..] else { panic!("{shape:?}") };
        assert!(warning.contains("model's grid") && warning.contains("mm"), "{warning}");
    }
    // Mostly interpolated.
    assert_eq!(prepare([64, 64, 4], [3.0, 3.0, 27.0], three, 40.0).len(), 1);

    let native = volume([4, 4, 2], affine(RAS, [1.0; 3], [0.0; 3]), |[x, ..]| (x / 3.0) as f32);
    let prepared = Preprocessor::for_slices([-200.0, 250.0], None).prepare_volume(&native).unwrap();
    assert!(prepared.warnings()[0].contains("Hounsfield") && prepared.warnings()[0].contains("-200 to 250"));
}

#[test]
fn a_window_clamps_and_volumes_without_one_are_refused_where_it_is_needed() {
    let native =
        Volume::new(vec![-1000.0, -200.0, 25.0, 250.0, 3000.0], [5, 1, 1], affine(RAS, [1.0; 3], [0.0; 3]));
    let native = native.unwrap();
    let prepared = Preprocessor::for_slices([-200.0, 250.0], None).prepare_volume(&native).unwrap();
    assert_eq!(prepared.slice(0).unwrap().plane(1), [1.0, 1.0, 0.5, 0.0, 0.0]);
    let error = Preprocessor::default().prepare_volume(&native).unwrap_err();
    assert!(matches!(&error, Error::Setting { key, .. } if key == "window"), "{error}");
    let tiny = Preprocessor { spacing: Some([1e-9; 3]), ..plain() }.prepare_volume(&native).unwrap_err();
    assert!(matches!(&tiny, Error::Setting { key, .. } if key == "spacing"), "{tiny}");
}

#[test]
fn probabilities_of_another_shape_are_refused() {
    let native = volume([3, 4, 2], affine(RAS, [1.0; 3], [0.0; 3]), |_| 0.0);
    let prepared = plain().prepare_volume(&native).unwrap();
    let good = Image::filled(1, 4, 3, 0.0);
    let rule = ClassRule::Threshold(0.5);
    assert!(prepared.restore(&[good.clone(), good.clone()], rule).is_ok());
    for bad in [vec![], vec![good.clone()], vec![good.clone(), Image::filled(1, 3, 4, 0.0)]] {
        assert!(matches!(prepared.restore(&bad, rule), Err(Error::Shape(_))));
    }
    assert!(matches!(prepared.slice(2), Err(Error::Shape(_))));
}

#[test]
fn volumes_that_make_no_sense_are_refused() {
    let grid = affine(RAS, [1.0; 3], [0.0; 3]);
    assert!(Volume::new(random(7, 1), [2, 2, 2], grid).is_err());
    assert!(Volume::<f32>::new(vec![], [0, 2, 2], grid).is_err());
    assert!(Volume::<u8>::new(vec![], [usize::MAX, 2, 1], grid).is_err());
    let mut flat = grid;
    flat[2][2] = 0.0;
    assert!(Volume::new(random(8, 1), [2, 2, 2], flat).is_err());
    let mut skewed = grid;
    skewed[0] = [1.0, 1.0, 0.0, f64::NAN];
    assert!(Volume::new(random(8, 1), [2, 2, 2], skewed).is_err());
}

#[test]
fn classes_follow_their_rule() {
    let sigmoid = ClassRule::Threshold(0.5);
    assert_eq!(sigmoid.classes(&[0.5], 1), [0]);
    assert_eq!(sigmoid.classes(&[0.51], 1), [1]);
    assert_eq!(sigmoid.classes(&[0.6, 0.7, 0.7], 3), [2]);
    assert_eq!(ClassRule::Argmax.classes(&[0.2, 0.2, 0.1], 3), [0]);
    assert_eq!(ClassRule::Argmax.classes(&[0.1, 0.2, 0.3], 3), [2]);
}
