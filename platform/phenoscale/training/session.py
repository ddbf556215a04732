"""One process's part of `pretrain`: open the manifest, train, and, on rank 0, write what comes out."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.loading.crops import CropLoader
from phenoscale.loading.fields import ManifestFields, open_fields
from phenoscale.loading.plan import balanced_weights
from phenoscale.logs import get_logger, key_values
from phenoscale.models.encoder import encoder_of, save_encoder
from phenoscale.models.families import find_family
from phenoscale.models.flops import forward_flops, meta_model, paper_flops_of
from phenoscale.stages import Output
from phenoscale.training.checkpoints import keep_newest
from phenoscale.training.config import PretrainConfig
from phenoscale.training.guards import describe_descent
from phenoscale.training.labels import LabeledFields, label_fields
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
CACHE_BYTES = 2 * 2**30  # decoded fields that all ranks of a machine keep in memory together

logger = get_logger(__name__)


def train_encoder(
    config: PretrainConfig,
    *,
    output: Output,
    ranks: Ranks,
    after_record: Callable[[], None],
    preemption: Preemption,
) -> dict[str, Any]:
    """Train, and write encoder, record and reconstructions into a folder; all ranks call this together.

    Args:
        config: of the stage.
        output: of the stage; it may hold the checkpoints of a run that was killed.
        ranks: the processes that train together.
        after_record: called on rank 0 whenever there is a new record.
        preemption: active, so that SIGTERM is noticed.

    Returns:
        The summary of the training; empty on other ranks than 0.
    """
    labeled = open_labeled_fields(config)
    task = build_task(config, labeled=labeled, output=output, ranks=ranks)
    result = train(dataclasses.replace(task, after_record=after_record, preemption=preemption))
    summary: dict[str, Any] = {}
    if ranks.is_first:
        _write_outputs(
            result, task=task, fields=labeled.fields, num_shown=config.as_trained().num_reconstructions
        )
        summary = _summarize(result, task=task, records=read_records(task.metrics_file))
        keep_newest(task.output, num_kept=1)
    ranks.barrier()
    return summary


def open_labeled_fields(config: PretrainConfig) -> LabeledFields:
    """The fields to train on, and their classes where the model learns labels or the crops are drawn by them.

    Raises:
        UserError: stores lack channels that the model needs, or the Fourier loss cannot be taken of some.
    """
    reads_any_channels = "max_channels" in find_family(config.model.family).settings
    fields = open_fields(
        manifest=require(config, "manifest", verb="pretrain"),
        absent="zero" if reads_any_channels else "error",
    )
    if config.loss.fourier == "legacy" and not fields.present.all():
        raise UserError(
            "loss.fourier legacy transforms the tokens of all channels together, but the stores of this "
            "manifest have different channels; use loss.fourier per_patch, or stores with the same channels"
        )
    if config.parallel == "fsdp" and not fields.present.all():
        raise UserError(
            "parallel fsdp needs crops with the same channels, because all processes put the same blocks "
            "together at the same time, but the stores of this manifest have different ones; use parallel ddp"
        )
    if not (config.learns_labels or config.balances_labels):
        return LabeledFields(fields, None, ())
    labeled = label_fields(fields, column=config.label)
    if config.learns_labels and len(labeled.classes) < 2:
        raise UserError(
            f"label {config.label!r} leaves nothing to tell apart: the training fields have "
            f"{', '.join(labeled.classes) or 'no label'} in this column and nothing else; set label to a "
            "column with at least 2 values, or choose a masked family"
        )
    return labeled


def build_task(
    config: PretrainConfig, *, labeled: LabeledFields, output: Output, ranks: Ranks
) -> TrainingTask:
    """The training that a config asks for, on fields that are open."""
    fields, labels = labeled.fields, labeled.labels
    settings = config.settings(
        num_fields=len(fields.rows("train")),
        num_channels=len(fields.channels),
        num_classes=len(labeled.classes),
        intensity_scale=fields.intensity_scale,
        precision=choose_precision(config.precision, device=ranks.device),
    )
    source = CropLoader(
        fields,
        crop_size=settings.model.crop_size,
        seed=settings.seed,
        flip=config.flips,
        cache_bytes=CACHE_BYTES // ranks.world_size,
        same_plate=meta_model(settings.model).needs_same_plate,
        weights=_weights(fields, labels=labels) if config.balances_labels else None,
    )
    facts = {
        "fields": len(fields.rows("train")),
        "steps": settings.schedule.num_steps,
        "global_batch": settings.global_batch,
        "processes": ranks.world_size,
        "device": str(ranks.device),
        "precision": settings.precision,
    }
    logger.info("%s", key_values(event="training", family=config.model.family, **facts))
    return TrainingTask(
        settings=settings,
        source=source,
        field_ids=fields.frame["field_id"].tolist(),
        output=output,
        ranks=ranks,
        labels=labels,
        validation=_read_validation(
            labeled, settings=settings, ranks=ranks, num_crops=config.as_trained().num_validation_crops
        ),
    )


def _weights(fields: ManifestFields, *, labels: NDArray[np.int64] | None) -> NDArray[np.float64]:
    assert labels is not None, "labels that are drawn equally often are known"
    return balanced_weights(labels[fields.rows("train")])


def _read_validation(
    labeled: LabeledFields, *, settings: TrainingSettings, ranks: Ranks, num_crops: int
) -> FixedCrops | None:
    model, fields = meta_model(settings.model), labeled.fields
    labels = None if model.num_mask_tokens else labeled.labels
    run_length = max(model.needs_same_plate, 1)
    rows = choose_validation_rows(fields, num_crops=num_crops, labels=labels, run_length=run_length)
    if len(rows) == 0:
        logger.warning(
            "no validation loss is measured: the manifest has no validation fields that can be judged, or "
            "num_validation_crops is 0"
        )
        return None
    positions = share_of(rows, ranks=ranks, run_length=run_length)
    return read_fixed_crops(fields, rows=rows, settings=settings, positions=positions, labels=labels)


def _write_outputs(
    result: TrainingResult, *, task: TrainingTask, fields: ManifestFields, num_shown: int
) -> None:
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
    write_final_records(folder / METRICS_FILE, read_records(task.metrics_file))
    if not model.num_mask_tokens:
        return
    rows = choose_rows_to_show(fields, num_crops=num_shown)
    if len(rows):
        shown = reconstruct(model, fields=fields, rows=rows, settings=settings)
        write_reconstructions(folder / RECONSTRUCTIONS_FILE, shown)
        draw_reconstructions(folder / FIGURE_FILE, shown)


def _summarize(
    result: TrainingResult, *, task: TrainingTask, records: list[dict[str, float]]
) -> dict[str, Any]:
    settings, model, last = task.settings, result.model, records[-1]
    validation = [record for record in records if "validation_loss" in record]
    encoder, by_rule = model.encoder_weights, paper_flops_of(settings.model)
    return {
        **{name: last[name] for name in ("loss", "accuracy") if name in last},
        "validation_loss": None,
        **{name: value for name, value in (validation or [{}])[-1].items() if name.startswith("validation")},
        "crops_per_second": statistics.median(record["crops_per_second"] for record in records),
        "mfu": statistics.median(record["mfu"] for record in records) if "mfu" in last else None,
        "loader_wait": statistics.median(record["loader_wait"] for record in records),
        **{name: last[name] for name in ("seconds", "cpu_seconds", "memory_gb", "flops")},
        **describe_descent(records, num_records=settings.guards.plateau_records),
        "num_steps": result.num_steps,
        "num_training_crops": result.num_steps * settings.global_batch,
        "is_stopped_early": result.num_steps < settings.schedule.num_steps,
        "num_classes": getattr(settings.model, "num_classes", None),
        "num_parameters": sum(value.numel() for value in model.parameters()),
        "num_encoder_parameters": sum(value.numel() for value in encoder.parameters()),
        "forward_gflops_per_crop": forward_flops(settings.model) / 1e9,
        "paper_gflops_per_crop": None if by_rule is None else by_rule / 1e9,
        "num_processes": task.ranks.world_size,
        "device": task.ranks.device.type,
        "precision": settings.precision,
    }
