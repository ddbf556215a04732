"""Phenotypic activity, consistency and percent replicating on named columns: slow twins, planted truth."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.profiles.average_precision import judge
from phenoscale.benchmarks.profiles.config import (
    ACTIVITY,
    PERCENT_REPLICATING,
    PHENOTYPIC_CONSISTENCY,
    ActivityConfig,
    JumpColumns,
    PercentReplicatingConfig,
    PhenotypicConsistencyConfig,
)
from phenoscale.benchmarks.profiles.jump import rank_replicates
from phenoscale.benchmarks.profiles.phenotypic import rank_activity, replicating_rows
from phenoscale.benchmarks.profiles.profile_tables import Profiles, read_profiles
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import EmbeddingTable, write_embeddings
from tests.support.wells import in_two_screens

JUMP_NAMES = {
    "group_by": "Metadata_broad_sample",
    "control": "Metadata_control_type",
    "negative_control": "negcon",
}


def _table(*, signal=1.0, num_perturbations=30, num_plates=4, controls=12, seed=0):
    """Plates with a well of each perturbation; two perturbations share a gene and its effect."""
    generator = np.random.default_rng(seed)
    effects = np.repeat(generator.standard_normal((num_perturbations // 2, 24)), 2, axis=0)
    frames, vectors = [], []
    for plate in range(num_plates):
        names = [f"c{number:02d}" for number in range(num_perturbations)] + ["DMSO"] * controls
        frames.append(
            pd.DataFrame(
                {
                    "experiment": "e",
                    "plate": f"p{plate}",
                    "well": [f"W{number:03d}" for number in range(len(names))],
                    "perturbation": names,
                    "gene": [f"g{n // 2}" for n in range(num_perturbations)] + [""] * controls,
                    "is_negative_control": [False] * num_perturbations + [True] * controls,
                }
            )
        )
        means = np.concatenate([signal * effects, np.zeros((controls, 24))])
        vectors.append(means + generator.standard_normal(means.shape))
    frame = pd.concat(frames, ignore_index=True)
    return EmbeddingTable(frame, np.concatenate(vectors).astype(np.float32), "well")


def _written(folder, table):
    write_embeddings(folder / "wells", table)
    return str(folder)


def _profiles(table):
    return Profiles(table.frame.astype(str), table.embeddings.astype(float), [], source="a table")


def test_activity_with_the_columns_of_jump_is_perturbation_detection(real_data):
    folder = real_data("cpjump1_compound_cellprofiler_profiles")
    profiles = read_profiles(str(folder / "*_negcon_batch.csv.gz"))
    config = ActivityConfig(**JUMP_NAMES, negative_same=("Metadata_Plate",), null="exact")
    found = judge(rank_activity(profiles, config=config), significance=config)
    detected = judge(rank_replicates(profiles, columns=JumpColumns()), significance=config)
    assert np.array_equal(found.p, detected.p)
    assert np.array_equal(found.names, detected.names)


def test_active_perturbations_of_an_embedding_table_are_found_and_noise_is_not(tmp_path):
    for signal, least, most in ((1.5, 0.95, 1.0), (0.0, 0.0, 0.1)):
        place = _written(tmp_path / str(signal), _table(signal=signal))
        fraction, precision = ACTIVITY.run(ActivityConfig(profiles=place, null="exact"))
        assert least <= fraction.value <= most
        assert fraction.settings["negative_same"] == ["experiment", "plate"]
        assert (fraction.n, fraction.benchmark) == (30, "phenotypic_activity")
        assert fraction.low <= fraction.value <= fraction.high
        assert 0 < precision.value <= 1


def test_positives_may_have_to_differ_in_a_column():
    profiles = _profiles(_table(signal=3.0))
    across = ActivityConfig(control="is_negative_control", positive_different=("plate",))
    anywhere = across.model_copy(update={"positive_different": ()})
    twice = Profiles(
        pd.concat([profiles.frame, profiles.frame], ignore_index=True),
        np.concatenate([profiles.vectors, profiles.vectors]),
        [],
        source="a table",
    )
    assert set(rank_activity(twice, config=across).num_positives) == {6}
    assert set(rank_activity(twice, config=anywhere).num_positives) == {7}


def test_genes_whose_perturbations_are_alike_are_consistent(tmp_path):
    for signal, least, most in ((2.0, 0.9, 1.0), (0.0, 0.0, 0.1)):
        place = _written(tmp_path / str(signal), _table(signal=signal))
        row = PHENOTYPIC_CONSISTENCY.run(PhenotypicConsistencyConfig(profiles=place, null="exact"))[0]
        assert least <= row.value <= most
        assert (row.n, row.source) == (15, "gene")


def test_a_column_that_is_not_there_or_groups_nothing_is_refused(tmp_path):
    place = _written(tmp_path, _table())
    with pytest.raises(UserError, match="needs `moa`"):
        PHENOTYPIC_CONSISTENCY.run(PhenotypicConsistencyConfig(profiles=place, label="moa"))
    with pytest.raises(UserError, match="two perturbations share"):
        PHENOTYPIC_CONSISTENCY.run(PhenotypicConsistencyConfig(profiles=place, label="perturbation"))
    with pytest.raises(UserError, match="two comparable rows"):
        ACTIVITY.run(ActivityConfig(profiles=place, group_by="well", positive_different=("well",)))
    with pytest.raises(UserError, match="no negative control"):
        ACTIVITY.run(ActivityConfig(profiles=place, negative_control="yes"))


def test_percent_replicating_equals_a_slow_twin():
    table = _table(signal=0.6, num_perturbations=40)
    profiles = _profiles(table)
    [row] = replicating_rows(profiles, config=PercentReplicatingConfig(null_size=4000))
    correlations = np.corrcoef(table.embeddings)
    names = table.frame["perturbation"].to_numpy()
    generator = np.random.default_rng(9)
    tested = [name for name in np.unique(names) if name != "DMSO"]

    def median(rows):
        return np.median([correlations[i, j] for i in rows for j in rows if i < j])

    null = []
    for _ in range(4000):
        groups = generator.choice(tested, 4, replace=False)
        null.append(median([generator.choice(np.flatnonzero(names == name)) for name in groups]))
    medians = np.array([median(np.flatnonzero(names == name)) for name in tested])
    shares = [np.mean(medians > np.percentile(null, percentile)) for percentile in (93.5, 96.5)]
    assert shares[1] <= row.value <= shares[0]  # the threshold is known up to its sampling error
    assert 0.2 < row.value < 0.95
    assert (row.n, row.metric) == (40, "fraction_replicating")


def test_replicating_of_noise_is_chance_and_matching_compares_perturbations(tmp_path):
    noise = _table(signal=0.0, num_perturbations=400)
    [row] = replicating_rows(_profiles(noise), config=PercentReplicatingConfig(null_size=4000))
    assert abs(row.value - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)
    place = _written(tmp_path, _table(signal=2.0))
    config = PercentReplicatingConfig(profiles=place, group_by="gene", different="perturbation")
    matching = PERCENT_REPLICATING.run(config)[0]
    assert (matching.metric, matching.n, matching.value) == ("fraction_matching", 15, 1.0)
    shuffled = _table(signal=0.0)
    [chance] = replicating_rows(_profiles(shuffled), config=config)
    assert chance.value <= 4 / 15


def test_impossible_settings_of_percent_replicating_are_refused():
    with pytest.raises(UserError, match="both 'gene'"):
        PercentReplicatingConfig(group_by="gene", different="gene")
    profiles = _profiles(_table())
    alone = PercentReplicatingConfig(group_by="perturbation", different="gene")
    with pytest.raises(UserError, match="has two rows to compare"):
        replicating_rows(profiles, config=alone)
    few = profiles.select(np.isin(profiles.frame["perturbation"], ["c00", "c01", "c02"]))
    with pytest.raises(UserError, match="but there are 3"):
        replicating_rows(few, config=PercentReplicatingConfig())


def test_controls_of_an_equally_named_plate_of_another_screen_are_no_negatives():
    table = _table()
    both = in_two_screens(table)
    config = ActivityConfig(negative_same=("plate",))
    one, two = (rank_activity(_profiles(part), config=config) for part in (table, both))
    num_negatives = [set((found.num_total - found.num_positives).tolist()) for found in (one, two)]
    assert num_negatives == [{12}, {12}]
