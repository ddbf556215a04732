"""Which device and which floating-point format a run uses, and the context that applies it.

bf16 on a CPU is chosen where it has the instructions (avx512_bf16): measured on an EPYC with one thread, a
step of the `small` size with 64 crops takes .38 s of processor time instead of .58 s in fp32 (the whole step:
preprocessing, loss and optimizer included).
"""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

from phenoscale.errors import UserError
from phenoscale.schema.encoders import Precision


def choose_device(name: str, *, local_rank: int = 0) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device; without N it is the GPU number `local_rank`.

    Raises:
        UserError: no such device here, or not a device at all.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(f"device {name!r} is not one of auto, cpu, cuda, cuda:N; correct runtime.device")
    if kind == "cpu":
        return torch.device("cpu")
    index = int(number) if number else local_rank
    if index >= torch.cuda.device_count():
        raise UserError(
            f"device cuda:{index} does not exist, this machine has {torch.cuda.device_count()} usable GPUs; "
            "set runtime.device to cpu or auto, or start fewer processes"
        )
    return torch.device("cuda", index)


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
