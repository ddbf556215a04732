"""Which device a run uses: this machine's processor, or one of its GPUs."""

from __future__ import annotations

import torch

from phenoscale.errors import UserError


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
