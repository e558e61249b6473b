//! Python objects that are no part of a state dict: refused where they are code, inert beside the weights, an error in
//! their place.
#![allow(clippy::unwrap_used)]

mod common;

use common::{NUMBERS, Pickle, View, one, plain, read_pickle};
use unet3p_convert::pytorch::CheckpointError;

#[track_caller]
fn message(pickle: &[u8]) -> String {
    read_pickle(pickle).unwrap_err().to_string()
}

/// The pickle of `module.name("echo hello")`.
fn call(module: &str, name: &str) -> Pickle {
    Pickle(b"\x80\x02".to_vec())
        .raw(format!("c{module}\n{name}\n").as_bytes())
        .text("echo hello")
        .raw(b"\x85R")
}

#[test]
fn code_is_refused_by_name() {
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("subprocess", "Popen"),
        ("torch.hub", "load"),
        ("torch", "load"),
    ] {
        // Wherever it stands: as the whole file, and beside sound weights.
        let alone = call(module, name).raw(b".").0;
        let beside =
            Pickle::dict().text("w").tensor(&plain()).text("x").raw(&call(module, name).0[2..]).end();
        for pickle in [alone, beside] {
            match read_pickle(&pickle).unwrap_err() {
                CheckpointError::ForbiddenGlobal { module: m, name: n } => {
                    assert_eq!((m.as_str(), n.as_str()), (module, name));
                }
                other => panic!("{module}.{name}: {other}"),
            }
            assert!(message(&pickle).contains("do not load this file in Python"));
        }
    }
}

#[test]
fn whole_objects_are_refused_by_their_class() {
    let classes =
        [("collections", "Counter"), ("torch.nn.modules.conv", "Conv2d"), ("__main__", "UNet_3Plus")];
    for (module, name) in classes {
        let called = call(module, name);
        let built = Pickle(b"\x80\x02".to_vec())
            .raw(format!("c{module}\n{name}\n").as_bytes())
            .raw(b")\x81}(")
            .text("training")
            .raw(b"\x89ub");
        for object in [called, built] {
            let nested = Pickle::dict().text("model").raw(&object.0[2..]).text("epoch").raw(b"K\x01").end();
            for pickle in [object.raw(b".").0, nested] {
                let text = message(&pickle);
                assert!(text.contains(&format!("`{module}.{name}`")), "{text}");
                assert!(text.contains("torch.save(model.state_dict(), path)"), "{text}");
            }
        }
    }
}

/// A placeholder is never a tensor, a storage or a dictionary, whatever is done with it.
#[test]
fn placeholders_do_not_become_weights() {
    let foreign = b"cmy.code\nthing\n";
    let mut cases = Vec::new();
    // Its call, with a sound tensor as the argument, as a value.
    cases.push(Pickle::dict().text("w").raw(foreign).tensor(&plain()).raw(b"\x85R").end());
    // A tensor of a storage of its type.
    let odd = View { storage: "\nthing", ..plain() };
    let pickle = one(&odd);
    let type_line = b"ctorch\n\nthing\n";
    let at = pickle.windows(type_line.len()).position(|bytes| bytes == type_line).unwrap();
    cases.push([&pickle[..at], &foreign[..], &pickle[at + type_line.len()..]].concat());
    // A parameter around it.
    cases.push(
        Pickle::dict()
            .text("w")
            .raw(b"ctorch._utils\n_rebuild_parameter\n(")
            .raw(foreign)
            .raw(b")R\x88NtR")
            .end(),
    );
    // Its attributes and items.
    cases.push(Pickle::dict().text("w").raw(foreign).raw(b")R(").text("w").tensor(&plain()).raw(b"u").end());
    // A list.
    cases.push(Pickle::dict().text("w").raw(b"](").tensor(&plain()).raw(b"e").end());
    for pickle in cases {
        let error = read_pickle(&pickle).unwrap_err();
        assert!(matches!(error, CheckpointError::NotAStateDict(_)), "{error}");
        assert!(error.to_string().contains("`w` is not a tensor"), "{error}");
    }
    // A state dict made of placeholders' items.
    let items = Pickle(b"\x80\x02".to_vec()).raw(foreign).raw(b")R(").text("w").tensor(&plain()).raw(b"u.");
    assert!(matches!(read_pickle(&items.0).unwrap_err(), CheckpointError::WholeObject { .. }));
}

/// A checkpoint as a training script or Lightning writes it: the weights among much else.
#[test]
fn weights_are_found_among_what_else_a_run_saved() {
    let lightning = |entry: &str| {
        Pickle::dict()
            .text("epoch")
            .raw(b"K\x07")
            .text("loss")
            .raw(b"G?\xb9\x99\x99\x99\x99\x99\x9a")
            .text("seed")
            .raw(&[&b"\x8a\x09"[..], &[7; 9]].concat())
            .text("callbacks")
            .raw(b"}")
            .text("lr_schedulers")
            .raw(b"](}K\x01N\x88e")
            .text("names")
            .raw(b"]")
            .text("one")
            .raw(b"a")
            .text("hyper_parameters")
            .raw(b"clightning_fabric.utilities.data\nAttributeDict\n)R(")
            .text("lr")
            .raw(b"G?\xb9\x99\x99\x99\x99\x99\x9au}(")
            .text("_mapping")
            .raw(b"}ub")
            .text("args")
            .raw(b"cargparse\nNamespace\n)\x81}(")
            .text("optimizer")
            .text("Adam")
            .raw(b"ub")
            .text("hooks")
            .raw(b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R")
            .text("rng")
            .tensor(&View { storage: "ByteStorage", elements: 24, shape: &[24], strides: &[1], ..plain() })
            .text("optimizer_states")
            .raw(b"](}(")
            .text("state")
            .raw(b"}(K\x00}(")
            .text("exp_avg")
            .tensor(&plain())
            .raw(b"uuue")
            .text(entry)
            .raw(b"ccollections\nOrderedDict\n)R(")
            .text("model.w")
            .tensor(&plain())
            .raw(b"u")
    };
    for entry in ["state_dict", "model_state_dict", "model"] {
        let tensors = read_pickle(&lightning(entry).end()).unwrap();
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["model.w"], "{entry}");
        let numbers = tensors["model.w"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers, NUMBERS);
    }
    assert!(read_pickle(&lightning("weights").end()).is_err());
}
