"""How the weights learn: parameter groups, the learning rate of each step, and the number format."""

from __future__ import annotations

import math
from typing import Any

import torch

from clothseg.model.network import SegmentationNetwork

_FAST_BF16_CPU = ("amx_bf16", "avx512_bf16")
"""CPU features by which oneDNN multiplies bfloat16 directly; without one it emulates that, slower than float32."""


def parameter_groups(
    network: SegmentationNetwork, *, learning_rate: float, encoder_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return the groups of an optimizer of torch.optim, those without a parameter left out.

    The encoder learns with the share `encoder_rate` of the learning rate. Norms and biases do not decay; frozen
    parameters are in no group.
    """
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    in_encoder = {id(parameter) for parameter in network.network.get_submodule("encoder").parameters()}

    def group(*, encoder: bool, decays: bool) -> dict[str, Any]:
        return {
            "params": [one for one in learning if (id(one) in in_encoder, one.ndim > 1) == (encoder, decays)],
            "weight_decay": weight_decay if decays else 0.0,
            "lr": learning_rate * (encoder_rate if encoder else 1),
        }

    # The decoder first: the rate that a log shows is that of the first group.
    groups = [group(encoder=encoder, decays=decays) for encoder in (False, True) for decays in (True, False)]
    return [one for one in groups if one["params"]]


def learning_rate_factor(step: int, num_steps: int, warmup: float) -> float:
    """Return the share of the highest learning rate that step `step` of `num_steps` uses.

    It rises evenly over the first `warmup` of the steps, reaches 1, and falls along half a cosine towards 0. The factor
    depends on its arguments alone, so a resumed training follows the same curve. `step` counts from 0 the steps done.

    >>> [round(learning_rate_factor(step, 10, 0.2), 2) for step in range(11)]
    [0.5, 1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04, 0.0]
    """
    rising = math.ceil(warmup * num_steps)
    if step < rising:
        return (step + 1) / rising
    progress = min(1.0, (step - rising) / max(1, num_steps - rising))
    return 0.5 * (1 + math.cos(math.pi * progress))


def preferred_precision(accelerator: str = "auto") -> str:
    """Return the fastest precision that is safe here, by Lightning's name.

    bf16-mixed on GPUs of compute capability 8.0 or later and on CPUs that multiply bfloat16, 16-mixed on older
    GPUs of 7.0 or later, which have tensor cores for float16 only, and 32-true everywhere else. `accelerator` is where
    the training runs, by Lightning's name: auto, cpu, gpu or mps.

    Source: NVIDIA's CUDA C++ Programming Guide, table of features by compute capability; for CPUs oneDNN's
    documentation of bfloat16 training, and benchmarks/training_step.py.
    """
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        major, _ = torch.cuda.get_device_capability()
        return "bf16-mixed" if major >= 8 else "16-mixed" if major == 7 else "32-true"
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return "32-true"
    # torch before 2.10 does not report what a CPU can do; float32 is right on every one.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16-mixed" if any(capabilities.get(name, False) for name in _FAST_BF16_CPU) else "32-true"
