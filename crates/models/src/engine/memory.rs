//! One memory for all maps of a forward pass: those that are never needed at once share it.

use std::ops::{Range, RangeInclusive};

use unet3p_kernels::{AlignedBuffer, BlockedShape, BlockedView, BlockedViewMut};

/// A map that has a place in a [`Memory`].
pub(crate) struct Map {
    pub(crate) shape: BlockedShape,
    /// Which of the plan's maps it is.
    index: usize,
}

/// Maps and the steps of a forward pass from the one that writes them to the last that reads them.
#[derive(Default)]
pub(crate) struct Plan {
    wanted: Vec<(usize, RangeInclusive<usize>)>,
}

impl Plan {
    /// A map that is needed in these steps.
    pub(crate) fn map(&mut self, shape: BlockedShape, steps: RangeInclusive<usize>) -> Map {
        self.wanted.push((shape.elements(), steps));
        Map { shape, index: self.wanted.len() - 1 }
    }

    /// Makes the memory. The largest map is placed first, and each in the first gap between those that are needed in
    /// one of its steps: within a few percent of what the fullest step needs.
    pub(crate) fn memory(self) -> Memory {
        let mut order: Vec<usize> = (0..self.wanted.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(self.wanted[index].0));
        let mut places = vec![0..0; self.wanted.len()];
        for (done, &index) in order.iter().enumerate() {
            let (elements, steps) = &self.wanted[index];
            let at_once = |&&other: &&usize| {
                let others = &self.wanted[other].1;
                steps.start() <= others.end() && others.start() <= steps.end()
            };
            let mut taken: Vec<Range<usize>> =
                order[..done].iter().filter(at_once).map(|&other| places[other].clone()).collect();
            taken.sort_by_key(|range| range.start);
            let fits = |start: usize, range: &Range<usize>| range.start >= start + elements;
            let start = taken.iter().try_fold(0, |start: usize, range| {
                if fits(start, range) { Err(start) } else { Ok(start.max(range.end)) }
            });
            let start = start.unwrap_or_else(|gap| gap);
            places[index] = start..start + elements;
        }
        let elements = places.iter().map(|range| range.end).max().unwrap_or(0);
        Memory { data: AlignedBuffer::zeroed(elements), places }
    }
}

/// The memory of a [`Plan`]'s maps.
pub(crate) struct Memory {
    data: AlignedBuffer,
    places: Vec<Range<usize>>,
}

impl Memory {
    /// Maps that are needed at once.
    pub(crate) fn lend<const N: usize>(&mut self, maps: [&Map; N]) -> [Lent<'_>; N] {
        let places = maps.map(|map| self.places[map.index].clone());
        let Ok(parts) = self.data.get_disjoint_mut(places) else {
            unreachable!("maps that are needed at once lie apart")
        };
        let mut shapes = maps.iter().map(|map| map.shape);
        parts.map(|data| {
            let Some(shape) = shapes.next() else { unreachable!("as many shapes as parts") };
            Lent { shape, data }
        })
    }
}

/// A map's memory for a step.
pub(crate) struct Lent<'a> {
    pub(crate) shape: BlockedShape,
    pub(crate) data: &'a mut [f32],
}

impl<'a> Lent<'a> {
    /// The map before it is written: its halo is zero, the rest whatever another left; in debug builds NaN, so that
    /// tests see what reads it.
    pub(crate) fn blank(self) -> Self {
        if cfg!(debug_assertions) {
            self.data.fill(f32::NAN);
        }
        self.shape.clear_halo(self.data);
        self
    }

    pub(crate) fn view(&self) -> BlockedView<'_> {
        self.shape.view(self.data)
    }

    pub(crate) fn view_mut(&mut self) -> BlockedViewMut<'_> {
        self.shape.view_mut(self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(height: usize) -> BlockedShape {
        BlockedShape { channels: 16, height, width: 8 }
    }

    #[test]
    fn maps_share_memory_where_their_steps_do_not_meet() {
        let mut plan = Plan::default();
        let lives = [(40, 0..=8), (10, 0..=0), (20, 0..=1), (30, 2..=3), (5, 3..=8), (60, 4..=8)];
        let maps: Vec<Map> =
            lives.iter().map(|(height, steps)| plan.map(shape(*height), steps.clone())).collect();
        let wanted = plan.wanted.clone();
        let memory = plan.memory();
        for (i, (elements, steps)) in wanted.iter().enumerate() {
            let place = &memory.places[maps[i].index];
            assert_eq!(place.len(), *elements);
            for (j, (_, others)) in wanted.iter().enumerate().skip(i + 1) {
                let meet = steps.clone().any(|step| others.contains(&step));
                let other = &memory.places[maps[j].index];
                assert!(!meet || place.end <= other.start || other.end <= place.start, "{i} and {j}");
            }
        }
        // the last steps are the fullest: what else there is lies in the place of the largest map
        assert_eq!(
            memory.data.len(),
            [40, 5, 60].map(|height| shape(height).elements()).iter().sum::<usize>()
        );
    }

    #[test]
    fn lent_maps_are_blank_where_it_matters() {
        let mut plan = Plan::default();
        let [first, second] = [plan.map(shape(3), 0..=0), plan.map(shape(4), 1..=1)];
        let mut memory = plan.memory();
        let [lent] = memory.lend([&first]);
        lent.data.fill(7.0);
        let [mut lent] = memory.lend([&second]);
        lent = lent.blank();
        lent.view_mut().pack(16, &[1.0; 16 * 4 * 8]);
        assert!(lent.data.iter().all(|&value| value == 0.0 || value == 1.0));
        assert_eq!(lent.data.iter().sum::<f32>(), 16.0 * 4.0 * 8.0);
    }
}
