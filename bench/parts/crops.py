"""Crops that need no screen: the same ones at every step, from memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from phenoscale.loading.crops import CropMinibatch
from phenoscale.loading.prefetch import Prefetcher

NUM_CHANNELS = 6


class SameCrops:
    """A source that gives the same random uint8 crops at every step; their masks differ."""

    def __init__(self, num_crops: int, *, crop_size: int) -> None:
        shape = (num_crops, NUM_CHANNELS, crop_size, crop_size)
        self.crops_BCHW = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)

    @property
    def num_samples(self) -> int:
        """Crops of one epoch."""
        return len(self.crops_BCHW)

    def prefetch(
        self, first_step: int, num_steps: int, *, global_batch: int, rank: int, world_size: int
    ) -> Prefetcher[CropMinibatch]:
        """The same crops for every step, as an epoch of their own; each rank has all of them."""
        assert global_batch == world_size * len(self.crops_BCHW), "every rank has as many crops"
        samples = rank * len(self.crops_BCHW) + np.arange(len(self.crops_BCHW), dtype=np.int64)
        rows = np.zeros_like(samples)

        def minibatches() -> Iterator[CropMinibatch]:
            for step in range(first_step, first_step + num_steps):
                yield CropMinibatch(self.crops_BCHW, samples, np.full_like(samples, step), rows)

        return Prefetcher(minibatches(), depth=2, label="same crops")
