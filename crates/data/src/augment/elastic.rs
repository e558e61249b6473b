//! Smooth random displacements: a uniform cubic B-spline over a coarse grid of control points.

use rand_chacha::ChaCha8Rng;

use super::random::normal;

/// A cubic B-spline maps the plane one to one as long as no control point moves farther than this part
/// of the grid's spacing (Choi and Lee, "Injectivity conditions of 2D and 3D uniform cubic B-spline
/// functions", 2000: 1 / 2.046 in the plane), so nothing folds over.
const INJECTIVE: f64 = 0.48;

/// Displacements in pixels, `[dy, dx]` per pixel, drawn on control points and interpolated.
pub(super) struct DisplacementField {
    rows: usize,
    columns: usize,
    spacing: f64,
    /// Control points `[rows, columns]`, `[dy, dx]` each.
    control: Vec<[f64; 2]>,
    /// The [`basis`] of each column of pixels.
    across: Vec<(usize, [f64; 4])>,
}

impl DisplacementField {
    /// Control points every `spacing` pixels over `height` x `width`, displaced by a normal of standard
    /// deviation `magnitude` per axis, limited so that the warp stays one to one.
    pub(super) fn draw(
        rng: &mut ChaCha8Rng,
        height: usize,
        width: usize,
        spacing: f64,
        magnitude: f64,
    ) -> Self {
        let limit = INJECTIVE * spacing;
        // Four control points support each cell: one before it, two after.
        let rows = (height as f64 / spacing) as usize + 4;
        let columns = (width as f64 / spacing) as usize + 4;
        let control = (0..rows * columns)
            .map(|_| [(); 2].map(|()| (normal(rng) * magnitude).clamp(-limit, limit)))
            .collect();
        let across = (0..width).map(|x| basis(x as f64 / spacing)).collect();
        Self { rows, columns, spacing, control, across }
    }

    /// The displacements of one row of pixels, written to `row` (`[dy, dx]` per column).
    pub(super) fn row(&self, y: usize, row: &mut [[f64; 2]]) {
        let (cell_y, weights_y) = basis(y as f64 / self.spacing);
        // The four rows of control points collapse into one before walking along the columns.
        let line: Vec<[f64; 2]> = (0..self.columns)
            .map(|column| {
                let mut sum = [0.0; 2];
                for (k, weight) in weights_y.iter().enumerate() {
                    let at = (cell_y + k).min(self.rows - 1);
                    let point = self.control[at * self.columns + column];
                    sum[0] += weight * point[0];
                    sum[1] += weight * point[1];
                }
                sum
            })
            .collect();
        for (&(cell_x, weights_x), out) in self.across.iter().zip(row) {
            *out = [0.0; 2];
            for (k, weight) in weights_x.iter().enumerate() {
                let point = line[(cell_x + k).min(self.columns - 1)];
                out[0] += weight * point[0];
                out[1] += weight * point[1];
            }
        }
    }
}

/// The cell of a position on the control grid and the four cubic B-spline weights in it (they sum to 1).
fn basis(position: f64) -> (usize, [f64; 4]) {
    let cell = position.floor();
    let t = position - cell;
    let s = 1.0 - t;
    let weights = [
        s * s * s / 6.0,
        (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
        (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0,
        t * t * t / 6.0,
    ];
    (cell as usize, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn weights_sum_to_one() {
        for i in 0..50 {
            let (cell, weights) = basis(f64::from(i) * 0.13);
            assert_eq!(cell, (f64::from(i) * 0.13) as usize);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn nothing_folds_over() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // A magnitude far above the limit: every control point is at the limit.
        let field = DisplacementField::draw(&mut rng, 60, 75, 8.0, 100.0);
        let mut rows = vec![vec![[0.0; 2]; 75]; 60];
        for (y, row) in rows.iter_mut().enumerate() {
            field.row(y, row);
        }
        for y in 0..59 {
            for x in 0..74 {
                let [a, b, c] = [rows[y][x], rows[y][x + 1], rows[y + 1][x]];
                let along_x = [b[0] - a[0], 1.0 + b[1] - a[1]];
                let along_y = [1.0 + c[0] - a[0], c[1] - a[1]];
                let area = along_x[1] * along_y[0] - along_x[0] * along_y[1];
                assert!(area > 0.0, "the warp folds at {y}, {x}: {area}");
            }
        }
    }
}
