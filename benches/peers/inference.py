#!/usr/bin/env python3
"""Times inference: `unet3p` and other runtimes in turn, on the same weights and the same image.

    benches/peers/inference.py --filters 64 --size 320 --rounds 5 --threads 2

Prints a markdown table. See README.md beside this file for what is compared and how.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy

from contest import Failure, Ours, add_arguments, compete, machine, note, positive, start, table

# name: the worker's settings
PEERS = {
    "onnxruntime": {"peer": "onnxruntime"},
    "openvino": {"peer": "openvino", "precision": "f32"},
    "openvino-bf16": {"peer": "openvino", "precision": "bf16"},
    "torch": {"peer": "torch-inference", "tf32": False},
}
# the peer on a GPU; TF32 in convolutions is what PyTorch does unless told
GPU_PEERS = {"torch": PEERS["torch"], "torch-tf32": {**PEERS["torch"], "tf32": True}}


def prepare(folder, arguments):
    """Weights, ONNX model and image. In another process: PyTorch in this one would count in each worker's peak
    memory, which begins with what a process held when it was forked."""
    note("writing the model")
    if arguments.encoder != "plain":
        # PyTorch's network here has no other encoder: the others get what we export
        command = ["cargo", "run", "--release", "--quiet", "-p", "unet3p-models", "--example", "random_model", "--"]
        command += [arguments.encoder, str(arguments.filters), str(folder / "model")]
        if subprocess.run(command, cwd=Path(__file__).parent).returncode:
            raise Failure("the model could not be written, see above")
        image = numpy.random.default_rng(0).standard_normal((3, arguments.size, arguments.size), dtype="float32")
        numpy.save(folder / "input.npy", image)
        arguments.peers = [name for name in arguments.peers if name != "torch"]
        return
    script = Path(__file__).with_name("unet3plus.py")
    options = {"filters": arguments.filters, "size": arguments.size, "threads": arguments.threads}
    options = [f"--{name}={value}" for name, value in options.items()]
    if subprocess.run([sys.executable, str(script), str(folder), *options]).returncode:
        raise Failure("the model could not be written, see above")


def our_probabilities(ours, folder):
    """[classes, height, width], by `unet3p predict` on the array that everyone gets."""
    out = folder / ours.name
    ours.run("predict", "-i", folder / "input.npy", "-o", out, "-m", folder / "model", "--save-probabilities")
    return numpy.load(out / "input_probabilities.npy")


def probabilities(worker, folder):
    path = folder / f"{worker.name}.npy"
    worker.ask(save=str(path))
    return numpy.load(path)[0]


def relative_l2(result, reference):
    if result.shape != reference.shape:
        raise Failure(f"an output of shape {result.shape}, where unet3p's is {reference.shape}")
    result, reference = result.astype("float64"), reference.astype("float64")
    return numpy.linalg.norm(result - reference) / numpy.linalg.norm(reference)


def bench(arguments, folder, workers):
    if arguments.device == "cuda" and arguments.encoder != "plain":
        raise Failure("on a GPU PyTorch is the peer, and its network here has the plain encoder alone")
    prepare(folder, arguments)
    options = ["-m", folder / "model", "--size", arguments.size, "--batch", 1]
    isas = arguments.isa or [None]
    ours = [Ours(arguments.binary, options, arguments.threads, isa, arguments.device) for isa in isas]
    if arguments.device == "cpu":
        ours[0].run("export", folder / "model", "-o", folder / "model.onnx", "--size", arguments.size)
    reference = our_probabilities(ours[0], folder)
    errors = {other.name: relative_l2(our_probabilities(other, folder), reference) for other in ours[1:]}
    peers = GPU_PEERS if arguments.device == "cuda" else {name: PEERS[name] for name in arguments.peers}
    for name, peer in peers.items():
        settings = {"folder": str(folder), "threads": arguments.threads, "device": arguments.device}
        start(name, {**peer, **settings}, workers)
    errors.update((worker.name, relative_l2(probabilities(worker, folder), reference)) for worker in workers)
    turns = compete([*ours, *workers], arguments.rounds, arguments.runs)

    report = ours[0].report
    print(f"{arguments.encoder} encoder, f1 = {arguments.filters}, 1 x 3 x {arguments.size} x {arguments.size}, {arguments.rounds} rounds")
    if report["gmac_executed"] is not None:
        print(f"multiply-adds of unet3p: {report['gmac_as_written']:.1f} G written, {report['gmac_executed']:.1f} G executed")
    print(machine(ours, sorted({worker.name.split("-")[0] for worker in workers})))
    print()
    print(table(turns, errors))


def peer_list(text):
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(PEERS)}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filters", type=positive, default=64, help="channels of the first stage (default: 64)")
    parser.add_argument("--size", type=positive, default=320, help="side of the image, a multiple of 16 (default: 320)")
    parser.add_argument("--encoder", default="plain", help="as in config.json; without PyTorch if not plain (default)")
    parser.add_argument("--peers", type=peer_list, default=list(PEERS), help=f"default: {','.join(PEERS)}")
    add_arguments(parser)
    workers = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench(parser.parse_args(), Path(folder), workers)
    except Failure as failure:
        note(f"inference: {failure}")
        return 1
    finally:
        for worker in workers:
            worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
