"""p-values on null screens at embedding level: ours are calibrated, and published conventions are measured.

A null screen plants no module. Screens are independent of each other; the perturbations of one screen are
not, as they share wells of one null, plates and corrections. So the share of p < .05 over screens x
perturbations gets the 99 % band of a binomial whose size is the number of tests divided by the design effect:
the variance of the shares of screens over what independent tests would have (at least 1).

`pytest -s -m acceptance tests/benchmarks/test_calibration.py` prints the table of docs/experiments.md.
"""

from collections import defaultdict
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, false_discovery_control, ks_2samp

from phenoscale.benchmarks.gene_sets.clusters import cluster_p_values
from phenoscale.benchmarks.gene_sets.config import ClustersConfig
from phenoscale.benchmarks.profiles.average_precision import judge, query_p_values
from phenoscale.benchmarks.profiles.config import ActivityConfig
from phenoscale.benchmarks.profiles.phenotypic import rank_activity
from phenoscale.benchmarks.profiles.profile_tables import Profiles
from phenoscale.benchmarks.relations.annotations import make_source
from phenoscale.benchmarks.relations.recall_null import Permutations, permute_recall
from phenoscale.benchmarks.wells.config import SignalConsistencyConfig, SignalMagnitudeConfig
from phenoscale.benchmarks.wells.consistency import draw_pairs, find_replicates
from phenoscale.mapping.chain import fit_map
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.genes import arm_lookup
from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.center import CenterStep
from phenoscale.mapping.steps.pca import PcaStep
from phenoscale.mapping.steps.position import PositionStep
from phenoscale.mapping.steps.tvn import TvnStep
from phenoscale.schema.maps import parse_map
from tests.support.map_chains import every_step
from tests.support.null_screens import ScreenSpec, simulate_screen
from tests.support.well_scores import magnitude_p_values, signal_p_values

_LEVEL = 0.05
# Maps keep every nuisance of the screen, arms and guides too: names of genes are exchangeable all the same.
_MAP_SPEC = partial(ScreenSpec, null=True, num_modules=10, genes_per_module=10)
_MAP_CHAIN = MapConfig(
    steps=every_step(num_components=24, min_num_genes=4),
    keep_steps=False,
)
# A single perturbation is null only if its wells share nothing: no arm effect, no effect of a guide.
_WELL_SPEC = partial(_MAP_SPEC, arm_effect=0.0, guide_noise=0.0)
_BY_ALL_WELLS = MapConfig(
    steps=(CenterStep(batch_key="plate", statistics="all"), PositionStep(statistics="all"), AggregateStep()),
    keep_steps=False,
)
_BY_CONTROLS = MapConfig(
    steps=(CenterStep(batch_key="plate"), PcaStep(num_components=24), TvnStep(), AggregateStep()),
    keep_steps=False,
)


def share_and_band(shares_S, tests_per_screen, level=_LEVEL):
    """(share of p < level, low, high, design effect): the band is where a calibrated share lies."""
    independent = level * (1 - level) / tests_per_screen
    design_effect = max(1.0, float(np.var(shares_S, ddof=1)) / independent)
    number = max(round(len(shares_S) * tests_per_screen / design_effect), 1)
    low, high = binom.ppf([0.005, 0.995], number, level) / number
    return float(np.mean(shares_S)), float(low), float(high), design_effect


@cache
def _wells(seed):
    """p-values of conventions that judge single perturbations, on the wells of one screen."""
    screen = simulate_screen(_WELL_SPEC(seed=seed))
    tables = {
        "raw": screen.table,
        "centered on all wells": fit_map(screen.table, config=_BY_ALL_WELLS).corrected,
        "TVN on the controls": fit_map(screen.table, config=_BY_CONTROLS).corrected,
    }
    unexpressed = tuple(screen.genes.loc[screen.genes["module"] == "", "gene"])
    found = {}
    for name, table in tables.items():
        conventions = _signal(table, unexpressed, seed=seed)
        if name != "raw":
            conventions |= _magnitude(table, seed=seed) | _activity(table, seed=seed)
        conventions |= _consistency(table, seed=seed)
        found |= {f"{convention}, {name}": p[~np.isnan(p)] for convention, p in conventions.items()}
    return found


def _signal(table, unexpressed, *, seed):
    labels, _ = _labels(table)
    draws = SignalConsistencyConfig(num_null=999, seed=seed)
    published = SignalConsistencyConfig(null="control_perturbations", null_perturbations=unexpressed)
    against_genes = signal_p_values(table.embeddings, labels, config=published)
    experiment = table.frame["experiment"].to_numpy(dtype=str)
    by_experiment = signal_p_values(table.embeddings, labels, config=draws, batches_N=experiment)
    return {
        "signal consistency": signal_p_values(table.embeddings, labels, config=draws).p,
        "signal consistency by experiment": by_experiment.p,
        "signal consistency, 40 unexpressed genes": against_genes.p,
        "signal consistency, 1 - searchsorted": against_genes.published_p,
    }


def _magnitude(table, *, seed):
    labels, is_control = _labels(table)
    config = SignalMagnitudeConfig(num_null=999, seed=seed)
    scores = magnitude_p_values(table.embeddings, labels, is_control_N=is_control, config=config)
    return {"signal magnitude": scores.p}


def _labels(table):
    is_control = table.frame["is_negative_control"].to_numpy(dtype=bool)
    return table.frame["perturbation"].where(~is_control, "").to_numpy(dtype=str), is_control


def _activity(table, *, seed):
    frame = table.frame[["experiment", "plate", "well", "perturbation", "is_negative_control"]].astype(str)
    profiles = Profiles(frame, table.embeddings, [], "null screen")
    config = ActivityConfig(null_size=999, seed=seed)
    ranked = rank_activity(profiles, config=config)
    found = {"activity, one query": query_p_values(ranked, significance=config)}
    for name, settings in (
        ("geometric mean", {"p_values": "geometric-mean"}),
        ("mean AP, shared rows", {"p_values": "per-perturbation", "null_rows": "shared"}),
        ("mean AP, independent rows", {"p_values": "per-perturbation", "null_rows": "independent"}),
    ):
        found[f"activity, {name}"] = judge(ranked, significance=config.model_copy(update=settings)).p
    return found


def _consistency(table, *, seed):
    """The pooled KS statistic of replicate consistency read as a test, which it is not."""
    replicates = find_replicates(table, replicate="well", across="any")
    pairs = draw_pairs(replicates, limit=300, generator=np.random.default_rng(seed))
    return {"KS of consistency": np.array([ks_2samp(pairs.same, pairs.different, method="asymp").pvalue])}


@cache
def _map(seed):
    """p-values of conventions that judge pairs or clusters, on the map of one screen."""
    screen = simulate_screen(_MAP_SPEC(seed=seed))
    made = fit_map(screen.table, config=_MAP_CHAIN, genes=screen.genes).map
    draws = Permutations(999, seed)
    found = {}
    for name, arms in (("recall", None), ("recall inside arms", arm_lookup(screen.genes))):
        permuted = permute_recall(made, sources=[screen.pairs], arms=arms, permutations=draws)[0]
        found[name] = np.array([permuted.p_value])
    modules = screen.genes[screen.genes["module"] != ""].groupby("module")["gene"].apply(list)
    tested = made.select(np.isin(made.entities, np.concatenate(modules.tolist())))
    config = ClustersConfig(num_null=999, seed=seed)
    table = cluster_p_values(tested.entities, tested.embeddings, clusters=modules.to_dict(), config=config)
    return found | {
        f"clusters, {column}": table[column].to_numpy() for column in ("permutation_p", "ks_p", "ks_p_larger")
    }


@cache
def _strong_axes(seed):
    """Five sets of 30 random genes in a map of 300 with a few strong axes: variances 1, 1/2, 1/3 and on."""
    generator = np.random.default_rng(seed)
    names = np.array([f"G{index:03d}" for index in range(300)])
    vectors = generator.standard_normal((300, 32)) / np.sqrt(np.arange(1, 33))
    sets = {str(index): names[generator.choice(300, 30, replace=False)].tolist() for index in range(5)}
    table = cluster_p_values(names, vectors, clusters=sets, config=ClustersConfig(num_null=999, seed=seed))
    return {
        f"clusters of 30, strong axes, {column}": table[column].to_numpy()
        for column in ("permutation_p", "ks_p", "ks_p_larger")
    }


def _of_screens(draw, number):
    """Name of each convention -> its p-values in each of so many screens."""
    found = defaultdict(list)
    for seed in range(number):
        for name, p_values in draw(seed).items():
            found[name].append(p_values)
    return dict(found)


def _measured(p_values_S):
    """Share below .05 with its band, share that is 0, screens with a discovery after BH."""
    shares = np.array([(p < _LEVEL).mean() for p in p_values_S])
    share, low, high, design_effect = share_and_band(shares, len(p_values_S[0]))
    zeros = float(np.mean([(p == 0).mean() for p in p_values_S]))
    discoveries = float(np.mean([(false_discovery_control(p) < _LEVEL).any() for p in p_values_S]))
    return share, low, high, design_effect, zeros, discoveries


def _print(found):
    print(f"\n{len(next(iter(found.values())))} null screens")
    print("| convention | tests a screen | p < .05 | band | design effect | p = 0 | screens with q < .05 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, p_values in sorted(found.items()):
        share, low, high, effect, zeros, discoveries = _measured(p_values)
        print(
            f"| {name} | {len(p_values[0])} | {share:.4f} | {low:.4f} to {high:.4f} | {effect:.1f} | "
            f"{zeros:.4f} | {discoveries:.2f} |"
        )


# Exchangeable under the null of these screens, so that the share of p < .05 must lie in its band.
_CALIBRATED_MAPS = (
    "recall",
    "recall inside arms",
    "clusters, permutation_p",
    "clusters of 30, strong axes, permutation_p",
)
_CALIBRATED_WELLS = (
    "signal consistency by experiment, raw",
    "signal consistency by experiment, centered on all wells",
    "signal consistency, centered on all wells",
    "signal consistency, 40 unexpressed genes, centered on all wells",
    "signal magnitude, centered on all wells",
    "activity, one query, centered on all wells",
)


def _refuse_outside_band(found, names):
    outside = {}
    for name in names:
        share, low, high, *_ = _measured(found[name])
        if not low <= share <= high:
            outside[name] = (share, low, high)
    assert not outside


def test_the_band_is_binomial_for_independent_tests_and_wider_for_dependent_ones():
    generator = np.random.default_rng(0)
    shares = generator.binomial(50, _LEVEL, 400) / 50
    share, low, high, effect = share_and_band(shares, 50)
    exact = binom.ppf([0.005, 0.995], 20_000, _LEVEL) / 20_000
    assert low <= share <= high and effect < 1.3
    assert (low, high) == pytest.approx(tuple(exact), abs=0.002)
    # All tests of a screen alike: fifty of them are worth one.
    same = generator.binomial(1, _LEVEL, 400).astype(float)
    share, low, high, effect = share_and_band(same, 50)
    assert low <= share <= high and effect == pytest.approx(50, rel=0.3)


def test_recall_of_random_maps_has_uniform_p_values():
    """300 maps of 40 genes with a graph of 60 pairs whose hubs are many times the others' degree."""
    p_values = []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        names = np.array([f"G{index:02d}" for index in range(40)])
        found = parse_map(
            pd.DataFrame({"perturbation": names}), generator.standard_normal((40, 5)), source="test"
        )
        ends = np.minimum(generator.geometric(0.1, (60, 2)) - 1, 29)
        source = make_source("hubs", names[ends[ends[:, 0] != ends[:, 1]]])
        tails, draws = (0.2, 0.8), Permutations(199, seed)
        p_values.append(permute_recall(found, sources=[source], tails=tails, permutations=draws)[0].p_value)
    assert min(p_values) >= 1 / 200
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        # Shares of pairs tie, so p is at most as often small as a uniform number would be.
        low, high = binom.ppf([0.0005, 0.9995], 300, level) / 300
        assert low - 0.06 <= np.mean(np.array(p_values) <= level) <= high


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_tests_of_maps_are_calibrated_on_a_hundred_null_screens():
    found = _of_screens(_map, 100) | _of_screens(_strong_axes, 100)
    _print(found)
    _refuse_outside_band(found, _CALIBRATED_MAPS)


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_tests_of_perturbations_are_calibrated_on_a_hundred_null_screens():
    found = _of_screens(_wells, 100)
    _print(found)
    _refuse_outside_band(found, _CALIBRATED_WELLS)
    assert all((p > 0).all() for name in _CALIBRATED_WELLS for p in found[name])


@pytest.mark.acceptance
def test_tests_of_perturbations_have_power_on_a_planted_screen():
    screen = simulate_screen(ScreenSpec(num_modules=10, genes_per_module=10))
    table = fit_map(screen.table, config=_BY_ALL_WELLS).corrected
    labels, is_control = _labels(table)
    expressed = set(screen.genes.loc[screen.genes["module"] != "", "gene"])
    for scores in (
        signal_p_values(table.embeddings, labels, config=SignalConsistencyConfig(num_null=999)),
        magnitude_p_values(
            table.embeddings, labels, is_control_N=is_control, config=SignalMagnitudeConfig(num_null=999)
        ),
    ):
        planted = np.isin(scores.names, sorted(expressed))
        assert (scores.p[planted] < _LEVEL).mean() > 0.95
    made = fit_map(screen.table, config=_MAP_CHAIN, genes=screen.genes).map
    for arms in (None, arm_lookup(screen.genes)):
        found = permute_recall(made, sources=[screen.pairs], arms=arms, permutations=Permutations(999, 0))
        assert found[0].p_value == 1 / 1000
