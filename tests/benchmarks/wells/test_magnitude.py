"""Signal magnitude: plain pairwise distances, null of equal sizes, planted shifts found and noise not."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from phenoscale.benchmarks.wells.config import SIGNAL_MAGNITUDE, SignalMagnitudeConfig
from phenoscale.benchmarks.wells.magnitude import signal_magnitude_rows
from phenoscale.cli.main import main
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import write_embeddings
from tests.support.well_scores import magnitude_p_values
from tests.support.wells import make_wells


def _config(**settings):
    return SignalMagnitudeConfig(num_resamples=50, **{"num_null": 199, **settings})


def _shifted(table, gene, length):
    vectors = table.embeddings.copy()
    vectors[(table.frame["perturbation"] == gene).to_numpy(dtype=bool)] += length
    return table.with_embeddings(vectors)


def _slow(first, second):
    return 2 * cdist(first, second).mean() - cdist(first, first).mean() - cdist(second, second).mean()


def test_values_are_plain_energy_distances_to_all_negative_controls(tmp_path):
    table = make_wells()
    file = tmp_path / "perturbations.parquet"
    rows = signal_magnitude_rows(table, config=_config(output=str(file)))
    written = pd.read_parquet(file).set_index("perturbation")["energy_distance"]
    controls = table.embeddings[table.frame["is_negative_control"].to_numpy(dtype=bool)]
    for gene in ("G1", "G6"):
        wells = table.embeddings[(table.frame["perturbation"] == gene).to_numpy(dtype=bool)]
        assert np.isclose(written[gene], _slow(wells, controls))
    assert {row.settings["num_controls"] for row in rows} == {120}
    assert {row.settings["ties"] for row in rows} == {"ge"}


def test_a_planted_shift_is_found_and_noise_is_not():
    values = {
        row.metric: row for row in signal_magnitude_rows(_shifted(make_wells(), "G2", 2), config=_config())
    }
    assert values["fraction_q"].value == pytest.approx(1 / 6)
    assert values["fraction_q"].n == 6
    assert values["fraction_q"].low <= values["fraction_q"].value <= values["fraction_q"].high


def test_more_controls_than_asked_for_are_drawn_by_the_seed():
    table = make_wells()
    first, again, other = (
        signal_magnitude_rows(table, config=_config(max_controls=50, seed=seed))[2].value
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_published_p_values_count_strictly_larger_distances():
    generator = np.random.default_rng(0)
    labels = np.repeat([*(f"n{index}" for index in range(4)), "far", "neg"], [5, 5, 5, 5, 5, 30])
    vectors = generator.standard_normal((55, 3))
    vectors[labels == "far"] += 10
    nothing = tuple(f"n{index}" for index in range(4))
    config = _config(null="control_perturbations", null_perturbations=nothing)
    found = magnitude_p_values(vectors, labels, is_control_N=labels == "neg", config=config)
    assert found.names.tolist() == ["far", "n0", "n1", "n2", "n3"]
    assert (found.published_p[0], found.p[0]) == (0.0, 1 / 5)
    assert np.isnan(found.p[1:]).all()


def test_too_few_controls_or_wells_are_refused():
    table = make_wells()
    bare = table.select(~table.frame["is_negative_control"].to_numpy(dtype=bool))
    with pytest.raises(UserError, match="0 of the 96 wells are negative controls"):
        signal_magnitude_rows(bare, config=_config())
    with pytest.raises(UserError, match="no perturbation has 17 wells"):
        signal_magnitude_rows(table, config=_config(min_wells=17))


def test_a_perturbation_with_as_many_wells_as_controls_has_a_distance_and_no_p_value():
    table = make_wells(num_controls=3)
    rows = {row.metric: row for row in signal_magnitude_rows(table, config=_config())}
    assert rows["fraction_p"].value is None
    assert rows["fraction_p"].excluded == 6


def test_the_verb_answers_json(tmp_path, capsys):
    write_embeddings(tmp_path / "wells", make_wells())
    rows = SIGNAL_MAGNITUDE.run(_config(embeddings=str(tmp_path)))
    line = ["benchmark", "signal-magnitude", "--embeddings", str(tmp_path), "--num-null", "199", "--json"]
    assert main([*line, "--num-resamples", "50"]) == 0
    assert [entry["value"] for entry in json.loads(capsys.readouterr().out)] == [row.value for row in rows]
