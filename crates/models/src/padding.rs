//! Sizes that the network cannot halve as often as it does.

use candle_core::{Result, Tensor};

/// Pads `x` (`[batch, channels, height, width]`) at the bottom and right to multiples of `multiple`, by reflection about the last row or column, and by repeating it where the image is too small to reflect.
///
/// # Errors
/// Where `x` has other than four dimensions or is empty.
pub fn pad_to_multiple(x: &Tensor, multiple: usize) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    if height == 0 || width == 0 {
        candle_core::bail!("an image of {height}x{width} pixels");
    }
    pad(&pad(x, 2, height, multiple)?, 3, width, multiple)
}

fn pad(x: &Tensor, dim: usize, len: usize, multiple: usize) -> Result<Tensor> {
    let padded = len.next_multiple_of(multiple);
    if padded == len {
        return Ok(x.clone());
    }
    let indices: Vec<u32> = (0..padded).map(|i| padding_source(i, len, padded) as u32).collect();
    x.contiguous()?.index_select(&Tensor::new(indices, x.device())?, dim)
}

/// The row or column that padded position `i` repeats.
pub(crate) fn padding_source(i: usize, len: usize, padded: usize) -> usize {
    let reflects = padded - len < len;
    match i {
        i if i < len => i,
        i if reflects => 2 * (len - 1) - i,
        _ => len - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn reflects_and_repeats() {
        let row = |len: usize| {
            let x = Tensor::arange(0f32, len as f32, &Device::Cpu).unwrap().reshape((1, 1, 1, len)).unwrap();
            let padded = pad_to_multiple(&x, 16).unwrap();
            assert_eq!(padded.dims()[2], 16);
            padded.narrow(2, 15, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(row(14)[12..], [12.0, 13.0, 12.0, 11.0]);
        assert_eq!(row(9)[8..], [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        assert_eq!(row(3)[2..6], [2.0; 4]);
        assert_eq!(row(1), [0.0; 16]);
        assert_eq!(row(16).len(), 16);
        assert!(
            pad_to_multiple(&Tensor::zeros((1, 1, 0, 4), DType::F32, &Device::Cpu).unwrap(), 16).is_err()
        );
    }
}
