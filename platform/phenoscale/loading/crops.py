"""Training minibatches: random crops, read asynchronously, the same for any number of ranks.

Shapes: B crops of a rank's share of a minibatch, C channels, H W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenoscale.errors import UserError
from phenoscale.loading.cache import FieldCache
from phenoscale.loading.fields import ManifestFields, PendingPixels
from phenoscale.loading.plan import IntArray, crop_corners, flips, sample_order
from phenoscale.loading.prefetch import Prefetcher

# A field that a store compresses in one piece is decoded whole even for one crop: then keep it.
ONE_CHUNK_PX = 256


@dataclass(frozen=True, eq=False)
class CropMinibatch:
    """One rank's share of a minibatch.

    Attributes:
        crops_BCHW: raw intensities in the store's type, cropped and flipped.
        samples: position of each crop in its epoch's order, [B].
        epochs: [B]; a minibatch may straddle two epochs.
        rows: row of each crop's field in the manifest's fields, [B].
    """

    crops_BCHW: NDArray[Any]
    samples: IntArray
    epochs: IntArray
    rows: IntArray


class CropLoader:
    """Cuts random crops out of the fields of one split.

    Args:
        fields: a manifest's fields.
        split: which of them.
        crop_size: height and width of a crop in pixels.
        seed: decides order, crops and flips, together with epoch and sample.
        flip: whether crops are flipped at random, up-down and left-right.
        cache_bytes: how much memory decoded fields may take; 0 reads every crop from the store. Large fields
            are cached only if all of them fit.
    """

    def __init__(
        self,
        fields: ManifestFields,
        *,
        crop_size: int,
        seed: int,
        split: str = "train",
        flip: bool = True,
        cache_bytes: int = 0,
    ) -> None:
        fields.check_crop_size(crop_size)
        self.fields = fields
        self.crop_size = crop_size
        self.seed = seed
        self.flip = flip
        self._rows = fields.rows(split)
        self._weights = fields.frame["weight"].to_numpy(np.float64)[self._rows]
        self._cache = FieldCache(cache_bytes) if self._worth_caching(cache_bytes) else None
        self._order = lru_cache(maxsize=2)(self._order_of)

    @property
    def num_samples(self) -> int:
        """Crops of one epoch: one per field of the split."""
        return len(self._rows)

    @property
    def cached_bytes(self) -> int:
        """Memory that decoded fields take at present, never more than `cache_bytes`."""
        return 0 if self._cache is None else self._cache.num_bytes

    def minibatch(self, step: int, *, global_batch: int, rank: int = 0, world_size: int = 1) -> CropMinibatch:
        """The crops of a rank at a step: a pure function of the arguments and the loader's seed.

        Raises:
            UserError: the ranks cannot share the minibatch equally.
        """
        if global_batch <= 0 or global_batch % world_size:
            raise UserError(
                f"a global batch of {global_batch} crops cannot be shared equally by {world_size} ranks; "
                "choose a multiple of the number of ranks"
            )
        share = global_batch // world_size
        drawn = step * global_batch + rank * share + np.arange(share, dtype=np.int64)
        epochs, samples = np.divmod(drawn, self.num_samples)
        rows = np.empty(share, dtype=np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            rows[chosen] = self._rows[self._order(int(epoch))[samples[chosen]]]
        crops_BCHW = self._crops(rows, samples=samples, epochs=epochs)
        return CropMinibatch(crops_BCHW=crops_BCHW, samples=samples, epochs=epochs, rows=rows)

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

    def _order_of(self, epoch: int) -> IntArray:
        return sample_order(self.num_samples, seed=self.seed, epoch=epoch, weights=self._weights)

    def _worth_caching(self, cache_bytes: int) -> bool:
        heights, widths = self.fields.heights[self._rows], self.fields.widths[self._rows]
        if max(heights.max(), widths.max()) <= ONE_CHUNK_PX:
            return cache_bytes > 0
        pixel_bytes = len(self.fields.channels) * self.fields.dtype.itemsize
        return int((heights * widths).sum()) * pixel_bytes <= cache_bytes

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
