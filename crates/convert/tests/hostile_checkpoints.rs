//! Files that lie, ask for code or are broken: each is an error of the right kind, none panics and
//! none makes the reader take memory for what the file does not hold.
#![allow(clippy::unwrap_used)]

mod common;

use common::{NUMBERS, Pickle, View, archive, bytes_of, checkpoint, one, plain, read, read_pickle};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_convert::pytorch::CheckpointError;
use zip::CompressionMethod::{Deflated, Stored};

#[track_caller]
fn message(pickle: &[u8]) -> String {
    read_pickle(pickle).unwrap_err().to_string()
}

#[test]
fn every_other_opcode_is_refused() {
    let known = b"c()}]aetNGBC\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96KMJXqrhjQRsub.";
    for opcode in (0..=255u8).filter(|opcode| !known.contains(opcode)) {
        // INST, OBJ, EXT1, PERSID, NEXT_BUFFER and the rest of the pickle language.
        let error = read_pickle(&[0x80, 2, opcode, b'.']).unwrap_err();
        match error {
            CheckpointError::ForbiddenOpcode { opcode: found, offset: 2 } => {
                assert_eq!(found, opcode);
            }
            other => panic!("0x{opcode:02x}: {other}"),
        }
    }
}

#[test]
fn calls_and_attributes_beyond_a_state_dict_are_refused() {
    let header = b"\x80\x02".to_vec();
    let cases: [&[u8]; 13] = [
        b"ccollections\nOrderedDict\nK\x01\x85R.",
        b"ccollections\nOrderedDict\n)\x81.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)\x81.",
        b"cmy\nthing\nK\x01\x81.",
        b"cmy\nthing\nK\x01R.",
        b"]K\x01b.",
        b"}K\x01a.",
        b"](K\x01K\x02u.",
        b"ctorch\nFloatStorage\n)R.",
        b"K\x01)R.",
        b"K\x01}b.",
        b"}K\x01b.",
        b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R.",
    ];
    for case in cases {
        let pickle = Pickle(header.clone()).raw(case).0;
        let error = read_pickle(&pickle).unwrap_err();
        assert!(matches!(error, CheckpointError::Pickle { .. }), "{case:?}: {error}");
    }
}

#[test]
fn a_broken_stack_or_memo_is_an_error() {
    let cases: [&[u8]; 16] = [
        b"",
        b".",
        b"t.",
        b"u.",
        b"s.",
        b"\x86.",
        b"h\x07.",
        b"j\xff\xff\xff\xff.",
        b"q\x00.",
        b"Q.",
        b"}(K\x01u.",
        b"}(",
        b"}.}",
        b"X\xff\xff\xff\xffab.",
        b"X\x01\x00\x00\x00\xff.",
        b"ctorch",
    ];
    for case in cases {
        let pickle = Pickle(b"\x80\x02".to_vec()).raw(case).0;
        let error = read_pickle(&pickle).unwrap_err();
        assert!(matches!(error, CheckpointError::Pickle { .. }), "{case:?}: {error}");
    }
    assert!(message(b"\x80\x06}.").contains("protocol 6"));
    // A value below an open mark is out of reach.
    assert!(message(b"\x80\x02K\x01(q\x00.").contains("missing on the stack"));
}

#[test]
fn nesting_and_length_are_bounded() {
    assert!(message(&[&b"\x80\x02"[..], &[b'('; 100_000]].concat()).contains("deep"));
    // Tuples in tuples without marks: accepted as a value, which is then no state dict. Dropping
    // it must not recurse either.
    let nested = [&b"\x80\x02)"[..], &[0x85; 500_000], b"."].concat();
    assert!(message(&nested).contains("no dictionary"));
    let endless = [&b"\x80\x02"[..], &[b'N'; 2_000_000]].concat();
    assert!(message(&endless).contains("instructions"));
    let huge = vec![b'N'; 9 << 20];
    assert!(matches!(
        read_pickle(&huge).unwrap_err(),
        CheckpointError::TooLarge { what: "bytes of an entry", .. }
    ));
}

#[test]
fn numbers_that_are_no_sizes_are_errors() {
    let cases = [
        View { elements: -1, ..plain() },
        View { offset: -1, ..plain() },
        View { shape: &[2, -3], ..plain() },
        View { strides: &[3, -1], ..plain() },
        View { shape: &[2, 3, 1], ..plain() },
        View { shape: &[1; 7], strides: &[1; 7], ..plain() },
    ];
    for view in cases {
        let error = read_pickle(&one(&view)).unwrap_err();
        assert!(matches!(error, CheckpointError::Pickle { .. }), "{error}");
    }
    // An integer of 255 bytes, and a float, as the offset.
    let long = [&b"\x8a\xff"[..], &[1; 255]].concat();
    let float = b"G\x00\x00\x00\x00\x00\x00\x00\x00";
    for number in [&long[..], float] {
        let pickle = Pickle::dict()
            .text("w")
            .raw(b"ctorch._utils\n_rebuild_tensor_v2\n(")
            .storage(&plain())
            .raw(number)
            .ints(&[2, 3])
            .ints(&[3, 1])
            .raw(b"\x89NtR")
            .end();
        assert!(message(&pickle).contains("other types"));
    }
}

#[test]
fn views_beyond_their_storage_are_errors() {
    let cases = [
        View { offset: 1, ..plain() },
        View { offset: i64::MAX, ..plain() },
        View { strides: &[4, 1], ..plain() },
        View { strides: &[i64::MAX, 1], ..plain() },
        View { shape: &[7], strides: &[1], ..plain() },
        View { shape: &[i64::MAX], strides: &[0], ..plain() },
        View { shape: &[i64::MAX, i64::MAX], strides: &[0, 0], ..plain() },
        // More numbers than the archive's entry has, and fewer.
        View { elements: 7, ..plain() },
        View { elements: 1 << 40, ..plain() },
        View { elements: i64::MAX, shape: &[1 << 50, 1 << 10], ..plain() },
        View { elements: 5, shape: &[5], strides: &[1], ..plain() },
        View { storage: "DoubleStorage", ..plain() },
    ];
    for view in cases {
        let error = read_pickle(&one(&view)).unwrap_err();
        assert!(
            matches!(error, CheckpointError::Tensor { .. } | CheckpointError::TooLarge { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_storage_must_exist_and_have_one_description() {
    let view = View { key: "../../etc/passwd", ..plain() };
    assert!(message(&one(&view)).contains("no entry"));
    let long = View { storage: "LongStorage", elements: 3, shape: &[3], strides: &[1], ..plain() };
    let pickle = Pickle::dict().text("a").tensor(&plain()).text("b").tensor(&long).end();
    assert!(message(&pickle).contains("two ways"));
    let pickle = Pickle::dict().text("a").tensor(&plain()).text("a").tensor(&plain()).end();
    assert!(message(&pickle).contains("twice"));
}

#[test]
fn many_views_of_one_storage_are_bounded() {
    let mut pickle = Pickle::dict().text("a").tensor(&plain()).raw(b"q\x00");
    for index in 0..20_000 {
        pickle = pickle.text(&index.to_string()).raw(b"h\x00");
    }
    // 120,000 elements are fewer than this pickle's bytes; a storage of its own size is not.
    assert_eq!(read_pickle(&pickle.clone().end()).unwrap().len(), 20_001);
    let numbers = vec![0u8; 4 * 100_000];
    let wide = View { elements: 100_000, shape: &[100_000], strides: &[1], ..plain() };
    let mut pickle = Pickle::dict().text("a").tensor(&wide).raw(b"q\x00");
    for index in 0..1000 {
        pickle = pickle.text(&index.to_string()).raw(b"h\x00");
    }
    let pickle = pickle.end();
    let file = archive(&[("m/data.pkl", &pickle), ("m/data/0", &numbers)], Stored);
    assert!(matches!(read(&file).unwrap_err(), CheckpointError::TooLarge { .. }));
}

#[test]
fn short_and_mistyped_tuples_are_errors() {
    let header = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n".to_vec();
    let cases: [&[u8]; 5] = [b")R.", b"K\x01\x85R.", b"(NNNNNNtR.", b"(K\x00K\x00))\x89NtR.", b"NR."];
    for case in cases {
        let error = read_pickle(&Pickle(header.clone()).raw(case).0).unwrap_err();
        assert!(matches!(error, CheckpointError::Pickle { .. }), "{case:?}: {error}");
    }
    for case in [&b")Q."[..], b"K\x01Q.", b"(NNNNNtQ.", b"K\x01\x85Q."] {
        let error = read_pickle(&Pickle(b"\x80\x02".to_vec()).raw(case).0).unwrap_err();
        assert!(matches!(error, CheckpointError::Pickle { .. }), "{case:?}: {error}");
    }
}

#[test]
fn what_is_no_dictionary_of_tensors_is_named() {
    let nested = Pickle::dict().text("state_dict").raw(b"}(").text("epoch").raw(b"K\x07u").end();
    assert!(message(&nested).contains("`epoch` is not a tensor of weights in `state_dict`"));
    let epoch = Pickle::dict().text("epoch").raw(b"K\x07").end();
    assert!(message(&epoch).contains("`epoch` is not a tensor"));
    assert!(message(&epoch).contains("no dictionary `state_dict`, `model_state_dict`, `model`"));
    assert!(message(b"\x80\x02).").contains("no dictionary"));
    assert!(message(b"\x80\x02K\x01.").contains("single value"));
    assert!(message(b"\x80\x02}(K\x01K\x01u.").contains("key is not a text"));
}

#[test]
fn other_files_are_told_apart() {
    let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    let error = read(legacy).unwrap_err();
    assert!(matches!(error, CheckpointError::Legacy), "{error}");
    assert!(error.to_string().contains("torch.save(torch.load("));
    assert!(read(b"").is_err());
    assert!(read(b"not a checkpoint").is_err());
    let no_pickle = archive(&[("m/data/0", b"1234")], Stored);
    assert!(read(&no_pickle).unwrap_err().to_string().contains("data.pkl"));
    let middle = archive(&[("data.pkl", &one(&plain())), ("byteorder", b"middle")], Stored);
    assert!(read(&middle).unwrap_err().to_string().contains("byteorder"));
}

#[test]
fn a_decompression_bomb_is_refused_by_its_directory() {
    let zeros = vec![0u8; 32 << 20];
    let elements = (zeros.len() / 4) as i64;
    let view = View { elements, shape: &[elements], strides: &[1], ..plain() };
    let pickle = one(&view);
    let bomb = archive(&[("m/data.pkl", &pickle), ("m/data/0", &zeros)], Deflated);
    assert!(bomb.len() < 100_000);
    assert!(matches!(
        read(&bomb).unwrap_err(),
        CheckpointError::TooLarge { what: "unpacked bytes of the archive", .. }
    ));
}

#[test]
fn a_directory_that_lies_about_sizes_is_refused() {
    // The same bomb with a small size in the directory: unpacking stops one byte past it.
    let zeros = vec![0u8; (32 << 20) + 0x0123];
    let pickle = one(&plain());
    let mut bomb = archive(&[("m/data.pkl", &pickle), ("m/data/0", &zeros)], Deflated);
    let honest = (zeros.len() as u32).to_le_bytes();
    let at: Vec<usize> = (0..bomb.len() - 4).filter(|&i| bomb[i..i + 4] == honest).collect();
    assert_eq!(at.len(), 2, "local header and directory");
    for i in at {
        bomb[i..i + 4].copy_from_slice(&24u32.to_le_bytes());
    }
    assert!(read(&bomb).is_err());
}

#[test]
fn overlapping_entries_are_refused() {
    // The directory's second entry is pointed at the first one's header and data.
    let mut file = archive(
        &[
            ("m/data.pkl", &one(&plain())),
            ("m/data/0", &bytes_of(&NUMBERS)),
            ("m/data/1", &bytes_of(&NUMBERS)),
        ],
        Stored,
    );
    let signature = [0x50, 0x4b, 0x01, 0x02];
    let records: Vec<usize> = (0..file.len() - 4).filter(|&i| file[i..i + 4] == signature).collect();
    let offset: [u8; 4] = file[records[1] + 42..records[1] + 46].try_into().unwrap();
    file[records[2] + 42..records[2] + 46].copy_from_slice(&offset);
    let error = read(&file).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
    // And one that begins far outside the file.
    file[records[2] + 42..records[2] + 46].copy_from_slice(&[0xf0, 0xff, 0xff, 0x7f]);
    assert!(read(&file).is_err());
}

#[test]
fn every_truncation_is_an_error() {
    let pickle = one(&plain());
    for end in 0..pickle.len() {
        assert!(read_pickle(&pickle[..end]).is_err(), "pickle cut at {end}");
    }
    let file = checkpoint(&pickle);
    assert!(read(&file).is_ok());
    for end in 0..file.len() {
        assert!(read(&file[..end]).is_err(), "file cut at {end}");
    }
}

#[test]
fn random_damage_never_panics() {
    let mut rng = ChaCha8Rng::seed_from_u64(20_200_419);
    let pickle = Pickle::dict()
        .text("a")
        .tensor(&plain())
        .raw(b"q\x00")
        .text("b")
        .raw(b"h\x00")
        .text("c")
        .tensor(&View { shape: &[3, 2], strides: &[1, 3], ..plain() })
        .end();
    let whole = checkpoint(&pickle);
    for round in 0..30_000 {
        // In turn the archive as a whole, whose checksums catch most damage, and the pickle alone.
        let in_archive = round % 2 == 0;
        let mut bytes = if in_archive { whole.clone() } else { pickle.clone() };
        for _ in 0..rng.random_range(1..=3) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        let result = if in_archive { read(&bytes) } else { read_pickle(&bytes) };
        if let Ok(tensors) = result {
            let elements: usize = tensors.values().map(|t| t.elem_count()).sum();
            assert!(elements <= whole.len());
        }
    }
}
