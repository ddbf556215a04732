"""Twenty training steps of every family on a small screen drawn from a seed: the losses must not move."""

import json
from pathlib import Path

import torch

from phenoscale.training.loop import train
from phenoscale.training.metrics import read_records
from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import OptimizerSettings, ScheduleSettings
from tests.support.pretraining import family_model, tiny_settings, tiny_task
from tests.support.screens import make_tiny_manifest, make_tiny_store

FOLDER = Path(__file__).parent / "losses"
NUM_STEPS = 20

_LION = OptimizerSettings(name="lion", learning_rate=1e-4)
_ADAMW = OptimizerSettings(name="adamw", learning_rate=1e-3)
# Small steps: batch norm over few crops makes much of the last bits that processors differ in.
_SGD = OptimizerSettings(name="sgd", learning_rate=1e-3, momentum=0.9, weight_decay=1e-5)
_PAPER = ScheduleSettings(num_steps=NUM_STEPS)
_RELEASED = ScheduleSettings(num_steps=NUM_STEPS, shape="one_cycle_released")
_CYCLES = ScheduleSettings(num_steps=NUM_STEPS, shape="cyclic_cosine", num_cycles=3)
_PUBLISHED = {"block": "parallel", "qk_norm": True, "layer_scale_init": 1e-4, "drop_path_rate": 0.1}

# Each family with the optimizer and the form of the schedule that its papers name.
TRAININGS = {
    "mae": lambda: (family_model("mae", **_PUBLISHED), _LION, _PAPER),
    "ca_mae": lambda: (family_model("ca_mae", **_PUBLISHED), _LION, _RELEASED),
    "mu_net": lambda: (family_model("mu_net"), _ADAMW, _CYCLES),
    "wsl_vit": lambda: (family_model("wsl"), _ADAMW, _PAPER),
    "wsl_densenet": lambda: (family_model("wsl", size="dense-tiny"), _SGD, _RELEASED),
    "wsl_densenet_adabn": lambda: (family_model("wsl", size="dense-tiny", ghost_batch=4), _SGD, _RELEASED),
}


def loss_curve(name, *, manifest, folder):
    """The loss of every step, in fp32 and with one thread."""
    model, optimizer, schedule = TRAININGS[name]()
    settings = tiny_settings(
        model=model, optimizer_settings=optimizer, schedule=schedule, checkpoint_every_steps=100
    )
    alone = Ranks(rank=0, world_size=1, device=torch.device("cpu"))
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(tiny_task(manifest, folder, ranks=alone, settings=settings))
    finally:
        torch.set_num_threads(num_threads)
    return [record["loss"] for record in read_records(folder / "logs" / "metrics.jsonl")]


def read_curve(name):
    """What is in the repository."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def write_curves(place):
    """Write every curve anew; `place` gets the screen and the trainings."""
    manifest = make_tiny_manifest(place / "manifest", make_tiny_store(place / "store"))
    FOLDER.mkdir(exist_ok=True)
    for name in TRAININGS:
        curve = loss_curve(name, manifest=manifest, folder=place / name)
        (FOLDER / f"{name}.json").write_text(json.dumps(curve, indent=1) + "\n")
