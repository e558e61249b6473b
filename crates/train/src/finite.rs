//! Whether weights are numbers.

use candle_core::{DType, Device, Result, Tensor};

/// The name of the first tensor that holds a value which is infinite or NaN. The values stay on their device.
pub(crate) fn first_not_finite(tensors: &[(String, Tensor)]) -> Result<Option<&str>> {
    if tensors.is_empty() {
        return Ok(None);
    }
    // 0 for finite values, however large; else NaN.
    let mark = |(_, tensor): &(String, Tensor)| (tensor.detach() * 0.0)?.sum_all()?.to_dtype(DType::F32);
    let marks = tensors.iter().map(mark).collect::<Result<Vec<_>>>()?;
    // One reading for all: each one waits for the device.
    let marks = Tensor::stack(&marks, 0)?.to_device(&Device::Cpu)?.to_vec1::<f32>()?;
    Ok(tensors.iter().zip(marks).find(|(_, mark)| !mark.is_finite()).map(|((name, _), _)| name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_enough() {
        let tensor =
            |name: &str, values: &[f32]| (name.to_string(), Tensor::new(values, &Device::Cpu).unwrap());
        let fine = tensor("a", &[f32::MAX, -f32::MAX, f32::MIN_POSITIVE, 0.0]);
        assert_eq!(first_not_finite(&[]).unwrap(), None);
        assert_eq!(first_not_finite(std::slice::from_ref(&fine)).unwrap(), None);
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let tensors = [fine.clone(), tensor("b", &[0.0, wrong, 1.0])];
            assert_eq!(first_not_finite(&tensors).unwrap(), Some("b"), "{wrong}");
        }
    }
}
