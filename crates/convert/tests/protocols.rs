//! Pickles of the protocols 4 and 5, and archives that are cut short.
#![allow(clippy::unwrap_used)]

mod common;

use common::{NUMBERS, checkpoint, one, plain, read, read_pickle};
use unet3p_convert::pytorch::CheckpointError;

/// A pickle as Python writes it from protocol 4 on: texts with one byte of length, globals from the stack, everything
/// memoised without a number.
struct Modern(Vec<u8>);

impl Modern {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// SHORT_BINUNICODE, MEMOIZE.
    fn text(self, text: &str) -> Self {
        self.raw(&[0x8c, text.len() as u8]).raw(text.as_bytes()).raw(&[0x94])
    }

    /// STACK_GLOBAL, MEMOIZE.
    fn global(self, module: &str, name: &str) -> Self {
        self.text(module).text(name).raw(&[0x93, 0x94])
    }

    /// The 2x3 tensor of [`plain`].
    fn tensor(self) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"((")
            .text("storage")
            .global("torch", "FloatStorage")
            .text("0")
            .text("cpu")
            .raw(b"K\x06t\x94QK\x00K\x02K\x03\x86\x94K\x03K\x01\x86\x94\x89")
            .global("collections", "OrderedDict")
            .raw(b")R\x94t\x94R\x94")
    }

    /// In a frame, with the protocol before it.
    fn framed(self, protocol: u8) -> Vec<u8> {
        let length = (self.0.len() as u64).to_le_bytes();
        [&[0x80, protocol, 0x95][..], &length, &self.0].concat()
    }
}

/// `{"epoch": ..., "rest": ..., "state_dict": OrderedDict(w=tensor)}` with what the newer protocols have for plain data.
fn pickle(protocol: u8) -> Vec<u8> {
    let rest = Modern::new()
        .raw(b"}\x94(")
        .text("rest")
        // A set of numbers, a frozen one, bytes of each length, an object with arguments by name.
        .raw(b"\x8f\x94(K\x01K\x02\x90")
        .raw(b"(K\x01K\x02\x91\x94\x86")
        .raw(b"C\x03abc\x94B\x03\0\0\0abc\x94\x8e\x03\0\0\0\0\0\0\0abc\x94\x87")
        .global("argparse", "Namespace")
        .raw(b")}\x92\x94\x86\x86");
    let rest = if protocol < 5 { rest } else { rest.raw(b"\x96\x01\0\0\0\0\0\0\0a\x94\x86") };
    let long = "state_dict";
    rest.raw(b"\x8d\x0a\0\0\0\0\0\0\0")
        .raw(long.as_bytes())
        .global("collections", "OrderedDict")
        .raw(b")R\x94")
        .text("w")
        .tensor()
        .raw(b"su.")
        .framed(protocol)
}

#[test]
fn newer_protocols_are_read_as_the_old_one_is() {
    let expected = read_pickle(&one(&plain())).unwrap();
    for protocol in [4, 5] {
        let found = read_pickle(&pickle(protocol)).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert_eq!(found["w"].dims(), [2, 3]);
        assert_eq!(found["w"].flatten_all().unwrap().to_vec1::<f32>().unwrap(), NUMBERS);
    }
}

#[test]
fn what_is_refused_in_the_old_protocol_is_refused_in_the_newer_ones() {
    for (module, name) in [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr.__call__"),
        ("torch", "hub.load"),
        ("torch.hub", "load"),
        ("numpy", "os.system"),
        ("torch", "serialization.os.system"),
    ] {
        let pickle = Modern::new().global(module, name).text("x").raw(b"\x85R.").framed(4);
        let error = read_pickle(&pickle).unwrap_err();
        assert!(matches!(error, CheckpointError::ForbiddenGlobal { .. }), "{module}.{name}: {error}");
    }
    // Names from elsewhere than texts, and frames and lengths beyond the end.
    let damaged: [&[u8]; 6] = [
        b"\x80\x04K\x01K\x02\x93.",
        b"\x80\x04\x93.",
        b"\x80\x04\x94.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff}.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
        b"\x80\x04\x8c\x05abc.",
    ];
    for pickle in damaged {
        let error = read_pickle(pickle).unwrap_err();
        assert!(matches!(error, CheckpointError::Pickle { .. }), "{pickle:?}: {error}");
    }
}

#[test]
fn a_file_that_is_cut_short_is_called_so() {
    let whole = checkpoint(&one(&plain()));
    assert!(read(&whole).is_ok());
    for length in [20, whole.len() / 2, whole.len() - 22, whole.len() - 1] {
        let error = read(&whole[..length]).unwrap_err().to_string();
        assert!(error.contains("truncated") && error.contains(&format!("{length} bytes")), "{error}");
    }
}
