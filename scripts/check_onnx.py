#!/usr/bin/env python3
"""Whether exported networks are sound, and what ONNX Runtime and OpenVINO make of them is what we do.

    pip install onnx onnxruntime openvino safetensors
    cargo run -p unet3p-convert --example onnx_cases -- FOLDER
    scripts/check_onnx.py FOLDER

Every NAME.onnx of the folder is given to onnx.checker, with shape inference, and run by both on each NAME.N.safetensors. Ends
with an error where an output differs by more than a relative L2 error of 1e-4.
"""

import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
import openvino
from safetensors.numpy import load_file

BUDGET = 1e-4


def error(got, want):
    """The relative L2 error. A map of probabilities that are all but 0 counts as one of f32's epsilon: runtimes return 0
    where the sigmoid of -72 is 1e-31."""
    assert got.shape == want.shape, (got.shape, want.shape)
    floor = float(numpy.finfo("float32").eps) * want.size**0.5
    return float(numpy.linalg.norm(got.astype(float) - want) / max(numpy.linalg.norm(want.astype(float)), floor))


def with_onnxruntime(path, image):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image})))


def with_openvino(path, image):
    # its default on a CPU with bf16 is bf16
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([image])
    # an output may have further names, those of values that are the same
    names = [output.name for output in onnx.load(path).graph.output]
    return {name: found[output] for name in names for output in compiled.outputs if name in output.get_names()}


def main():
    paths = sorted(Path(sys.argv[1]).glob("*.onnx"))
    if not paths:
        sys.exit(f"{sys.argv[1]}: no .onnx file")
    worst = 0.0
    for path in paths:
        onnx.checker.check_model(str(path), full_check=True)
        for case in sorted(path.parent.glob(f"{path.stem}.*.safetensors")):
            want = load_file(case)
            image = want.pop("image")
            for runtime in (with_onnxruntime, with_openvino):
                got = runtime(path, image)
                assert set(got) == set(want), (path.name, set(got), set(want))
                errors = {name: error(got[name], want[name]) for name in want}
                worst = max(worst, *errors.values())
                size = "x".join(map(str, image.shape))
                print(f"{path.stem:20} {size:14} {runtime.__name__[5:]:12} {max(errors.values()):.1e}, {len(errors)} outputs")
    print(f"onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__}: "
          f"{len(paths)} networks, worst {worst:.1e}")
    sys.exit(worst > BUDGET)


if __name__ == "__main__":
    main()
