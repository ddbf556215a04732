"""Which floating-point format a run uses, and the context that applies it.

bf16 on a CPU is chosen where it has the instructions (avx512_bf16): measured on an EPYC with one thread, a
step of the `small` size with 64 crops takes .38 s of processor time instead of .58 s in fp32 (the whole step:
preprocessing, loss and optimizer included).
"""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

from phenoscale.schema.encoders import Precision


def choose_precision(name: Literal["auto", "bf16", "fp32"], *, device: torch.device) -> Precision:
    """Resolve `auto`: bf16 where the device computes it natively, else fp32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _cpu_has_bf16() else "fp32"


def autocast(precision: Precision, *, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """The context in which forward passes run; weights, gradients and optimizer state stay in fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _cpu_has_bf16() -> bool:
    return "avx512_bf16" in _cpu_flags()


def _cpu_flags() -> frozenset[str]:
    capabilities = torch.cpu.get_capabilities()
    return frozenset(name for name, has in capabilities.items() if has is True)
