"""What trainings of the literature took, and the share of the chips' rate that it comes to by our count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from phenoscale.training.chips import find_chip

SECONDS_PER_HOUR: Final = 3600


@dataclass(frozen=True)
class PublishedBill:
    """A training of the literature: what was trained, on how much, and the GPU-hours that it took."""

    model: str
    family: str
    size: str
    num_crops: float
    gpu_kind: str
    gpu_hours: float
    source: str


# science.md 1.6 and 9.12; crops of the last two are images x epochs
PUBLISHED_BILLS: Final = tuple(
    PublishedBill(*bill)
    for bill in (
        ("MAE ViT-L/8+, RPI-93M", "mae", "L/8", 3.5e9, "a100", 20_000, "MAE paper"),
        ("MAE ViT-G/8, PP-16M", "mae", "G/8", 8e9, "h100", 43_000, "ViTally slides"),
        ("MAE ViT-G/8, PP-16M", "mae", "G/8", 8e9, "h100", 48_000, "ViTally"),
        ("MAE ViT-L/8, PP-16M", "mae", "L/8", 8e9, "h100", 15_360, "ViTally"),
        ("CA-MAE ViT-S/16, RxRx3", "ca_mae", "S/16", 2_222_096 * 100, "a100", 400, "ViTally"),
    )
)


@dataclass(frozen=True, kw_only=True)
class BillLine:
    """A published bill, and what it means by our count of operations: forward three times, decoder included.

    Attributes:
        mfu: share of the chips' dense bf16 rate that the published hours come to.
        gpu_hours_at_plan: hours of the same chips at the MFU of this plan.
    """

    model: str
    source: str
    num_crops: float
    gpu: str
    gpu_hours: float
    mfu: float
    gpu_hours_at_plan: float


def published_bills(mfu: float) -> tuple[BillLine, ...]:
    """The published bills beside what the same training takes at an MFU."""
    from phenoscale.models.families import model_config
    from phenoscale.models.flops import training_flops

    lines = []
    for bill in PUBLISHED_BILLS:
        chip = find_chip(bill.gpu_kind)
        model = model_config(bill.family, size=bill.size, num_channels=6)
        hours_at_peak = training_flops(model) * bill.num_crops / (chip.bf16_flops * SECONDS_PER_HOUR)
        lines.append(
            BillLine(
                model=bill.model,
                source=bill.source,
                num_crops=bill.num_crops,
                gpu=chip.name,
                gpu_hours=bill.gpu_hours,
                mfu=hours_at_peak / bill.gpu_hours,
                gpu_hours_at_plan=hours_at_peak / mfu,
            )
        )
    return tuple(lines)
