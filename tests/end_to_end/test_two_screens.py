"""Two screens whose experiments, plates and wells have equal names: from images to rows nothing merges."""

from types import SimpleNamespace

import numpy as np
import pytest

from phenoscale.benchmarks.config import BenchmarkConfig
from phenoscale.benchmarks.stage import run_benchmark
from phenoscale.config import parse_config
from phenoscale.curation.config import CurateConfig
from phenoscale.curation.stage import run_curate
from phenoscale.inference.config import EmbedConfig
from phenoscale.inference.stage import run_embed
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.stage import run_map
from phenoscale.schema.embeddings import partition_files, read_embeddings, write_embeddings
from phenoscale.schema.keys import EXPERIMENT_KEY, FIELD_KEY, PLATE_KEY, WELL_KEY
from phenoscale.schema.rows import read_rows
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import run_ingest
from tests.support.embedding import save_pixel_statistics
from tests.support.plates import make_plate_files

SCREENS = {"first": 0, "second": 20_000}
PLATES = [(experiment, plate) for experiment in ("E1", "E2") for plate in ("P1", "P2")]
WELLS_OF_A_PLATE = 11  # 4 negative controls, a positive one, 2 guides of 3 genes
ANY_QUALITY = dict.fromkeys(("min_relative_contrast", "max_saturated_fraction", "max_focus_deviation"))
WELLS_OF_A_SCREEN = len(PLATES) * WELLS_OF_A_PLATE


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Both screens through every stage; the second one is brighter, which is its batch effect."""
    folder = tmp_path_factory.mktemp("two_screens")

    def configure(kind, **given):
        runtime = {"workspace": str(folder / "workspace"), "device": "cpu", "num_workers": 1}
        given["runtime"] = {name: runtime[name] for name in kind().runtime.model_dump() if name in runtime}
        return parse_config(kind, given, source="test")

    stores = {}
    for name, brightness in SCREENS.items():
        make_plate_files(folder / name, plates=PLATES, num_genes=3, brightness=brightness)
        stores[name] = run_ingest(configure(IngestConfig, path=str(folder / name), screen=name))
    encoder = save_pixel_statistics(folder / "encoder", channels=("DNA", "ER"))
    manifest = run_curate(
        configure(
            CurateConfig,
            stores=[str(store.path) for store in stores.values()],
            weighting="experiment",
            quality=ANY_QUALITY,
        )
    )
    embedded = run_embed(configure(EmbedConfig, encoder=str(encoder), manifest=str(manifest.path)))
    alone = {
        name: run_embed(configure(EmbedConfig, encoder=str(encoder), stores=[str(store.path)]))
        for name, store in stores.items()
    }
    mapped = run_map(
        configure(MapConfig, embeddings=str(embedded.path), steps=[{"name": "center"}, {"name": "aggregate"}])
    )
    benchmark = run_benchmark(
        configure(
            BenchmarkConfig,
            maps={"pixels": str(mapped.path)},
            embeddings={"pixels": str(embedded.path)},
            reference="pixels",
        )
    )
    return SimpleNamespace(
        stores=stores, manifest=manifest, embedded=embedded, alone=alone, mapped=mapped, benchmark=benchmark
    )


def test_every_stage_counts_both_screens(ran):
    counts = {
        **{f"ingest {name}": store.summary["num_fields"] for name, store in ran.stores.items()},
        **{
            stage: (result.summary["num_screens"], result.summary[counted])
            for stage, result, counted in (
                ("curate", ran.manifest, "num_fields"),
                ("embed", ran.embedded, "num_fields"),
                ("map", ran.mapped, "num_wells"),
            )
        },
    }
    print(counts)
    both = (2, 2 * WELLS_OF_A_SCREEN)
    assert list(counts.values()) == [WELLS_OF_A_SCREEN, WELLS_OF_A_SCREEN, both, both, both]
    assert ran.manifest.summary["num_plates"] == ran.embedded.summary["num_shards"] == 2 * len(PLATES)


@pytest.mark.parametrize(("level", "key"), [("fields", FIELD_KEY), ("wells", WELL_KEY)])
def test_every_row_of_both_screens_is_kept_with_its_own_vector(ran, level, key):
    together = read_embeddings(ran.embedded.path / level)
    assert len(partition_files(ran.embedded.path / level)) == 2 * len(PLATES)
    assert len(together.frame[list(key)].drop_duplicates()) == len(together) == 2 * WELLS_OF_A_SCREEN
    for name, result in ran.alone.items():
        own = together.select((together.frame["screen"] == name).to_numpy())
        assert _vectors(own, key) == _vectors(read_embeddings(result.path / level), key)


def _vectors(table, key):
    rows = zip(table.frame[list(key)].itertuples(index=False, name=None), table.embeddings, strict=True)
    return {place: vector.tobytes() for place, vector in rows}


def test_screens_that_are_written_one_after_the_other_leave_each_others_rows(ran, tmp_path):
    for result in ran.alone.values():
        write_embeddings(tmp_path, read_embeddings(result.path / "wells"))
    assert len(partition_files(tmp_path)) == 2 * len(PLATES)
    together = read_embeddings(ran.embedded.path / "wells")
    assert _vectors(read_embeddings(tmp_path), WELL_KEY) == _vectors(together, WELL_KEY)


def test_each_experiment_of_each_screen_is_a_batch_of_correction(ran):
    corrected = read_embeddings(ran.mapped.path / "corrected")
    assert len(corrected) == 2 * WELLS_OF_A_SCREEN
    controls = corrected.select(corrected.frame["is_negative_control"].to_numpy(dtype=bool))
    means = [
        controls.embeddings[rows].mean(axis=0)
        for rows in controls.frame.groupby(list(EXPERIMENT_KEY)).indices.values()
    ]
    assert len(means) == 4
    np.testing.assert_allclose(means, 0, atol=1e-5)
    assert np.load(ran.mapped.path / "parameters" / "1_center.npz")["means"].shape[0] == 4


def test_benchmarks_tell_the_plates_of_both_screens_apart(ran):
    rows = [row for row in read_rows(ran.benchmark.path) if row.benchmark == "batch_effect"]
    classes = {(row.source, row.settings["wells"]): row.settings["num_classes"] for row in rows}
    assert classes[("plate", "all")] == 2 * len(PLATES)
    assert classes[("experiment", "all")] == 4


def test_plates_of_equal_names_share_no_group_in_the_manifest(ran):
    from phenoscale.loading.fields import open_fields

    frame = open_fields(manifest=ran.manifest.path).frame
    plates = frame.groupby(list(PLATE_KEY))
    assert (plates.size() == WELLS_OF_A_PLATE).all() and plates.ngroups == 2 * len(PLATES)
    of_experiments = frame.groupby(list(EXPERIMENT_KEY))["weight"].sum()
    np.testing.assert_allclose(of_experiments, 2 * WELLS_OF_A_PLATE)
