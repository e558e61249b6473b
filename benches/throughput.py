#!/usr/bin/env python3
"""Whether a training run keeps up with its own training step: `unet3p train` on prepared slices, with decoding,
augmentation, averaged weights and logs, against `unet3p bench --train`, in turns.

    cargo build --release
    benches/throughput.py SLICES [--rounds 5] [--filters 16] [--batch 4] [--size 128] [--threads 2]
        [--device cpu]

SLICES is a folder that `unet3p prepare` wrote. Needs Python 3.9 or later, nothing else. Prints images per second of both
and the median of the rounds' ratios.
"""

import argparse
import csv
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

UNET3P = Path(__file__).resolve().parent.parent / "target/release/unet3p"


def bench(args):
    """Images per second of the step alone, over all steps, as a run counts them."""
    command = [UNET3P, "bench", "--train", "--variant", "deep_supervision", "--json", "--runs", str(args.steps)]
    for option in ("filters", "batch", "size", "threads", "device"):
        command += [f"--{option}", str(getattr(args, option))]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return args.batch / found["mean_s"]


def train(args):
    """Images per second of the steps of a run: the median of its epochs, without the first, which fills the caches."""
    filters = [args.filters << stage for stage in range(5)]
    settings = {
        "data.paths": [str(args.slices.resolve())],
        "data.validation_groups": [],
        "data.crop": [args.size, args.size],
        "model.variant": "deep_supervision",
        "model.filters": filters,
        "loss.segmentation": "bce",
        "train.batch_size": args.batch,
        "train.epochs": 3,
        "train.validate_every": 3,
        "train.statistics_batches": 1,
    }
    with tempfile.TemporaryDirectory() as folder:
        config, run = Path(folder) / "train.toml", Path(folder) / "run"
        config.write_text("")
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        place = ["--threads", str(args.threads), "--device", args.device]
        subprocess.run([UNET3P, "train", "-q", *place, "-c", config, "-o", run, *sets], check=True, capture_output=True)
        with open(run / "metrics.csv", newline="") as file:
            return statistics.median(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slices", type=Path)
    for option, default in {"rounds": 5, "filters": 16, "batch": 4, "size": 128, "threads": 2, "steps": 50}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    ratios = []
    for number in range(args.rounds):
        turns = [bench, train] if number % 2 == 0 else [train, bench]
        found = {turn: turn(args) for turn in turns}
        ratios.append(found[train] / found[bench])
        print(f"step alone {found[bench]:.1f} images/s, run {found[train]:.1f} images/s: {ratios[-1]:.3f}", flush=True)
    print(f"the run has {statistics.median(ratios):.3f} of the step's rate (median of {args.rounds} rounds)")


if __name__ == "__main__":
    main()
