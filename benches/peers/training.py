#!/usr/bin/env python3
"""Times training steps: `unet3p` and PyTorch in turn; on the CPU in both memory formats, on a GPU with and without TF32.

    benches/peers/training.py --rounds 5 --threads 2
    benches/peers/training.py --rounds 5 --runs 20 --device cuda

A step is forward with deep supervision, loss, backward and Adam. Prints a markdown table for each setting.
"""

import argparse
import sys

from contest import Failure, Ours, add_arguments, compete, machine, note, start, table

CONTIGUOUS = {"memory_format": "contiguous_format", "tf32": False}
PEERS = {
    "cpu": {"torch (contiguous)": CONTIGUOUS, "torch (channels_last)": {**CONTIGUOUS, "memory_format": "channels_last"}},
    # TF32 in convolutions is what PyTorch does unless told
    "cuda": {"torch (f32)": CONTIGUOUS, "torch (TF32)": {**CONTIGUOUS, "tf32": True}},
}
# filters, batch, size
SETTINGS = [(64, 1, 160), (16, 4, 128)]


def bench(arguments, setting):
    filters, batch, size = setting
    options = ["--train", "--variant", "deep_supervision", "--filters", filters, "--size", size, "--batch", batch]
    isas = arguments.isa or [None]
    ours = [Ours(arguments.binary, options, arguments.threads, isa, arguments.device) for isa in isas]
    workers = []
    try:
        for name, peer in PEERS[arguments.device].items():
            settings = {"filters": filters, "batch": batch, "size": size, "threads": arguments.threads}
            start(name, {"peer": "torch-training", "device": arguments.device, **peer, **settings}, workers)
        turns = compete([*ours, *workers], arguments.rounds, arguments.runs)
    finally:
        for worker in workers:
            worker.close()
    print(f"training step, f1 = {filters}, {batch} x 3 x {size} x {size}, {arguments.rounds} rounds")
    print(machine(ours, ["torch"]))
    print()
    print(table(turns))
    print(flush=True)


def parse_setting(text):
    try:
        filters, batch, size = (int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: three numbers, as 64,1,160") from None
    return filters, batch, size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--setting",
        type=parse_setting,
        action="append",
        metavar="FILTERS,BATCH,SIZE",
        help="may be repeated (default: 64,1,160 and 16,4,128)",
    )
    add_arguments(parser)
    arguments = parser.parse_args()
    try:
        for setting in arguments.setting or SETTINGS:
            bench(arguments, setting)
    except Failure as failure:
        note(f"training: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
