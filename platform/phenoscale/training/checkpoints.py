"""Checkpoints: model, optimizer and step, written whole or not at all, checked before they are read.

Each is a folder `checkpoints/step-<steps done>` made by torch.distributed.checkpoint, in it the record of the
training so far, and `checkpoint.json` with the sha256 of every file. It is written under a name that starts
with a dot, renamed when it is complete, and published as a part of the output: a runner on another machine
goes on from it. torch reads its index with pickle, so nothing is read whose checksums do not agree. No state
of random numbers is kept: all of it follows from seed and step.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save, save

from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.logs import get_logger
from phenoscale.storage import digest_file
from phenoscale.training.metrics import LIVE_FILE, keep_records, restore_records
from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import TrainingSettings
from phenoscale.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from phenoscale.stages import Output

HEADER_FILE = "checkpoint.json"
RECORDS_FILE = "metrics.jsonl"
FORMAT_VERSION = 2
FOLDER = "checkpoints"
UNFINISHED_PREFIX = ".writing-"

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says about itself.

    Attributes:
        step: optimizer steps done.
        architecture: the model's config.
        config_digest: fingerprint of the config of the training.
        precision: precision of the forward passes.
        files: sha256 of every other file.
    """

    step: int
    architecture: dict[str, Any]
    config_digest: str
    precision: str
    files: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a checkpoint holds: the model, its optimizer, and the average of its weights where one is kept."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: WeightAverage | None = None

    def state(self) -> dict[str, Any]:
        """Tensors by name; without the wrapper of DDP."""
        state = {
            "model": get_model_state_dict(self.model),
            "optimizer": get_optimizer_state_dict(self.model, self.optimizer),
        }
        return state if self.ema is None else {**state, "ema": self.ema.weights}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        set_model_state_dict(self.model, state["model"])
        set_optimizer_state_dict(self.model, self.optimizer, state["optimizer"])
        if self.ema is not None:
            self.ema.weights.update(state["ema"])


class Checkpoints:
    """The checkpoints of one training, in a folder that all ranks see.

    Args:
        output: of the stage; rank 0 publishes in it what all have written.
        settings: of the training; another architecture or config is refused.
        ranks: the processes that train.
        is_asynchronous: write from a thread while the training goes on. Copying the tensors and sharing the
            processor costs more than it saves on a CPU, so the default is True on GPUs only.
    """

    def __init__(
        self, output: Output, *, settings: TrainingSettings, ranks: Ranks, is_asynchronous: bool | None = None
    ) -> None:
        self._output = output
        self._folder = output.folder / FOLDER
        self._settings = settings
        self._ranks = ranks
        self._is_asynchronous = ranks.device.type == "cuda" if is_asynchronous is None else is_asynchronous
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: concurrent.futures.Future[None] | None = None
        self._group = _writing_group(ranks) if self._is_asynchronous else None
        if ranks.is_first:
            self._folder.mkdir(parents=True, exist_ok=True)
            for unfinished in self._folder.glob(f"{UNFINISHED_PREFIX}*"):
                shutil.rmtree(unfinished)
        ranks.barrier()

    def save(self, step: int, *, trained: Trained) -> None:
        """Write a checkpoint, and remove the oldest ones; all ranks call this together."""
        self.wait()
        unfinished = self._folder / f"{UNFINISHED_PREFIX}{step}"
        writer = FileSystemWriter(unfinished)
        state = {**trained.state(), "step": torch.tensor(step)}
        alone = self._ranks.world_size == 1
        with _explained(unfinished):
            if self._is_asynchronous:
                written = async_save(state, storage_writer=writer, process_group=self._group, no_dist=alone)
                assert isinstance(written, concurrent.futures.Future)
                self._pending = self._thread.submit(self._commit_written, written, step=step)
                return
            save(state, storage_writer=writer, no_dist=alone)
        self._commit(step)
        self._ranks.barrier()

    def wait(self) -> None:
        """Wait until the checkpoint that is being written is complete; on rank 0 it is then in place."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def load_newest(self, trained: Trained) -> int:
        """Load the newest whole checkpoint and return its step, 0 when there is none.

        Raises:
            UserError: it belongs to another architecture or config.
        """
        header = self._ranks.share(self._newest() if self._ranks.is_first else None)
        if header is None:
            return 0
        self._check(header)
        state = trained.state()
        place = self._output.folder / name_of(header.step)
        with _explained(place):
            load(state, storage_reader=FileSystemReader(place), no_dist=self._ranks.world_size == 1)
        trained.load(state)
        logger.info("step=%d event=resumed checkpoint=%s", header.step, place.name)
        return header.step

    def close(self) -> None:
        """Finish what is being written and end the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _commit_written(self, written: concurrent.futures.Future[Any], *, step: int) -> None:
        with _explained(self._folder):
            written.result()
        self._commit(step)

    def _commit(self, step: int) -> None:
        if not self._ranks.is_first:
            return
        unfinished = self._folder / f"{UNFINISHED_PREFIX}{step}"
        keep_records(self._output.folder / LIVE_FILE, copy=unfinished / RECORDS_FILE)
        header = CheckpointHeader(
            step=step,
            architecture=dataclasses.asdict(self._settings.model),
            config_digest=self._settings.config_digest,
            precision=self._settings.precision,
            files={file.name: digest_file(file) for file in sorted(unfinished.iterdir())},
        )
        content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(header)}
        write_atomic(unfinished / HEADER_FILE, json.dumps(content, indent=1).encode())
        name = name_of(step)
        final = self._output.folder / name
        self._output.withdraw(name)
        shutil.rmtree(final, ignore_errors=True)
        unfinished.rename(final)
        self._output.publish(name, [name])
        keep_newest(self._output, num_kept=self._settings.keep_checkpoints)

    def _newest(self) -> CheckpointHeader | None:
        for name in list_checkpoints(self._output):
            place = self._output.folder / name
            problem = self._fetch(name) or _first_problem(place)
            if problem is None:
                restore_records(self._output.folder / LIVE_FILE, copy=place / RECORDS_FILE)
                return _read_header(place)
            logger.warning("checkpoint %s is damaged (%s); the one before it is used", place, problem)
        return None

    def _fetch(self, name: str) -> str | None:
        """Bring what another machine has published; says what is wrong with it, None if nothing is."""
        try:
            if self._output.has(name):
                self._output.fetch(name)
        except UserError as error:
            return str(error)
        return None

    def _check(self, header: CheckpointHeader) -> None:
        own = json.loads(json.dumps(dataclasses.asdict(self._settings.model)))  # as JSON has it: no tuples
        different = [name for name in own if header.architecture.get(name) != own[name]]
        way_out = f"train into another folder, or remove {self._folder} to start from the beginning"
        if different:
            names = "; ".join(
                f"{name} is {header.architecture.get(name)} there and {own[name]} here" for name in different
            )
            raise UserError(
                f"the checkpoint in {self._folder} is of another architecture: {names}; {way_out}"
            )
        if header.config_digest != self._settings.config_digest:
            raise UserError(
                f"the checkpoint in {self._folder} is of a training with another config (fingerprint "
                f"{header.config_digest[:12]} there, {self._settings.config_digest[:12]} here): "
                f"going on would mix the two; {way_out}"
            )
        if header.precision != self._settings.precision:
            logger.warning(
                "the training began in %s and goes on in %s: this machine differs, and so will the numbers",
                header.precision,
                self._settings.precision,
            )


def name_of(step: int) -> str:
    """The name of the checkpoint after so many steps: of its folder below the output, and of the part."""
    return f"{FOLDER}/step-{step:09d}"


def list_checkpoints(output: Output) -> list[str]:
    """Names of whole checkpoints, newest first: those here, and those that another machine has published."""
    here = {f"{FOLDER}/{place.name}" for place in (output.folder / FOLDER).glob("step-*")}
    published = {record.part for record in output.parts() if record.part.startswith(f"{FOLDER}/")}
    return sorted(here | published, reverse=True)


def keep_newest(output: Output, *, num_kept: int) -> None:
    """Remove all checkpoints but the newest ones."""
    for old in list_checkpoints(output)[num_kept:]:
        output.withdraw(old)
        shutil.rmtree(output.folder / old, ignore_errors=True)


def _first_problem(place: Path) -> str | None:
    header = _read_header(place)
    if header is None:
        return f"{HEADER_FILE} cannot be read"
    for name, digest in header.files.items():
        if not (place / name).is_file():
            return f"{name} is missing"
        if digest_file(place / name) != digest:
            return f"{name} does not have its checksum"
    return None


def _read_header(place: Path) -> CheckpointHeader | None:
    try:
        content = json.loads((place / HEADER_FILE).read_bytes())
        if content.pop("format_version") != FORMAT_VERSION:
            return None
        return CheckpointHeader(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _writing_group(ranks: Ranks) -> dist.ProcessGroup | None:
    """A group of its own for the writing thread: collectives of two threads must not meet in one group."""
    if ranks.world_size == 1:
        return None
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)
    return group


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Turn torch's CheckpointException, which is no Exception, into one with its cause (a full disk, say)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            yield
        except CheckpointException as error:
            first = next(iter(error.failures.values()))[0]
            raise RuntimeError(f"checkpoint {place} could not be written or read: {first}") from first
