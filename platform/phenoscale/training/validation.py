"""The validation loss: center crops of held-out experiments, with the same masks every time and seed.

Models that learn from labels are judged on crops whose class was seen in training, by cross-entropy and
accuracy. Shapes: N crops of this rank, C channels, H W pixels, L mask tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phenoscale.loading.iterate import iterate_fields
from phenoscale.loading.plan import mask_noise, sample_order
from phenoscale.models.flops import meta_model
from phenoscale.models.losses import loss_terms
from phenoscale.models.preprocess import standardize
from phenoscale.training.precision import autocast
from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import TrainingSettings
from phenoscale.training.sharding import put_together

if TYPE_CHECKING:
    from phenoscale.loading.fields import ManifestFields

FIXED_SEED = 0  # not the run's: validation losses of different seeds are about the same pixels
BATCH = 64

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class FixedCrops:
    """Raw center crops, and what the model gets beside them.

    Attributes:
        crops_NCHW: raw intensities.
        noise_or_labels: noise [N, L] of their masks, or their labels [N].
        present_NC: which channels each crop has; None if all have all.
        run_length: so many crops that follow each other are of one plate and go through the model together.
    """

    crops_NCHW: Tensor
    noise_or_labels: Tensor
    present_NC: Tensor | None = None
    run_length: int = 1

    @property
    def is_masked(self) -> bool:
        """Whether the model restores hidden patches, and does not learn from labels."""
        return self.noise_or_labels.is_floating_point()

    def batches(self) -> Iterator[tuple[Tensor, ...]]:
        """Crops and the model's further arguments in batches; none where a rank has no crop."""
        size = max(BATCH // self.run_length, 1) * self.run_length
        tensors = [
            self.crops_NCHW,
            self.noise_or_labels,
            *([] if self.present_NC is None else [self.present_NC]),
        ]
        if len(self.crops_NCHW):
            yield from zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def choose_validation_rows(
    fields: ManifestFields, *, num_crops: int, labels: Rows | None = None, run_length: int = 1
) -> Rows:
    """Rows of up to so many validation fields, in the order of the stores; the same for every seed.

    Args:
        fields: a manifest's fields.
        num_crops: how many at most.
        labels: class of each row, -1 for none; rows without one are left out.
        run_length: so many rows that follow each other must be of one plate; what remains of a plate is
            left out.
    """
    rows = np.flatnonzero((fields.frame["split"] == "validation").to_numpy())
    if labels is not None:
        rows = rows[labels[rows] >= 0]
    plates = fields.plates[rows]
    of_plates = [rows[plates == plate] for plate in np.unique(plates)] if run_length > 1 else [rows]
    runs_MK = np.concatenate(
        [mine[: len(mine) // run_length * run_length].reshape(-1, run_length) for mine in of_plates]
        or [rows.reshape(-1, run_length)]
    )
    num_runs = num_crops // run_length
    if len(runs_MK) > num_runs:
        runs_MK = runs_MK[sample_order(len(runs_MK), seed=FIXED_SEED, epoch=0)[:num_runs]]
    return fields.in_store_order(runs_MK.reshape(-1))


def share_of(rows: Rows, *, ranks: Ranks, run_length: int = 1) -> Rows:
    """Positions of the rows that fall to a rank, whole runs of one plate."""
    bounds = np.linspace(0, len(rows) // run_length, ranks.world_size + 1).astype(int) * run_length
    return np.arange(bounds[ranks.rank], bounds[ranks.rank + 1])


def read_fixed_crops(
    fields: ManifestFields,
    *,
    rows: Rows,
    settings: TrainingSettings,
    positions: Rows | None = None,
    labels: Rows | None = None,
) -> FixedCrops:
    """Read the center crops of some fields, and draw the masks that belong to their positions.

    Args:
        fields: a manifest's fields.
        rows: chosen rows in the order of the stores.
        settings: of the training.
        positions: which of the rows to read; all by default.
        labels: class of each row of the fields, for a model that learns from them.
    """
    chosen = np.arange(len(rows)) if positions is None else positions
    model, crop_size = meta_model(settings.model), settings.model.crop_size
    crops_NCHW = np.empty((len(chosen), len(fields.channels), crop_size, crop_size), dtype=fields.dtype)
    start = 0
    if len(chosen):
        for batch in iterate_fields(
            fields, crop_size=crop_size, batch_size=BATCH, layout="center", rows=rows[chosen]
        ):
            end = start + len(batch.rows)
            assert np.array_equal(batch.rows, rows[chosen][start:end]), (
                "fields come in the order of the stores"
            )
            crops_NCHW[start:end] = batch.crops_BCHW
            start = end
    if model.num_mask_tokens:
        noise_or_labels = _fixed_noise(chosen, num_tokens=model.num_mask_tokens)
    else:
        assert labels is not None, "a family without a mask learns from labels"
        noise_or_labels = torch.from_numpy(labels[rows[chosen]])
    present_NC = fields.present_of(rows[chosen]) if len(chosen) else None
    return FixedCrops(
        torch.from_numpy(crops_NCHW),
        noise_or_labels,
        None if present_NC is None else torch.from_numpy(present_NC),
        max(model.needs_same_plate, 1),
    )


def _fixed_noise(positions: Rows, *, num_tokens: int) -> Tensor:
    if len(positions) == 0:
        return torch.empty(0, num_tokens)
    return torch.from_numpy(mask_noise(positions, seed=FIXED_SEED, epoch=0, num_tokens=num_tokens))


@torch.no_grad()
def validation_terms(
    model: nn.Module, *, crops: FixedCrops, settings: TrainingSettings, ranks: Ranks
) -> dict[str, float]:
    """Means over all ranks' fixed crops, without stochastic depth: the training objective as `loss`.

    Models that learn from labels have their `accuracy` as well.
    """
    was_training = model.training
    model.eval()
    names = ["loss"] if crops.is_masked else ["loss", "accuracy"]
    total = torch.zeros(1 + len(names), dtype=torch.float64, device=ranks.device)
    with put_together(model):  # ranks may have different numbers of batches
        for raw_BCHW, noise_or_labels, *present in crops.batches():
            ready = standardize(raw_BCHW.to(ranks.device), intensity_scale=settings.intensity_scale)
            with autocast(settings.precision, device=ranks.device):
                prediction = model(ready, noise_or_labels.to(ranks.device), *present)
            terms = loss_terms(prediction, loss=settings.loss)
            means = torch.stack([torch.ones_like(terms["loss"]), *(terms[name] for name in names)])
            total += means.double() * len(raw_BCHW)
    model.train(was_training)
    count, *sums = ranks.sum(total).tolist()
    return {name: value / count for name, value in zip(names, sums, strict=True)}
