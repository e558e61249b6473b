#!/usr/bin/env python3
"""UNet 3+ in PyTorch, written to what `unet3p` reads; the other runtimes get what `unet3p export` makes of it.

    unet3plus.py OUT --filters 64 --size 320

writes, all from one seed,

    OUT/model/       a model folder: config.json and model.safetensors
    OUT/input.npy    float32 [3, size, size]: the network's input

Parameters have the names of `model.safetensors`, so the two need no translation.
"""

import argparse
import json
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

IN_CHANNELS = 3
LEVELS = range(1, 6)
VARIANTS = ("base", "deep_supervision")


def conv3x3(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = conv3x3(inputs, outputs)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Stage(nn.Module):
    """An encoder stage: twice convolution, batch normalisation, ReLU."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(inputs, outputs), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv3x3(outputs, outputs), nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class Node(nn.Module):
    """Decoder node d: all five scales, brought to the resolution of E_d, each to `width` channels, and fused."""

    def __init__(self, level, sources, width):
        super().__init__()
        self.level = level
        for s in LEVELS:
            self.add_module(f"branch{s}", ConvBlock(sources[s], width))
        self.fuse = ConvBlock(5 * width, 5 * width)

    def forward(self, sources):
        branches = [self.get_submodule(f"branch{s}")(self.resize(sources[s], s)) for s in LEVELS]
        return self.fuse(torch.cat(branches, dim=1))

    def resize(self, x, source):
        if source < self.level:
            return F.max_pool2d(x, 2 ** (self.level - source))
        if source > self.level:
            return upsample(x, 2 ** (source - self.level))
        return x


def upsample(x, scale):
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


class UNet3Plus(nn.Module):
    """UNet 3+ (Huang et al. 2020) for one class, from f1 channels to 16 f1; sides are multiples of 16."""

    def __init__(self, f1, variant):
        super().__init__()
        self.variant = variant
        self.filters = [f1 * 2**i for i in range(5)]
        width = 5 * f1
        inputs = [IN_CHANNELS, *self.filters]
        self.encoder = nn.ModuleDict({str(i): Stage(inputs[i - 1], inputs[i]) for i in LEVELS})
        self.decoder = nn.ModuleDict()
        for node in (4, 3, 2, 1):
            from_decoder = {source: width for source in range(node + 1, 5)}
            sources = {**dict(zip(LEVELS, self.filters)), **from_decoder}
            self.decoder[str(node)] = Node(node, sources, f1)
        heads = LEVELS if variant == "deep_supervision" else (1,)
        self.head = nn.ModuleDict(
            {str(i): conv3x3(self.filters[4] if i == 5 else width, 1) for i in heads}
        )

    def features(self, x):
        """D1..D4 and E5, by level."""
        levels = {}
        for i in LEVELS:
            x = self.encoder[str(i)](x if i == 1 else F.max_pool2d(x, 2))
            levels[i] = x
        for node in (4, 3, 2, 1):
            levels[node] = self.decoder[str(node)](levels)
        return levels

    def forward(self, x):
        """The probabilities of head 1: what inference computes, whatever the variant."""
        return torch.sigmoid(self.head["1"](self.features(x)[1]))

    def logits(self, x):
        """The logits of every head at the input's size, head 1 first: what training needs."""
        features = self.features(x)
        logits = {int(i): head(features[int(i)]) for i, head in self.head.items()}
        return [upsample(y, 2 ** (i - 1)) if i > 1 else y for i, y in logits.items()]


def signed_noise(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def create(f1, variant, seed):
    """Random weights (He et al. 2015, normal) with the statistics of a trained network.

    Affine terms and biases are not the identity, and the running statistics are those of the activations: with
    the initial 0 and 1 a wrong use of any of them would not show.
    """
    torch.manual_seed(seed)
    network = UNet3Plus(f1, variant)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = None  # the plain mean over the batches below
    network.train()
    for batch in range(3):
        network.features(signed_noise(seed + 1 + batch, 2, IN_CHANNELS, 128, 128))
    return network.eval()


def configuration(network):
    return {
        "model_type": "unet3plus",
        "variant": network.variant,
        "in_channels": IN_CHANNELS,
        "num_classes": 1,
        "filters": network.filters,
        "activation": "sigmoid",
        "batch_norm_eps": 1e-5,
        "batch_norm_momentum": 0.1,
        "cgm_gate": "probabilities",
        "id2label": {},
        "label2color": {},
    }


def save(network, folder):
    """Writes the model folder that `unet3p` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(configuration(network), indent=2) + "\n"
    (folder / "config.json").write_text(config)
    tensors = {
        name: tensor.contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(tensors, folder / "model.safetensors", metadata={"config": config})


def load(folder):
    """The network of a model folder, in evaluation mode."""
    config = json.loads((folder / "config.json").read_text())
    network = UNet3Plus(config["filters"][0], config["variant"])
    # not strict, for the counters that folders leave out; whatever else is amiss is an error
    missing, unexpected = network.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"{folder}: missing {missing}, unexpected {unexpected}")
    return network.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the model and its input")
    parser.add_argument("--filters", type=int, default=64, help="channels of the first stage (default: 64)")
    parser.add_argument("--size", type=int, default=320, help="side of the input, a multiple of 16 (default: 320)")
    parser.add_argument("--variant", choices=VARIANTS, default="base", help="default: base")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    arguments = parser.parse_args()
    if arguments.size < 16 or arguments.size % 16:
        parser.error(f"--size {arguments.size}: a positive multiple of 16")
    torch.set_num_threads(arguments.threads)
    network = create(arguments.filters, arguments.variant, arguments.seed)
    save(network, arguments.out / "model")
    image = signed_noise(arguments.seed, IN_CHANNELS, arguments.size, arguments.size)
    numpy.save(arguments.out / "input.npy", image.numpy())


if __name__ == "__main__":
    main()
