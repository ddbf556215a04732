"""Tiny trainings: a config, a task without a stage, and a program to run, kill and end as a real process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from phenoscale.config import parse_config
from phenoscale.loading.crops import CropLoader
from phenoscale.loading.fields import load_manifest_fields
from phenoscale.models.mae import MaskedAutoencoderConfig
from phenoscale.training.config import PretrainConfig
from phenoscale.training.metrics import read_records
from phenoscale.training.settings import OptimizerSettings, ScheduleSettings, TrainingSettings
from phenoscale.training.task import TrainingTask

PROGRAM = """
import sys
from pathlib import Path
from phenoscale.config import load_config
from phenoscale.errors import exit_code_of
from phenoscale.logs import configure_logging
from phenoscale.training.config import PretrainConfig
from phenoscale.training.stage import run_pretrain
configure_logging("INFO")
try:
    run_pretrain(load_config(PretrainConfig, Path(sys.argv[1]), flags={}))
except Exception as error:
    print(error, file=sys.stderr)
    sys.exit(exit_code_of(error))
"""


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


def tiny_model(**changes):
    """The masked autoencoder of the tiny trainings."""
    dims = {"embedding_dim": 16, "num_blocks": 2, "num_heads": 2}
    decoder = {"decoder_dim": 16, "decoder_blocks": 1, "decoder_heads": 2}
    return MaskedAutoencoderConfig(
        **{"num_channels": 3, "crop_size": 32, "patch_size": 8, **dims, **decoder, **changes}
    )


def tiny_settings(*, num_steps=12, optimizer="lion", learning_rate=1e-3, model=None, **changes):
    """Plain settings of a tiny training."""
    values = {
        "model": tiny_model() if model is None else model,
        "schedule": ScheduleSettings(num_steps=num_steps),
        "optimizer": OptimizerSettings(name=optimizer, learning_rate=learning_rate),
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
    fields = load_manifest_fields(manifest)
    source = CropLoader(fields, crop_size=settings.model.crop_size, seed=settings.seed)
    return TrainingTask(
        settings=settings,
        source=source,
        field_ids=fields.frame["field_id"].tolist(),
        folder=Path(folder),
        ranks=ranks,
        **changes,
    )


def start_pretraining(config, place, *, environment=None):
    """Start `run_pretrain` as a process of its own; its exit code is that of the command line."""
    place = Path(place)
    place.mkdir(parents=True, exist_ok=True)
    file = place / "config.yaml"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(file)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def live_metrics(workspace):
    """The live record of the one training in a workspace, when it has begun."""
    return next(iter(Path(workspace).glob("pretrain/*/logs/metrics.jsonl")), None)


def wait_for_step(workspace, step, *, process):
    """Wait until a training has recorded a step; fail if it ends before."""
    while process.poll() is None:
        file = live_metrics(workspace)
        records = read_records(file) if file else []
        if records and records[-1]["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"the training ended before step {step}: {process.stderr.read()}")
