"""Which samples, crops, flips and masks training sees: pure functions of (seed, epoch, sample, purpose).

None of them knows about ranks, workers or what was drawn before, so resuming is arithmetic and any division
of the work gives the same numbers. A *sample* is a position in an epoch's order; `epoch` is one number or one
per sample. Shapes: N samples, L patch tokens.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenoscale.loading.philox import WordArray, philox4x32, seed_key

IntArray = NDArray[np.int64]


class Purpose(IntEnum):
    """What a sample's random numbers are for; each purpose has a stream of its own."""

    ORDER = 0
    CROP = 1
    FLIP = 2
    MASK = 3


def sample_order(
    num_samples: int, *, seed: int, epoch: int, weights: NDArray[np.float64] | None = None
) -> IntArray:
    """The fields of an epoch in the order in which they are drawn: [num_samples].

    Without weights, or with equal ones, each field occurs once. Otherwise a field's number of occurrences is
    its share of the weights times num_samples, rounded up or down at random (systematic sampling), so that
    expected counts are exact and an epoch keeps its length.
    """
    generator = _order_generator(seed, epoch=epoch)
    if weights is None or np.ptp(weights) == 0:
        return generator.permutation(num_samples)
    return generator.permutation(_systematic(weights, num_drawn=num_samples, generator=generator))


def same_plate_order(
    plates: IntArray,
    *,
    run_length: int,
    seed: int,
    epoch: int,
    weights: NDArray[np.float64] | None = None,
) -> IntArray:
    """The fields of an epoch in an order whose aligned runs of `run_length` come from one plate each.

    Without weights, or with equal ones, each field occurs once, and a plate whose number of fields is no
    multiple of the run length fills its last run with fields of its own drawn again: other ones than the run
    has, as long as the plate has so many. With weights, the runs are shared among the plates by their sums of
    weights, rounded up or down at random, and each plate's draws among its fields in the same way: expected
    counts are proportional to the weights. An epoch has the same length either way, `same_plate_length`.

    Args:
        plates: number of each field's plate, [number of fields].
        run_length: fields of a run.
        seed: the run's seed.
        epoch: which epoch.
        weights: of each field, [number of fields].
    """
    generator = _order_generator(seed, epoch=epoch)
    members = [np.flatnonzero(plates == plate) for plate in np.unique(plates)]
    if weights is None or np.ptp(weights) == 0:
        drawn = [generator.permutation(mine) for mine in members]
        filled = [np.resize(mine, -(-len(mine) // run_length) * run_length) for mine in drawn]
    else:
        sums = np.array([weights[mine].sum() for mine in members])
        num_runs = same_plate_length(plates, run_length=run_length) // run_length
        of_run = _systematic(sums, num_drawn=num_runs, generator=generator)
        filled = []
        for mine, runs in zip(members, np.bincount(of_run, minlength=len(members)), strict=True):
            places = _systematic(weights[mine], num_drawn=int(runs) * run_length, generator=generator)
            filled.append(generator.permutation(mine[places]))
    runs_RK = np.concatenate(filled).reshape(-1, run_length)
    return generator.permutation(runs_RK).reshape(-1)


def same_plate_length(plates: IntArray, *, run_length: int) -> int:
    """How long an epoch of whole runs is: each plate's number of fields, rounded up to whole runs."""
    sizes = np.unique(plates, return_counts=True)[1]
    return int((-(-sizes // run_length)).sum()) * run_length


def balanced_weights(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Weights under which every label is drawn equally often: 1 / how often it occurs, [N]."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1.0 / counts[codes.reshape(-1)]
    return weights


def _order_generator(seed: int, *, epoch: int) -> np.random.Generator:
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF, (epoch << 8) | Purpose.ORDER], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def _systematic(weights: NDArray[np.float64], *, num_drawn: int, generator: np.random.Generator) -> IntArray:
    """Systematic sampling: each index as often as its share of the weights says, rounded up or down."""
    cumulative = np.cumsum(weights) * (num_drawn / np.sum(weights))
    ticks = np.arange(num_drawn) + generator.random()
    return np.minimum(np.searchsorted(cumulative, ticks, side="right"), len(weights) - 1)


def crop_corners(
    samples: IntArray,
    *,
    seed: int,
    epoch: IntArray | int,
    heights: IntArray,
    widths: IntArray,
    size: int,
) -> IntArray:
    """Top-left corners of random crops, uniform over all positions inside the field: [N, 2] (top, left).

    Args:
        samples: [N].
        seed: the run's seed.
        epoch: one number, or [N].
        heights: fields' heights in pixels, [N].
        widths: fields' widths in pixels, [N].
        size: the crop's height and width in pixels.
    """
    words = _words(samples, seed=seed, epoch=epoch, purpose=Purpose.CROP, num_words=2)
    choices = np.stack([heights, widths], axis=1).astype(np.uint64) - np.uint64(size - 1)
    return ((words.astype(np.uint64) * choices) >> np.uint64(32)).astype(np.int64)


def flips(samples: IntArray, *, seed: int, epoch: IntArray | int) -> NDArray[np.bool_]:
    """Whether each crop is flipped (vertically, horizontally), each with probability 1/2: [N, 2]."""
    words = _words(samples, seed=seed, epoch=epoch, purpose=Purpose.FLIP, num_words=2)
    return (words >> np.uint32(31)).astype(np.bool_)


def mask_noise(
    samples: IntArray, *, seed: int, epoch: IntArray | int, num_tokens: int
) -> NDArray[np.float32]:
    """Noise whose lowest values say which patches are kept, uniform in [0, 1): [N, num_tokens]."""
    words = _words(samples, seed=seed, epoch=epoch, purpose=Purpose.MASK, num_words=num_tokens)
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _words(
    samples: IntArray, *, seed: int, epoch: IntArray | int, purpose: Purpose, num_words: int
) -> WordArray:
    """Random words [N, num_words]; the counter is (block of four words, sample, epoch, purpose)."""
    num_blocks = -(-num_words // 4)
    counters = np.empty((len(samples), num_blocks, 4), dtype=np.uint32)
    counters[..., 0] = np.arange(num_blocks, dtype=np.uint32)
    counters[..., 1] = np.asarray(samples)[:, None]
    counters[..., 2] = np.broadcast_to(epoch, len(samples))[:, None]
    counters[..., 3] = purpose
    return philox4x32(counters, key=seed_key(seed)).reshape(len(samples), -1)[:, :num_words]
