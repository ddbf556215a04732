"""Random 256 px six-channel crops a second: screen store, one array a plate, PNG files, raw bytes.

    python bench/store.py --output store.json

One run writes the same synthetic 16-bit fields (cells, texture, shot noise) in four ways: a screen store
through the library's own writer, which has one array a field (OME-Zarr); the same shards and chunks as one
array a plate, which stores were before; one PNG file per channel as a microscope exports them; and one raw
array that is memory-mapped. All then serve random crops with the same number of threads. Before anything is
timed, crops of all are compared pixel by pixel. The page cache is warm for all, and the working set is ten
times the store's own cache. Rounds alternate between them, so that other load on the machine hits all alike;
the median round is reported, and CPU seconds beside it. `bytes_per_crop` is what tensorstore read for one.
Last, the PNG files are ingested, and the bytes that the kernel counts are divided by those of the files.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorstore as ts
from PIL import Image

from phenoscale.schema.addresses import format_address
from phenoscale.schema.screen import ScreenHeader
from phenoscale.schema.wells import parse_wells
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import build_store
from phenoscale.screens.layout import PlateShape, shared_context
from phenoscale.screens.quality import measure_field
from phenoscale.screens.store import open_screen
from phenoscale.screens.writer import PlateFormat, PlateWriter, write_header
from phenoscale.stages import Output

CHANNELS = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
CROP_PX = 256
IN_FLIGHT = 32
PNG_IN_FLIGHT = 4  # each is six files to decode whole
NUM_COMPARED = 8

Crop = tuple[int, int, int]
Submit = Callable[[Crop], Any]


@dataclasses.dataclass(frozen=True)
class Timing:
    """One way to read at one field size."""

    path: str
    field_px: int
    crops_per_second: float
    crops_per_cpu_second: float
    bytes_per_crop: float
    megabytes_on_disk: float
    times_plate_array: float = 1.0
    times_png: float = 1.0
    share_of_raw: float = 1.0


def main(arguments: Sequence[str] | None = None) -> list[Timing]:
    """Run the bench, print the table and write the JSON."""
    options = _parse(arguments)
    timings: list[Timing] = []
    read_per_byte = {}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        for field_px, num_fields in ((2048, options.fields), (512, 16 * options.fields)):
            folder = Path(scratch) / str(field_px)
            timings += bench_size(folder, field_px, num_fields=num_fields, options=options)
            read_per_byte[field_px] = ingest_again(folder, num_fields=num_fields)
    print(table(timings))
    for field_px, share in read_per_byte.items():
        print(f"ingest of {field_px} px fields: {share:.3f} bytes read per byte of source")
    if options.output:
        record = {
            "crop_px": CROP_PX,
            "channels": len(CHANNELS),
            "num_threads": options.threads,
            "seconds_per_round": options.seconds,
            "rounds": options.rounds,
            "ingest_bytes_read_per_byte": read_per_byte,
            "timings": [dataclasses.asdict(timing) for timing in timings],
        }
        Path(options.output).write_text(json.dumps(record, indent=2) + "\n")
    return timings


def bench_size(folder: Path, field_px: int, *, num_fields: int, options: argparse.Namespace) -> list[Timing]:
    """Write fields of one size in four ways, check that they agree, and time random crops of each."""
    folder.mkdir(parents=True)
    raw = write_all(folder, field_px, num_fields=num_fields)
    raw_megabytes = raw.stat().st_size / 1e6
    note(f"{num_fields} fields of {field_px} px, {raw_megabytes:.0f} MB raw")
    with ThreadPoolExecutor(options.threads) as executor:
        readers = open_readers(folder, executor)
        crops = random_crops(field_px, num_fields)
        for crop in (next(crops) for _ in range(NUM_COMPARED)):
            expected, *others = (np.asarray(submit(crop).result()) for submit in readers.values())
            for other in others:
                np.testing.assert_array_equal(other, expected)
        rounds: dict[str, list[tuple[float, float, float]]] = {path: [] for path in readers}
        for _ in range(options.rounds):
            for path, submit in readers.items():
                in_flight = PNG_IN_FLIGHT if path == "png" else IN_FLIGHT
                rounds[path].append(time_round(submit, crops, in_flight=in_flight, seconds=options.seconds))
    disk = {path: folder_bytes(folder / path) for path in readers}
    return summarize(rounds, field_px, disk=disk)


def time_round(
    submit: Submit, crops: Iterator[Crop], *, in_flight: int, seconds: float
) -> tuple[float, float, float]:
    """Read crops for some seconds, a few in flight; return crops a second, a CPU second, and bytes a crop."""
    pending: deque[Any] = deque()
    done, bytes_before = 0, store_bytes_read()
    started, started_cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds or not done:
        while len(pending) < in_flight:
            pending.append(submit(next(crops)))
        assert pending.popleft().result().shape == (len(CHANNELS), CROP_PX, CROP_PX), (
            "a crop of another shape"
        )
        done += 1
    # what is still in flight was begun in this round and counts
    for future in pending:
        future.result()
    done += len(pending)
    num_bytes = store_bytes_read() - bytes_before
    speeds = done / (time.perf_counter() - started), done / (time.process_time() - started_cpu)
    return *speeds, num_bytes / done


def store_bytes_read() -> int:
    """Return how many bytes tensorstore has read from files."""
    metrics = ts.experimental_collect_matching_metrics("/tensorstore/kvstore/file/bytes_read")
    return sum(value["value"] for metric in metrics for value in metric["values"])


def ingest_again(folder: Path, *, num_fields: int) -> float:
    """Ingest the PNG files as a plate; return the bytes that were read for each byte of them."""
    names = {f"image_{channel}": [f"{n}_{channel}.png" for n in range(num_fields)] for channel in CHANNELS}
    fields = _wells(num_fields).drop(columns="image").assign(**names)
    fields.to_csv(folder / "png" / "fields.csv", index=False)
    config = IngestConfig(path=str(folder / "png"))
    before = kernel_bytes_read()
    build_store(Output(folder / "ingested"), config=config)
    # what was written is hashed when it is published, which reads it and not the source
    num_bytes = kernel_bytes_read() - before - folder_bytes(folder / "ingested" / "plates")
    return num_bytes / folder_bytes(folder / "png")


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def kernel_bytes_read() -> int:
    """Return how many bytes this process has read."""
    return int(Path("/proc/self/io").read_text().split()[1])


def open_readers(folder: Path, executor: ThreadPoolExecutor) -> dict[str, Submit]:
    """Return a way to start reading a crop, by path; the store has threads of its own."""
    store = open_screen(folder / "store")
    raw = np.load(folder / "raw" / "fields.npy", mmap_mode="r")
    array = open_plate_array(folder / "plate_array", len(raw), field_px=raw.shape[-1])
    return {
        "store": lambda crop: store.crop(0, crop[0], top=crop[1], left=crop[2], size=CROP_PX),
        "plate_array": lambda crop: array[
            crop[0], :, crop[1] : crop[1] + CROP_PX, crop[2] : crop[2] + CROP_PX
        ].read(),
        "png": functools.partial(executor.submit, functools.partial(read_png_crop, folder / "png")),
        "raw": functools.partial(executor.submit, functools.partial(read_raw_crop, raw)),
    }


def open_plate_array(folder: Path, num_fields: int, *, field_px: int) -> Any:
    """Open, or make, the layout that stores had before: one array a plate, the same shards and chunks."""
    metadata = PlateShape("fields", num_fields, len(CHANNELS), field_px, field_px, "uint16").metadata()
    grid = metadata["chunk_grid"]["configuration"]
    grid["chunk_shape"] = [1, *grid["chunk_shape"]]
    inner = metadata["codecs"][0]["configuration"]
    inner["chunk_shape"] = [1, *inner["chunk_shape"]]
    metadata |= {"shape": [num_fields, *metadata["shape"]], "dimension_names": ["field", "c", "y", "x"]}
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}, "metadata": metadata}
    return ts.open(spec, open=True, create=True, context=shared_context()).result()


def read_png_crop(folder: Path, crop: Crop) -> np.ndarray:
    """Cut a crop out of a field of one PNG file per channel, each of which must be decoded whole."""
    number, top, left = crop
    channels = []
    for channel in CHANNELS:
        with Image.open(folder / f"{number}_{channel}.png") as image:
            channels.append(np.asarray(image)[top : top + CROP_PX, left : left + CROP_PX])
    return np.stack(channels)


def read_raw_crop(raw: np.ndarray, crop: Crop) -> np.ndarray:
    """Copy a crop out of memory-mapped raw bytes."""
    number, top, left = crop
    return np.array(raw[number, :, top : top + CROP_PX, left : left + CROP_PX])


def random_crops(field_px: int, num_fields: int) -> Iterator[Crop]:
    """Yield places of crops, uniform over fields and positions, without end."""
    rng = np.random.default_rng(0)
    while True:
        top, left = rng.integers(0, field_px - CROP_PX + 1, 2)
        yield int(rng.integers(num_fields)), int(top), int(left)


def write_all(folder: Path, field_px: int, *, num_fields: int) -> Path:
    """Write the fields as a store, one array, PNG files and a raw array; return the raw file."""
    (folder / "png").mkdir()
    (folder / "raw").mkdir()
    shape = (num_fields, len(CHANNELS), field_px, field_px)
    raw = np.lib.format.open_memmap(folder / "raw" / "fields.npy", mode="w+", dtype=np.uint16, shape=shape)
    pixel_format = PlateFormat(CHANNELS, "uint16", height=field_px, width=field_px, intensity_scale=65535.0)
    writer = PlateWriter(folder / "store", wells=_wells(num_fields), format=pixel_format)
    array = open_plate_array(folder / "plate_array", num_fields, field_px=field_px)
    for number in range(num_fields):
        pixels = draw_field(field_px, seed=number)
        raw[number] = pixels
        writer.append(number, pixels, measures=measure_field(pixels))
        array[number].write(pixels).result()
        for channel, plane in zip(CHANNELS, pixels, strict=True):
            Image.fromarray(plane).save(folder / "png" / f"{number}_{channel}.png", compress_level=1)
    raw.flush()
    entry = writer.commit()
    write_header(folder / "store", ScreenHeader("bench", CHANNELS, "uint16", 65535.0, None, plates=(entry,)))
    return folder / "raw" / "fields.npy"


def draw_field(size: int, *, seed: int) -> np.ndarray:
    """Draw one field, [C, size, size]: soft cells with texture on a camera's ground, and shot noise."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size)[None] ** 2

    def blurred(image: np.ndarray, sigma_px: float) -> np.ndarray:
        return np.fft.irfft2(
            np.fft.rfft2(image) * np.exp(-2 * np.pi**2 * sigma_px**2 * frequency), s=image.shape
        )

    seeds = (rng.random((size, size)) < 1 / 2500).astype(float)
    cells = blurred(seeds, 10.0)
    cells /= cells.max()
    channels = []
    for _ in CHANNELS:
        texture = blurred(rng.standard_normal((size, size)), 1.5)
        light = 400 + 9000 * cells * np.clip(1 + 0.3 * texture / texture.std(), 0, None)
        channels.append(np.clip(rng.normal(light, np.sqrt(2 * np.clip(light, 1, None))), 0, 65535))
    return np.stack(channels).astype(np.uint16)


def summarize(
    rounds: dict[str, list[tuple[float, float, float]]], field_px: int, *, disk: dict[str, int]
) -> list[Timing]:
    """Take the median round of every path and compare it with the PNG files and with the raw bytes."""
    speed, per_cpu, num_bytes = (
        {path: statistics.median(one[column] for one in measured) for path, measured in rounds.items()}
        for column in range(3)
    )
    return [
        Timing(
            path=path,
            field_px=field_px,
            crops_per_second=speed[path],
            crops_per_cpu_second=per_cpu[path],
            bytes_per_crop=num_bytes[path],
            megabytes_on_disk=disk[path] / 1e6,
            times_plate_array=speed[path] / speed["plate_array"],
            times_png=speed[path] / speed["png"],
            share_of_raw=speed[path] / speed["raw"],
        )
        for path in rounds
    ]


def table(timings: Sequence[Timing]) -> str:
    """Return the timings as a table of text."""
    frame = pd.DataFrame([dataclasses.asdict(timing) for timing in timings])
    raw = frame[frame["path"] == "raw"].set_index("field_px")["megabytes_on_disk"]
    frame["compression"] = frame["field_px"].map(raw) / frame["megabytes_on_disk"]
    return frame.to_string(index=False, float_format=lambda value: f"{value:.4g}")


def note(text: str) -> None:
    """Say on standard error what is being done."""
    print(text, file=sys.stderr, flush=True)


def _wells(num_fields: int) -> pd.DataFrame:
    rows = [
        {
            "screen": "bench",
            "experiment": "E1",
            "plate": "P1",
            "well": format_address(number // 48, number % 48),
            "perturbation": "none",
            "perturbation_type": "control",
            "control_type": "none",
        }
        for number in range(num_fields)
    ]
    return parse_wells(pd.DataFrame(rows), source="bench").frame


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default="", help="JSON file to write")
    parser.add_argument(
        "--fields", type=int, default=6, help="fields of 2048 px (16 times as many of 512 px)"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds per path and round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over all paths")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads that read")
    parser.add_argument("--scratch", default=None, help="folder for the files; the system's own by default")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
