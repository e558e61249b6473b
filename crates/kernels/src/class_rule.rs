//! From probabilities to class ids.

use rayon::prelude::*;

/// How a pixel's class follows from its probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClassRule {
    /// Channel `k` is class `k + 1`: the most probable one where it exceeds the threshold, else 0
    /// (networks that end in a sigmoid).
    Threshold(f32),
    /// Channel `k` is class `k`: the most probable one (networks that end in a softmax).
    Argmax,
}

impl ClassRule {
    /// The class of each pixel, from planes `[classes, pixels]`. Of equal ones the first wins; a NaN exceeds nothing.
    ///
    /// # Panics
    /// Where the planes are no multiple of the classes (`planes: ...`), or the classes do not fit into 8 bits
    /// (`classes: ...`).
    ///
    /// ```
    /// use unet3p_kernels::ClassRule;
    ///
    /// let planes = [0.6, 0.2, 0.6, /* class 2: */ 0.7, 0.3, 0.6];
    /// assert_eq!(ClassRule::Threshold(0.5).classes(&planes, 2), [2, 0, 1]);
    /// assert_eq!(ClassRule::Argmax.classes(&planes, 2), [1, 1, 0]);
    /// ```
    #[must_use]
    pub fn classes(self, planes: &[f32], classes: usize) -> Vec<u8> {
        assert!((1..=255).contains(&classes), "classes: {classes}, where 1 to 255 fit");
        assert!(planes.len().is_multiple_of(classes), "planes: {} values of {classes} classes", planes.len());
        let pixels = planes.len() / classes;
        let (lowest, first) = match self {
            Self::Threshold(threshold) => (threshold, 1u8),
            Self::Argmax => (f32::NEG_INFINITY, 0),
        };
        let mut ids = vec![0u8; pixels];
        ids.par_chunks_mut(PIXELS_OF_A_TASK).enumerate().for_each(|(task, ids)| {
            let mut best = vec![lowest; ids.len()];
            for (class, plane) in (first..).zip(planes.chunks_exact(pixels)) {
                let plane = &plane[task * PIXELS_OF_A_TASK..];
                for ((id, best), &value) in ids.iter_mut().zip(&mut best).zip(plane) {
                    if value > *best {
                        (*id, *best) = (class, value);
                    }
                }
            }
        });
        ids
    }
}

/// Enough to be worth a task.
const PIXELS_OF_A_TASK: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_exclusive_and_the_first_of_equal_ones_wins() {
        assert_eq!(ClassRule::Threshold(0.5).classes(&[0.5, 0.51, 0.0], 1), [0, 1, 0]);
        assert_eq!(ClassRule::Argmax.classes(&[0.5, 0.2, 0.5, 0.8], 2), [0, 1]);
        assert_eq!(ClassRule::Argmax.classes(&[f32::NAN, 0.1], 2), [1]);
    }

    #[test]
    fn tasks_do_not_show() {
        let pixels = 2 * PIXELS_OF_A_TASK + 5;
        let planes: Vec<f32> = (0..3 * pixels).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
        let one = |pixel: usize| {
            let best = (0..3).max_by(|&a, &b| {
                let order = planes[a * pixels + pixel].total_cmp(&planes[b * pixels + pixel]);
                order.then(b.cmp(&a))
            });
            best.unwrap_or(0) as u8
        };
        assert_eq!(ClassRule::Argmax.classes(&planes, 3), (0..pixels).map(one).collect::<Vec<_>>());
    }
}
