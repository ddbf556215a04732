"""The `map` verb: everything is written, reused when nothing changed, and refused when incomplete."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from phenoscale.config import Runtime, parse_config
from phenoscale.errors import UserError
from phenoscale.mapping.chain import digest_array
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.stage import run_map
from phenoscale.schema.embeddings import EmbeddingTable, read_embeddings, write_embeddings
from phenoscale.schema.maps import read_map
from tests.support.null_screens import ScreenSpec, simulate_screen
from tests.support.wells import make_wells

_STEPS = [
    {"name": "center", "batch_key": "plate"},
    {"name": "tvn"},
    {"name": "aggregate"},
    {"name": "arm_correction", "min_num_genes": 2},
]


@pytest.fixture
def screen(tmp_path):
    made = simulate_screen(
        ScreenSpec(num_modules=6, num_unexpressed=20, num_negative_controls=24, dimensions=8)
    )
    write_embeddings(tmp_path / "embed" / "wells", made.table)
    made.genes.to_csv(tmp_path / "genes.csv", index=False)
    return made


def _config(tmp_path, *, steps=_STEPS, embeddings="embed", genes="genes.csv"):
    data = {
        "embeddings": str(tmp_path / embeddings) if embeddings else "",
        "genes": str(tmp_path / genes) if genes else "",
        "steps": steps,
        "runtime": {"workspace": str(tmp_path / "workspace")},
    }
    return parse_config(MapConfig, data, source="test")


def test_the_map_its_steps_and_the_corrected_wells_are_written(tmp_path, screen):
    result = run_map(_config(tmp_path))
    steps = sorted(path.name for path in (result.path / "steps").iterdir())
    assert steps == ["0_none.parquet", "1_center.parquet", "2_tvn.parquet", "3_arm_correction.parquet"]
    final = read_map(result.path)
    last = read_map(result.path / "steps" / "3_arm_correction.parquet")
    assert np.array_equal(final.embeddings, last.embeddings)
    assert len(final) == result.summary["num_perturbations"] == 50
    assert final.encoder == "simulated"
    corrected = read_embeddings(result.path / "corrected")
    assert (len(corrected), corrected.level) == (len(screen.table), "well")
    assert not result.reused


def test_every_digest_in_the_header_is_that_of_a_written_parameter(tmp_path, screen):
    result = run_map(_config(tmp_path))
    header = json.loads((result.path / "map.json").read_text())
    for number, step in enumerate(header["steps"], start=1):
        with np.load(result.path / "parameters" / f"{number}_{step['name']}.npz") as stored:
            assert step["parameters"] == {name: digest_array(stored[name]) for name in stored.files}
    assert header["digest"] == read_map(result.path).digest
    assert len(header["digest"]) == len(hashlib.sha256().hexdigest())


def test_the_same_call_is_reused_and_a_changed_setting_or_input_is_not(tmp_path, screen):
    first = run_map(_config(tmp_path))
    assert run_map(_config(tmp_path)).reused
    changed = [*_STEPS[:3], {"name": "arm_correction", "min_num_genes": 3}]
    assert not run_map(_config(tmp_path, steps=changed)).reused
    screen.genes.assign(zfpkm=1.0).to_csv(tmp_path / "genes.csv", index=False)
    assert not run_map(_config(tmp_path)).reused
    assert run_map(_config(tmp_path, steps=_STEPS[:3])).key != first.key


def test_the_gene_table_is_no_input_of_a_map_that_does_not_read_it(tmp_path, screen):
    first = run_map(_config(tmp_path, steps=_STEPS[:3]))
    screen.genes.assign(zfpkm=1.0).to_csv(tmp_path / "genes.csv", index=False)
    assert run_map(_config(tmp_path, steps=_STEPS[:3])).reused
    assert first.summary["num_corrected_arms"] == 0


def test_a_plate_without_negative_controls_ends_with_its_name_and_no_output(tmp_path):
    table = make_wells()
    on_plate = (table.frame["experiment"] == "e1") & (table.frame["plate"] == "p2")
    lonely = table.frame.assign(is_negative_control=table.frame["is_negative_control"] & ~on_plate)
    write_embeddings(tmp_path / "embed" / "wells", EmbeddingTable(lonely, table.embeddings, "well"))
    config = _config(tmp_path, steps=_STEPS[:1] + _STEPS[2:3], genes="")
    with pytest.raises(UserError, match=r"e1/p2 \(0\)"):
        run_map(config)
    assert not list((tmp_path / "workspace").glob("map/*/_SUCCESS.json"))
    assert not list((tmp_path / "workspace").glob("map/*/map.parquet"))


def test_missing_places_are_asked_for_by_their_flag(tmp_path, screen):
    with pytest.raises(UserError, match="--embeddings"):
        run_map(_config(tmp_path, embeddings=""))
    with pytest.raises(UserError, match="--genes"):
        run_map(_config(tmp_path, genes=""))
    with pytest.raises(UserError, match="does not exist"):
        run_map(_config(tmp_path, embeddings="elsewhere"))


def test_a_map_is_not_made_from_a_map(tmp_path):
    frame = pd.DataFrame({"perturbation": ["a"], "experiment": ["e"], "plate": ["p"]})
    write_embeddings(tmp_path / "embed", EmbeddingTable(frame, np.zeros((1, 2)), "perturbation"))
    with pytest.raises(UserError, match="of the level 'perturbation'"):
        run_map(_config(tmp_path, genes="", steps=[{"name": "aggregate"}]))


def test_the_workspace_is_where_runtime_says(tmp_path, screen):
    config = _config(tmp_path)
    assert config.runtime == Runtime(workspace=str(tmp_path / "workspace"))
    assert run_map(config).path.parent == tmp_path / "workspace" / "map"
