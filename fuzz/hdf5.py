#!/usr/bin/env python3
"""Writes corpus/keras: HDF5 files in the ways that Keras and the library lay them out.

Needs h5py and numpy. The files hold a few layers of a network, so they are read and then refused as incomplete; a whole
network is in tests/golden/keras3, which the fuzzer takes as well.
"""

import io
import pathlib
import zipfile

import h5py
import numpy as np

FOLDER = pathlib.Path(__file__).parent / "corpus" / "keras"
RANDOM = np.random.default_rng(1)


def weights(shape):
    return RANDOM.standard_normal(shape).astype("f4")


def layers(groups, names=("kernel:0", "bias:0"), **options):
    """Two convolutions and a batch normalisation, each in a group."""
    for number, shape in enumerate([(3, 3, 1, 2), (3, 3, 2, 2)]):
        group = groups(f"conv2d_{number}", "conv2d")
        group.create_dataset(names[0], data=weights(shape), **options)
        group.create_dataset(names[1], data=weights(shape[-1:]))
    group = groups("batch_normalization", "batch_normalization")
    for name in ["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"]:
        group.create_dataset(name, data=weights((2,)))


def named(file, **options):
    """As Keras 2 saves weights."""
    root = file.create_group("model_weights")
    root.attrs["backend"] = "tensorflow"
    root.attrs["layer_names"] = np.array([b"conv2d_0", b"conv2d_1", b"batch_normalization"])
    layers(lambda name, _: root.create_group(f"{name}/{name}"), **options)
    file.attrs["model_config"] = CONFIG


def numbered(file):
    """As Keras 3 saves weights."""
    root = file.create_group("layers")
    for number, shape in enumerate([(3, 3, 1, 2), (3, 3, 2, 2)]):
        suffix = f"_{number}" if number else ""
        group = root.create_group(f"conv2d{suffix}/vars")
        root[f"conv2d{suffix}"].attrs["name"] = f"conv2d{suffix}"
        group.create_dataset("0", data=weights(shape))
        group.create_dataset("1", data=weights(shape[-1:]))


CONFIG = (
    '{"class_name": "Functional", "config": {"name": "unet3plus", "layers": ['
    '{"class_name": "Conv2D", "name": "conv2d", "config": {"name": "conv2d", "filters": 2, "activation": "linear"}},'
    '{"class_name": "BatchNormalization", "name": "bn", "config": {"name": "bn", "epsilon": 0.001, "momentum": 0.99}},'
    '{"class_name": "Conv2D", "name": "head", "config": {"name": "head", "filters": 1, "activation": "sigmoid"}}]}}'
)


def file(write, **options):
    memory = io.BytesIO()
    with h5py.File(memory, "w", **options) as target:
        write(target)
    return memory.getvalue()


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    packed = {"chunks": (2, 2, 1, 2), "compression": "gzip", "shuffle": True, "fletcher32": True}
    new = {"libver": "latest"}
    files = {
        "named.h5": file(named),
        "named_new.h5": file(named, **new),
        "packed.h5": file(lambda target: named(target, **packed)),
        "packed_new.h5": file(lambda target: named(target, **packed), **new),
        "numbered.weights.h5": file(numbered, **new),
        "numbered_old.weights.h5": file(numbered),
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for name, content in [("config.json", CONFIG), ("model.weights.h5", files["numbered.weights.h5"])]:
            target.writestr(zipfile.ZipInfo(name), content)
    files["archive.keras"] = archive.getvalue()
    for name, content in files.items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
