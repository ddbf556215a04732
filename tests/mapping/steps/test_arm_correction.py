"""Arm correction: the published rule gene by gene, and planted truth on simulated screens."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.relations.recall import score_pairs
from phenoscale.errors import UserError
from phenoscale.mapping.chain import fit_map
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.genes import arm_lookup, read_genes
from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.arm_correction import ArmCorrectionStep, fit_arm_correction
from phenoscale.mapping.steps.center import CenterStep
from phenoscale.mapping.steps.tvn import TvnStep
from phenoscale.schema.maps import parse_map
from tests.support.null_screens import ScreenSpec, simulate_screen

_TAILS = (0.05, 0.95)


def _genes(**changes):
    """30 genes: 1p has 4 unexpressed, 1q has 3, 2p has none; GENE30 has no arm."""
    frame = pd.DataFrame(
        {
            "gene": [f"GENE{index + 1}" for index in range(30)],
            "arm": ["1p"] * 10 + ["1q"] * 10 + ["2p"] * 9 + [None],
            "zfpkm": [-4.0] * 4 + [0.0] * 6 + [-3.5] * 3 + [-3.0] * 7 + [1.0] * 10,
        }
    )
    return frame.assign(**changes)


def _map(**columns):
    frame = pd.DataFrame({"perturbation": [f"GENE{index + 1}" for index in range(30)], **columns})
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    header = {"strata": [name for name in ("cell_type",) if name in columns]}
    return parse_map(frame, vectors, source="test", header=header)


def _recall(perturbation_map, screen):
    scores = score_pairs(
        perturbation_map.entities, perturbation_map.embeddings, sources=[screen.pairs], tails=[_TAILS]
    )
    return scores.sources[0].hits[_TAILS].mean()


def test_only_arms_with_strictly_more_unexpressed_genes_are_corrected():
    made = _map()
    fitted = fit_arm_correction(made, _genes(), step=ArmCorrectionStep(min_num_genes=3))
    corrected = fitted.transform(made).embeddings
    assert fitted.places == (("", "1p"),)
    assert fitted.num_reference == (4,)
    assert np.allclose(corrected[:10], made.embeddings[:10] - made.embeddings[:4].mean(axis=0))
    assert np.array_equal(corrected[10:], made.embeddings[10:])


def test_all_genes_of_an_arm_can_be_its_reference_and_then_its_mean_is_gone():
    before = _map()
    step = ArmCorrectionStep(reference="all", min_num_genes=3)
    after = fit_arm_correction(before, _genes(), step=step).transform(before)
    for rows in (slice(0, 10), slice(10, 20), slice(20, 29)):
        assert np.allclose(after.embeddings[rows].mean(axis=0), 0, atol=1e-6)
        expected = before.embeddings[rows] - before.embeddings[rows].mean(axis=0)
        assert np.allclose(after.embeddings[rows], expected, atol=1e-6)
    assert np.array_equal(after.embeddings[29], before.embeddings[29])


def test_a_gene_at_the_threshold_counts_as_expressed():
    made = _map()
    fitted = fit_arm_correction(made, _genes(), step=ArmCorrectionStep(min_num_genes=2))
    assert dict(zip(fitted.places, fitted.num_reference, strict=True)) == {("", "1p"): 4, ("", "1q"): 3}


def test_strata_are_corrected_apart():
    both = pd.concat([_map().frame.assign(cell_type=name) for name in ("x", "y")])
    vectors = np.random.default_rng(1).standard_normal((60, 4))
    made = parse_map(both.reset_index(drop=True), vectors, source="test", header={"strata": ["cell_type"]})
    fitted = fit_arm_correction(made, _genes(), step=ArmCorrectionStep(min_num_genes=3))
    assert fitted.places == (("cell_type=x", "1p"), ("cell_type=y", "1p"))
    corrected = fitted.transform(made).embeddings
    assert np.allclose(corrected[30:40], vectors[30:40] - vectors[30:34].mean(axis=0))


def test_without_a_qualifying_arm_the_map_is_untouched():
    made = _map()
    fitted = fit_arm_correction(made, _genes(), step=ArmCorrectionStep())
    assert fitted.places == ()
    assert np.array_equal(fitted.transform(made).embeddings, made.embeddings)


def test_a_gene_table_of_other_symbols_is_refused():
    with pytest.raises(UserError, match="none of the 30 perturbations"):
        fit_arm_correction(_map(), _genes(gene=[f"X{i}" for i in range(30)]), step=ArmCorrectionStep())


def test_bad_gene_tables_are_refused_by_what_is_wrong(tmp_path):
    _genes().to_csv(tmp_path / "genes.csv", index=False)
    assert arm_lookup(read_genes(tmp_path / "genes.csv", columns=("arm", "zfpkm")))["GENE11"] == "1q"
    with pytest.raises(UserError, match=r"add \['tpm'\]"):
        read_genes(tmp_path / "genes.csv", columns=("arm", "tpm"))
    with pytest.raises(UserError, match="does not exist"):
        read_genes(tmp_path / "none.csv", columns=("arm",))
    pd.concat([_genes(), _genes().head(1)]).to_csv(tmp_path / "twice.csv", index=False)
    with pytest.raises(UserError, match=r"lists 1 genes twice, such as \['GENE1'\]"):
        read_genes(tmp_path / "twice.csv", columns=("arm",))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UserError, match="not a readable CSV"):
        read_genes(tmp_path / "empty.csv", columns=("arm",))


def test_arm_correction_removes_a_planted_arm_effect_and_keeps_planted_modules():
    steps = (CenterStep(batch_key="plate"), TvnStep(), AggregateStep(), ArmCorrectionStep())
    spec = ScreenSpec(num_unexpressed=100, arm_effect=6.0)
    with_arms, without_arms = (simulate_screen(each) for each in (spec, replace(spec, arm_effect=0.0)))
    maps = fit_map(with_arms.table, config=MapConfig(steps=steps), genes=with_arms.genes).after_step
    clean = fit_map(without_arms.table, config=MapConfig(steps=steps), genes=without_arms.genes).after_step
    arms = with_arms.genes.set_index("gene")["arm"]

    def share_of_variance_between_arms(perturbation_map):
        frame = pd.DataFrame(perturbation_map.embeddings)
        labels = arms.loc[perturbation_map.entities].to_numpy()
        between = frame.groupby(labels).transform("mean")
        return between.to_numpy().var(axis=0).sum() / frame.to_numpy().var(axis=0).sum()

    before, after = maps["2_tvn"], maps["3_arm_correction"]
    assert share_of_variance_between_arms(before) > 0.5
    # Four arm means of 200 genes explain 3 / 199 of pure noise.
    assert share_of_variance_between_arms(after) < 0.05
    assert _recall(before, with_arms) < 0.6
    assert _recall(after, with_arms) > 0.95 * _recall(clean["2_tvn"], without_arms) > 0.8
