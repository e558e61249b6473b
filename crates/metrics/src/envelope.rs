//! The lower envelope of parabolas: a distance transform along one line.

/// The parabolas of one line, lowest first come first. It is filled again for every line.
#[derive(Default)]
pub(crate) struct Envelope {
    parabolas: Vec<Parabola>,
}

#[derive(Clone, Copy)]
struct Parabola {
    vertex: usize,
    height: f64,
    /// From here on it is the lowest one.
    start: f64,
}

impl Envelope {
    /// Calls `put(p, d)` with d = min over q of (`heights[q]` + `spacing`^2 (p - q)^2) for the positions p of the line
    /// in order; infinite heights have no parabola.
    ///
    /// Felzenszwalb & Huttenlocher, "Distance Transforms of Sampled Functions", Theory of Computing 8 (2012),
    /// algorithm 1, with a distance between the samples.
    pub(crate) fn transform(
        &mut self,
        heights: impl ExactSizeIterator<Item = f64>,
        spacing: f64,
        mut put: impl FnMut(usize, f64),
    ) {
        let square = spacing * spacing;
        let length = heights.len();
        self.parabolas.clear();
        for (vertex, height) in heights.enumerate().filter(|(_, height)| height.is_finite()) {
            let mut start = f64::NEG_INFINITY;
            while let Some(last) = self.parabolas.last() {
                let (a, b) = (last.vertex as f64, vertex as f64);
                start = (a + b) / 2.0 + (height - last.height) / (2.0 * square * (b - a));
                if start > last.start {
                    break;
                }
                self.parabolas.pop();
            }
            if self.parabolas.is_empty() {
                start = f64::NEG_INFINITY;
            }
            self.parabolas.push(Parabola { vertex, height, start });
        }
        let mut parabolas = self.parabolas.iter().peekable();
        let mut lowest = parabolas.next();
        for position in 0..length {
            while let Some(next) = parabolas.next_if(|next| next.start < position as f64) {
                lowest = Some(next);
            }
            let distance = lowest.map_or(f64::INFINITY, |parabola| {
                parabola.height + square * (position.abs_diff(parabola.vertex) as f64).powi(2)
            });
            put(position, distance);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_envelope_is_the_minimum_over_all_parabolas() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut envelope = Envelope::default();
        for _ in 0..500 {
            let spacing = random.random_range(0.1..4.0);
            let heights: Vec<f64> = (0..random.random_range(0..20))
                .map(|_| match random.random_range(0..3) {
                    0 => f64::INFINITY,
                    1 => f64::from(random.random_range(0..5u8)),
                    _ => random.random_range(0.0..100.0),
                })
                .collect();
            let mut found = Vec::new();
            envelope.transform(heights.iter().copied(), spacing, |position, distance| {
                assert_eq!(position, found.len());
                found.push(distance);
            });
            assert_eq!(found.len(), heights.len());
            for (p, &found) in found.iter().enumerate() {
                let parabola =
                    |(q, height): (usize, &f64)| height + (spacing * (p as f64 - q as f64)).powi(2);
                let lowest = heights.iter().enumerate().map(parabola).fold(f64::INFINITY, f64::min);
                assert!(found == lowest || (found - lowest).abs() <= 1e-12 * lowest, "{found} {lowest}");
            }
        }
    }
}
