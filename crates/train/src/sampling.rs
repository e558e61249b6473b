//! Which slices make up which batch, and the random stream of each of them: a function of the seed alone.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// What a generator is for: streams of one seed that never meet.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// The order of an epoch.
    Order = 1,
    /// Augmentation of a sample.
    Sample = 2,
    /// Dropout of a step.
    Dropout = 3,
    /// Dropout while batch statistics are estimated.
    Statistics = 4,
}

/// The generator of the `index`-th thing of a purpose.
pub(crate) fn generator(seed: u64, purpose: Purpose, index: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((purpose as u64) << 56) | index as u64);
    rng
}

/// How slices follow each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// Whether each epoch has an order of its own; else slices come as they are listed.
    pub(crate) shuffle: bool,
    /// Part of the samples that has foreground.
    pub(crate) foreground_share: Option<f64>,
}

/// Where passes over the slices are counted from: the beginning of the run, or the last change of the size of its steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// Steps done before.
    pub(crate) step: usize,
    /// Passes begun before.
    pub(crate) pass: usize,
    /// Samples drawn before.
    pub(crate) samples: usize,
}

/// The order of samples over a run.
///
/// Without a share every slice comes once an epoch; what does not fill a last batch is left out of this epoch. With a
/// share, that part of each run of samples has foreground, both kinds repeated as often as needed.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    with: Vec<usize>,
    without: Vec<usize>,
    order: Order,
    batch_size: usize,
    seed: u64,
    origin: Origin,
}

/// A sample of a batch: which slice, and its place in the run (from which its random stream follows).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) slice: usize,
    pub(crate) place: usize,
}

impl Sampler {
    /// Samples `slices`, ascending indices given with whether they have foreground. A share has no effect where one
    /// kind is missing.
    pub(crate) fn new(
        slices: impl IntoIterator<Item = (usize, bool)>,
        mut order: Order,
        batch_size: usize,
        seed: u64,
    ) -> Self {
        let (with, without): (Vec<_>, Vec<_>) = slices.into_iter().partition(|&(_, foreground)| foreground);
        if with.is_empty() || without.is_empty() {
            order.foreground_share = None;
        }
        let indices = |part: Vec<(usize, bool)>| part.into_iter().map(|(index, _)| index).collect();
        let (with, without) = (indices(with), indices(without));
        Self { with, without, order, batch_size, seed, origin: Origin::default() }
    }

    /// Batches of an epoch, at least one.
    pub(crate) fn steps_per_epoch(&self) -> usize {
        self.steps_of(self.batch_size)
    }

    /// Batches of an epoch with `batch_size` samples each.
    pub(crate) fn steps_of(&self, batch_size: usize) -> usize {
        ((self.with.len() + self.without.len()) / batch_size).max(1)
    }

    /// Counts on from `origin`, with which batches had `batch_size` samples, after `steps` steps. Where they have
    /// another size now, the pass that was under way ends there and the next begins. Returns the origin from now on.
    pub(crate) fn go_on(&mut self, origin: Origin, batch_size: usize, steps: usize) -> Origin {
        self.origin = origin;
        if batch_size != self.batch_size {
            let since = steps.saturating_sub(origin.step);
            self.origin = Origin {
                step: steps,
                pass: origin.pass + since.div_ceil(self.steps_of(batch_size)),
                samples: origin.samples + since * batch_size,
            };
        }
        self.origin
    }

    /// The pass (from 0) that step `step` (from 0) belongs to.
    pub(crate) fn pass(&self, step: usize) -> usize {
        self.origin.pass + (step - self.origin.step) / self.steps_per_epoch()
    }

    /// Whether no pass is under way after `steps` steps.
    pub(crate) fn is_between_passes(&self, steps: usize) -> bool {
        (steps - self.origin.step).is_multiple_of(self.steps_per_epoch())
    }

    /// The batch of step `step` (from 0).
    pub(crate) fn batch(&self, step: usize) -> Vec<Pick> {
        let order = self.epoch(self.pass(step));
        let since = step - self.origin.step;
        let start = since % self.steps_per_epoch() * self.batch_size;
        let place = self.origin.samples + since * self.batch_size;
        let pick = |i: usize| Pick { slice: order[(start + i) % order.len()], place: place + i };
        (0..self.batch_size).map(pick).collect()
    }

    fn epoch(&self, epoch: usize) -> Vec<usize> {
        let mut rng = generator(self.seed, Purpose::Order, epoch);
        let mut arrange = |mut slices: Vec<usize>| {
            if self.order.shuffle {
                slices.shuffle(&mut rng);
            } else {
                slices.sort_unstable();
            }
            slices
        };
        let Some(share) = self.order.foreground_share else {
            return arrange(self.with.iter().chain(&self.without).copied().collect());
        };
        let (with, without) = (arrange(self.with.clone()), arrange(self.without.clone()));
        let (mut with, mut without) = (with.into_iter().cycle(), without.into_iter().cycle());
        let length = self.steps_per_epoch() * self.batch_size;
        // Evenly spread: the number with foreground among the first n is n times the share, rounded down.
        let before = |n: usize| (n as f64 * share + 1e-9) as usize;
        let order =
            (0..length).filter_map(|i| if before(i + 1) > before(i) { with.next() } else { without.next() });
        order.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn order(foreground_share: Option<f64>) -> Order {
        Order { shuffle: true, foreground_share }
    }

    fn slices() -> impl Iterator<Item = (usize, bool)> {
        (0..22).map(|i| (i, i % 5 == 0))
    }

    #[test]
    fn every_slice_at_most_once_an_epoch_in_another_order() {
        let sampler = Sampler::new(slices(), order(None), 4, 7);
        assert_eq!(sampler.steps_per_epoch(), 5);
        let epoch = |e: usize| (0..5).flat_map(|s| sampler.batch(e * 5 + s)).collect::<Vec<_>>();
        let (one, two) = (epoch(0), epoch(1));
        let distinct: BTreeSet<usize> = one.iter().map(|p| p.slice).collect();
        assert_eq!(distinct.len(), 20);
        assert_ne!(
            one.iter().map(|p| p.slice).collect::<Vec<_>>(),
            two.iter().map(|p| p.slice).collect::<Vec<_>>()
        );
        assert!(one.iter().chain(&two).enumerate().all(|(i, p)| p.place == i));
        assert_eq!(
            one,
            (0..5).flat_map(|s| Sampler::new(slices(), order(None), 4, 7).batch(s)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_share_of_foreground_in_every_batch() {
        let sampler = Sampler::new(slices(), order(Some(0.75)), 4, 7);
        for step in 0..20 {
            assert_eq!(sampler.batch(step).iter().filter(|p| p.slice % 5 == 0).count(), 3);
        }
        // Nothing to balance: as without a share.
        let all = Sampler::new((0..3).map(|i| (i, true)), order(Some(0.5)), 4, 7);
        assert_eq!(all.batch(0).len(), 4);
    }

    #[test]
    fn listed_slices_stay_in_their_order() {
        let picks = |foreground_share, steps| {
            let listed = Order { shuffle: false, foreground_share };
            let sampler = Sampler::new(slices(), listed, 4, 7);
            (0..steps).flat_map(|step| sampler.batch(step)).map(|pick| pick.slice).collect::<Vec<_>>()
        };
        assert_eq!(picks(None, 5), (0..20).collect::<Vec<_>>());
        assert_eq!(picks(None, 6)[20..], [0, 1, 2, 3]);
        assert_eq!(picks(Some(0.5), 2), [1, 0, 2, 5, 3, 10, 4, 15]);
    }

    #[test]
    fn a_pass_ends_where_batches_change_their_size_and_nothing_is_drawn_twice() {
        let small = |batch_size| Sampler::new(slices(), order(None), batch_size, 7);
        // Five steps a pass; the third pass is under way after 12.
        let mut sampler = small(11);
        let origin = sampler.go_on(Origin::default(), 4, 12);
        assert_eq!(origin, Origin { step: 12, pass: 3, samples: 48 });
        let picks: Vec<Pick> = (12..14).flat_map(|step| sampler.batch(step)).collect();
        assert!(picks.iter().map(|pick| pick.place).eq(48..70));
        assert_eq!(picks.iter().map(|pick| pick.slice).collect::<BTreeSet<_>>().len(), 22);
        assert_eq!([12, 13, 14, 15, 16].map(|step| sampler.pass(step)), [3, 3, 4, 4, 5]);
        assert_eq!([12, 13, 14].map(|steps| sampler.is_between_passes(steps)), [true, false, true]);
        // The same size: as if nothing had been.
        let mut same = small(11);
        assert_eq!(same.go_on(origin, 11, 15), origin);
        assert_eq!(same.batch(15), sampler.batch(15));
        // Back again, where a pass ends.
        let mut back = small(4);
        assert_eq!(back.go_on(origin, 11, 16), Origin { step: 16, pass: 5, samples: 92 });
    }

    #[test]
    fn streams_do_not_meet() {
        use rand::Rng;
        let draw = |purpose, index| generator(1, purpose, index).random::<u64>();
        assert_eq!(draw(Purpose::Order, 3), draw(Purpose::Order, 3));
        assert_ne!(draw(Purpose::Order, 3), draw(Purpose::Order, 4));
        assert_ne!(draw(Purpose::Order, 3), draw(Purpose::Sample, 3));
    }
}
