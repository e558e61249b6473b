"""One peer in a process of its own, so that its peak memory is its own.

    worker.py '{"peer": "onnxruntime", "threads": 2, ...}'

Speaks JSON lines: says `ready` (or `refused`, and why) once loaded, then answers each request on stdin. In between
it is blocked reading a pipe. Each peer is a function from the settings to a step, which is what is timed; it imports
its runtime itself, so that no process holds two.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy


class Refused(Exception):
    """This machine cannot run this peer as it should be run."""


def onnxruntime(settings):
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.inter_op_num_threads = 1
    # Threads spin between the operators of a run, which is faster, and stop when it ends.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model = str(Path(settings["folder"]) / "model.onnx")
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {"image": image(settings)}
    return lambda: session.run(["probabilities"], feed)[0]


def openvino(settings):
    import openvino as runtime

    core, precision = runtime.Core(), settings["precision"]
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Refused("this CPU has no bf16")
    options = {
        "INFERENCE_NUM_THREADS": settings["threads"],
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = runtime.compile_model(Path(settings["folder"]) / "model.onnx", "CPU", options)
    request, x = model.create_infer_request(), image(settings)
    return lambda: request.infer([x], share_inputs=True)[0]


def torch_inference(settings):
    import torch

    import unet3plus

    torch.set_num_threads(settings["threads"])
    torch.backends.cudnn.allow_tf32 = settings["tf32"]
    # the faster of the two layouts on a CPU
    layout = {"device": settings["device"], "memory_format": torch.channels_last}
    network = unet3plus.load(Path(settings["folder"]) / "model").to(**layout)
    x = torch.from_numpy(image(settings)).to(**layout)

    def step():
        with torch.inference_mode():
            return network(x).cpu().numpy()

    return step


def torch_training(settings):
    import torch
    import torch.nn.functional as F

    import unet3plus

    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = settings["tf32"]
    layout = {"device": settings["device"], "memory_format": getattr(torch, settings["memory_format"])}
    size, batch = settings["size"], settings["batch"]
    network = unet3plus.UNet3Plus(settings["filters"], "deep_supervision").to(**layout).train()
    optimizer = torch.optim.Adam(network.parameters())
    x = torch.randn(batch, unet3plus.IN_CHANNELS, size, size).to(**layout)
    target = (torch.rand(batch, 1, size, size) < 0.5).float().to(settings["device"])

    def step():
        optimizer.zero_grad()
        loss = sum(F.binary_cross_entropy_with_logits(logits, target) for logits in network.logits(x))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def image(settings):
    return numpy.load(Path(settings["folder"]) / "input.npy")[None]


PEERS = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "torch-inference": torch_inference,
    "torch-training": torch_training,
}


def timed(step, runs):
    """One run to warm up after the pause, then each run's seconds."""
    step()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_rss_mb():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main():
    settings = json.loads(sys.argv[1])
    # Runtimes may print to stdout: the answers go to a copy of it, what is printed to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(reply):
        print(json.dumps(reply), file=answers, flush=True)

    try:
        step = PEERS[settings["peer"]](settings)
    except Refused as reason:
        return answer({"refused": str(reason)})
    answer({"ready": True})
    idle = None
    for line in iter(sys.stdin.readline, ""):
        # the CPU time that this process spent while others were timed
        burned = time.process_time() - idle if idle is not None else 0.0
        request = json.loads(line)
        if "save" in request:
            numpy.save(request["save"], step())
            answer({})
        else:
            seconds = timed(step, request["runs"])
            answer({"seconds": seconds, "peak_rss_mb": peak_rss_mb(), "idle_cpu_s": burned})
        idle = time.process_time()


if __name__ == "__main__":
    main()
