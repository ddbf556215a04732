"""Crops on their way to a GPU while it works. Shapes: B minibatch, C channels, H W pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor

Item = TypeVar("Item")


def copied(
    items: Iterable[tuple[Item, npt.NDArray[Any]]], *, device: torch.device
) -> Iterator[tuple[Item, Tensor]]:
    """Each item with its crops on the device.

    Copies to a GPU run beside its work: ask for the next item before waiting for results of the last.
    """
    if device.type != "cuda":
        for item, crops_BCHW in items:
            yield item, torch.from_numpy(crops_BCHW).to(device)
        return
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for item, crops_BCHW in items:
        pinned_BCHW = torch.from_numpy(crops_BCHW).pin_memory()
        with torch.cuda.stream(copying):
            there_BCHW = pinned_BCHW.to(device, non_blocking=True)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        there_BCHW.record_stream(computing)
        yield item, there_BCHW
