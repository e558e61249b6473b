//! One memory for all maps of a forward pass: those that are never needed at once share it.

use std::ops::{Range, RangeInclusive};

use unet3p_kernels::{AlignedBuffer, BlockedShape, BlockedView, BlockedViewMut};

/// A map that has its share of a [`Memory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapId(usize);

/// Maps and the steps of a forward pass from the one that writes them to the last that reads them.
#[derive(Default)]
pub(super) struct Lifetimes(Vec<(BlockedShape, RangeInclusive<usize>)>);

impl Lifetimes {
    /// A map that is needed in these steps.
    pub(super) fn add(&mut self, shape: BlockedShape, steps: RangeInclusive<usize>) -> MapId {
        self.0.push((shape, steps));
        MapId(self.0.len() - 1)
    }

    /// Makes the memory. The largest map is placed first, and each in the first gap between those that are needed in
    /// one of its steps: within a few percent of what the fullest step needs.
    pub(super) fn memory(self) -> Memory {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(self.0[index].0.elements()));
        let mut ranges = vec![0..0; self.0.len()];
        for (done, &index) in order.iter().enumerate() {
            let (shape, steps) = &self.0[index];
            let elements = shape.elements();
            let at_once = |&&other: &&usize| {
                let others = &self.0[other].1;
                steps.start() <= others.end() && others.start() <= steps.end()
            };
            let mut taken: Vec<Range<usize>> =
                order[..done].iter().filter(at_once).map(|&other| ranges[other].clone()).collect();
            taken.sort_by_key(|range| range.start);
            let fits = |start: usize, range: &Range<usize>| range.start >= start + elements;
            let start = taken.iter().try_fold(0, |start: usize, range| {
                if fits(start, range) { Err(start) } else { Ok(start.max(range.end)) }
            });
            let start = start.unwrap_or_else(|gap| gap);
            ranges[index] = start..start + elements;
        }
        let elements = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        let maps = self.0.into_iter().map(|(shape, _)| shape).zip(ranges).collect();
        Memory { data: AlignedBuffer::zeroed(elements), maps }
    }
}

/// The memory of all maps.
pub(super) struct Memory {
    data: AlignedBuffer,
    /// Shape and share of the memory of each map.
    maps: Vec<(BlockedShape, Range<usize>)>,
}

impl Memory {
    /// Maps that are needed at once, in the order in which they are asked for.
    pub(super) fn borrow<const N: usize>(&mut self, maps: [MapId; N]) -> [BorrowedMap<'_>; N] {
        match self.borrow_all(&maps).try_into() {
            Ok(maps) => maps,
            Err(_) => unreachable!("as many maps as asked for"),
        }
    }

    /// [`Memory::borrow`] for any number of maps.
    pub(super) fn borrow_all(&mut self, maps: &[MapId]) -> Vec<BorrowedMap<'_>> {
        let mut order: Vec<usize> = (0..maps.len()).collect();
        order.sort_by_key(|&i| self.maps[maps[i].0].1.start);
        let mut borrowed: Vec<Option<BorrowedMap<'_>>> = maps.iter().map(|_| None).collect();
        let (mut rest, mut at) = (&mut self.data[..], 0);
        for i in order {
            let (shape, range) = &self.maps[maps[i].0];
            let Some((_, from)) =
                range.start.checked_sub(at).map(|skip| std::mem::take(&mut rest).split_at_mut(skip))
            else {
                unreachable!("maps that are needed at once lie apart")
            };
            let (data, behind) = from.split_at_mut(range.len());
            borrowed[i] = Some(BorrowedMap { shape: *shape, data });
            (rest, at) = (behind, range.end);
        }
        borrowed.into_iter().flatten().collect()
    }
}

/// A map's memory for a step.
pub(super) struct BorrowedMap<'a> {
    pub(super) shape: BlockedShape,
    pub(super) data: &'a mut [f32],
}

impl<'a> BorrowedMap<'a> {
    /// The map before it is written: its halo is zero, the rest whatever another left; in debug builds NaN, so that
    /// tests see what reads it.
    pub(super) fn for_writing(self) -> Self {
        if cfg!(debug_assertions) {
            self.data.fill(f32::NAN);
        }
        self.shape.clear_halo(self.data);
        self
    }

    pub(super) fn view(&self) -> BlockedView<'_> {
        self.shape.view(self.data)
    }

    pub(super) fn view_mut(&mut self) -> BlockedViewMut<'_> {
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
        let mut lifetimes = Lifetimes::default();
        let lives = [(40, 0..=8), (10, 0..=0), (20, 0..=1), (30, 2..=3), (5, 3..=8), (60, 4..=8)];
        let maps: Vec<MapId> =
            lives.iter().map(|(height, steps)| lifetimes.add(shape(*height), steps.clone())).collect();
        let wanted = lifetimes.0.clone();
        let memory = lifetimes.memory();
        for (i, (shape, steps)) in wanted.iter().enumerate() {
            let place = &memory.maps[maps[i].0].1;
            assert_eq!(place.len(), shape.elements());
            for (j, (_, others)) in wanted.iter().enumerate().skip(i + 1) {
                let meet = steps.clone().any(|step| others.contains(&step));
                let other = &memory.maps[maps[j].0].1;
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
    fn borrowed_maps_are_clear_where_it_matters() {
        let mut lifetimes = Lifetimes::default();
        let [first, second] = [lifetimes.add(shape(3), 0..=0), lifetimes.add(shape(4), 1..=1)];
        let mut memory = lifetimes.memory();
        let [lent] = memory.borrow([first]);
        lent.data.fill(7.0);
        let [lent] = memory.borrow([second]);
        let mut lent = lent.for_writing();
        lent.view_mut().pack(16, &[1.0; 16 * 4 * 8]);
        assert!(lent.data.iter().all(|&value| value == 0.0 || value == 1.0));
        assert_eq!(lent.data.iter().sum::<f32>(), 16.0 * 4.0 * 8.0);
    }
}
