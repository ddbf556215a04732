"""Accelerators that trainings run on: dense bf16 rate, memory, and the networks around them, as published.

Rates are those of matrix products without structured sparsity, from NVIDIA's data sheets of each product
(newer ones print the rate with sparsity, which is twice as much). A matrix product reaches less:
bench/train.py measures how much, and states MFU against that as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from phenoscale.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One kind of accelerator.

    Attributes:
        marks: words of the device name that torch reports, in capitals; all must be in it.
        bf16_flops: dense operations a second in bf16; for the T4, which lacks it, in fp16.
        memory_gib: memory as the maker prints it: GB on the data sheet, but of 2^30 bytes.
    """

    name: str
    marks: tuple[str, ...]
    bf16_flops: float
    memory_gib: float


# The first chip that fits a device's name wins: special forms stand before the ordinary one.
CHIPS: Final[dict[str, Chip]] = {
    # A100 data sheet (2021): 312 TFLOPS
    "a100-40gb": Chip(name="A100-40GB", marks=("A100", "40GB"), bf16_flops=312e12, memory_gib=40),
    "a100": Chip(name="A100-80GB", marks=("A100",), bf16_flops=312e12, memory_gib=80),
    # H100 data sheet (2023), with sparsity: SXM 1,979; PCIe 1,513; NVL 1,671, 94 GB
    "h100-pcie": Chip(name="H100 PCIe", marks=("H100", "PCIE"), bf16_flops=756e12, memory_gib=80),
    "h100-nvl": Chip(name="H100 NVL", marks=("H100", "NVL"), bf16_flops=835e12, memory_gib=94),
    "h100": Chip(name="H100 SXM", marks=("H100",), bf16_flops=989e12, memory_gib=80),
    # GH200 data sheet (2023): the GPU of the H100 SXM, 96 or 144 GB
    "gh200": Chip(name="GH200", marks=("GH200",), bf16_flops=989e12, memory_gib=96),
    # H200 data sheet (2024): SXM 1,979 with sparsity, 141 GB; NVL 1,671 with sparsity
    "h200-nvl": Chip(name="H200 NVL", marks=("H200", "NVL"), bf16_flops=835e12, memory_gib=141),
    "h200": Chip(name="H200 SXM", marks=("H200",), bf16_flops=989e12, memory_gib=141),
    # DGX B200 data sheet (2024): 8 GPUs 36 PFLOPS bf16 with sparsity, 1,440 GB
    "b200": Chip(name="B200", marks=("B200",), bf16_flops=2250e12, memory_gib=180),
    # L4 data sheet (2023): 242 with sparsity, 24 GB
    "l4": Chip(name="L4", marks=("L4",), bf16_flops=121e12, memory_gib=24),
    # L40S data sheet (2023): 362.05 dense, 48 GB
    "l40s": Chip(name="L40S", marks=("L40S",), bf16_flops=362e12, memory_gib=48),
    # A10 data sheet (2021): 125 dense, 24 GB
    "a10": Chip(name="A10", marks=("A10",), bf16_flops=125e12, memory_gib=24),
    # T4 data sheet (2019): 65 in fp16 (no bf16), 16 GB
    "t4": Chip(name="T4", marks=("T4",), bf16_flops=65e12, memory_gib=16),
}


def find_chip(kind: str) -> Chip:
    """The chip of a name such as `h100`.

    Raises:
        UserError: there is none of that name.
    """
    if kind.lower() not in CHIPS:
        raise UserError(f"there is no GPU kind {kind!r} in the table; choose one of {', '.join(CHIPS)}")
    return CHIPS[kind.lower()]


def chip_of_device(device_name: str) -> Chip | None:
    """The chip that torch calls `device_name` (`NVIDIA H100 80GB HBM3`); None for one not in the table."""
    words = set(device_name.upper().replace("-", " ").split())
    if "MIG" in words:  # a slice of a chip has neither its rate nor its memory
        return None
    return next((chip for chip in CHIPS.values() if words.issuperset(chip.marks)), None)


def peak_bf16_flops(device_name: str) -> float | None:
    """Dense bf16 operations a second of a device by its name; None for one that is not in the table."""
    chip = chip_of_device(device_name)
    return chip.bf16_flops if chip else None
