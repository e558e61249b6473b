#!/usr/bin/env python3
"""UNet 3+ in Keras, saved in every format in which Keras saves models and weights.

    pip install tensorflow-cpu==2.21.0 keras==3.15.1 tf_keras==2.21.0 h5py numpy safetensors
    generate.py OUT

The network is written as in the TensorFlow implementation (see ../README.md): layers without names of their own, created in
the same order. Weights are random, and so are the statistics and affine terms of the batch normalisations.
"""

import os
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import keras
import numpy
import tensorflow
import tf_keras
from safetensors.numpy import save_file

FILTERS = [2, 3, 4, 5, 6]
SIZE = (32, 48)


def unet3plus(k, channels, classes, deep_supervision, cgm):
    """The network out of the layers of `k`: Keras 3, or the Keras 2 that TensorFlow carries on as tf_keras."""

    def conv_block(x, filters, n=2, is_bn=True, is_relu=True):
        for _ in range(n):
            x = k.layers.Conv2D(filters, (3, 3), padding="same")(x)
            if is_bn:
                x = k.layers.BatchNormalization()(x)
            if is_relu:
                x = k.activations.relu(x)
        return x

    def pool(x, size):
        return k.layers.MaxPool2D(pool_size=(size, size))(x)

    def up(x, size):
        return k.layers.UpSampling2D(size=(size, size), interpolation="bilinear")(x)

    inputs = k.layers.Input(shape=(*SIZE, channels))
    e = {1: conv_block(inputs, FILTERS[0])}
    for level in range(2, 6):
        e[level] = conv_block(pool(e[level - 1], 2), FILTERS[level - 1])
    presence = None
    if cgm:
        x = k.layers.Dropout(0.5)(e[5])
        x = k.layers.Conv2D(2, (1, 1), padding="same")(x)
        x = k.layers.GlobalMaxPooling2D()(x)
        presence = k.activations.sigmoid(x)

    width = FILTERS[0]
    d = {5: e[5]}
    for node in range(4, 0, -1):
        sources = []
        for source in range(1, 6):
            if source < node:
                x = pool(e[source], 2 ** (node - source))
            elif source == node:
                x = e[source]
            else:
                x = up(d[source], 2 ** (source - node))
            sources.append(conv_block(x, width, n=1))
        d[node] = conv_block(k.layers.concatenate(sources), 5 * width, n=1)

    heads = [conv_block(d[1], classes, n=1, is_bn=False, is_relu=False)]
    if deep_supervision:
        for level in range(2, 6):
            x = conv_block(d[level], classes, n=1, is_bn=False, is_relu=False)
            heads.append(up(x, 2 ** (level - 1)))
    if presence is not None:
        # The TensorFlow implementation multiplies the logits by the guide's decision.
        gate = keras.ops.cast(keras.ops.argmax(presence, axis=-1), "float32")
        heads = [x * keras.ops.reshape(gate, (-1, 1, 1, 1)) for x in heads]
    activation = k.activations.sigmoid if classes == 1 else k.activations.softmax
    outputs = [activation(x) for x in heads]
    if presence is not None:
        outputs.append(presence)
    return k.Model(inputs=inputs, outputs=outputs)


def build(k, seed, *shape):
    """A network with random weights."""
    rng = numpy.random.default_rng(seed)
    model = unet3plus(k, *shape)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, k.layers.BatchNormalization):
            factors = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.5)]
            layer.set_weights([rng.uniform(*r, v.shape) for r, v in zip(factors, values)])
        elif isinstance(layer, k.layers.Conv2D):
            kernel, bias = values
            scale = numpy.sqrt(2 / numpy.prod(kernel.shape[:3]))
            layer.set_weights([rng.normal(0, scale, kernel.shape), rng.normal(0, 0.1, bias.shape)])
    return model


def write_io(model, seed, path):
    """An input and what the model makes of it, both with channels last. Of the outputs head 1 is kept, and the
    classification guide's."""
    rng = numpy.random.default_rng(seed)
    images = rng.normal(0, 1, (1, *model.input_shape[1:])).astype(numpy.float32)
    outputs = model(images, training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    io = {"input": images, "eval_output_1": numpy.ascontiguousarray(outputs[0])}
    assert numpy.std(io["eval_output_1"]) > 0.01
    if outputs[-1].ndim == 2:
        io["cgm_probabilities"] = numpy.ascontiguousarray(outputs[-1])
    save_file(io, path)


def without_names(source, target):
    """Weights as Keras before 3.6 wrote them: layers are numbered, and their names are not in the file."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                new[name] = item[()]
        old.visititems(copy)


def compressed(source, target):
    """The same weights in compressed chunks, as people store them who care for space."""
    with h5py.File(source) as old, h5py.File(target, "w", libver="latest") as new:
        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                chunked = {"chunks": True, "compression": "gzip", "shuffle": True} if item.size > 1 else {}
                new.create_dataset(name, data=item[()], **chunked)
            else:
                group = new.require_group(name)
                for key, value in item.attrs.items():
                    group.attrs[key] = value
        for key, value in old.attrs.items():
            new.attrs[key] = value
        old.visititems(copy)


def main():
    out = Path(sys.argv[1])
    out.mkdir(exist_ok=True)
    # Softmax, deep supervision; a model made before it in the same session moves the numbers of the layers.
    keras.backend.clear_session()
    build(keras, 0, 3, 2, False, False)
    model = build(keras, 1, 3, 2, True, False)
    model.save(out / "deep_supervision.keras")
    write_io(model, 10, out / "deep_supervision_io.safetensors")
    # One class with the classification guide, gray; weights alone, in the new format.
    keras.backend.clear_session()
    model = build(keras, 2, 1, 1, True, True)
    model.save_weights(out / "deep_supervision_cgm.weights.h5")
    write_io(model, 12, out / "deep_supervision_cgm_io.safetensors")
    without_names(out / "deep_supervision_cgm.weights.h5", out / "nameless.weights.h5")
    # Three classes, one head: a whole model of Keras 2 in HDF5, its weights in compressed chunks.
    tf_keras.backend.clear_session()
    model = build(tf_keras, 3, 3, 3, False, False)
    model.compile(optimizer="adam", loss="mse")
    model.save(out / "plain.h5")
    compressed(out / "plain.h5", out / "base.h5")
    (out / "plain.h5").unlink()
    write_io(model, 13, out / "base_io.safetensors")
    print(tensorflow.__version__, keras.__version__, tf_keras.__version__)


main()
