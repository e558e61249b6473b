#!/usr/bin/env python3
"""Loss curves of PyTorch's optimizers on UNet 3+, for `tests/tests/optimizers.rs`.

Needs torch, numpy and safetensors (benches/peers/requirements.txt) and writes `curves.safetensors` beside itself:

    model.NAME      initial parameters and statistics of the network of benches/peers, filters 4 to 64
    input, target   [2, 3, 32, 48] and [2, 1, 32, 48], one batch for all steps
    adam, adamw, sgd    [20] the loss at each step: the sum over five heads of the mean binary cross-entropy

Weight decay acts on tensors of two or more dimensions only.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "benches" / "peers"))
from unet3plus import UNet3Plus  # noqa: E402

STEPS = 20
BASE_FILTERS = 4


def curve(state, x, target, make):
    model = UNet3Plus(BASE_FILTERS, "deep_supervision")
    model.load_state_dict(state)
    model.train()
    kernels = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = make(kernels, others)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = sum(F.binary_cross_entropy_with_logits(logits, target) for logits in model.logits(x))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def groups(kernels, others, decay):
    return [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


torch.manual_seed(3)
torch.use_deterministic_algorithms(True)
x = torch.randn(2, 3, 32, 48)
target = F.interpolate(torch.randn(2, 1, 4, 6), scale_factor=8, mode="bilinear").gt(0).float()
state = UNet3Plus(BASE_FILTERS, "deep_supervision").state_dict()
state = {name: t.clone() for name, t in state.items() if not name.endswith("num_batches_tracked")}
full = UNet3Plus(BASE_FILTERS, "deep_supervision").state_dict() | state
tensors = {f"model.{name}": t for name, t in state.items()} | {"input": x, "target": target}
for name, make in {
    "adam": lambda k, o: torch.optim.Adam(groups(k, o, 1e-2), lr=1e-3),
    "adamw": lambda k, o: torch.optim.AdamW(groups(k, o, 1e-1), lr=1e-3),
    "sgd": lambda k, o: torch.optim.SGD(groups(k, o, 1e-2), lr=2e-3, momentum=0.9, nesterov=True),
}.items():
    tensors[name] = curve(full, x, target, make)
    print(name, tensors[name].tolist())
save_file({name: t.contiguous() for name, t in tensors.items()}, HERE / "curves.safetensors")
