"""One process's part of `pretrain`: open the manifest, train, and, on rank 0, write what comes out."""

from __future__ import annotations

import copy
import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from phenoscale.config import require
from phenoscale.loading.crops import CropLoader
from phenoscale.loading.fields import ManifestFields, load_manifest_fields
from phenoscale.logs import get_logger, key_values
from phenoscale.models.encoder import encoder_of, save_encoder
from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.storage import write_atomic
from phenoscale.training.checkpoints import keep_newest
from phenoscale.training.config import PretrainConfig
from phenoscale.training.loop import TrainingResult, train
from phenoscale.training.metrics import read_records, write_final_records
from phenoscale.training.precision import choose_precision
from phenoscale.training.preemption import Preemption
from phenoscale.training.ranks import Ranks
from phenoscale.training.reconstructions import (
    choose_rows_to_show,
    draw_reconstructions,
    reconstruct,
    write_reconstructions,
)
from phenoscale.training.settings import TrainingSettings
from phenoscale.training.task import TrainingTask
from phenoscale.training.validation import FixedCrops, choose_validation_rows, read_fixed_crops, share_of

METRICS_FILE = "metrics.jsonl"
RECONSTRUCTIONS_FILE = "reconstructions.npz"
FIGURE_FILE = "figures/reconstructions.png"
SUMMARY_FILE = "logs/summary.json"
CACHE_BYTES = 2 * 2**30  # decoded fields that all ranks of a machine keep in memory together

logger = get_logger(__name__)


def train_encoder(
    config: PretrainConfig,
    *,
    folder: Path,
    ranks: Ranks,
    after_record: Callable[[], None],
    preemption: Preemption,
) -> dict[str, Any]:
    """Train, and write encoder, record and reconstructions into a folder; all ranks call this together.

    Args:
        config: of the stage.
        folder: the stage's output, which may hold the checkpoints of a run that was killed.
        ranks: the processes that train together.
        after_record: called on rank 0 whenever there is a new record.
        preemption: active, so that SIGTERM is noticed.

    Returns:
        The summary of the training; empty on other ranks than 0.
    """
    fields = load_manifest_fields(require(config, "manifest", verb="pretrain"))
    task = _build_task(config, fields=fields, folder=folder, ranks=ranks)
    result = train(dataclasses.replace(task, after_record=after_record, preemption=preemption))
    summary: dict[str, Any] = {}
    if ranks.is_first:
        summary = _write_outputs(result, task=task, fields=fields, num_shown=config.num_reconstructions)
        write_atomic(folder / SUMMARY_FILE, json.dumps(summary, indent=1).encode())
        keep_newest(task.checkpoint_folder, num_kept=1)
    ranks.barrier()
    return summary


def _build_task(
    config: PretrainConfig, *, fields: ManifestFields, folder: Path, ranks: Ranks
) -> TrainingTask:
    settings = config.settings(
        num_fields=len(fields.rows("train")),
        num_channels=len(fields.channels),
        intensity_scale=fields.intensity_scale,
        precision=choose_precision(config.precision, device=ranks.device),
    )
    source = CropLoader(
        fields,
        crop_size=settings.model.crop_size,
        seed=settings.seed,
        flip=config.flips,
        cache_bytes=CACHE_BYTES // ranks.world_size,
    )
    logger.info(
        "%s",
        key_values(
            event="training",
            fields=source.num_samples,
            steps=settings.schedule.num_steps,
            global_batch=settings.global_batch,
            processes=ranks.world_size,
            device=str(ranks.device),
            precision=settings.precision,
        ),
    )
    return TrainingTask(
        settings=settings,
        source=source,
        field_ids=fields.frame["field_id"].tolist(),
        folder=folder,
        ranks=ranks,
        validation=_read_validation(
            fields, settings=settings, ranks=ranks, num_crops=config.num_validation_crops
        ),
    )


def _read_validation(
    fields: ManifestFields, *, settings: TrainingSettings, ranks: Ranks, num_crops: int
) -> FixedCrops | None:
    rows = choose_validation_rows(fields, num_crops=num_crops)
    if len(rows) == 0:
        logger.warning(
            "no validation loss is measured: the manifest has no validation fields, or "
            "num_validation_crops is 0"
        )
        return None
    return read_fixed_crops(fields, rows=rows, settings=settings, positions=share_of(rows, ranks=ranks))


def _write_outputs(
    result: TrainingResult, *, task: TrainingTask, fields: ManifestFields, num_shown: int
) -> dict[str, Any]:
    settings, folder = task.settings, task.folder
    model = result.model.eval()
    config = model.encoder_config(
        channels=fields.channels,
        intensity_scale=settings.intensity_scale,
        # embeddings made on a CPU are the same on every CPU; on a GPU speed decides
        precision=settings.precision if task.ranks.device.type == "cuda" else "fp32",
        is_trained=True,
        num_training_crops=result.num_steps * settings.global_batch,
        seed=settings.seed,
    )
    save_encoder(folder / "encoder", encoder_of(model.encoder_weights, config))
    records = read_records(task.metrics_file)
    write_final_records(folder / METRICS_FILE, records)
    rows = choose_rows_to_show(fields, num_crops=num_shown)
    if len(rows):
        shown = reconstruct(model, fields=fields, rows=rows, settings=settings)
        write_reconstructions(folder / RECONSTRUCTIONS_FILE, shown, channels=fields.channels)
        draw_reconstructions(folder / FIGURE_FILE, shown)
    return _summarize(result, task=task, records=records)


def _summarize(
    result: TrainingResult, *, task: TrainingTask, records: list[dict[str, float]]
) -> dict[str, Any]:
    settings, model = task.settings, result.model
    validation = [record["validation_loss"] for record in records if "validation_loss" in record]
    return {
        "loss": records[-1]["loss"],
        "validation_loss": validation[-1] if validation else None,
        "crops_per_second": statistics.median(record["crops_per_second"] for record in records),
        "seconds": records[-1]["seconds"],
        "num_steps": result.num_steps,
        "num_training_crops": result.num_steps * settings.global_batch,
        "is_stopped_early": result.num_steps < settings.schedule.num_steps,
        "num_parameters": sum(value.numel() for value in model.parameters()),
        "num_encoder_parameters": sum(value.numel() for value in model.encoder.parameters()),
        "forward_gflops_per_crop": forward_flops(model) / 1e9,
        "num_processes": task.ranks.world_size,
        "device": task.ranks.device.type,
        "precision": settings.precision,
    }


def forward_flops(model: MaskedAutoencoder) -> int:
    """Floating-point operations of one forward pass of one crop, masked: counted on shapes, not computed."""
    config = model.config
    shape = (1, config.num_channels, config.crop_size, config.crop_size)
    twin = copy.deepcopy(model).to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(torch.empty(shape, device="meta"), torch.empty(1, config.num_tokens, device="meta"))
    return int(counter.get_total_flops())
