//! Whether weights are numbers.

use candle_core::{DType, Device, Result, Tensor};

/// The first of some tensors that holds a value which is infinite or NaN.
pub(crate) fn first_not_finite<'a>(
    tensors: impl IntoIterator<Item = (&'a str, Tensor)>,
) -> Result<Option<String>> {
    let (mut names, mut marks) = (Vec::new(), Vec::new());
    for (name, tensor) in tensors {
        names.push(name);
        // 0 for finite values, however large; else NaN.
        marks.push((tensor.detach() * 0.0)?.sum_all()?.to_dtype(DType::F32)?);
    }
    if marks.is_empty() {
        return Ok(None);
    }
    // Read back at once: a device answers each time anew.
    let marks = Tensor::stack(&marks, 0)?.to_device(&Device::Cpu)?.to_vec1::<f32>()?;
    Ok(names.into_iter().zip(marks).find(|(_, mark)| !mark.is_finite()).map(|(name, _)| name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_enough() {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let fine = tensor(&[f32::MAX, -f32::MAX, f32::MIN_POSITIVE, 0.0]);
        assert_eq!(first_not_finite([]).unwrap(), None);
        assert_eq!(first_not_finite([("a", fine.clone())]).unwrap(), None);
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let found = first_not_finite([("a", fine.clone()), ("b", tensor(&[0.0, wrong, 1.0]))]);
            assert_eq!(found.unwrap().as_deref(), Some("b"), "{wrong}");
        }
    }
}
