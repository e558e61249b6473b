//! Metrics on random small masks against their definitions as plain loops, and what must hold whatever the masks.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_metrics::{Counts, Error, Labels, Metric, Scores, SurfaceDistances};

/// Two label maps on one grid.
struct Pair {
    shape: Vec<usize>,
    spacing: Vec<f64>,
    prediction: Vec<u8>,
    reference: Vec<u8>,
}

impl Pair {
    /// Of 1 to 8 samples along each of 2 or 3 axes, empty, sparse, dense or full.
    fn random(random: &mut ChaCha8Rng) -> Self {
        let axes = random.random_range(2..=3);
        let shape: Vec<usize> = (0..axes).map(|_| random.random_range(1..=8)).collect();
        let spacing = (0..axes).map(|_| random.random_range(0.2..5.0)).collect();
        let count = shape.iter().product();
        let mut ids = || -> Vec<u8> {
            let share = [0.0, 0.1, 0.5, 0.8, 1.0][random.random_range(0..5)];
            // Class 2 is there to be ignored.
            (0..count)
                .map(|_| if random.random_bool(share) { 1 } else { 2 * random.random_range(0..2) })
                .collect()
        };
        Self { prediction: ids(), reference: ids(), shape, spacing }
    }

    fn view<'a>(&self, ids: &'a [u8]) -> Labels<'a, u8> {
        Labels::new(ids, &self.shape, &self.spacing).unwrap()
    }

    fn scores(&self, tolerance: f64) -> Scores {
        let (prediction, reference) = (self.view(&self.prediction), self.view(&self.reference));
        Scores::of_class(&prediction, &reference, 1, tolerance).unwrap()
    }

    fn distances(&self) -> SurfaceDistances {
        SurfaceDistances::of_class(&self.view(&self.prediction), &self.view(&self.reference), 1).unwrap()
    }

    fn swapped(&self) -> Self {
        Self {
            shape: self.shape.clone(),
            spacing: self.spacing.clone(),
            prediction: self.reference.clone(),
            reference: self.prediction.clone(),
        }
    }

    /// Indices of the samples of class 1 that have a neighbour (along one axis) of another class or none at all.
    fn surface(&self, ids: &[u8]) -> Vec<Vec<i64>> {
        let inside = |index: &[i64]| {
            let mut flat = 0;
            for (&i, &side) in index.iter().zip(&self.shape) {
                if i < 0 || i >= side as i64 {
                    return false;
                }
                flat = flat * side + i as usize;
            }
            ids[flat] == 1
        };
        let moved = |index: &[i64], axis: usize, step: i64| {
            let mut index = index.to_vec();
            index[axis] += step;
            index
        };
        let enclosed = |index: &Vec<i64>| {
            (0..self.shape.len())
                .all(|axis| [-1, 1].into_iter().all(|step| inside(&moved(index, axis, step))))
        };
        self.indices().into_iter().filter(|index| inside(index) && !enclosed(index)).collect()
    }

    fn indices(&self) -> Vec<Vec<i64>> {
        let mut all = vec![Vec::new()];
        for &side in &self.shape {
            all = all
                .into_iter()
                .flat_map(|index: Vec<i64>| (0..side as i64).map(move |i| [index.clone(), vec![i]].concat()))
                .collect();
        }
        all
    }

    /// From each sample of `from` the distance to the nearest of `to`, by trying all.
    fn nearest(&self, from: &[Vec<i64>], to: &[Vec<i64>]) -> Vec<f64> {
        let distance = |a: &[i64], b: &[i64]| -> f64 {
            let along = |axis: usize| ((a[axis] - b[axis]) as f64 * self.spacing[axis]).powi(2);
            (0..self.shape.len()).map(along).sum::<f64>().sqrt()
        };
        from.iter().map(|a| to.iter().map(|b| distance(a, b)).fold(f64::INFINITY, f64::min)).collect()
    }
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (&found, &expected) in found.iter().zip(expected) {
        assert!(found == expected || (found - expected).abs() <= 1e-12 * expected, "{found} {expected}");
    }
}

fn on_random_pairs(seed: u64, check: impl Fn(&Pair, &mut ChaCha8Rng)) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..400 {
        check(&Pair::random(&mut random), &mut random);
    }
}

#[test]
fn distances_are_those_of_trying_every_pair_of_surface_samples() {
    on_random_pairs(1, |pair, _| {
        let (prediction, reference) = (pair.surface(&pair.prediction), pair.surface(&pair.reference));
        let found = pair.distances();
        let there = pair.nearest(&prediction, &reference);
        let back = pair.nearest(&reference, &prediction);
        assert_close(&found.from_prediction, &there);
        assert_close(&found.from_reference, &back);

        let mut pooled = [there.clone(), back.clone()].concat();
        pooled.sort_by(f64::total_cmp);
        let scores = pair.scores(1.5);
        match (there.is_empty(), back.is_empty()) {
            (true, true) => {
                assert_eq!((scores.hausdorff, scores.assd, scores.surface_dice), (None, None, None))
            }
            (false, false) => {
                let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
                let position = 0.95 * (pooled.len() - 1) as f64;
                let (low, high) = (pooled[position.floor() as usize], pooled[position.ceil() as usize]);
                let hd95 = low + (high - low) * position.fract();
                let near = pooled.iter().filter(|&&distance| distance <= 1.5).count();
                let expected = [
                    pooled[pooled.len() - 1],
                    hd95,
                    mean(&pooled),
                    mean(&there),
                    near as f64 / pooled.len() as f64,
                ];
                let metrics = [Metric::Hd, Metric::Hd95, Metric::Assd, Metric::Asd, Metric::Nsd];
                let found = metrics.map(|metric| scores.get(metric).unwrap());
                assert_close(&found, &expected);
            }
            _ => {
                for metric in [Metric::Hd, Metric::Hd95, Metric::Assd, Metric::Asd] {
                    assert_eq!(scores.get(metric), Some(f64::INFINITY));
                }
                assert_eq!((scores.surface_dice, scores.get(Metric::Dice)), (Some(0.0), Some(0.0)));
            }
        }
    });
}

#[test]
fn counts_are_those_of_looking_at_every_sample() {
    on_random_pairs(2, |pair, _| {
        let mut expected = Counts::default();
        for (&p, &r) in pair.prediction.iter().zip(&pair.reference) {
            match (p == 1, r == 1) {
                (true, true) => expected.tp += 1,
                (true, false) => expected.fp += 1,
                (false, true) => expected.fn_ += 1,
                (false, false) => expected.tn += 1,
            }
        }
        let scores = pair.scores(0.0);
        assert_eq!(scores.counts, expected);
        assert_eq!(expected.total(), pair.prediction.len() as u64);
        let half = pair.prediction.len() / 2;
        let parts = [(0, half), (half, pair.prediction.len())]
            .map(|(from, to)| Counts::of_ids(&pair.prediction[from..to], &pair.reference[from..to], 1));
        assert_eq!(parts.into_iter().sum::<Counts>(), expected);
    });
}

#[test]
fn what_holds_for_all_masks() {
    on_random_pairs(3, |pair, random| {
        let (scores, swapped) = (pair.scores(1.0), pair.swapped().scores(1.0));
        let both = |metric| (scores.get(metric), swapped.get(metric));
        for metric in [Metric::Dice, Metric::Iou, Metric::Hd, Metric::Hd95, Metric::Nsd] {
            let (one, other) = both(metric);
            assert_eq!(one, other, "{metric:?} is symmetric");
        }
        assert_eq!(scores.get(Metric::Precision), swapped.get(Metric::Recall));
        let (Some(dice), Some(iou)) = (scores.get(Metric::Dice), scores.get(Metric::Iou)) else { return };
        assert!((dice - 2.0 * iou / (1.0 + iou)).abs() < 1e-12);
        let [hd, hd95, assd] =
            [Metric::Hd, Metric::Hd95, Metric::Assd].map(|metric| scores.get(metric).unwrap());
        assert!(hd95 <= hd && assd <= hd);

        // A finer grid measures in proportion.
        let factor = random.random_range(0.5..2.0);
        let spacing = pair.spacing.iter().map(|distance| distance * factor).collect();
        let finer = Pair { spacing, ..pair.swapped() }.scores(factor);
        assert_close(&[finer.hausdorff.unwrap()], &[hd * factor]);
        assert_eq!(finer.counts.total(), scores.counts.total());

        // More tolerance finds more of the surface.
        let nsd: Vec<f64> =
            [0.0, 0.5, 1.0, 3.0, 100.0].iter().map(|&t| pair.scores(t).surface_dice.unwrap()).collect();
        assert!(nsd.is_sorted(), "{nsd:?}");

        let same = Pair { reference: pair.prediction.clone(), ..pair.swapped() };
        let same = Pair { prediction: same.reference.clone(), ..same }.scores(0.0);
        if same.counts.predicted() > 0 {
            for (metric, best) in
                [(Metric::Dice, 1.0), (Metric::Rvd, 0.0), (Metric::Hd, 0.0), (Metric::Nsd, 1.0)]
            {
                assert_eq!(same.get(metric), Some(best), "{metric:?}");
            }
        }
    });
}

#[test]
fn a_class_that_is_nowhere_has_the_scores_of_an_absent_one() {
    let pair =
        Pair { shape: vec![2, 3], spacing: vec![1.0; 2], prediction: vec![2; 6], reference: vec![0; 6] };
    assert_eq!(pair.scores(1.0), Scores::absent(6));
}

#[test]
fn an_image_and_a_volume_of_one_slice_have_different_surfaces() {
    let ids = [1u8; 25];
    let surface = |shape: &[usize]| {
        let view = Labels::new(&ids, shape, &vec![1.0; shape.len()]).unwrap();
        SurfaceDistances::of_class(&view, &view, 1).unwrap().from_prediction.len()
    };
    assert_eq!(surface(&[5, 5]), 16);
    assert_eq!(surface(&[1, 5, 5]), 25);
}

#[test]
fn label_maps_that_do_not_fit_are_refused() {
    let ids = [0u8; 6];
    assert_eq!(Labels::new(&ids, &[6], &[1.0]).unwrap_err(), Error::Axes(1));
    assert!(matches!(Labels::new(&ids, &[2, 2], &[1.0; 2]), Err(Error::Length { ids: 6, .. })));
    assert!(matches!(Labels::new(&ids, &[usize::MAX, 2], &[1.0; 2]), Err(Error::Length { .. })));
    for spacing in [&[1.0][..], &[1.0; 3], &[1.0, 0.0], &[1.0, -1.0], &[1.0, f64::NAN], &[f64::INFINITY, 1.0]]
    {
        assert!(matches!(Labels::new(&ids, &[2, 3], spacing), Err(Error::Spacing { .. })), "{spacing:?}");
    }
    let view = |shape: [usize; 2], spacing: [f64; 2]| Labels::new(&ids, &shape, &spacing).unwrap();
    let reference = view([2, 3], [1.0; 2]);
    for other in [view([3, 2], [1.0; 2]), view([2, 3], [1.0, 2.0])] {
        let message = Scores::of_class(&other, &reference, 1, 1.0).unwrap_err().to_string();
        assert!(message.contains("[2, 3]") && message.contains("one grid"), "{message}");
        assert!(Counts::of_class(&other, &reference, 1).is_err());
        assert!(SurfaceDistances::of_class(&other, &reference, 1).is_err());
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let pair = Pair::random(&mut ChaCha8Rng::seed_from_u64(9));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert_eq!(pool.install(|| pair.scores(1.0)), pair.scores(1.0));
}
