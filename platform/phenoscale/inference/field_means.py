"""Embeddings of whole fields: means over a grid of crops, for several encoders in one pass over the pixels.

Shapes: R readable blocks, B minibatch, C channels, H W pixels, N fields, D embedding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phenoscale.errors import UserError
from phenoscale.inference.config import Layout
from phenoscale.loading.fields import ManifestFields
from phenoscale.loading.iterate import iterate_fields
from phenoscale.models.readout import Encoder

Rows = npt.NDArray[np.int64]
Readout = Callable[[Tensor], Tensor]
"""Raw crops [B, C, H, W] in, embeddings [R, B, D] out."""


# A 192-dimensional ViT of 6 blocks on one CPU core: 205 crops/s in minibatches of 32 or 64, 150 of 256.
CPU_MINIBATCH, GPU_MINIBATCH = 64, 512


@dataclass(frozen=True)
class CropPlan:
    """How fields are cut into crops, how many go through the encoders at once (0: by device)."""

    size: int
    device: torch.device
    layout: Layout = "grid"
    minibatch_size: int = 0

    @property
    def minibatch(self) -> int:
        """Crops that go through the encoders at once."""
        return self.minibatch_size or (CPU_MINIBATCH if self.device.type == "cpu" else GPU_MINIBATCH)


@dataclass(frozen=True, eq=False)
class FieldMeans:
    """Mean embeddings of fields.

    Attributes:
        rows: the fields' rows, in store order, [N].
        embeddings: per encoder the means [R, N, D], float32.
        num_crops: crops behind each mean, [N].
    """

    rows: Rows
    embeddings: Mapping[str, npt.NDArray[np.float32]]
    num_crops: Rows


def all_blocks(encoder: Encoder) -> Readout:
    """Read every block of an encoder in one forward pass."""
    return encoder.embed_blocks


def chosen_block(encoder: Encoder) -> Readout:
    """Read the chosen block of an encoder."""
    return lambda crops_BCHW: encoder.embed(crops_BCHW)[None]


def embed_fields(
    readouts: Mapping[str, Readout],
    fields: ManifestFields,
    *,
    rows: Rows,
    plan: CropPlan,
    advance: Callable[..., None],
) -> FieldMeans:
    """Embed fields with several encoders at once: every crop is read once.

    Minibatches never reach beyond `rows`, and the last one is filled up to full size, so the embedding of a
    field depends neither on other calls nor on where it stands.

    Args:
        readouts: name to the function that turns crops into embeddings.
        fields: where the pixels are.
        rows: fields to embed.
        plan: crops and minibatches.
        advance: called after each minibatch with its number of crops and the throughput.

    Raises:
        UserError: an embedding is not finite; names the fields.
    """
    averages = {name: _RunningMeans() for name in readouts}
    num_crops = 0
    started = time.monotonic()
    for batch in iterate_fields(
        fields, crop_size=plan.size, batch_size=plan.minibatch, layout=plan.layout, rows=rows
    ):
        crops_BCHW = torch.from_numpy(_filled(batch.crops_BCHW, size=plan.minibatch)).to(plan.device)
        for name, read in readouts.items():
            embeddings_RBD = read(crops_BCHW)[:, : len(batch.rows)].float().cpu().numpy()
            averages[name].add(embeddings_RBD, rows=batch.rows)
        num_crops += len(batch.rows)
        advance(len(batch.rows), crops_per_second=num_crops / max(time.monotonic() - started, 1e-9))
    means = {name: average.means() for name, average in averages.items()}
    order, counts = next(iter(averages.values())).counted()
    for name, embeddings_RND in means.items():
        _check_finite(embeddings_RND, fields=fields, rows=order, name=name)
    return FieldMeans(order, means, counts)


def _filled(crops_BCHW: npt.NDArray[Any], *, size: int) -> npt.NDArray[Any]:
    """The crops with the last one repeated up to a full minibatch: the same kernels for all."""
    lacking = size - len(crops_BCHW)
    if lacking == 0:
        return crops_BCHW
    return np.concatenate([crops_BCHW, np.repeat(crops_BCHW[-1:], lacking, axis=0)])


class _RunningMeans:
    """Means per field of embeddings that come field by field; sums are float64."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._counts: list[int] = []
        self._sums: list[npt.NDArray[np.float64]] = []
        self._means: list[npt.NDArray[np.float32]] = []

    def add(self, embeddings_RBD: npt.NDArray[np.float32], *, rows: Rows) -> None:
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        counts = np.diff(starts, append=len(rows))
        sums_RnD = np.add.reduceat(embeddings_RBD, starts, axis=1, dtype=np.float64)
        for position, (row, count) in enumerate(zip(rows[starts], counts, strict=True)):
            if self._rows and self._rows[-1] == row:
                self._sums[-1] += sums_RnD[:, position]
                self._counts[-1] += int(count)
            else:
                self._close()
                self._rows.append(int(row))
                self._counts.append(int(count))
                self._sums.append(sums_RnD[:, position].copy())

    def _close(self) -> None:
        if self._sums:
            self._means.append((self._sums.pop() / self._counts[-1]).astype(np.float32))

    def means(self) -> npt.NDArray[np.float32]:
        self._close()
        return np.stack(self._means, axis=1)

    def counted(self) -> tuple[Rows, Rows]:
        return np.array(self._rows, dtype=np.int64), np.array(self._counts, dtype=np.int64)


def _check_finite(
    embeddings_RND: npt.NDArray[np.float32], *, fields: ManifestFields, rows: Rows, name: str
) -> None:
    broken = rows[~np.isfinite(embeddings_RND).all(axis=(0, 2))]
    if len(broken):
        shown = "; ".join(fields.describe(int(row)) for row in broken[:5])
        raise UserError(
            f"encoder {name}: {len(broken)} of {len(rows)} embeddings are NaN or infinite: {shown}; look at "
            "these images and leave them out with `curate`, or take another encoder if its weights are broken"
        )
