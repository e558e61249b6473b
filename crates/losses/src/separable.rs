//! Linear filters of images, separable into rows and columns.

use std::ops::{AddAssign, Mul};

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Rows of an image that one task filters: enough to be worth a task.
const ROWS_PER_TASK: usize = 16;

/// A separable linear map of images `[n, height, width]`: `rows X columns'`.
///
/// On the CPU the few diagonals are applied directly; elsewhere the map is two products with constant matrices, which
/// are right and quick on every backend.
pub(crate) struct Separable {
    rows: Band,
    columns: Band,
}

impl Separable {
    /// The filter `taps` along both sides, at every place where it fits into the image.
    pub(crate) fn filter(taps: &[f64], (height, width): (usize, usize)) -> Self {
        let band = |side: usize| {
            let length = side + 1 - taps.len();
            let diagonal = |(k, &weight)| Diagonal { weight, output: (0, 1), input: (k, 1), length };
            Band { output: length, input: side, diagonals: taps.iter().enumerate().map(diagonal).collect() }
        };
        Self { rows: band(height), columns: band(width) }
    }

    /// 2x2 means with stride 2. An odd side repeats its last row or column first, which then is a mean of its own.
    pub(crate) fn halve((height, width): (usize, usize)) -> Self {
        let band = |side: usize| {
            let pairs = side / 2;
            let half = |start| Diagonal { weight: 0.5, output: (0, 1), input: (start, 2), length: pairs };
            let mut diagonals = vec![half(0), half(1)];
            if side % 2 == 1 {
                diagonals.push(Diagonal { weight: 1.0, output: (pairs, 1), input: (side - 1, 1), length: 1 });
            }
            Band { output: side.div_ceil(2), input: side, diagonals }
        };
        Self { rows: band(height), columns: band(width) }
    }

    /// The adjoint, which takes the gradient of the output to that of the input.
    pub(crate) fn adjoint(&self) -> Self {
        Self { rows: self.rows.transposed(), columns: self.columns.transposed() }
    }

    /// `[n, height, width]` to `[n, height out, width out]`; no gradient is recorded.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() { x.contiguous()?.apply_op1_no_bwd(self) } else { self.apply_as_products(x) }
    }

    fn apply_as_products(&self, x: &Tensor) -> Result<Tensor> {
        let (n, height, width) = x.dims3()?;
        let (rows, columns) = (self.rows.matrix(x)?, self.columns.matrix(x)?);
        let (height_out, width_out) = (self.rows.output, self.columns.output);
        let across =
            x.reshape((n * height, width))?.matmul(&columns.t()?)?.reshape((n, height, width_out))?;
        rows.broadcast_as((n, height_out, height))?.matmul(&across)
    }

    /// The direct form on contiguous values.
    fn direct<T: Real>(&self, x: &[T], images: usize) -> Vec<T> {
        let (height, width) = (self.rows.input, self.columns.input);
        let (height_out, width_out) = (self.rows.output, self.columns.output);
        let sources = self.rows.sources();
        let mut result = vec![T::default(); images * height_out * width_out];
        let fill = |row: &mut [T], index: usize, out: &mut [T]| {
            row.fill(T::default());
            let image = &x[index / height_out * height * width..][..height * width];
            for &(source, weight) in &sources[index % height_out] {
                let weight = T::from_f64(weight);
                for (sum, &value) in row.iter_mut().zip(&image[source * width..][..width]) {
                    *sum += weight * value;
                }
            }
            self.columns.add_to(row, out);
        };
        result
            .par_chunks_mut(width_out)
            .with_min_len(ROWS_PER_TASK)
            .enumerate()
            .for_each_init(|| vec![T::default(); width], |row, (index, out)| fill(row, index, out));
        result
    }
}

impl CustomOp1 for Separable {
    fn name(&self) -> &'static str {
        "separable"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("separable: input not contiguous")
        };
        let (images, height, width) = layout.shape().dims3()?;
        if (height, width) != (self.rows.input, self.columns.input) {
            bail!("separable: made for {}x{}, got {height}x{width}", self.rows.input, self.columns.input);
        }
        let shape = Shape::from((images, self.rows.output, self.columns.output));
        let storage = match storage {
            CpuStorage::F32(x) => CpuStorage::F32(self.direct(&x[start..end], images)),
            CpuStorage::F64(x) => CpuStorage::F64(self.direct(&x[start..end], images)),
            _ => bail!("separable: only f32 and f64"),
        };
        Ok((storage, shape))
    }
}

/// A sparse matrix `[output, input]`, a sum of diagonals.
struct Band {
    output: usize,
    input: usize,
    diagonals: Vec<Diagonal>,
}

/// `weight` at `(output.0 + i output.1, input.0 + i input.1)` for `i < length`.
struct Diagonal {
    weight: f64,
    output: (usize, usize),
    input: (usize, usize),
    length: usize,
}

impl Diagonal {
    /// (output, input) of each entry.
    fn entries(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.length).map(|i| (self.output.0 + i * self.output.1, self.input.0 + i * self.input.1))
    }
}

impl Band {
    fn transposed(&self) -> Self {
        let flip =
            |d: &Diagonal| Diagonal { weight: d.weight, output: d.input, input: d.output, length: d.length };
        Self { output: self.input, input: self.output, diagonals: self.diagonals.iter().map(flip).collect() }
    }

    /// For each output its inputs and their weights.
    fn sources(&self) -> Vec<Vec<(usize, f64)>> {
        let mut sources = vec![Vec::new(); self.output];
        for diagonal in &self.diagonals {
            diagonal.entries().for_each(|(output, input)| sources[output].push((input, diagonal.weight)));
        }
        sources
    }

    /// `out += M x` for one row.
    fn add_to<T: Real>(&self, x: &[T], out: &mut [T]) {
        for diagonal in &self.diagonals {
            let weight = T::from_f64(diagonal.weight);
            if (diagonal.output.1, diagonal.input.1) == (1, 1) {
                let out = &mut out[diagonal.output.0..][..diagonal.length];
                let x = &x[diagonal.input.0..][..diagonal.length];
                for (sum, &value) in out.iter_mut().zip(x) {
                    *sum += weight * value;
                }
            } else {
                diagonal.entries().for_each(|(output, input)| out[output] += weight * x[input]);
            }
        }
    }

    /// The dense matrix in the dtype and on the device of `like`.
    fn matrix(&self, like: &Tensor) -> Result<Tensor> {
        let mut values = vec![0.0; self.output * self.input];
        for diagonal in &self.diagonals {
            diagonal
                .entries()
                .for_each(|(output, input)| values[output * self.input + input] = diagonal.weight);
        }
        let shape = (self.output, self.input);
        match like.dtype() {
            DType::F64 => Tensor::from_vec(values, shape, like.device()),
            // Converted here: Metal has no f64.
            dtype => {
                let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
                Tensor::from_vec(values, shape, like.device())?.to_dtype(dtype)
            }
        }
    }
}

/// f32 or f64.
trait Real: Copy + Default + Send + Sync + AddAssign + Mul<Output = Self> {
    fn from_f64(value: f64) -> Self;
}

impl Real for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Sums of some hundred products of numbers below 1, in f64.
    const TOLERANCE: f64 = 1e-13;

    fn random(shape: (usize, usize, usize), rng: &mut ChaCha8Rng) -> Tensor {
        let values: Vec<f64> =
            (0..shape.0 * shape.1 * shape.2).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn dot(a: &Tensor, b: &Tensor) -> f64 {
        (a * b).unwrap().sum_all().unwrap().to_scalar().unwrap()
    }

    fn maps(size: (usize, usize)) -> [Separable; 2] {
        [Separable::filter(&[0.1, 0.7, -0.3, 0.2, 0.4], size), Separable::halve(size)]
    }

    #[test]
    fn direct_form_equals_matrix_products_and_adjoint_is_the_transpose() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for size in [(5, 5), (5, 9), (6, 7), (8, 6), (13, 40), (41, 18)] {
            for map in maps(size) {
                let x = random((3, size.0, size.1), &mut rng);
                let y = map.apply(&x).unwrap();
                let g = random(y.dims3().unwrap(), &mut rng);
                let back = map.adjoint().apply(&g).unwrap();
                for (direct, products) in [
                    (&y, map.apply_as_products(&x).unwrap()),
                    (&back, map.adjoint().apply_as_products(&g).unwrap()),
                ] {
                    let error = (direct - &products).unwrap();
                    assert!(dot(&error, &error) < TOLERANCE * TOLERANCE, "{size:?}");
                }
                assert!((dot(&y, &g) - dot(&x, &back)).abs() < TOLERANCE, "{size:?}");
                let single =
                    map.apply(&x.to_dtype(DType::F32).unwrap()).unwrap().to_dtype(DType::F64).unwrap();
                let error = (single - &y).unwrap();
                assert!(dot(&error, &error) < 1e-10, "{size:?}");
            }
        }
    }

    #[test]
    fn odd_sides_repeat_their_last_row_and_column() {
        let x = Tensor::new(&[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]], &Device::Cpu).unwrap();
        let halved = Separable::halve((3, 3)).apply(&x).unwrap();
        assert_eq!(halved.to_vec3::<f64>().unwrap(), [[[3.0, 4.5], [7.5, 9.0]]]);
    }
}
