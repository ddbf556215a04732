"""A simulated screen is written as a microscope would leave it, and is a pure function of its settings."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile

from phenoscale.schema.wells import parse_wells
from phenoscale.screens.simulate.cells import Optics, draw_field
from phenoscale.screens.simulate.config import SimulateConfig
from phenoscale.screens.simulate.phenotypes import NUM_LATENTS, PROPERTIES
from phenoscale.screens.simulate.plan import plan_screen
from phenoscale.screens.simulate.stage import draw_planned_field, run_simulate

SMALL = {
    "biology": {"num_modules": 2, "genes_per_module": 2, "num_unexpressed_genes": 2, "guides_per_gene": 1},
    "layout": {"num_experiments": 2, "rows": 4, "columns": 6, "negative_controls_per_plate": 4,
               "positive_controls_per_plate": 1, "field_size_px": 64},
}  # fmt: skip


def simulate(workspace, **changes):
    return run_simulate(
        SimulateConfig(**(SMALL | changes), runtime={"workspace": str(workspace), "num_workers": 2})
    )


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("screen"))


def test_images_and_table_and_answer_key_are_written(screen):
    fields = pd.read_csv(screen.path / "fields.csv", keep_default_na=False)
    assert len(fields) == screen.summary["num_fields"] == 2 * (6 + 5)
    image = tifffile.imread(screen.path / fields["image_DNA"][0].split("#")[0])
    assert image.shape == (5, 64, 64)
    assert image.dtype == np.uint16
    assert {path.name for path in (screen.path / "truth").iterdir()} == {
        "genes.csv", "latents.parquet", "nuisance.csv", "pairs.csv", "settings.json",
    }  # fmt: skip
    latents = pq.read_table(screen.path / "truth" / "latents.parquet")
    assert (
        latents.column("perturbation").to_pylist()
        == pd.read_csv(screen.path / "truth/genes.csv")["gene"].tolist()
    )
    assert len(pd.read_csv(screen.path / "truth" / "pairs.csv")) == 2


def test_the_field_table_is_a_valid_well_table_once_images_are_located(screen):
    fields = pd.read_csv(screen.path / "fields.csv", keep_default_na=False)
    images = [name for name in fields.columns if name.startswith("image_")]
    fields["channels"] = "|".join(name.removeprefix("image_") for name in images)
    fields["image"] = fields[images].to_numpy().tolist()
    assert len(parse_wells(fields.drop(columns=images), source="simulated").frame) == len(fields)


def test_same_seed_gives_same_pixels_whatever_the_workers_and_another_seed_others(screen, tmp_path):
    assert simulate(tmp_path / "again").digest == screen.digest
    assert simulate(tmp_path / "other", seed=1).digest != screen.digest


def test_a_field_is_the_same_drawn_alone(screen):
    settings = json.loads((screen.path / "truth" / "settings.json").read_text())
    plan = plan_screen(SimulateConfig(**settings))
    well = plan.wells.iloc[7]
    path = screen.path / "images" / well["experiment"] / well["plate"] / f"{well['well']}_s1.tif"
    np.testing.assert_array_equal(tifffile.imread(path), draw_planned_field(plan, well, site=1))


@pytest.mark.ranks
def test_killed_simulation_run_again_gives_the_same_screen(tmp_path):
    layout = SMALL["layout"] | {
        "num_experiments": 6,
        "rows": 8,
        "columns": 12,
        "negative_controls_per_plate": 60,
    }
    settings = json.dumps(
        SMALL | {"layout": layout, "runtime": {"workspace": str(tmp_path / "killed"), "num_workers": 1}}
    )
    code = (
        "import json, sys\n"
        "from phenoscale.screens.simulate.config import SimulateConfig\n"
        "from phenoscale.screens.simulate.stage import run_simulate\n"
        "if __name__ == '__main__':\n"
        "    print(run_simulate(SimulateConfig(**json.loads(sys.argv[1]))).digest)\n"
    )
    script = tmp_path / "simulate_once.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, script, settings], start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").rglob("*.tif")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    image = next((tmp_path / "killed").rglob("*.tif"))
    image.with_name(".write-1-0").write_bytes(image.read_bytes()[:100])  # killed while it wrote an image
    again = subprocess.run([sys.executable, script, settings], capture_output=True, text=True, check=True)
    clean = simulate(tmp_path / "clean", layout=layout)
    assert again.stdout.strip().splitlines()[-1] == clean.digest


def _mean_image(name, latent):
    """Noise-free picture of 40 cells with one property moved."""
    latents = np.zeros((40, NUM_LATENTS))
    latents[:, [item.name for item in PROPERTIES].index(name)] = latent
    optics = Optics((1.0,) * 5, 0.3, 0.0, 0.0, 0.0, 1e9, 0.0)
    channels = ("DNA", "ER", "RNA", "AGP", "Mito")
    generator = np.random.default_rng(0)
    return draw_field(latents, channels=channels, size_px=400, optics=optics, generator=generator).astype(
        float
    )


def test_larger_nuclei_cover_more_of_the_dna_channel():
    covered = [(_mean_image("nucleus_radius_px", latent)[0] > 3000).mean() for latent in (-2, 0, 2)]
    assert covered[0] < covered[1] < covered[2]


def test_finer_mitochondria_have_steeper_gradients():
    steep = [
        np.abs(np.diff(_mean_image("mito_wavelength_px", latent)[4], axis=1)).mean() for latent in (-2, 0, 2)
    ]
    assert steep[0] > steep[1] > steep[2]


def test_intensity_moves_one_channel_and_leaves_the_others():
    low, high = _mean_image("intensity_ER", -1), _mean_image("intensity_ER", 1)
    assert high[1].mean() > 1.3 * low[1].mean()
    np.testing.assert_allclose(high[[0, 2, 3, 4]], low[[0, 2, 3, 4]])
