"""Trainings that two real ranks do together, one program each.

The ranks do everything in one start, because starting costs more than training; tests look at what they
leave. Tests train the same cases with one process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from phenoscale.models.families import build_model
from phenoscale.stages import Output
from phenoscale.training.checkpoints import Checkpoints, list_checkpoints
from phenoscale.training.guards import Verdict
from phenoscale.training.loop import prepare, train
from phenoscale.training.ranks import join_ranks
from phenoscale.training.validation import choose_validation_rows, read_fixed_crops, share_of
from tests.support.pretraining import family_model, tiny_settings, tiny_task

SGD = {"optimizer": "sgd", "learning_rate": 0.05, "validate_every_steps": 6}
CASES = {
    "sgd": tiny_settings(**SGD),
    "accumulated": tiny_settings(**SGD, micro_batch=2),
    "averaged": tiny_settings(**SGD, ema_decay=0.8),
    "recomputed": tiny_settings(**SGD, recompute="blocks"),
    "bf16": tiny_settings(**SGD, precision="bf16"),
    "lion": tiny_settings(validate_every_steps=6),
    "adamw": tiny_settings(optimizer="adamw", validate_every_steps=6),
}
MIXED = tiny_settings(**SGD, model=family_model("ca_mae"), micro_batch=1)
CROSSED = tiny_settings(**SGD, ema_decay=0.8)
CROSSINGS = (("ddp", "fsdp"), ("fsdp", "ddp"), ("fsdp", "fsdp"))
WAYS = ("ddp", "fsdp")


class StopAt:
    """Ends a training early, with a checkpoint."""

    def __init__(self, step):
        self.step = step

    def see(self, record):
        return Verdict.STOP if record["step"] == self.step else Verdict.CONTINUE


def train_case(settings, manifest, folder, *, ranks, callbacks=()):
    """Train, with five validation crops, which two ranks do not share evenly; rank 0 keeps the weights."""
    folder = Path(folder)
    task = tiny_task(manifest, folder, ranks=ranks, settings=settings, callbacks=callbacks)
    rows = choose_validation_rows(task.source.fields, num_crops=5)
    if len(rows):
        share = share_of(rows, ranks=ranks)
        crops = read_fixed_crops(task.source.fields, rows=rows, settings=settings, positions=share)
        task = dataclasses.replace(task, validation=crops)
    result = train(task)
    if ranks.is_first:
        weights = {name: value.contiguous() for name, value in result.model.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")


def cross(manifest, folder, *, ranks):
    """Begin a training in one way, and end it in another."""
    for begun, ended in CROSSINGS:
        place = folder / f"{begun}-{ended}"
        first, second = (dataclasses.replace(CROSSED, parallel=way) for way in (begun, ended))
        train_case(first, manifest, place, ranks=ranks, callbacks=[StopAt(7)])
        train_case(second, manifest, place, ranks=ranks)


def fill(model, value):
    """Give all weights one value."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def own_values(tensors):
    """What values this rank's parts of some tensors have."""
    parts = [value.to_local() if isinstance(value, DTensor) else value for value in tensors]
    return sorted({number for part in parts for number in part.detach().unique().tolist()})


def write_behind(folder, *, ranks, way):
    """Write three checkpoints from threads while the weights change; load the newest into another model."""
    settings = tiny_settings(parallel=way, ema_decay=0.5, keep_checkpoints=2)
    models = [build_model(settings.model, seed=seed) for seed in (0, 1)]
    trained, fresh = (prepare(model, settings=settings, ranks=ranks) for model in models)
    fill(trained.model, 0.0)
    trained.ema.exchange()
    checkpoints = Checkpoints(Output(folder), settings=settings, ranks=ranks, is_asynchronous=True)
    with contextlib.closing(checkpoints):
        for step in (1, 2, 3):
            fill(trained.model, float(step))
            trained.ema.update()
            checkpoints.save(step, trained=trained)
        fill(trained.model, -1.0)
        trained.ema.update()
        checkpoints.wait()
        ranks.barrier()
        step = checkpoints.load_newest(fresh)
    found = {
        "step": step,
        "weights": own_values(fresh.model.parameters()),
        "averages": own_values(fresh.ema.weights.values()),
        "kept": [Path(name).name for name in list_checkpoints(Output(folder))],
    }
    everyone = ranks.gather(found)
    if ranks.is_first:
        (folder / "found.json").write_text(json.dumps(everyone))


def main():
    """Everything, for the command line MANIFEST MIXED FOLDER."""
    manifest, mixed, folder = map(Path, sys.argv[1:])
    with join_ranks("cpu") as ranks:
        for way in WAYS:
            for name, settings in CASES.items():
                changed = dataclasses.replace(settings, parallel=way)
                train_case(changed, manifest, folder / way / name, ranks=ranks)
            write_behind(folder / way / "behind", ranks=ranks, way=way)
        cross(manifest, folder, ranks=ranks)
        train_case(MIXED, mixed, folder / "mixed", ranks=ranks)
