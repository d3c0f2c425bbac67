"""Which number format trains fastest on this hardware."""

import torch

_FAST_BF16_CPU = ("amx_bf16", "avx512_bf16")
"""CPU features that multiply bfloat16 directly; without one, bfloat16 is emulated and slower than float32."""


def preferred_precision(accelerator: str = "auto") -> str:
    """Return the fastest precision that is safe here, by Lightning's name.

    bf16-mixed on GPUs of compute capability 8.0 or later and on CPUs that multiply bfloat16, 16-mixed on older
    GPUs of 7.0 or later, which have tensor cores for float16 only, and 32-true everywhere else.

    Args:
        accelerator: where the training runs, by Lightning's name: auto, cpu, gpu or mps.

    Source: NVIDIA's CUDA C++ Programming Guide, table of features by compute capability; for CPUs oneDNN's
    documentation of bfloat16 training, and benchmarks/training_step.py.
    """
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        major, _ = torch.cuda.get_device_capability()
        return "bf16-mixed" if major >= 8 else "16-mixed" if major == 7 else "32-true"
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return "32-true"
    return "bf16-mixed" if _cpu_multiplies_bf16() else "32-true"


def _cpu_multiplies_bf16() -> bool:
    """Say whether oneDNN, which torch calls on CPUs, finds instructions for bfloat16."""
    # torch before 2.10 cannot tell; float32 is right on every CPU.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in _FAST_BF16_CPU)
