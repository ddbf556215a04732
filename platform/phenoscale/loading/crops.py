"""Training minibatches: random crops, read asynchronously, the same for any number of ranks.

Shapes: B crops of a rank's share of a minibatch, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenoscale.errors import UserError
from phenoscale.loading.cache import FieldCache
from phenoscale.loading.plan import (
    IntArray,
    crop_corners,
    flips,
    same_plate_length,
    same_plate_order,
    sample_order,
)
from phenoscale.loading.prefetch import Prefetcher

if TYPE_CHECKING:
    from phenoscale.loading.fields import ManifestFields, PendingPixels

# A field that a store compresses in one piece is decoded whole even for one crop: then keep it.
ONE_CHUNK_PX = 256


@dataclass(frozen=True, eq=False)
class CropMinibatch:
    """One rank's share of a minibatch.

    Attributes:
        crops_BCHW: raw intensities, cropped and flipped, in the store's type and in one piece of memory,
            which torch takes over without a copy.
        samples: position of each crop in its epoch's order, [B].
        epochs: [B]; a minibatch may straddle two epochs.
        rows: row of each crop's field in the manifest's fields, [B].
        present_BC: which channels each crop has, the others are zero; None if all crops have all.
    """

    crops_BCHW: NDArray[Any]
    samples: IntArray
    epochs: IntArray
    rows: IntArray
    present_BC: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class CropLoader:
    """Cuts random crops out of the fields of one split.

    Attributes:
        fields: a manifest's fields.
        crop_size: height and width of a crop in pixels.
        seed: decides order, crops and flips, together with epoch and sample.
        split: which of the fields.
        flip: whether crops are flipped at random, up-down and left-right.
        cache_bytes: how much memory decoded fields may take; 0 reads every crop from the store. Large fields
            are cached only if all of them fit.
        same_plate: so many crops that follow each other, counted from the start of an epoch, come from one
            plate (see `plan.same_plate_order`); 0: any order.
        weights: how often each field of the split is drawn compared with the others, in the order of
            `fields.rows(split)`; multiplied with the manifest's weights.
    """

    fields: ManifestFields
    _: KW_ONLY
    crop_size: int
    seed: int
    split: str = "train"
    flip: bool = True
    cache_bytes: int = 0
    same_plate: int = 0
    weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self.fields.check_crop_size(self.crop_size)
        assert self.same_plate >= 0, f"same_plate is a number of crops, got {self.same_plate}"
        rows, given = self._rows, self.weights
        assert given is None or (given.shape == rows.shape and bool((given > 0).all())), (
            f"there must be a positive weight for each of the {len(rows)} fields of split {self.split}"
        )

    @cached_property
    def num_samples(self) -> int:
        """Crops of one epoch: one per field of the split; for `same_plate`, rounded up to whole runs."""
        if self.same_plate:
            return same_plate_length(self._plates, run_length=self.same_plate)
        return len(self._rows)

    def minibatch(self, step: int, *, global_batch: int, rank: int = 0, world_size: int = 1) -> CropMinibatch:
        """The crops of a rank at a step: a pure function of the arguments and the loader's seed.

        Raises:
            UserError: the ranks cannot share the minibatch equally, or not in whole runs of one plate.
        """
        share = self._share_of(global_batch, world_size=world_size)
        drawn = step * global_batch + rank * share + np.arange(share, dtype=np.int64)
        epochs, samples = np.divmod(drawn, self.num_samples)
        rows = np.empty(share, dtype=np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            rows[chosen] = self._rows[self._order(int(epoch))[samples[chosen]]]
        return CropMinibatch(
            crops_BCHW=self._crops(rows, samples=samples, epochs=epochs),
            samples=samples,
            epochs=epochs,
            rows=rows,
            present_BC=self.fields.present_of(rows),
        )

    def prefetch(
        self,
        first_step: int,
        num_steps: int,
        *,
        global_batch: int,
        rank: int = 0,
        world_size: int = 1,
        depth: int = 2,
    ) -> Prefetcher[CropMinibatch]:
        """The minibatches of consecutive steps, `depth` of them read ahead; use it in a `with` block."""

        def minibatches() -> Iterator[CropMinibatch]:
            for step in range(first_step, first_step + num_steps):
                yield self.minibatch(step, global_batch=global_batch, rank=rank, world_size=world_size)

        return Prefetcher(minibatches(), depth=depth, label="crop loader")

    def _share_of(self, global_batch: int, *, world_size: int) -> int:
        """Crops of a rank in each minibatch."""
        if global_batch <= 0 or global_batch % world_size:
            raise UserError(
                f"a global batch of {global_batch} crops cannot be shared equally by {world_size} ranks; "
                "choose a multiple of the number of ranks"
            )
        share = global_batch // world_size
        if self.same_plate and share % self.same_plate:
            raise UserError(
                f"a global batch of {global_batch} crops gives each of {world_size} ranks {share}, but they "
                f"come in runs of {self.same_plate} from one plate, and a rank needs whole runs; choose a "
                f"multiple of {self.same_plate * world_size}"
            )
        return share

    @cached_property
    def _rows(self) -> IntArray:
        return self.fields.rows(self.split)

    @cached_property
    def _plates(self) -> IntArray:
        return self.fields.plates[self._rows]

    @cached_property
    def _drawing_weights(self) -> NDArray[np.float64]:
        weights = self.fields.frame["weight"].to_numpy(np.float64)[self._rows]
        return weights if self.weights is None else weights * self.weights

    @cached_property
    def _order(self) -> Callable[[int], IntArray]:
        """The order of an epoch, kept for the last two."""
        return lru_cache(maxsize=2)(self._order_of)

    def _order_of(self, epoch: int) -> IntArray:
        weights = self._drawing_weights
        if not self.same_plate:
            return sample_order(self.num_samples, seed=self.seed, epoch=epoch, weights=weights)
        return same_plate_order(
            self._plates, run_length=self.same_plate, seed=self.seed, epoch=epoch, weights=weights
        )

    @cached_property
    def _cache(self) -> FieldCache | None:
        return FieldCache(self.cache_bytes) if self._is_worth_caching() else None

    def _is_worth_caching(self) -> bool:
        heights, widths = self.fields.heights[self._rows], self.fields.widths[self._rows]
        if max(heights.max(), widths.max()) <= ONE_CHUNK_PX:
            return self.cache_bytes > 0
        pixel_bytes = len(self.fields.channels) * self.fields.dtype.itemsize
        return int((heights * widths).sum()) * pixel_bytes <= self.cache_bytes

    def _crops(self, rows: IntArray, *, samples: IntArray, epochs: IntArray) -> NDArray[Any]:
        size, seed = self.crop_size, self.seed
        heights, widths = self.fields.heights[rows], self.fields.widths[rows]
        corners = crop_corners(samples, seed=seed, epoch=epochs, heights=heights, widths=widths, size=size)
        turned = flips(samples, seed=seed, epoch=epochs) & self.flip
        shape = (len(rows), len(self.fields.channels), size, size)
        crops_BCHW = np.empty(shape, dtype=self.fields.dtype)
        pending = self._start(rows, corners=corners)
        for index, (top, left) in enumerate(corners.tolist()):
            crop = self._finish(int(rows[index]), pending=pending, index=index)
            if crop.shape[1:] != (size, size):
                crop = crop[:, top : top + size, left : left + size]
            down, across = turned[index]
            crops_BCHW[index] = crop[:, :: -1 if down else 1, :: -1 if across else 1]
        return crops_BCHW

    def _start(self, rows: IntArray, *, corners: IntArray) -> dict[int, PendingPixels]:
        """Start all reads of a minibatch: whole fields by row if they are cached, else crops by index."""
        if self._cache is None:
            return {
                index: self.fields.start_crop(int(row), top=top, left=left, size=self.crop_size)
                for index, (row, (top, left)) in enumerate(zip(rows, corners.tolist(), strict=True))
            }
        missing = [row for row in np.unique(rows).tolist() if self._cache.get(row) is None]
        return {row: self.fields.start_field(row) for row in missing}

    def _finish(self, row: int, *, pending: dict[int, PendingPixels], index: int) -> NDArray[Any]:
        if self._cache is None:
            return pending.pop(index).result()
        pixels = self._cache.get(row)
        if pixels is None:
            # read by this minibatch, or dropped by it since: then it is read again
            reading = pending.get(row) or self.fields.start_field(row)
            pixels = reading.result()
            self._cache.put(row, pixels)
        return pixels
