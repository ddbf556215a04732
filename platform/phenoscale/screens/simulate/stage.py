"""The `simulate` verb: draw every field of a planned screen and write images, field table and answer key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile

from phenoscale.distributed import end_with_parent
from phenoscale.files import written_whole
from phenoscale.logs import progress
from phenoscale.screens.simulate.cells import draw_field
from phenoscale.screens.simulate.config import SimulateConfig
from phenoscale.screens.simulate.plan import (
    ScreenPlan,
    field_latents,
    field_optics,
    generator_for,
    module_pairs,
    plan_screen,
)
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage


def run_simulate(config: SimulateConfig, *, observe: Observer = ignore) -> StageResult:
    """Draw the screen: `images/`, `fields.csv` and the answer key `truth/`.

    A killed run is taken up where it was: a field that is already there is not drawn again.
    """
    return run_stage(
        "simulate",
        entry="phenoscale.screens.simulate.stage",
        config=config,
        inputs={},
        build=partial(_build, config=config, observe=observe),
    )


def _build(output: Output, *, config: SimulateConfig, observe: Observer) -> Mapping[str, Any]:
    folder = output.folder
    plan = plan_screen(config)
    _write_truth(folder / "truth", plan)
    fields = field_table(plan)
    with progress(len(fields), label="simulate") as bar, _executor(config.runtime.num_workers) as executor:
        jobs = [partial(_draw_plate, config, folder, key=key) for key in plan.nuisances]
        for done, count in enumerate(executor.map(_call, jobs), start=1):
            bar.advance(count)
            observe(done, {"num_fields": float(count)})
    # The table comes last: images without it are not a screen.
    fields.to_csv(folder / "fields.csv", index=False)
    return {
        "num_fields": len(fields),
        "num_wells": len(plan.wells),
        "num_genes": len(plan.genes),
        "num_pairs": len(module_pairs(plan.genes)),
    }


def field_table(plan: ScreenPlan) -> pd.DataFrame:
    """What a microscope and a sample sheet would leave: one row per field, one locator per channel."""
    config = plan.config
    wells = plan.wells.loc[plan.wells.index.repeat(config.layout.sites_per_well)].reset_index(drop=True)
    sites = np.tile(np.arange(1, config.layout.sites_per_well + 1), len(plan.wells))
    is_control = wells["control_type"] != ""
    table = pd.DataFrame(
        {
            "screen": config.screen,
            "experiment": wells["experiment"],
            "plate": wells["plate"],
            "well": wells["well"],
            "site": sites,
            "object": 0,
            "cell_type": "simulated",
            "timepoint_h": 96.0,
            "perturbation": wells["perturbation"],
            "perturbation_type": np.where(is_control, "control", "crispr"),
            "gene": wells["gene"],
            "guide": wells["guide"],
            "is_negative_control": wells["control_type"] == "negative",
            "is_positive_control": wells["control_type"] == "positive",
            "control_type": wells["control_type"],
        }
    )
    for page, channel in enumerate(config.channels):
        table[f"image_{channel}"] = [
            f"{image_path(key)}#page={page}"
            for key in zip(table["experiment"], table["plate"], table["well"], sites, strict=True)
        ]
    return table


def image_path(key: tuple[str, str, str, int]) -> str:
    """Place of the image of field (experiment, plate, well, site), relative to the screen's folder."""
    experiment, plate, well, site = key
    return f"images/{experiment}/{plate}/{well}_s{site}.tif"


@contextmanager
def _executor(num_workers: int) -> Iterator[Executor]:
    context = get_context("spawn")
    with ProcessPoolExecutor(max(num_workers, 1), context, initializer=end_with_parent) as executor:
        yield executor


def _call(job: partial[int]) -> int:
    return job()


def _draw_plate(config: SimulateConfig, folder: Path, *, key: tuple[str, str]) -> int:
    """Draw the fields of one plate that are not there yet."""
    plan = plan_screen(config)
    wells = plan.wells[(plan.wells["experiment"] == key[0]) & (plan.wells["plate"] == key[1])]
    (folder / image_path((*key, "", 0))).parent.mkdir(parents=True, exist_ok=True)
    for _, well in wells.iterrows():
        for site in range(1, config.layout.sites_per_well + 1):
            path = folder / image_path((*key, str(well["well"]), site))
            if not path.exists():
                _write_image(path, draw_planned_field(plan, well, site=site))
    return len(wells) * config.layout.sites_per_well


def draw_planned_field(
    plan: ScreenPlan, well: pd.Series, *, site: int
) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The image of one field, [C, H, H]: a pure function of the plan and the field's key."""
    key = (well["experiment"], well["plate"], well["well"], site)
    return draw_field(
        field_latents(plan, well, site=site),
        channels=plan.config.channels,
        size_px=plan.config.layout.field_size_px,
        optics=field_optics(plan, well, site=site),
        generator=generator_for(plan.config.seed, "pixels", *key),
    )


def _write_image(path: Path, image_CHH: np.ndarray[Any, np.dtype[np.uint16]]) -> None:
    with written_whole(path) as temporary:
        tifffile.imwrite(temporary, image_CHH, photometric="minisblack")


def _write_truth(folder: Path, plan: ScreenPlan) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plan.genes.to_csv(folder / "genes.csv", index=False)
    module_pairs(plan.genes).to_csv(folder / "pairs.csv", index=False)
    embedding = pa.FixedSizeListArray.from_arrays(
        pa.array(plan.latents_GP.astype(np.float32).ravel()), plan.latents_GP.shape[1]
    )
    table = pa.table({"perturbation": plan.genes["gene"].tolist(), "embedding": embedding})
    pq.write_table(table, folder / "latents.parquet")
    rows = [
        {"experiment": experiment, "plate": plate, "focus_px": round(item.focus_px, 4)}
        | {
            f"gain_{channel}": round(float(np.exp(value)), 4)
            for channel, value in zip(plan.config.channels, item.log_gains, strict=True)
        }
        for (experiment, plate), item in plan.nuisances.items()
    ]
    pd.DataFrame(rows).to_csv(folder / "nuisance.csv", index=False)
    settings = plan.config.model_dump(mode="json", exclude={"runtime"})
    (folder / "settings.json").write_text(json.dumps(settings, indent=2, sort_keys=True))
