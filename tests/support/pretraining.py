"""Tiny trainings: a config, settings, and a task without a stage around it."""

from __future__ import annotations

from pathlib import Path

import torch

from phenoscale.config import parse_config
from phenoscale.loading.crops import CropLoader
from phenoscale.loading.fields import open_fields
from phenoscale.models.families import model_config
from phenoscale.models.flops import meta_model
from phenoscale.models.mae import MaskedAutoencoderConfig
from phenoscale.operations.launchers.table import find_launcher
from phenoscale.stages import Output, ignore
from phenoscale.training.config import PretrainConfig
from phenoscale.training.guards import Verdict
from phenoscale.training.labels import label_fields
from phenoscale.training.metrics import TIMINGS, read_records
from phenoscale.training.settings import OptimizerSettings, ScheduleSettings, TrainingSettings
from phenoscale.training.task import TrainingTask


def tiny_config(manifest, workspace, *, num_processes=1, **changes):
    """A training of some seconds; `changes` are top-level fields or sections."""
    data = {
        "manifest": str(manifest),
        "model": {"size": "tiny", "drop_path_rate": 0.1},
        "crop_size": 32,
        "global_batch": 8,
        "num_steps": 12,
        "precision": "fp32",
        "validate_every_steps": 6,
        "log_every_steps": 1,
        "checkpoint_every_steps": 5,
        "num_reconstructions": 4,
        "runtime": {"workspace": str(workspace), "device": "cpu", "num_processes": num_processes},
    }
    return parse_config(PretrainConfig, {**data, **changes}, source="test")


def launch_pretrain(config, *, observe=ignore):
    """Run the stage where its config says: here, or in several processes."""
    return find_launcher("pretrain", config)("pretrain", config, observe=observe)


def tiny_model(**changes):
    """The masked autoencoder of the tiny trainings."""
    dims = {"embedding_dim": 16, "num_blocks": 2, "num_heads": 2}
    decoder = {"decoder_dim": 16, "decoder_blocks": 1, "decoder_heads": 2}
    return MaskedAutoencoderConfig(
        **{"num_channels": 3, "crop_size": 32, "patch_size": 8, **dims, **decoder, **changes}
    )


def family_model(family, *, size="tiny", **changes):
    """The description of the smallest model of a family, for crops of 32 px."""
    facts = {"num_channels": 3, "num_classes": 5, "crop_size": 32}
    return model_config(family, size=size, **{**facts, **changes})


def tiny_settings(*, num_steps=12, optimizer="lion", learning_rate=1e-3, model=None, **changes):
    """Plain settings of a tiny training; `schedule` and `optimizer_settings` may be given whole."""
    named = OptimizerSettings(name=optimizer, learning_rate=learning_rate)
    values = {
        "model": tiny_model() if model is None else model,
        "schedule": ScheduleSettings(num_steps=num_steps),
        "optimizer": changes.pop("optimizer_settings", named),
        "global_batch": 8,
        "intensity_scale": 65535.0,
        "checkpoint_every_steps": 5,
        "log_every_steps": 1,
        "config_digest": "tiny",
    }
    return TrainingSettings(**{**values, **changes})


def tiny_task(manifest, folder, *, ranks, settings=None, **changes):
    """A training of one process without a stage around it."""
    settings = tiny_settings() if settings is None else settings
    fields = open_fields(manifest=manifest, absent="zero")
    model = meta_model(settings.model)
    if model.num_mask_tokens == 0:
        fields, changes["labels"], _ = label_fields(fields, column="perturbation")
    source = CropLoader(
        fields,
        crop_size=settings.model.crop_size,
        seed=settings.seed,
        same_plate=model.needs_same_plate,
    )
    return TrainingTask(
        settings=settings,
        source=source,
        field_ids=fields.frame["field_id"].tolist(),
        output=Output(Path(folder)),
        ranks=ranks,
        **changes,
    )


class At:
    """A callback that does something at one step."""

    def __init__(self, step, *, verdict=Verdict.CONTINUE, act=None):
        self.step, self.verdict, self.act = step, verdict, act
        self.seen = []

    def see(self, record):
        self.seen.append(record["step"])
        if record["step"] == self.step:
            if self.act is not None:
                self.act()
            return self.verdict
        return Verdict.CONTINUE


class LostError(Exception):
    """What ends a training in the middle."""


def lose():
    """End a training in the middle."""
    raise LostError


def weights(result):
    """A copy of the tensors of a trained model."""
    return {name: value.detach().clone() for name, value in result.model.state_dict().items()}


def same(left, right):
    """Whether two sets of tensors agree to the last bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def records_without_times(folder):
    """The live record without what depends on the machine."""
    records = read_records(folder / "logs" / "metrics.jsonl")
    return [{name: value for name, value in record.items() if name not in TIMINGS} for record in records]
