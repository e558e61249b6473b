#!/usr/bin/env python3
"""Feature maps of torchvision's VGG-11 and ResNets, with weights that need no file: a function of their names.

    pip install torch torchvision timm
    tests/golden/encoders/generate.py

Writes NAME.safetensors: the input and the five maps, computed in f64, stored in f32. `weight` below is repeated in
tests/tests/encoders.rs. timm's models of the same names are held to the same tensor names and to the same maps.
"""

import math
from pathlib import Path

import numpy
import timm
import torch
import torchvision
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent
MASK = (1 << 64) - 1


def seed_of(name):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def uniform(name, count):
    """Values in [-1, 1): splitmix64 of the name's hash plus the index, its upper 24 bits."""
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed_of(name)) + numpy.arange(count, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    return (z >> numpy.uint64(40)).astype(numpy.float64) / 2.0**23 - 1.0


def weight(name, shape):
    """Kernels as He et al. draw them; batch normalisations near the identity. In f32."""
    values = uniform(name, math.prod(shape)).reshape(shape)
    if len(shape) == 4:
        values = values * math.sqrt(6.0 / math.prod(shape[1:]))
    elif name.endswith("running_var"):
        values = 1.0 + 0.5 * values
    elif name.endswith("weight"):
        values = 0.5 + 0.25 * values
    else:
        values = 0.1 * values
    return values.astype(numpy.float32)


def fill(model):
    names = []
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked") or name.split(".")[0] in ("fc", "classifier", "pre_logits", "head"):
            continue
        names.append(name)
        tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
    return names


def maps(name, model, x):
    """The map of each resolution, the finest first."""
    if name == "vgg11_bn":
        found = []
        for start, end in [(0, 3), (3, 7), (7, 14), (14, 21), (21, 28)]:
            x = model.features[start:end](x)
            found.append(x)
        return found
    found = [model.relu(model.bn1(model.conv1(x)))]
    x = model.maxpool(found[0])
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = layer(x)
        found.append(x)
    return found


@torch.no_grad()
def main():
    for name in ("vgg11_bn", "resnet34", "resnet50", "resnet101"):
        model = getattr(torchvision.models, name)(weights=None).eval()
        names = fill(model)
        side = 16 if name == "vgg11_bn" else 32
        x = torch.from_numpy(uniform("input", 3 * side * side).reshape(1, 3, side, side).astype(numpy.float32)).double()
        found = maps(name, model.double(), x)
        other = timm.create_model(name, pretrained=False).eval()
        assert fill(other) == names, name
        if name != "vgg11_bn":
            feature = timm.create_model(name, pretrained=False, features_only=True).eval()
            fill(feature)
            for ours, theirs in zip(found, feature.double()(x)):
                assert torch.allclose(ours, theirs, rtol=1e-10), name
        print(name, [tuple(m.shape) for m in found], [f"{m.abs().mean():.3f}" for m in found])
        tensors = {f"map_{i + 1}": m.float().contiguous().numpy() for i, m in enumerate(found)}
        save_file({"input": x.float().contiguous().numpy(), **tensors}, HERE / f"{name}.safetensors")


if __name__ == "__main__":
    main()
