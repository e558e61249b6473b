"""Trains a tiny run and compares what TensorBoard reads of it with metrics.csv and with the slices.

Called by check_tensorboard.sh with the binary and a folder to work in.
"""

import csv
import io
import json
import math
import pathlib
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SIDE, GAP = 32, 4
CONFIG = """
[data]
paths = ["slices"]
validation_groups = ["b"]
[model]
variant = "deep_supervision_cgm"
in_channels = 1
filters = [2, 4, 8, 16, 32]
class_names = ["block"]
[train]
steps = 4
batch_size = 2
statistics_batches = 1
[loss]
segmentation = "dice_cross_entropy"
[log]
images = 2
"""


def make_slices(folder):
    """Two volumes of four slices with a bright block, of which the last has none."""
    rng = np.random.default_rng(5)
    slices = []
    for name in ["images", "masks"]:
        (folder / name).mkdir(parents=True)
    for volume in "ab":
        for i in range(4):
            mask = np.zeros((SIDE, SIDE), np.uint8)
            if i < 3:
                mask[6 + i : 22, 8 : 20 + i] = 1
            image = 60 + 120 * mask + rng.integers(0, 40, mask.shape, np.uint8)
            Image.fromarray(image).save(folder / "images" / f"{volume}{i}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{volume}{i}.png")
            slices.append({"name": f"{volume}{i}", "volume": volume})
    (folder / "dataset.json").write_text(json.dumps({"slices": slices}))


def train(binary, work, *arguments):
    subprocess.run([binary, "train", "-q", *arguments], cwd=work, check=True)


def close(found, expected, tolerance, what):
    assert math.isclose(found, expected, rel_tol=tolerance, abs_tol=1e-6), f"{what}: {found}, not {expected}"


def main(binary, work):
    for name in ["slices", "run"]:
        shutil.rmtree(work / name, ignore_errors=True)
    make_slices(work / "slices")
    (work / "train.toml").write_text(CONFIG)
    run, checkpoint = work / "run", work / "run" / "checkpoint.safetensors"
    train(binary, work, "-c", "train.toml", "-o", "run")
    early = checkpoint.read_bytes()
    train(binary, work, "--resume", "run", "--set", "train.steps=8")
    # As if the run had been killed before its later checkpoints: steps 5 to 8 come a second time.
    checkpoint.write_bytes(early)
    train(binary, work, "--resume", "run")
    assert len(list(run.glob("events.out.tfevents.*"))) == 3

    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0}).Reload()
    scalars = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    for tag in scalars:
        assert len(scalars[tag]) == len(events.Scalars(tag)), f"{tag} has a step twice"
    with open(run / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == [2, 4, 6, 8], steps
    per_step = ["loss", "gradient_norm", "learning_rate", "images_per_second"]
    for name in per_step:
        assert sorted(scalars[f"train/{name}"]) == list(range(1, 9)), name
    for row, step in zip(rows, steps):
        for name in ["loss", "gradient_norm"]:
            mean = sum(scalars[f"train/{name}"][s] for s in (step - 1, step)) / 2
            close(mean, float(row[name]), 1e-5, f"train/{name} at step {step}")
        close(scalars["train/learning_rate"][step], float(row["learning_rate"]), 1e-6, "train/learning_rate")
    for column, tag in [
        ("validation_loss", "validation/loss"),
        ("dice", "validation/dice"),
        ("dice_block", "validation/dice_block"),
        ("presence_auc", "validation/presence_auc"),
    ]:
        expected = {step: float(row[column]) for row, step in zip(rows, steps)}
        assert sorted(scalars[tag]) == steps, tag
        for step in steps:
            close(scalars[tag][step], expected[step], 1e-5, f"{tag} at step {step}")

    tags = sorted(events.Tags()["images"])
    assert tags == ["validation/1_b0", "validation/2_b2"], tags
    for tag in tags:
        images = events.Images(tag)
        assert [image.step for image in images] == steps, tag
        name = tag.split("_")[1]
        slice_ = np.asarray(Image.open(work / "slices" / "images" / f"{name}.png"))
        mask = np.asarray(Image.open(work / "slices" / "masks" / f"{name}.png"))
        for image in images:
            assert (image.height, image.width) == (SIDE, 3 * SIDE + 2 * GAP), tag
            strip = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
            panel = [strip[:, i * (SIDE + GAP) :][:, :SIDE] for i in range(3)]
            assert (panel[0] == slice_[..., None]).all(), f"{tag}: the input"
            assert ((panel[1] != panel[0]).any(axis=2) == (mask > 0)).all(), f"{tag}: the label"
    print(f"TensorBoard reads {len(scalars)} scalars and {len(tags)} images of {len(steps)} validations as written")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve())
