"""Where the time of some steps goes, by kind of kernel: products, attention, the rest, and gaps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

NUM_STEPS = 3
ROW_LIMIT = 60
# The first kind whose pattern is in a kernel's name has it. Names are those of CUDA kernels and of aten.
KINDS = (
    ("attention", re.compile(r"flash|fmha|sdpa|attention|softmax", re.IGNORECASE)),
    (
        "products",
        re.compile(r"gemm|nvjet|cutlass|xmma|triton_tem|aten::(add)?mm|aten::bmm|mkldnn", re.IGNORECASE),
    ),
    ("compiled", re.compile(r"triton", re.IGNORECASE)),
    ("transforms", re.compile(r"fft", re.IGNORECASE)),
    ("optimizer", re.compile(r"multi_tensor|foreach|lion|adam", re.IGNORECASE)),
    ("norms", re.compile(r"layer_?norm", re.IGNORECASE)),
    ("copies", re.compile(r"memcpy|memset|copy_", re.IGNORECASE)),
    ("elementwise", re.compile(r"elementwise|vectorized|reduce", re.IGNORECASE)),
)
# Spans that contain kernels which are events of their own.
_SPANS = ("Optimizer.", "ProfilerStep", "## ", "Torch-Compiled", "TorchDynamo", "nccl:")


def profile_steps(
    step: Callable[[], object], *, device: torch.device, file: Path, seconds_per_step: float
) -> dict[str, float]:
    """Run some steps under torch's profiler, write its table, and return each kind's share of the time.

    On a GPU the shares are of the time that the steps take without the profiler, and `idle` is what no kernel
    fills. On a CPU they are of all operators' own time.
    """
    is_cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with profile(activities=activities) as profiled:
        for _ in range(NUM_STEPS):
            step()
        if is_cuda:
            torch.cuda.synchronize(device)
    averages = profiled.key_averages()
    sort_by = "self_cuda_time_total" if is_cuda else "self_cpu_time_total"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(averages.table(sort_by=sort_by, row_limit=ROW_LIMIT), encoding="utf-8")
    spent: dict[str, float] = {}
    for event in averages:
        if event.key.startswith(_SPANS) or getattr(event, "is_user_annotation", False):
            continue
        if is_cuda and event.device_type != torch.autograd.DeviceType.CUDA:
            continue  # an operator's kernels are events of their own
        own_us = float(event.self_device_time_total if is_cuda else event.self_cpu_time_total)
        spent[_kind(event.key)] = spent.get(_kind(event.key), 0.0) + own_us
    total = sum(spent.values())
    if is_cuda:
        total = max(total, NUM_STEPS * seconds_per_step * 1e6)
    shares = {kind: time_us / total for kind, time_us in sorted(spent.items(), key=lambda item: -item[1])}
    if is_cuda:
        shares["idle"] = max(0.0, 1.0 - sum(shares.values()))
    return shares


def _kind(name: str) -> str:
    return next((kind for kind, pattern in KINDS if pattern.search(name)), "other")
