"""What a training would take on GPUs of a kind, before it runs: parameters, operations, memory, hours, money.

Beside it stand the published bills, each with the share of the chip's rate that it comes to by our own count.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phenoscale.errors import UserError
from phenoscale.operations.planning.config import PlanTrainingConfig
from phenoscale.operations.planning.published_bills import SECONDS_PER_HOUR, published_bills
from phenoscale.operations.planning.training_bill import Layout, TrainingPlan
from phenoscale.schema.manifest import read_manifest
from phenoscale.schema.readable import readable
from phenoscale.training.chips import Chip, chip_of_device, find_chip

if TYPE_CHECKING:
    from phenoscale.training.memory import CropMemory, StateMemory
    from phenoscale.training.settings import TrainingSettings

GB: Final = 1e9
USABLE_MEMORY: Final = 0.9  # the driver, the network library and fragmentation have the rest
TARGET_MFU: Final = 0.5
POLICIES: Final = ("none", "elementwise", "blocks")


def plan_training(config: PlanTrainingConfig) -> TrainingPlan:
    """Work out a training's size without running it.

    Raises:
        UserError: nothing says how many crops are seen, the batch does not divide over the GPUs, or a GPU or
            calibration is unknown.
    """
    from phenoscale.models.flops import forward_flops, meta_model, training_flops
    from phenoscale.training.memory import checkpoint_bytes

    if config.tiny:
        raise UserError("plan training was given tiny, which is a rehearsal of two steps; leave it out")
    chip = find_chip(config.gpu_kind)
    settings = _settings(config)
    model = meta_model(settings.model)
    num_parameters = sum(value.numel() for value in model.parameters())
    num_encoder = sum(value.numel() for value in model.encoder_weights.parameters())
    num_crops = float(config.num_crops or settings.schedule.num_steps * settings.global_batch)
    mfu, mfu_source = _mfu(config)
    total = training_flops(settings.model) * num_crops
    gpu_hours = total / (mfu * chip.bf16_flops * SECONDS_PER_HOUR)
    return TrainingPlan(
        model=f"{config.model.family} {config.model.size}",
        num_encoder_parameters=num_encoder,
        num_other_parameters=num_parameters - num_encoder,
        num_tokens=getattr(settings.model, "num_tokens", None),
        num_tokens_kept=getattr(settings.model, "num_kept", None),
        forward_gflop=forward_flops(settings.model) / GB,
        training_gflop=training_flops(settings.model) / GB,
        paper_gflop=_paper_gflop(config),
        num_crops=num_crops,
        num_steps=round(num_crops / settings.global_batch),
        global_batch=settings.global_batch,
        optimizer=settings.optimizer.name,
        total_flop=total,
        checkpoint_gb=checkpoint_bytes(settings, num_parameters=num_parameters) / GB,
        gpus=config.gpus,
        gpu=chip.name,
        usable_gb=_usable_bytes(chip) / GB,
        mfu=mfu,
        mfu_source=mfu_source,
        crops_per_second=config.gpus * mfu * chip.bf16_flops / training_flops(settings.model),
        gpu_hours=gpu_hours,
        days=gpu_hours / config.gpus / 24,
        cost=None if config.price_per_gpu_hour is None else gpu_hours * config.price_per_gpu_hour,
        layouts=layouts(settings, gpus=config.gpus, chip=chip),
        published=published_bills(mfu),
    )


def layouts(settings: TrainingSettings, *, gpus: int, chip: Chip) -> tuple[Layout, ...]:
    """Every sharding with every recomputation, the cheapest in work first.

    What recomputation saves is known for masked transformers; other families are shown without it.

    Raises:
        UserError: the global batch does not divide over the GPUs.
    """
    from phenoscale.models.flops import meta_model
    from phenoscale.training.memory import crop_memory, has_closed_form, state_memory
    from phenoscale.training.settings import plan_batch

    plan_batch(settings.global_batch, micro_batch=0, num_ranks=gpus)
    model = meta_model(settings.model)
    counts = {
        "num_parameters": sum(value.numel() for value in model.parameters()),
        "largest_block": max(sum(v.numel() for v in block.parameters()) for block in model.blocks()),
    }
    group = max(1, model.needs_same_plate)
    found = []
    for sharding in ("ddp", "fsdp") if gpus > 1 else ("ddp",):
        for policy in POLICIES if has_closed_form(settings.model) else POLICIES[:1]:
            chosen = dataclasses.replace(settings, recompute=policy)
            state = state_memory(chosen, **counts, num_shards=gpus if sharding == "fsdp" else 1)
            crop = crop_memory(chosen)
            found.append(
                _layout(
                    (sharding, policy),
                    state=state,
                    crop=crop,
                    usable=_usable_bytes(chip),
                    rank_batch=settings.global_batch // gpus,
                    group=group,
                )
            )
    return tuple(found)


def _layout(
    names: tuple[str, str],
    *,
    state: StateMemory,
    crop: CropMemory,
    usable: float,
    rank_batch: int,
    group: int,
) -> Layout:
    fits = max(0, int((usable - state.total) // crop.total))
    sizes = (size for size in range(min(fits, rank_batch), 0, -1) if rank_batch % size == 0)
    micro_batch = next((size for size in sizes if size % group == 0), 0)
    return Layout(
        sharding=names[0],
        recompute=names[1],
        state_gb=(state.total - state.copies) / GB,
        copies_gb=state.copies / GB,
        crop_gb=crop.total / GB,
        max_micro_batch=fits,
        micro_batch=micro_batch,
        num_accumulations=rank_batch // micro_batch if micro_batch else 0,
        total_gb=(state.total + micro_batch * crop.total) / GB if micro_batch else None,
    )


def _usable_bytes(chip: Chip) -> float:
    return USABLE_MEMORY * chip.memory_gib * 2**30


def _settings(config: PlanTrainingConfig) -> TrainingSettings:
    manifest = read_manifest(config.manifest) if config.manifest else None
    num_images = config.num_images or (manifest.count("train") if manifest else None)
    if num_images is None and config.num_crops is None and config.num_steps is None:
        raise UserError(
            "nothing says how many crops this training sees: give --manifest, --num-images (times "
            "num_epochs), --num-crops or --num-steps"
        )
    return config.settings(
        num_fields=num_images or 1,
        num_channels=len(manifest.channels) if manifest else config.num_channels,
        intensity_scale=1.0,
        precision="fp32" if config.precision == "fp32" else "bf16",
        num_classes=config.num_classes if config.learns_labels else None,
    )


def _paper_gflop(config: PlanTrainingConfig) -> float | None:
    from phenoscale.models.flops import paper_flops

    size, _, patch = config.model.size.partition("/")
    if config.model.family != "mae" or not patch.isdigit():
        return None
    try:
        return paper_flops(size, patch_size=int(patch)) / GB
    except UserError:
        return None


def _mfu(config: PlanTrainingConfig) -> tuple[float, str]:
    if config.mfu is not None and config.calibration:
        raise UserError("give --mfu or --calibration, not both: a calibration is a measured MFU")
    if config.calibration:
        return calibrated_mfu(Path(config.calibration), family=config.model.family, size=config.model.size)
    if config.mfu is not None:
        return config.mfu, "as given"
    return TARGET_MFU, "assumed: the target of bench/train.py, not a measurement"


def calibrated_mfu(file: Path, *, family: str, size: str) -> tuple[float, str]:
    """The share of the data sheet's rate that bench/train.py measured for a model, and where.

    Raises:
        UserError: no such file, not of bench/train.py, not of a chip of the table, or without that model.
    """
    record = _read_record(file)
    device = str(record.get("machine", {}).get("device", ""))
    chip = chip_of_device(device)
    if chip is None:
        raise UserError(
            f"{file} was measured on {device!r}, whose rate is not in the table of chips; calibrate with a "
            "measurement on a GPU of the table, or give --mfu"
        )
    measured = {
        str(line["size"]): float(line["flops_per_second"])
        for line in record["results"]
        if line["path"] == "ours"
    }
    if family != "mae" or size not in measured:
        raise UserError(
            f"{file} has no measurement of {family} {size}, only of mae {', '.join(measured)}; run "
            f"bench/train.py with --sizes {size}, or give --mfu"
        )
    return measured[
        size
    ] / chip.bf16_flops, f"measured on {device}, {record['machine'].get('date', 'no date')}"


def _read_record(file: Path) -> Mapping[str, Any]:
    way_out = "give what bench/train.py --output wrote, or --mfu"
    with readable(file, holds="a calibration", kind="readable JSON", way_out=way_out):
        record = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(record, dict) or record.get("bench") != "train":
        raise UserError(f"{file} is not a record of bench/train.py; give what bench/train.py --output wrote")
    return record
