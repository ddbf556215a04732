"""JUMP-CP benchmarks: the published figures on real plates, planted siblings and matches, clear refusals."""

import json

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.profiles.average_precision import judge
from phenoscale.benchmarks.profiles.config import (
    JUMP_DETECTION,
    JUMP_MATCHING,
    JUMP_SIBLINGS,
    JumpColumns,
    JumpDetectionConfig,
    JumpMatchingConfig,
    JumpSiblingsConfig,
    Significance,
)
from phenoscale.benchmarks.profiles.jump import (
    detected_consensus,
    rank_compounds,
    rank_replicates,
    with_targets,
)
from phenoscale.benchmarks.profiles.profile_tables import read_profiles
from phenoscale.benchmarks.published.numbers import published_rows
from phenoscale.cli.main import main
from phenoscale.errors import UserError
from tests.support.rankings import num_configurations

COLUMNS = JumpColumns()
PLATES = "*_normalized_feature_select_negcon_batch.csv.gz"


@pytest.fixture(scope="module")
def real_glob():
    from tests.support.real_data import find_real_data

    return str(find_real_data("cpjump1_compound_cellprofiler_profiles") / PLATES)


@pytest.fixture(scope="module")
def real_plates(real_glob):
    return read_profiles(real_glob)


@pytest.fixture(scope="module")
def real_queries(real_plates):
    return rank_replicates(real_plates, columns=COLUMNS)


@pytest.fixture(scope="module")
def real_siblings(real_plates):
    kept = detected_consensus(real_plates, columns=COLUMNS, significance=Significance())
    return kept, rank_compounds(with_targets(kept, place="", columns=COLUMNS), columns=COLUMNS)


def test_real_plates_have_the_published_queries_and_mean_average_precision(real_queries):
    assert num_configurations(real_queries) == {(2, 66): 876, (5, 69): 84}
    judged = judge(real_queries, significance=Significance(null="exact"))
    assert len(judged.names) == 306
    assert round(judged.mean_average_precision.mean(), 4) == 0.6646


@pytest.mark.parametrize("seed", [0, 1])
def test_real_plates_are_detected_as_published_under_every_convention(real_queries, seed):
    def fraction(**settings):
        return judge(real_queries, significance=Significance(seed=seed, **settings)).is_retrieved.mean()

    assert round(fraction(), 3) == 0.742
    assert 0.742 <= round(fraction(ties="gt"), 3) <= 0.745
    shared = fraction(p_values="per-perturbation", ties="gt")
    assert 0.755 <= round(shared, 3) <= 0.781
    independent = fraction(p_values="per-perturbation", ties="gt", null_rows="independent")
    assert round(independent, 3) == 0.833


def test_real_siblings_are_retrieved_as_published_under_both_tie_rules(real_siblings):
    kept, ranked = real_siblings
    judged = {ties: judge(ranked, significance=Significance(ties=ties)) for ties in ("ge", "gt")}
    assert (len(kept), len(ranked), len(num_configurations(ranked))) == (227, 768, 121)
    assert len(judged["ge"].names) == 276
    assert 0.0105 < judged["ge"].is_retrieved.mean() < 0.0149
    assert 0.0505 < judged["gt"].is_retrieved.mean() < 0.0879


def test_the_detection_call_prints_rows_as_json_and_nothing_else(real_glob, capsys):
    fraction = {}
    for convention in ("geometric-mean", "per-perturbation"):
        command = ["benchmark", "jump-detection", "--profiles", real_glob, "--p-values", convention]
        assert main([*command, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        (row,) = (row for row in rows if row["metric"] == "fraction_retrieved")
        assert json.loads(row["setting"])["p_values"] == convention
        assert (row["n"], row["excluded"]) == (306, 0)
        assert row["low"] < row["value"] < row["high"]
        fraction[convention] = row["value"]
    assert 0.738 <= fraction["geometric-mean"] <= 0.749
    assert 0.755 <= round(fraction["per-perturbation"], 3) <= 0.781


def test_the_siblings_call_finds_the_targets_beside_the_plates(real_glob, capsys):
    command = ["benchmark", "jump-siblings", "--profiles", real_glob, "--ties", "gt"]
    assert main([*command, "--json"]) == 0
    (row,) = (r for r in json.loads(capsys.readouterr().out) if r["metric"] == "fraction_retrieved")
    assert (row["benchmark"], row["n"]) == ("jump_siblings", 276)
    assert json.loads(row["setting"])["ties"] == "gt"
    assert 0.0505 < row["value"] < 0.0879


def test_table_4_follows_from_the_published_conditions():
    expected = {
        ("jump_detection", "CellProfiler"): (0.527, 0.296),
        ("jump_detection", "CA-93M-ViT-L-8chans"): (0.945, 0.051),
        ("jump_detection", "ViT-L/16"): (0.880, 0.087),
        ("jump_siblings", "CellProfiler"): (0.135, 0.066),
        ("jump_siblings", "CA-93M-ViT-L-8chans"): (0.020, 0.014),
        ("jump_siblings", "ViT-L/16"): (0.056, 0.036),
    }
    conditions = [row for row in published_rows() if {"cell_type", "timepoint_h"} <= set(row.settings)]
    for (benchmark, model), figures in expected.items():
        values = [
            row.value
            for row in conditions
            if row.benchmark == benchmark and model in row.encoder and "Kraus" in row.citation
        ]
        assert len(values) == (12 if benchmark == "jump_detection" else 8)
        found = (np.mean(values), np.std(values, ddof=1))
        assert np.allclose(found, figures, atol=0.00051), (benchmark, model, found)


def _plate(folder, name, *, effects, features=40, seed=0, controls=16, gene=None, noise=0.5):
    """One well of each perturbation, whose effect is a vector, and negative controls."""
    generator = np.random.default_rng([seed, *name.encode()])
    names = [*effects, *[""] * controls]
    vectors = np.array([*effects.values(), *[np.zeros(features)] * controls])
    frame = pd.DataFrame(
        {
            "Metadata_Plate": name,
            "Metadata_Well": [f"W{number}" for number in range(len(names))],
            "Metadata_broad_sample": names,
            "Metadata_control_type": [""] * len(effects) + ["negcon"] * controls,
        }
    )
    if gene is not None:
        frame["Metadata_gene"] = [gene.get(name, "") for name in names]
    values = vectors + noise * generator.standard_normal(vectors.shape)
    table = pd.concat([frame, pd.DataFrame(values).add_prefix("f")], axis=1)
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
    return str(folder / "*.csv")


def _directions(names, *, seed=0, features=40):
    return dict(zip(names, np.random.default_rng(seed).standard_normal((len(names), features)), strict=True))


def test_planted_effects_are_detected_and_noise_is_not(tmp_path):
    strong = _directions([f"s{number}" for number in range(10)])
    silent = {f"n{number}": np.zeros(40) for number in range(30)}
    for plate in "pqr":
        place = _plate(tmp_path / "plates", plate, effects={**strong, **silent})
    ranked = rank_replicates(read_profiles(place), columns=COLUMNS)
    judged = judge(ranked, significance=Significance(null="exact"))
    assert set(judged.names[judged.is_retrieved].tolist()) >= set(strong)
    assert judged.is_retrieved.sum() <= 12
    fraction, precision = JUMP_DETECTION.run(JumpDetectionConfig(profiles=place, null_size=5000))
    assert (fraction.metric, precision.metric) == ("fraction_retrieved", "mean_average_precision")
    assert fraction.settings["interval"] == "bootstrap over groups"
    assert fraction.n == 40


def test_rows_name_a_dataset_only_where_it_is_given(tmp_path):
    for plate in "pq":
        place = _plate(tmp_path / "plates", plate, effects=_directions(["a", "b"]))
    silent = JUMP_DETECTION.run(JumpDetectionConfig(profiles=place, null_size=1000))[0]
    assert silent.source == "" and "dataset" not in silent.settings
    named = JUMP_DETECTION.run(JumpDetectionConfig(profiles=place, null_size=1000, dataset="CPJUMP1"))[0]
    assert (named.source, named.settings["dataset"]) == ("CPJUMP1", "CPJUMP1")


def test_perturbations_with_one_replicate_are_counted_as_excluded(tmp_path):
    effects = _directions(["a", "b", "c"])
    _plate(tmp_path / "plates", "p", effects=effects)
    place = _plate(tmp_path / "plates", "q", effects={name: effects[name] for name in "ab"})
    row = JUMP_DETECTION.run(JumpDetectionConfig(profiles=place, null_size=1000))[0]
    assert (row.n, row.excluded) == (2, 1)


def test_plates_without_controls_or_replicates_are_refused(tmp_path):
    effects = _directions(["a", "b"])
    alone = _plate(tmp_path / "alone", "p", effects=effects)
    with pytest.raises(UserError, match="two replicates"):
        JUMP_DETECTION.run(JumpDetectionConfig(profiles=alone))
    _plate(tmp_path / "bare", "p", effects=effects)
    bare = _plate(tmp_path / "bare", "q", effects=effects, controls=0)
    with pytest.raises(UserError, match=r"plates \['q'\] have no negative control"):
        JUMP_DETECTION.run(JumpDetectionConfig(profiles=bare))
    silent = _plate(tmp_path / "silent", "p", effects={"a": np.zeros(40), "b": np.zeros(40)})
    _plate(tmp_path / "silent", "q", effects={"a": np.zeros(40), "b": np.zeros(40)}, seed=1)
    with pytest.raises(UserError, match="siblings are retrieved among detected ones"):
        JUMP_SIBLINGS.run(JumpSiblingsConfig(profiles=silent, null_size=1000))


def test_planted_siblings_are_found_for_compounds_of_either_sign_and_for_guides_of_one(tmp_path):
    genes = _directions([f"G{number}" for number in range(12)])
    signs = {"1": 1.0, "2": 1.0, "3": -1.0}
    effects = {gene + copy: sign * genes[gene] for gene in genes for copy, sign in signs.items()}
    gene_of = {name: name[:-1] for name in effects}
    for plate in "pqr":
        place = _plate(tmp_path / "plates", plate, effects=effects, gene=gene_of)
    targets = pd.DataFrame({"broad_sample": list(effects), "target_list": list(gene_of.values())})
    targets.to_csv(tmp_path / "targets.csv", index=False)
    compounds = JumpSiblingsConfig(
        profiles=place, targets=str(tmp_path / "targets.csv"), null="exact", null_size=10_000
    )
    assert JUMP_SIBLINGS.run(compounds)[0].value == 1.0
    guides = JUMP_SIBLINGS.run(compounds.model_copy(update={"siblings": "guides"}))
    assert guides[0].value == 0.0  # one of three guides points the other way
    assert guides[0].n == 12
    assert guides[1].value < JUMP_SIBLINGS.run(compounds)[1].value


def test_compounds_are_matched_with_the_genes_that_they_target(tmp_path):
    genes = _directions([f"G{number}" for number in range(30)])
    compounds = {f"c{gene}": -vector for gene, vector in genes.items()}
    guides = {f"{gene}_{copy}": vector for gene, vector in genes.items() for copy in (1, 2)}
    gene_of = {name: name.split("_")[0] for name in guides}
    for plate in "pqr":
        places = {
            "compounds": _plate(tmp_path / "compounds", plate, effects=compounds),
            "genes": _plate(tmp_path / "genes", plate, effects=guides, gene=gene_of),
        }
    targets = tmp_path / "targets.tsv"
    listed = pd.DataFrame({"broad_sample": list(compounds), "target_list": [n[1:] for n in compounds]})
    listed.to_csv(targets, sep="\t", index=False)
    config = JumpMatchingConfig(**places, targets=str(targets), null="exact", null_size=10_000)
    fraction, precision = JUMP_MATCHING.run(config)
    assert (fraction.value, precision.value) == (1.0, 1.0)
    assert (fraction.n, fraction.settings["num_detected"]) == (30, 90)
    listed.assign(target_list=list(reversed(listed["target_list"]))).to_csv(targets, sep="\t", index=False)
    assert JUMP_MATCHING.run(config)[0].value < 0.2


def test_features_that_one_plate_lacks_are_counted_in_the_rows(tmp_path):
    strong = _directions([f"s{number}" for number in range(10)])
    for plate in "pq":
        place = _plate(tmp_path / "plates", plate, effects=strong)
    detected = JUMP_DETECTION.run(JumpDetectionConfig(profiles=place, null_size=1000, num_resamples=0))
    assert "dropped_features" not in detected[0].settings
    short = pd.read_csv(tmp_path / "plates" / "q.csv").drop(columns=["f0", "f1", "f2"])
    short.to_csv(tmp_path / "plates" / "q.csv", index=False)
    detected = JUMP_DETECTION.run(JumpDetectionConfig(profiles=place, null_size=1000, num_resamples=0))
    assert detected[0].settings["dropped_features"] == 3
