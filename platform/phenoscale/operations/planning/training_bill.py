"""What a training takes, as a value and as lines for a person to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phenoscale.operations.planning.published_bills import BillLine


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way to place the training: what each GPU holds, and how the global batch is divided.

    Attributes:
        sharding: ddp, the whole state on every GPU, or fsdp, divided over all of them.
        recompute: what the backward pass computes again.
        state_gb: weights, gradients, optimizer and averages.
        copies_gb: weights in the precision of the forward pass, gathered blocks.
        crop_gb: activations of one crop.
        max_micro_batch: crops that fit at once; 0 means that not one does.
        micro_batch: the largest that fits and divides a GPU's part of the global batch.
        num_accumulations: forward passes of a step.
        total_gb: state and activations at that micro-batch; None where nothing fits.
    """

    sharding: str
    recompute: str
    state_gb: float
    copies_gb: float
    crop_gb: float
    max_micro_batch: int
    micro_batch: int
    num_accumulations: int
    total_gb: float | None


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The whole plan; GFLOP are per crop."""

    model: str
    num_encoder_parameters: int
    num_other_parameters: int
    num_tokens: int | None
    num_tokens_kept: int | None
    forward_gflop: float
    training_gflop: float
    paper_gflop: float | None
    num_crops: float
    num_steps: int
    global_batch: int
    optimizer: str
    total_flop: float
    checkpoint_gb: float
    gpus: int
    gpu: str
    usable_gb: float
    mfu: float
    mfu_source: str
    crops_per_second: float
    gpu_hours: float
    days: float
    cost: float | None
    layouts: tuple[Layout, ...]
    published: tuple[BillLine, ...]

    def text(self) -> str:
        """The plan for a person to read."""
        return "\n".join(
            [*_model(self), *_work(self), *_layouts(self), *_published(self.published, mfu=self.mfu)]
        )


def _model(plan: TrainingPlan) -> list[str]:
    parts = plan.num_encoder_parameters, plan.num_other_parameters
    lines = [
        plan.model,
        f"  parameters      {parts[0] / 1e6:,.1f} M encoder + {parts[1] / 1e6:,.1f} M that only train it",
    ]
    if plan.num_tokens_kept is not None:
        kept = f"{plan.num_tokens_kept} of {plan.num_tokens}"
        lines.append(f"  tokens          {kept} kept by the mask, and a class token")
    lines.append(
        f"  GFLOP a crop    {plan.forward_gflop:,.1f} forward, {plan.training_gflop:,.1f} training "
        "(decoder and attention in, recomputation out)"
    )
    if plan.paper_gflop is not None:
        lines.append(
            f"                  {plan.paper_gflop:,.1f} by the papers' rule (whole encoder, forward)"
        )
    lines.append(f"  checkpoint      {plan.checkpoint_gb:,.1f} GB with the state of {plan.optimizer}")
    return lines


def _amount(value: float) -> str:
    """Whole numbers where they say enough, else two digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _work(plan: TrainingPlan) -> list[str]:
    hours = f"{_amount(plan.gpu_hours)} GPU-hours, {_amount(plan.days)} days on {plan.gpus} x {plan.gpu}"
    cost = "" if plan.cost is None else f", cost {plan.cost:,.0f}"
    return [
        f"  crops           {plan.num_crops:,.0f} in {plan.num_steps:,} steps of {plan.global_batch:,}",
        f"  total           {plan.total_flop:.3g} FLOP",
        f"  MFU             {plan.mfu:.1%} ({plan.mfu_source}): {plan.crops_per_second:,.0f} crops a second",
        f"  bill            {hours}{cost}",
    ]


def _layouts(plan: TrainingPlan) -> list[str]:
    rows = [
        (
            "sharding",
            "recompute",
            "state GB",
            "copies GB",
            "GB a crop",
            "fit",
            "micro batch",
            "times",
            "GB in use",
        ),
        *(_layout_row(layout) for layout in plan.layouts),
    ]
    return ["", f"memory of one {plan.gpu}, {plan.usable_gb:.0f} GB usable", *_table(rows)]


def _layout_row(layout: Layout) -> tuple[str, ...]:
    fits = layout.micro_batch > 0
    return (
        layout.sharding,
        layout.recompute,
        f"{layout.state_gb:.1f}",
        f"{layout.copies_gb:.1f}",
        f"{layout.crop_gb:.3f}",
        str(layout.max_micro_batch),
        str(layout.micro_batch) if fits else "none",
        str(layout.num_accumulations) if fits else "",
        f"{layout.total_gb:.1f}" if layout.total_gb is not None else "too much",
    )


def _published(bills: Sequence[BillLine], *, mfu: float) -> list[str]:
    rows = [("published", "crops", "on", "GPU-hours", "MFU", f"GPU-hours at {mfu:.0%}")]
    for bill in bills:
        rows.append(
            (
                f"{bill.model} ({bill.source})",
                f"{bill.num_crops / 1e9:.2f} B",
                bill.gpu,
                f"{bill.gpu_hours:,.0f}",
                f"{bill.mfu:.1%}",
                f"{bill.gpu_hours_at_plan:,.0f}",
            )
        )
    return ["", *_table(rows)]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows under each other: words to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    is_words = [all(not cell[:1].isdigit() for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            f"{cell:<{width}}" if words else f"{cell:>{width}}"
            for cell, width, words in zip(row, widths, is_words, strict=True)
        ).rstrip()
        for row in rows
    ]
