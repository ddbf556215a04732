"""Embeddings of whole fields: means over a grid of crops, for several encoders in one pass over the pixels.

Shapes: R readable blocks, B minibatch, C channels, H W pixels, N fields, D embedding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phenoscale.errors import UserError
from phenoscale.inference.config import Layout
from phenoscale.inference.copies import copied
from phenoscale.loading.fields import ManifestFields
from phenoscale.loading.iterate import NO_ROW, CropBatch, crops_per_field, iterate_fields, iterate_groups
from phenoscale.models.readout import Encoder

Rows = npt.NDArray[np.int64]
Readout = Callable[[Tensor], Tensor]
"""Raw crops [B, C, H, W] in, embeddings [R, B, D] out."""


# A 192-dimensional ViT of 6 blocks on one CPU core: 205 crops/s in minibatches of 32 or 64, 150 of 256.
CPU_MINIBATCH, GPU_MINIBATCH = 64, 512


@dataclass(frozen=True)
class CropPlan:
    """How fields are cut into crops, and in which company these go through the encoders.

    Attributes:
        size: height and width of a crop in pixels.
        device: where the encoders are.
        layout: which crops of a field.
        minibatch_size: crops at once; 0: by device.
        ghost_batch: crops of one plate that share batch-norm statistics; None: every crop is on its own.
    """

    size: int
    device: torch.device
    layout: Layout = "grid"
    minibatch_size: int = 0
    ghost_batch: int | None = None

    @property
    def minibatch(self) -> int:
        """Crops that go through the encoders at once: whole groups, where there are groups."""
        wanted = self.minibatch_size or (CPU_MINIBATCH if self.device.type == "cpu" else GPU_MINIBATCH)
        group = self.ghost_batch or 1
        return -(-wanted // group) * group


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
    field depends neither on other calls nor on where it stands. Fields that lack channels are embedded apart,
    with the channels that they have.

    With `plan.ghost_batch`, for encoders that take batch-norm statistics from groups of crops (AdaBN), an
    embedding does depend on its group. Then the groups are fixed, see `loading.iterate.iterate_groups`: a
    plate's fields in the order of a hash of their ids, crops of different fields in each group, the last
    group completed by the plate's first fields. So the result depends on which fields of a plate are
    embedded, and not on their order, on other plates, on the size of minibatches or on where a run was
    interrupted.

    Args:
        readouts: name to the function that turns crops into embeddings.
        fields: where the pixels are.
        rows: fields to embed.
        plan: crops and minibatches.
        advance: called after each minibatch with its number of crops and the throughput.

    Raises:
        UserError: an embedding is not finite; names the fields.
    """
    order = fields.in_store_order(rows)
    counts = crops_per_field(fields, crop_size=plan.size, layout=plan.layout, rows=order)
    expected = dict(zip(order.tolist(), counts.tolist(), strict=True))
    averages = {name: _RunningMeans(expected) for name in readouts}
    num_crops = 0
    started = time.monotonic()
    batches = _batches(fields, rows=order, plan=plan)
    filled = ((batch, _filled(batch.crops_BCHW, size=plan.minibatch)) for batch in batches)
    copies = copied(filled, device=plan.device)
    upcoming = next(copies, None)
    while upcoming is not None:
        batch, crops_BCHW = upcoming
        found = {name: read(crops_BCHW) for name, read in readouts.items()}
        # a GPU is still at work on them: meanwhile the next crops are on their way to it
        upcoming = next(copies, None)
        for name, embeddings_RBD in found.items():
            averages[name].add(embeddings_RBD[:, : len(batch.rows)].float().cpu().numpy(), rows=batch.rows)
        num_done = int((batch.rows != NO_ROW).sum())
        num_crops += num_done
        advance(num_done, crops_per_second=num_crops / max(time.monotonic() - started, 1e-9))
    means = {name: average.means(order) for name, average in averages.items()}
    for name, embeddings_RND in means.items():
        _check_finite(embeddings_RND, fields=fields, rows=order, name=name)
    return FieldMeans(order, means, counts)


def _batches(fields: ManifestFields, *, rows: Rows, plan: CropPlan) -> Iterator[CropBatch]:
    for part, mine in fields.by_channels(rows):
        if plan.ghost_batch is None:
            yield from iterate_fields(
                part, crop_size=plan.size, batch_size=plan.minibatch, layout=plan.layout, rows=mine
            )
        else:
            yield from iterate_groups(
                part,
                crop_size=plan.size,
                batch_size=plan.minibatch,
                group_size=plan.ghost_batch,
                layout=plan.layout,
                rows=mine,
            )


def _filled(crops_BCHW: npt.NDArray[Any], *, size: int) -> npt.NDArray[Any]:
    """The crops, from the first on again up to a full minibatch: the same kernels for all, whole groups."""
    if len(crops_BCHW) == size:
        return crops_BCHW
    filled: npt.NDArray[Any] = crops_BCHW[np.arange(size) % len(crops_BCHW)]
    return filled


class _RunningMeans:
    """Means per field of embeddings that come crop by crop; sums are float64 until a field is complete."""

    def __init__(self, num_expected: Mapping[int, int]) -> None:
        self._num_expected = num_expected
        self._sums: dict[int, tuple[npt.NDArray[np.float64], int]] = {}
        self._means: dict[int, npt.NDArray[np.float32]] = {}

    def add(self, embeddings_RBD: npt.NDArray[np.float32], *, rows: Rows) -> None:
        order = np.argsort(rows, kind="stable")
        starts = np.flatnonzero(np.diff(rows[order], prepend=NO_ROW - 1))
        counts = np.diff(starts, append=len(rows))
        sums_RnD = np.add.reduceat(embeddings_RBD[:, order], starts, axis=1, dtype=np.float64)
        for position, (row, count) in enumerate(
            zip(rows[order][starts].tolist(), counts.tolist(), strict=True)
        ):
            if row != NO_ROW:
                self._add_field(row, sum_RD=sums_RnD[:, position], count=count)

    def _add_field(self, row: int, *, sum_RD: npt.NDArray[np.float64], count: int) -> None:
        if row in self._sums:
            so_far, num_so_far = self._sums.pop(row)
            sum_RD, count = so_far + sum_RD, num_so_far + count
        if count == self._num_expected[row]:
            self._means[row] = (sum_RD / count).astype(np.float32)
        else:
            self._sums[row] = (sum_RD.copy(), count)

    def means(self, rows: Rows) -> npt.NDArray[np.float32]:
        """The means of the given fields, [R, N, D]."""
        assert not self._sums, f"{len(self._sums)} fields are not complete"
        return np.stack([self._means[row] for row in rows.tolist()], axis=1)


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
