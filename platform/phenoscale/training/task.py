"""What a training works on: settings, crops, folder and ranks in one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from phenoscale.loading.crops import CropMinibatch
from phenoscale.loading.prefetch import Prefetcher
from phenoscale.training.guards import Callback
from phenoscale.training.metrics import LIVE_FILE
from phenoscale.training.preemption import Preemption
from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import TrainingSettings
from phenoscale.training.validation import FixedCrops

if TYPE_CHECKING:
    from phenoscale.stages import Output


class CropSource(Protocol):
    """Where training crops come from; `phenoscale.loading.crops.CropLoader` is one."""

    @property
    def num_samples(self) -> int:
        """Crops of one epoch."""

    def prefetch(
        self, first_step: int, num_steps: int, *, global_batch: int, rank: int, world_size: int
    ) -> Prefetcher[CropMinibatch]:
        """A rank's shares of the minibatches of consecutive steps."""


def _do_nothing() -> None:
    """What happens after a record that nobody follows."""


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """A training, ready to run.

    Attributes:
        settings: what decides its numbers.
        source: the crops.
        field_ids: name of the field of each row, for the message when a loss is not finite.
        output: gets `checkpoints/` and `logs/metrics.jsonl`.
        ranks: the processes that train together.
        labels: class of each row of the fields, -1 where it has none; None for families that need no labels.
        validation: this rank's share of the validation crops; None where there is no validation split.
        callbacks: see each record on rank 0, besides the guards that every training has.
        after_record: called on rank 0 when a record has been written.
        preemption: says whether SIGTERM has come.
    """

    settings: TrainingSettings
    source: CropSource
    field_ids: Sequence[str]
    output: Output
    ranks: Ranks
    labels: NDArray[np.int64] | None = None
    validation: FixedCrops | None = None
    callbacks: Sequence[Callback] = ()
    after_record: Callable[[], None] = _do_nothing
    preemption: Preemption = field(default_factory=Preemption)

    @property
    def folder(self) -> Path:
        """What lies in it is the output."""
        return self.output.folder

    @property
    def metrics_file(self) -> Path:
        """The live record, with timings."""
        return self.folder / LIVE_FILE


class StepTerms(NamedTuple):
    """What is known about one step, the same on every rank.

    Attributes:
        terms: means over the global batch: `loss`, which was minimized, first, then what is known besides.
        gradient_norm: of the gradient of the loss.
        is_preempted: whether SIGTERM had come to any rank.
    """

    terms: Mapping[str, float]
    gradient_norm: float
    is_preempted: bool = False

    @property
    def loss(self) -> float:
        """What was minimized."""
        return self.terms["loss"]
