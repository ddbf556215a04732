"""Decode and measure a plate's fields in threads, in the order of the table, a bounded number in memory.

Consecutive rows that lie in the same files (crops of one stack) are decoded together: a file is parsed once.
Shapes: C channels, K planes of a file, H, W pixels.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import numpy as np

from phenoscale.screens.ingest.images import ImageFiles
from phenoscale.screens.ingest.locators import BadImageError
from phenoscale.screens.ingest.plan import IngestPlan
from phenoscale.screens.ingest.sources import SourceFiles
from phenoscale.screens.ordered import in_order
from phenoscale.screens.quality import FieldMeasures, measure_field

_MAX_PROBED: Final = 16
_MAX_ROWS_TOGETHER: Final = 512
_MAX_BYTES_TOGETHER: Final = 32 * 2**20


@dataclass(frozen=True)
class DecodedField:
    """One row's pixels, [C, H, W], and their measures, or the reason why there are none."""

    row: int
    pixels: np.ndarray | None = None
    measures: FieldMeasures | None = None
    reason: str = ""


@dataclass(frozen=True)
class FieldFormat:
    """What every field of a plate must be."""

    height: int
    width: int
    dtype: str

    def __str__(self) -> str:
        return f"{self.height} x {self.width} {self.dtype}"


def probe_format(images: Sequence[Sequence[str]], *, sources: SourceFiles) -> FieldFormat | list[str]:
    """Return the format that most of a plate's first readable fields have; their files stay in memory.

    Where none can be read the answer is the list of reasons, one per field.
    """
    counts: Counter[FieldFormat] = Counter()
    reasons: list[str] = []
    with ImageFiles(sources) as files:
        for image in images:
            try:
                found = files.describe(image[0])
                counts[FieldFormat(found.height, found.width, found.dtype)] += 1
            except BadImageError as error:
                reasons.append(str(error))
                sources.release(_files(image[:1]))
            if counts.total() == _MAX_PROBED:
                break
    return counts.most_common(1)[0][0] if counts else reasons


def decode_fields(
    plan: IngestPlan,
    images: Sequence[Sequence[str]],
    *,
    sources: SourceFiles,
    expected: FieldFormat,
    saturation_level: float,
    executor: Executor,
    window: int,
) -> Iterator[DecodedField]:
    """Yield the decoded fields in the order of `images`.

    Args:
        plan: says what the planes of the images are.
        images: the locators of each row.
        sources: the plate's files.
        expected: a field of another format is bad.
        saturation_level: a pixel is saturated from this share of the pixel type's largest value on.
        executor: threads to decode in.
        window: groups of rows that may wait, decoded, for the caller.
    """
    field_bytes = len(plan.channels) * expected.height * expected.width * np.dtype(expected.dtype).itemsize
    together = max(1, min(_MAX_ROWS_TOGETHER, _MAX_BYTES_TOGETHER // field_bytes))
    groups = list(_groups_of_same_files(images, at_most=together))
    sources.expect(Counter(name for group in groups for name in _files(group[0][1])))
    decode = functools.partial(
        _decode_group, plan, sources=sources, expected=expected, saturation_level=saturation_level
    )
    for group in in_order(decode, groups, executor=executor, window=window):
        yield from group


def _groups_of_same_files(
    images: Sequence[Sequence[str]], *, at_most: int
) -> Iterator[list[tuple[int, Sequence[str]]]]:
    for _, same_files in itertools.groupby(enumerate(images), key=lambda numbered: _files(numbered[1])):
        while chunk := list(itertools.islice(same_files, at_most)):
            yield chunk


def _files(image: Sequence[str]) -> list[str]:
    """The files that a row's locators name, each once."""
    return list(dict.fromkeys(name for locator in image if (name := locator.partition("#")[0])))


def _decode_group(
    plan: IngestPlan,
    group: Sequence[tuple[int, Sequence[str]]],
    *,
    sources: SourceFiles,
    expected: FieldFormat,
    saturation_level: float,
) -> list[DecodedField]:
    decoded: list[DecodedField] = []
    with ImageFiles(sources) as files:
        for row, image in group:
            try:
                pixels_CHW = _read_field(plan, image, expected=expected, files=files)
                measures = measure_field(pixels_CHW, saturation_level=saturation_level)
                decoded.append(DecodedField(row, pixels_CHW, measures))
            except BadImageError as error:
                decoded.append(DecodedField(row, reason=str(error)))
    sources.release(_files(group[0][1]))
    return decoded


def _read_field(
    plan: IngestPlan, image: Sequence[str], *, expected: FieldFormat, files: ImageFiles
) -> np.ndarray:
    if plan.planes:
        planes_KHW = _checked(files.read(image[0]), image[0], num_planes=plan.num_planes, expected=expected)
        return planes_KHW[list(plan.planes)]
    pixels = []
    for channel, locator in zip(plan.channels, image, strict=True):
        if not locator:
            raise BadImageError(f"no image is named for channel {channel}")
        pixels.append(_checked(files.read(locator), locator, num_planes=1, expected=expected))
    return np.concatenate(pixels)


def _checked(planes_KHW: np.ndarray, locator: str, *, num_planes: int, expected: FieldFormat) -> np.ndarray:
    _, height, width = planes_KHW.shape
    found = FieldFormat(height, width, planes_KHW.dtype.name)
    if len(planes_KHW) != num_planes:
        raise BadImageError(f"{locator}: holds {len(planes_KHW)} planes of pixels, expected {num_planes}")
    if found != expected:
        raise BadImageError(f"{locator}: is {found}, the fields of this plate are {expected}")
    return planes_KHW
