//! Gaussian blur of a plane, edges repeated.

/// Blurs `plane` `[height, width]` in place with a Gaussian of standard deviation `sigma` pixels.
pub(super) fn gaussian_blur(plane: &mut [f32], height: usize, width: usize, sigma: f64) {
    if sigma <= 0.0 || height == 0 || width == 0 {
        return;
    }
    let kernel = kernel(sigma);
    let radius = kernel.len() / 2;
    let mut line = vec![0f32; width + 2 * radius];
    for row in plane.chunks_exact_mut(width) {
        line[..radius].fill(row[0]);
        line[radius..radius + width].copy_from_slice(row);
        line[radius + width..].fill(row[width - 1]);
        // Whole rows are added, here and below: that runs along memory, several pixels at once.
        row.fill(0.0);
        for (k, weight) in kernel.iter().enumerate() {
            for (out, v) in row.iter_mut().zip(&line[k..]) {
                *out += weight * v;
            }
        }
    }
    let source = plane.to_vec();
    for (y, out) in plane.chunks_exact_mut(width).enumerate() {
        out.fill(0.0);
        for (k, weight) in kernel.iter().enumerate() {
            let row = (y + k).saturating_sub(radius).min(height - 1);
            let source = &source[row * width..(row + 1) * width];
            for (o, s) in out.iter_mut().zip(source) {
                *o += weight * s;
            }
        }
    }
}

/// Weights of a Gaussian cut off at three standard deviations, summing to 1.
fn kernel(sigma: f64) -> Vec<f32> {
    let radius = (3.0 * sigma).ceil() as i32;
    let weights: Vec<f64> =
        (-radius..=radius).map(|i| (-0.5 * (f64::from(i) / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| (w / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_and_a_point_spreads_evenly() {
        let mut plane = vec![0.25f32; 5 * 7];
        gaussian_blur(&mut plane, 5, 7, 1.3);
        assert!(plane.iter().all(|v| (v - 0.25).abs() < 1e-6));

        let mut plane = vec![0f32; 21 * 21];
        plane[10 * 21 + 10] = 1.0;
        gaussian_blur(&mut plane, 21, 21, 1.5);
        assert!((plane.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!((plane[10 * 21 + 8] - plane[12 * 21 + 10]).abs() < 1e-7);
        // The centre of a 2D Gaussian of this width: 1 / (2 pi sigma^2), up to the sampling.
        assert!((plane[10 * 21 + 10] - 1.0 / (2.0 * std::f32::consts::PI * 2.25)).abs() < 2e-3);
    }

    #[test]
    fn planes_smaller_than_the_kernel() {
        let mut plane = vec![1.0f32];
        gaussian_blur(&mut plane, 1, 1, 4.0);
        assert!((plane[0] - 1.0).abs() < 1e-6);
    }
}
