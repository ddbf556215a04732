"""Compound-gene activity: a slow twin with scikit-learn, a perfect predictor, chance, and draws."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from phenoscale.benchmarks.relations.compound_gene import (
    compound_gene_rows,
    draw_items,
    locate_activities,
    score_draws,
)
from phenoscale.benchmarks.relations.compound_truth import parse_compound_truth, read_compound_truth
from phenoscale.benchmarks.relations.config import COMPOUND_GENE, CompoundGeneConfig
from phenoscale.errors import UserError
from phenoscale.schema.maps import parse_map, write_bare_map
from tests.architecture.tree import ROOT
from tests.support.rankings import expected_average_precision

NUM_GENES, NUM_COMPOUNDS, DOSES = 60, 25, (0.1, 1.0, 10.0)


def _truth(seed=0, *, num_active=None):
    """Every compound has 1 to 4 actives, some gray pairs, and some weak ones, now and then measured twice."""
    generator = np.random.default_rng(seed)
    rows = []
    for compound in range(NUM_COMPOUNDS):
        genes = generator.permutation(NUM_GENES)
        actives = num_active or 1 + compound % 4
        for place, gene in enumerate(genes[: actives + 5]):
            nm = 10.0 if place < actives else (3000.0 if place < actives + 2 else 50_000.0)
            rows.append((f"c{compound:02d}", f"g{gene:02d}", nm))
            if place == 0:
                rows.append((f"c{compound:02d}", f"g{gene:02d}", 20_000.0))
    rows += [("unknown", "g00", 5.0), ("c00", "elsewhere", 5.0)]
    rows += [("c00", f"g{gene:02d}", 90_000.0) for gene in range(NUM_GENES)]
    return parse_compound_truth(
        pd.DataFrame(rows, columns=["treatment", "gene_symbol", "nM_value"]), source="t"
    )


def _map(truth, *, signal, seed=0, dimensions=64):
    generator = np.random.default_rng(seed)
    genes = generator.standard_normal((NUM_GENES, dimensions))
    rows, vectors = [], []
    for gene in range(NUM_GENES):
        rows.append((f"g{gene:02d}", "crispr", np.nan))
        vectors.append(genes[gene])
    for compound in range(NUM_COMPOUNDS):
        mine = (truth.compounds == f"c{compound:02d}") & (truth.potencies_nm <= 1000)
        known = [int(name[1:]) for name in truth.genes[mine] if name.startswith("g")]
        for dose in DOSES[: 2 if compound == 3 else 3]:
            rows.append((f"c{compound:02d}", "compound", dose))
            vectors.append(-signal * dose * genes[known].sum(axis=0) + generator.standard_normal(dimensions))
    rows.append(("EMPTY", "control", np.nan))
    vectors.append(np.ones(dimensions))
    frame = pd.DataFrame(rows, columns=["perturbation", "perturbation_type", "concentration_um"])
    return parse_map(frame, np.array(vectors), source="planted")


def _slow(part, truth, *, query_side, concentration, draws, activities):
    """Average precision of every draw from the definition, one pair at a time."""
    lookup = {
        (name, None if np.isnan(dose) else dose): vector
        for name, dose, vector in zip(
            part.frame["perturbation"], part.frame["concentration_um"], part.embeddings, strict=True
        )
    }

    def similarity(compound, gene):
        doses = DOSES if concentration == "max" else (concentration,)
        found = []
        for dose in doses:
            if (compound, dose) in lookup:
                a, b = lookup[compound, dose], lookup[gene, None]
                found.append(abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b))
        return max(found, default=np.nan)

    values = {}
    for draw in draws:
        query = activities.queries[draw.query]
        for number, items in enumerate(draw.items):
            names = activities.targets[items]
            pairs = [(query, name) if query_side == "compound" else (name, query) for name in names]
            scores = np.array([similarity(*pair) for pair in pairs])
            kept = ~np.isnan(scores)
            labels = draw.is_active[kept]
            if labels.any() and not labels.all():
                values[query, number] = (
                    average_precision_score(labels, scores[kept]),
                    roc_auc_score(labels, scores[kept]),
                )
    return values


@pytest.mark.parametrize("side", ["compound", "gene"])
def test_every_average_precision_equals_its_slow_twin(side):
    config = CompoundGeneConfig(num_seeds=2, by=side)
    truth = _truth(num_active=4)
    part = _map(truth, signal=0.3)
    activities = locate_activities(part, truth, config=config)
    if side == "gene":
        activities = activities.transposed()
        config = CompoundGeneConfig(num_seeds=2, by="gene", gray_nm=1000.0)
    draws = list(draw_items(activities, config=config))
    assert len(draws) > (20 if side == "compound" else 5)
    found = score_draws(activities, draws, use_random=False)
    for number, concentration in enumerate(activities.concentrations):
        slow = _slow(
            part, truth, query_side=side, concentration=concentration, draws=draws, activities=activities
        )
        for place, draw in enumerate(draws):
            for seed in range(2):
                expected = slow.get((activities.queries[draw.query], seed), (np.nan, np.nan))
                got = (found.average_precision[number, seed, place], found.roc_auc[number, seed, place])
                assert np.allclose(got, expected, atol=1e-12, equal_nan=True)


def test_actives_gray_pairs_and_negatives_are_what_the_definition_says():
    truth = _truth()
    activities = locate_activities(_map(truth, signal=0.0), truth, config=CompoundGeneConfig())
    for draw in draw_items(activities, config=CompoundGeneConfig(num_seeds=3)):
        potencies = activities.potencies_nm[draw.query]
        for items in draw.items:
            actives, negatives = items[draw.is_active], items[~draw.is_active]
            assert set(actives) == set(np.flatnonzero(potencies <= 1000))
            assert len(set(negatives)) == len(negatives) == max(2 * len(actives), 20)
            assert (potencies[negatives] > 10_000).all()
    # g00 of an unknown compound, and a gene that the map lacks
    assert activities.num_absent == 2


@pytest.mark.parametrize("side", ["compound", "gene"])
def test_a_perfect_predictor_has_an_average_precision_of_one(side):
    """The public by-gene branch misaligns labels and scores, and gives .394 here."""
    truth = _truth()
    names = [f"c{number:02d}" for number in range(NUM_COMPOUNDS)]
    genes = [f"g{number:02d}" for number in range(NUM_GENES)]
    active = {
        (c, g) for c, g, nm in zip(truth.compounds, truth.genes, truth.potencies_nm, strict=True) if nm < 1000
    }
    compounds = np.array([[1.0 * ((c, g) in active) for g in genes] for c in names])
    frame = pd.DataFrame(
        {
            "perturbation": genes + names,
            "perturbation_type": ["crispr"] * len(genes) + ["compound"] * len(names),
            "concentration_um": [np.nan] * len(genes) + [1.0] * len(names),
        }
    )
    part = parse_map(frame, np.concatenate([np.eye(len(genes)), compounds]), source="perfect")
    rows = compound_gene_rows(
        part, truth=truth, config=CompoundGeneConfig(num_seeds=3, by=side, gray_nm=1000.0)
    )
    perfect = [row.value for row in rows if row.metric in ("average_precision", "roc_auc")]
    assert np.allclose(perfect, 1.0)
    assert len(perfect) == 14


def test_random_embeddings_score_as_random_scores_do_and_as_the_closed_form_says():
    truth = _truth(num_active=2)
    rows = compound_gene_rows(_map(truth, signal=0.0), truth=truth, config=CompoundGeneConfig(num_seeds=40))
    found = _by_metric(rows, concentration_um=1.0, statistic="mean")
    expected = expected_average_precision(2, 22)
    assert abs(found["random_average_precision"].value - expected) < 0.02
    assert abs(found["average_precision"].value - expected) < 0.06
    assert abs(found["z_score"].value) < 3


def _by_metric(rows, **wanted):
    return {
        row.metric: row
        for row in rows
        if all(row.settings.get(name) == value for name, value in wanted.items())
    }


def test_planted_activity_is_found_and_grows_with_the_dose():
    truth = _truth()
    rows = compound_gene_rows(_map(truth, signal=0.3), truth=truth, config=CompoundGeneConfig(num_seeds=10))
    means = [
        _by_metric(rows, concentration_um=dose, statistic="mean")["average_precision"].value for dose in DOSES
    ]
    assert means[0] < means[1] < means[2] and means[2] > 0.95
    best = _by_metric(rows, concentration_um="max", statistic="mean")
    assert best["z_score"].value > 5
    assert best["average_precision"].low < best["average_precision"].value < best["average_precision"].high
    # one compound lacks the highest dose
    assert (
        _by_metric(rows, concentration_um=10.0, statistic="mean")["average_precision"].n == NUM_COMPOUNDS - 1
    )


def test_mean_deviation_and_z_score_are_over_seeds():
    truth = _truth()
    config = CompoundGeneConfig(num_seeds=5, seed=7, num_resamples=0)
    part = _map(truth, signal=0.2)
    found = _by_metric(
        compound_gene_rows(part, truth=truth, config=config), concentration_um="max", statistic="mean"
    )
    singles = []
    for seed in range(7, 12):
        config = CompoundGeneConfig(num_seeds=1, seed=seed)
        rows = _by_metric(
            compound_gene_rows(part, truth=truth, config=config), concentration_um="max", statistic="mean"
        )
        singles.append((rows["average_precision"].value, rows["random_average_precision"].value))
    ours, random = np.array(singles).T
    assert np.isclose(found["average_precision"].value, ours.mean())
    assert np.isclose(found["average_precision_std"].value, ours.std(ddof=1))
    z = (ours.mean() - random.mean()) / np.sqrt(ours.var(ddof=1) + random.var(ddof=1))
    assert np.isclose(found["z_score"].value, z)


def test_micro_pools_all_pairs_of_a_seed():
    truth = _truth()
    config = CompoundGeneConfig(num_seeds=2)
    activities = locate_activities(_map(truth, signal=0.2), truth, config=config)
    draws = list(draw_items(activities, config=config))
    found = score_draws(activities, draws, use_random=False)
    for seed in range(2):
        scores = np.concatenate([activities.similarities[0, d.query, d.items[seed]] for d in draws])
        labels = np.concatenate([d.is_active for d in draws])
        assert np.isclose(found.pooled_average_precision[0, seed], average_precision_score(labels, scores))


PROGRAM = """
import numpy as np
from tests.benchmarks.relations.test_compound_gene import _map, _truth
from phenoscale.benchmarks.relations.compound_gene import draw_items, locate_activities
from phenoscale.benchmarks.relations.config import CompoundGeneConfig
config, truth = CompoundGeneConfig(num_seeds=3), _truth()
activities = locate_activities(_map(truth, signal=0.1), truth, config=config)
print([(d.query, activities.targets[d.items].tolist()) for d in draw_items(activities, config=config)])
"""


def test_negatives_do_not_depend_on_the_hash_seed_of_the_process():
    outputs = set()
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_negatives_of_a_compound_do_not_depend_on_the_other_compounds_and_differ_between_them():
    truth = _truth(num_active=1)
    config = CompoundGeneConfig(num_seeds=1)
    part = _map(truth, signal=0.1)
    everything = locate_activities(part, truth, config=config)
    some = locate_activities(
        part.select(~part.frame["perturbation"].isin(["c01", "c07"]).to_numpy()), truth, config=config
    )
    drawn = {
        name: [
            tuple(a.targets[d.items[0]]) for d in draw_items(a, config=config) if a.queries[d.query] == name
        ]
        for a in (everything, some)
        for name in a.queries
    }
    again = {
        everything.queries[d.query]: tuple(everything.targets[d.items[0]])
        for d in draw_items(everything, config=config)
    }
    assert all(drawn[name] == [again[name]] for name in some.queries)
    assert len({names[1:] for names in again.values()}) == len(again)


def test_stray_concentrations_are_left_out_when_they_are_not_named():
    truth = _truth()
    part = _map(truth, signal=0.1)
    config = CompoundGeneConfig(concentrations=(1.0, 10.0))
    assert locate_activities(part, truth, config=config).concentrations == ("max", 1.0, 10.0)


def test_the_verb_reads_its_files_and_counts_what_it_cannot_use(tmp_path):
    truth = _truth()
    write_bare_map(tmp_path / "map.parquet", _map(truth, signal=0.3))
    table = pd.DataFrame(
        {"treatment": truth.compounds, "gene_symbol": truth.genes, "nM_value": truth.potencies_nm}
    )
    table.loc[len(table)] = ["c00", "g01", np.nan]
    table.to_csv(tmp_path / "truth.csv", index=False)
    config = CompoundGeneConfig(
        map=str(tmp_path / "map.parquet"), truth=str(tmp_path / "truth.csv"), num_seeds=2
    )
    rows = COMPOUND_GENE.run(config)
    counts = {row.metric: (row.value, row.excluded) for row in rows if row.metric.startswith("num_")}
    assert counts["num_pairs"][1] == 1
    assert counts["num_active_pairs"][1] == 2
    assert all(row.map and row.seed == 0 for row in rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("treatment,gene\na,b\n", "rename the columns"),
        ("treatment,gene_symbol,nM_value\na,b,strong\n", "'strong'"),
        ("treatment,gene_symbol,nM_value\na,b,-1\n", "'-1'"),
        ("treatment,gene_symbol,nM_value\na,b,5\nc\n", "cut short"),
        ("treatment,gene_symbol,nM_value\na,b,\n", "no row"),
        ("", "not a readable CSV"),
    ],
)
def test_a_wrong_truth_table_is_refused_with_the_way_out(tmp_path, text, words):
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_compound_truth(tmp_path / "truth.csv")


def test_maps_that_cannot_be_scored_are_refused_with_the_way_out():
    truth, config = _truth(), CompoundGeneConfig(num_seeds=1)
    part = _map(truth, signal=0.1)
    bare = parse_map(part.frame[["perturbation"]].drop_duplicates(), np.ones((86, 2)), source="bare")
    with pytest.raises(UserError, match="do not tell compounds from genes"):
        locate_activities(bare, truth, config=config)
    genes_only = part.select((part.frame["perturbation_type"] == "crispr").to_numpy())
    with pytest.raises(UserError, match=r"holds \[.crispr.\], but compounds are marked"):
        locate_activities(genes_only, truth, config=config)
    few = part.select(~part.frame["perturbation"].isin([f"g{n:02d}" for n in range(45)]).to_numpy())
    with pytest.raises(UserError, match="enough negatives"):
        compound_gene_rows(few, truth=truth, config=config)
    with pytest.raises(UserError, match="gray zone"):
        CompoundGeneConfig(active_nm=100, gray_nm=10)


def test_a_concentration_that_the_map_lacks_is_named_with_those_it_has():
    truth = _truth()
    config = CompoundGeneConfig(num_seeds=1, concentrations=(77.0,))
    with pytest.raises(UserError, match=r"concentrations are \[77.0\], but the compounds .* have \["):
        locate_activities(_map(truth, signal=0.1), truth, config=config)
