//! What the state dict reader accepts, and that it reads the right numbers.
#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Tensor};
use common::{NUMBERS, Pickle, View, archive, bytes_of, one, plain, read, read_pickle};
use zip::CompressionMethod::{Deflated, Stored};

fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_plain_tensor_is_read() {
    let tensors = read_pickle(&one(&plain())).unwrap();
    assert_eq!(tensors.len(), 1);
    assert_eq!(tensors["w"].dims(), [2, 3]);
    assert_eq!(values(&tensors["w"]), NUMBERS);
}

#[test]
fn strided_views_become_contiguous() {
    let transposed = View { shape: &[3, 2], strides: &[1, 3], ..plain() };
    let tensors = read_pickle(&one(&transposed)).unwrap();
    assert_eq!(values(&tensors["w"]), [1.5, -0.5, -2.0, 3.0, 0.25, -7.0]);

    let column = View { offset: 2, shape: &[2], strides: &[3], ..plain() };
    let tensors = read_pickle(&one(&column)).unwrap();
    assert_eq!(values(&tensors["w"]), [0.25, -7.0]);

    // The stride along a side of 1 means nothing, however large it is.
    let odd = View { shape: &[2, 1, 2], strides: &[3, i64::MAX, 2], ..plain() };
    let tensors = read_pickle(&one(&odd)).unwrap();
    assert_eq!(values(&tensors["w"]), [1.5, 0.25, -0.5, -7.0]);
}

#[test]
fn scalars_and_empty_tensors_are_read() {
    let scalar = View { offset: 1, shape: &[], strides: &[], ..plain() };
    assert_eq!(values(&read_pickle(&one(&scalar)).unwrap()["w"]), [-2.0]);
    let empty = View { shape: &[0, 3], strides: &[3, 1], ..plain() };
    assert_eq!(read_pickle(&one(&empty)).unwrap()["w"].dims(), [0, 3]);
}

#[test]
fn every_number_format_is_read() {
    let long: Vec<u8> = [-3i64, 1 << 40].iter().flat_map(|v| v.to_le_bytes()).collect();
    let double: Vec<u8> = [-0.5f64, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    // -1.5 and 2 in the two 16-bit formats.
    let half = [0x00, 0xbe, 0x00, 0x40];
    let bfloat = [0xc0, 0xbf, 0x00, 0x40];
    for (storage, bytes, dtype, expected) in [
        ("LongStorage", &long[..], DType::I64, [-3.0, (1u64 << 40) as f32]),
        ("DoubleStorage", &double, DType::F64, [-0.5, 3.0]),
        ("HalfStorage", &half, DType::F16, [-1.5, 2.0]),
        ("BFloat16Storage", &bfloat, DType::BF16, [-1.5, 2.0]),
    ] {
        let view = View { storage, elements: 2, shape: &[2], strides: &[1], ..plain() };
        let pickle = one(&view);
        let file = archive(&[("a/data.pkl", &pickle), ("a/data/0", bytes)], Stored);
        let tensor = &read(&file).unwrap()["w"];
        assert_eq!(tensor.dtype(), dtype, "{storage}");
        assert_eq!(values(tensor), expected, "{storage}");
    }
}

#[test]
fn deflated_and_big_endian_archives_are_read() {
    let pickle = one(&plain());
    let swapped: Vec<u8> = NUMBERS.iter().flat_map(|n| n.to_be_bytes()).collect();
    for (order, storage) in [(&b"little"[..], bytes_of(&NUMBERS)), (b"big", swapped)] {
        let entries = [("data.pkl", &pickle[..]), ("byteorder", order), ("data/0", &storage)];
        let tensors = read(&archive(&entries, Deflated)).unwrap();
        assert_eq!(values(&tensors["w"]), NUMBERS);
    }
}

#[test]
fn parameters_tied_tensors_and_module_versions_are_read() {
    // A parameter around a tensor, memoised and used under a second name; then `_metadata`.
    let pickle = Pickle(b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(".to_vec())
        .text("a")
        .raw(b"ctorch._utils\n_rebuild_parameter\n(")
        .tensor(&plain())
        .raw(b"\x88ccollections\nOrderedDict\n)RtRr\x00\x01\x00\x00")
        .text("b")
        .raw(b"j\x00\x01\x00\x00u}")
        .text("_metadata")
        .raw(b"}")
        .text("version")
        .raw(b"K\x01ssb.");
    let tensors = read_pickle(&pickle.0).unwrap();
    assert_eq!(values(&tensors["a"]), NUMBERS);
    assert_eq!(values(&tensors["b"]), NUMBERS);
}
