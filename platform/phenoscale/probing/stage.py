"""The `probe` verb: which block of an encoder knows most, beside baselines and confounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.config import require
from phenoscale.files import write_atomic
from phenoscale.inference.channels import check_fit, match_channels
from phenoscale.inference.field_means import CropPlan, FieldMeans, Readout, all_blocks, embed_fields
from phenoscale.loading.fields import ManifestFields, open_fields
from phenoscale.loading.iterate import num_crops
from phenoscale.logs import get_logger, key_values, progress
from phenoscale.models.device import choose_device
from phenoscale.models.encoder import load_encoder, save_encoder, trim_encoder
from phenoscale.models.readout import Encoder
from phenoscale.probing.config import ProbeConfig, ProbeTask
from phenoscale.probing.samples import Samples, draw_samples
from phenoscale.probing.scores import (
    Resampling,
    Score,
    best_block,
    score_blocks,
    score_confounds,
    to_row,
)
from phenoscale.schema.encoders import encoder_digest, encoder_folder
from phenoscale.schema.rows import BALANCED_ACCURACY, Row, write_rows
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage

RECORD = "probe.json"
logger = get_logger(__name__)


@dataclass(frozen=True)
class Probed:
    """What the probes say of one encoder: scores of each task, and the score that chose its block."""

    scores: Mapping[str, list[Score]]
    best: Score

    @property
    def block(self) -> int:
        """The chosen block."""
        assert self.best.block is not None, "an embedding's score has a block"
        return self.best.block


def run_probe(config: ProbeConfig, *, observe: Observer = ignore) -> StageResult:
    """Write the encoders cut at their best blocks, the rows and `probe.json`."""
    folders = {config.name: encoder_folder(require(config, "encoder", verb="probe"))}
    folders |= {name: encoder_folder(place) for name, place in config.baselines.items()}
    manifest = require(config, "manifest", verb="probe")
    return run_stage(
        "probe",
        entry=__name__,
        config=config,
        inputs={"manifest": manifest, **{f"encoder {name}": place for name, place in folders.items()}},
        build=partial(_build, config=config, folders=folders, observe=observe),
    )


def _build(
    output: Output, *, config: ProbeConfig, folders: Mapping[str, Path], observe: Observer
) -> Mapping[str, Any]:
    folder = output.folder
    device = choose_device(config.runtime.device)
    encoders = {name: load_encoder(place, device=device) for name, place in folders.items()}
    fields = open_fields(manifest=config.manifest, absent="zero")
    for name, encoder in encoders.items():
        source = f"manifest {config.manifest} (for encoder {name})"
        match_channels(encoder.config, known=fields.channels, source=source)
        check_fit(encoder.config, fields=fields, source=source)
    samples = {task.name: draw_samples(fields.frame, task=task, seed=config.seed) for task in config.tasks}
    means = embed_encoders(encoders, fields, samples=samples, config=config)
    resampling = Resampling(config.num_resamples, config.seed)
    probed = {}
    for name in encoders:
        probed[name] = probe_encoder(
            means[name], embeddings=name, samples=samples, config=config, resampling=resampling
        )
        _tell(name, probed[name], config=config, observe=observe)
    for name, encoder in encoders.items():
        place = folder / "encoder" if name == config.name else folder / "baselines" / name
        save_encoder(place, trim_encoder(encoder, probed[name].block))
    write_rows(folder, _rows(probed, samples=samples, config=config, resampling=resampling))
    record = _record(probed, samples=samples, config=config, folders=folders)
    write_atomic(folder / RECORD, json.dumps(record, indent=1, allow_nan=False).encode())
    return _summary(probed, config=config)


def embed_encoders(
    encoders: Mapping[str, Encoder],
    fields: ManifestFields,
    *,
    samples: Mapping[str, Samples],
    config: ProbeConfig,
) -> dict[str, FieldMeans]:
    """All blocks of all encoders for all fields of all tasks; encoders of one crop plan share one pass."""
    rows = np.unique(np.concatenate([task.rows for task in samples.values()])).astype(np.int64)
    means: dict[str, FieldMeans] = {}
    sharing: dict[tuple[int, int | None], dict[str, Readout]] = {}
    for name, encoder in encoders.items():
        company = (encoder.config.crop_size, encoder.config.ghost_batch)
        sharing.setdefault(company, {})[name] = all_blocks(encoder)
    for (size, ghost_batch), readouts in sharing.items():
        plan = CropPlan(
            size=size,
            minibatch_size=config.minibatch_size,
            device=choose_device(config.runtime.device),
            layout=config.crop_layout,
            ghost_batch=ghost_batch,
        )
        total = num_crops(fields, crop_size=size, layout=plan.layout, rows=rows)
        with progress(total, label="probe: embed") as bar:
            found = embed_fields(readouts, fields, rows=rows, plan=plan, advance=bar.advance)
        means |= dict.fromkeys(readouts, found)
    return means


def probe_encoder(
    means: FieldMeans,
    *,
    embeddings: str,
    samples: Mapping[str, Samples],
    config: ProbeConfig,
    resampling: Resampling,
) -> Probed:
    """Every task on every block of one encoder.

    Args:
        means: embeddings of the fields.
        embeddings: the encoder's name in them.
        samples: the tasks' samples.
        config: the tasks.
        resampling: how intervals are drawn.
    """
    scores = {}
    for task in config.tasks:
        mine = samples[task.name]
        blocks_RND = mine.average(means.embeddings[embeddings], positions=_positions(means, rows=mine.rows))
        scores[task.name] = score_blocks(blocks_RND, samples=mine, task=task, resampling=resampling)
    chooser = config.choosing_task
    return Probed(scores, best_block(scores[chooser.name], strength=chooser.choosing_strength))


def _positions(means: FieldMeans, *, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Where fields stand among the embedded ones."""
    order = np.argsort(means.rows)
    return order[np.searchsorted(means.rows, rows, sorter=order)]


def _tell(name: str, probed: Probed, *, config: ProbeConfig, observe: Observer) -> None:
    for task in config.tasks:
        for score in probed.scores[task.name]:
            if score.features == "embedding" and score.strength == task.choosing_strength:
                assert score.block is not None, "an embedding's score has a block"
                observe(score.block, {f"probe/{task.name}/{name}": score.estimate.value})
    line = key_values(
        encoder=name, task=config.choosing_task.name, block=probed.block, value=probed.best.estimate.value
    )
    logger.info("%s", line)


def _rows(
    probed: Mapping[str, Probed],
    *,
    samples: Mapping[str, Samples],
    config: ProbeConfig,
    resampling: Resampling,
) -> list[Row]:
    rows = []
    for task in config.tasks:
        mine = samples[task.name]
        for score in score_confounds(samples=mine, task=task, resampling=resampling):
            rows.append(to_row(score, samples=mine, task=task, encoder="", chosen=False, seed=config.seed))
        for name, found in probed.items():
            rows += [
                to_row(
                    score,
                    samples=mine,
                    task=task,
                    encoder=name,
                    chosen=score is found.best,
                    seed=config.seed,
                )
                for score in found.scores[task.name]
            ]
    return rows


def _record(
    probed: Mapping[str, Probed],
    *,
    samples: Mapping[str, Samples],
    config: ProbeConfig,
    folders: Mapping[str, Path],
) -> dict[str, Any]:
    """What was chosen and why, as JSON."""
    chooser = config.choosing_task
    return {
        "chosen_by": {
            "task": chooser.name,
            "inverse_regularization": chooser.choosing_strength,
            "rule": "highest balanced accuracy of the out-of-fold predictions, the earliest block of equals",
        },
        "encoders": {
            name: {
                "digest": encoder_digest(folders[name]),
                "block": found.block,
                BALANCED_ACCURACY: found.best.estimate.value,
                "by_block": _curve(found.scores[chooser.name], strength=chooser.choosing_strength),
            }
            for name, found in probed.items()
        },
        "tasks": {task.name: _describe(task, samples[task.name]) for task in config.tasks},
    }


def _curve(scores: list[Score], *, strength: float) -> list[float]:
    return [s.estimate.value for s in scores if s.features == "embedding" and s.strength == strength]


def _describe(task: ProbeTask, samples: Samples) -> dict[str, Any]:
    return {
        "classes": list(samples.classes),
        "num_samples": len(samples.labels),
        "num_groups": len(np.unique(samples.groups)),
        "num_folds": int(samples.folds.max()) + 1,
        "excluded": dict(samples.excluded),
        "excluded_classes": list(samples.excluded_classes),
        "samples_of_classes_unseen_in_training": samples.num_unseen,
        "strengths": list(task.inverse_regularization),
    }


def _summary(probed: Mapping[str, Probed], *, config: ProbeConfig) -> dict[str, Any]:
    summary: dict[str, Any] = {"task": config.choosing_task.name, "block": probed[config.name].block}
    for name, found in probed.items():
        summary[f"block_{name}"] = found.block
        summary[f"balanced_accuracy_{name}"] = found.best.estimate.value
    return summary
