"""The plan of a training as lines for a person to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phenoscale.operations.pretrain_plan import Layout, PretrainPlan
    from phenoscale.operations.published_bills import BillLine


def plan_text(plan: PretrainPlan) -> str:
    """The whole plan."""
    return "\n".join(
        [*_model(plan), *_work(plan), *_layouts(plan), *_published(plan.published, mfu=plan.mfu)]
    )


def _model(plan: PretrainPlan) -> list[str]:
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


def _work(plan: PretrainPlan) -> list[str]:
    hours = f"{_amount(plan.gpu_hours)} GPU-hours, {_amount(plan.days)} days on {plan.gpus} x {plan.gpu}"
    cost = "" if plan.cost is None else f", cost {plan.cost:,.0f}"
    return [
        f"  crops           {plan.num_crops:,.0f} in {plan.num_steps:,} steps of {plan.global_batch:,}",
        f"  total           {plan.total_flop:.3g} FLOP",
        f"  MFU             {plan.mfu:.1%} ({plan.mfu_source}): {plan.crops_per_second:,.0f} crops a second",
        f"  bill            {hours}{cost}",
    ]


def _layouts(plan: PretrainPlan) -> list[str]:
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
