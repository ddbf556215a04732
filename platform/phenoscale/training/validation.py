"""The validation loss: center crops of held-out experiments, with the same masks every time and seed.

Shapes: N crops of this rank, C channels, H W pixels, L patch tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phenoscale.loading.fields import ManifestFields
from phenoscale.loading.iterate import iterate_fields
from phenoscale.loading.plan import mask_noise, sample_order
from phenoscale.models.losses import mae_loss_terms
from phenoscale.models.preprocess import standardize
from phenoscale.training.precision import autocast
from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import TrainingSettings

FIXED_SEED = 0  # not the run's: validation losses of different seeds are about the same pixels
BATCH = 64


@dataclass(frozen=True)
class FixedCrops:
    """Raw center crops and the noise of their masks."""

    crops_NCHW: Tensor
    noise_NL: Tensor

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The crops and their noise in batches; none where a rank has no crop."""
        if len(self.crops_NCHW):
            yield from zip(
                torch.split(self.crops_NCHW, BATCH), torch.split(self.noise_NL, BATCH), strict=True
            )


def choose_validation_rows(fields: ManifestFields, *, num_crops: int) -> NDArray[np.int64]:
    """Rows of up to so many validation fields, in the order of the stores; the same for every seed."""
    rows = np.flatnonzero((fields.frame["split"] == "validation").to_numpy())
    if len(rows) > num_crops:
        rows = rows[sample_order(len(rows), seed=FIXED_SEED, epoch=0)[:num_crops]]
    return fields.in_store_order(rows)


def share_of(rows: NDArray[np.int64], *, ranks: Ranks) -> NDArray[np.int64]:
    """Positions of the rows that fall to a rank."""
    bounds = np.linspace(0, len(rows), ranks.world_size + 1).astype(int)
    return np.arange(bounds[ranks.rank], bounds[ranks.rank + 1])


def read_fixed_crops(
    fields: ManifestFields,
    *,
    rows: NDArray[np.int64],
    settings: TrainingSettings,
    positions: NDArray[np.int64] | None = None,
) -> FixedCrops:
    """Read the center crops of some fields, and draw the masks that belong to their positions.

    Args:
        fields: a manifest's fields.
        rows: chosen rows in the order of the stores.
        settings: of the training.
        positions: which of the rows to read; all by default.
    """
    chosen = np.arange(len(rows)) if positions is None else positions
    model = settings.model
    shape = (len(chosen), model.num_channels, model.crop_size, model.crop_size)
    crops_NCHW = np.empty(shape, dtype=fields.dtype)
    noise_NL = np.empty((len(chosen), model.num_tokens), dtype=np.float32)
    if len(chosen):
        noise_NL[:] = mask_noise(chosen, seed=FIXED_SEED, epoch=0, num_tokens=model.num_tokens)
        batches = iterate_fields(
            fields, crop_size=model.crop_size, batch_size=BATCH, layout="center", rows=rows[chosen]
        )
        start = 0
        for batch in batches:
            end = start + len(batch.rows)
            assert np.array_equal(batch.rows, rows[chosen][start:end]), (
                "fields come in the order of the stores"
            )
            crops_NCHW[start:end] = batch.crops_BCHW
            start = end
    return FixedCrops(torch.from_numpy(crops_NCHW), torch.from_numpy(noise_NL))


@torch.no_grad()
def validation_loss(
    model: nn.Module, *, crops: FixedCrops, settings: TrainingSettings, ranks: Ranks
) -> float:
    """The mean training objective over all ranks' fixed crops, without stochastic depth."""
    was_training = model.training
    model.eval()
    total = torch.zeros(2, dtype=torch.float64, device=ranks.device)
    for raw_BCHW, noise_BL in crops.batches():
        ready = standardize(raw_BCHW.to(ranks.device), intensity_scale=settings.intensity_scale)
        with autocast(settings.precision, device=ranks.device):
            prediction = model(ready, noise_BL.to(ranks.device))
        loss = mae_loss_terms(
            prediction, alpha=settings.loss.alpha, fourier_mode=settings.loss.fourier_mode
        ).total
        total += torch.stack([loss.double() * len(raw_BCHW), loss.new_tensor(len(raw_BCHW)).double()])
    model.train(was_training)
    weighted, count = ranks.sum(total).tolist()
    return float(weighted / count)
