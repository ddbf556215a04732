"""PERISCOPE and CPJUMP1 knock-outs and ORFs, read in place: recall, arms and consistency, printed as tables.

The tables of docs/experiments.md come from `pytest -s -m acceptance tests/benchmarks/test_real_screens.py`.
Nothing is asserted of the numbers but what chance demands: shuffled names are recalled at .10.
"""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.relations.annotations import read_annotations
from phenoscale.benchmarks.relations.config import ProximityConfig
from phenoscale.benchmarks.relations.proximity import proximity_rows
from phenoscale.benchmarks.relations.recall import Bootstrap, recall_rows
from phenoscale.benchmarks.relations.recall_null import Permutations, recall_p_values
from phenoscale.benchmarks.wells.batch_effect import arm_rows, well_rows
from phenoscale.benchmarks.wells.config import BatchEffectConfig, ConsistencyConfig
from phenoscale.benchmarks.wells.consistency import consistency_rows
from phenoscale.mapping.chain import fit_map
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.genes import arm_lookup, read_genes
from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.arm_correction import ArmCorrectionStep, fit_arm_correction
from phenoscale.mapping.steps.center import CenterScaleStep
from phenoscale.mapping.steps.tvn import TvnStep
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.maps import PerturbationMap
from tests.support.real_data import find_real_data

_SOURCES = ("CORUM", "HuMAP", "Reactome", "SIGNOR", "StringDB")
_TAILS = (0.05, 0.95)
_CONTROL = "negative control"


@cache
def _annotations():
    folder = find_real_data("gene_annotations") / "efaar_benchmark_annotations"
    return [read_annotations(folder / f"{name}.txt") for name in _SOURCES]


@cache
def _arms():
    return arm_lookup(
        read_genes(find_real_data("gene_annotations") / "gene_chromosome_arm_hg38.csv.gz", columns=("arm",))
    )


def _recall_lines(title, found, *, num_permutations, resamples=300):
    """One line per source: recall with its interval, its null of exchanged genes, and both p-values."""
    rows = recall_rows(
        found, sources=_annotations(), tails=[_TAILS], arms=_arms(), bootstrap=Bootstrap(resamples, 0)
    )
    by_metric = {(row.source, row.metric): row for row in rows}
    draws = Permutations(num_permutations, 0)
    nulls = {
        name: {
            (row.source, row.metric): row
            for row in recall_p_values(found, sources=_annotations(), arms=arms, permutations=draws)
        }
        for name, arms in (("map", None), ("arm", _arms()))
    }
    for source in _SOURCES:
        recall = by_metric[source, "recall"]
        if recall.value is None:
            print(f"| {title} | {source} | 0 | | | | | | |")
            continue
        within, across = (by_metric[source, f"recall_{name}"] for name in ("within_arm", "across_arms"))
        cells = [
            title,
            source,
            str(recall.n),
            f"{recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}]",
            f"{nulls['map'][source, 'recall_permuted'].value:.3f}",
            f"{nulls['map'][source, 'recall_p_value'].value:.3f}",
            f"{nulls['arm'][source, 'recall_p_value'].value:.3f}",
            "-" if within.value is None else f"{within.value:.3f} ({within.n})",
            "-" if across.value is None else f"{across.value:.3f} ({across.n})",
        ]
        print("| " + " | ".join(cells) + " |")
    return {source: by_metric[source, "recall"] for source in _SOURCES}


def _arm_lines(title, found):
    predicted = arm_rows(found, genes=_arms(), config=BatchEffectConfig(num_resamples=100))[0]
    score = proximity_rows(found, genes=_arms(), config=ProximityConfig())
    biased = [row.source for row in score[1:] if row.low is not None and row.low > 0.5]
    chance = predicted.settings["chance"]
    accuracy = "-" if predicted.value is None else f"{predicted.value:.3f} (chance {chance:.3f})"
    print(
        f"| {title} | {accuracy} | {score[0].value:.3f} [{score[0].low:.3f}, {score[0].high:.3f}] | "
        f"{len(biased)} of {len(score) - 1}: {' '.join(biased[:8])} |"
    )
    return score[0]


def _shuffled(found, seed=0):
    order = np.random.default_rng(seed).permutation(len(found))
    return PerturbationMap(found.frame, found.embeddings[order])


def _refuse_recall_of_shuffled_names(found):
    """Names exchanged over the whole map: the mean of 20 shuffles is a tenth within four of its errors."""
    largest = max(_annotations(), key=lambda source: np.isin(source.pairs, found.entities).all(axis=1).sum())
    recalls = [
        recall_rows(_shuffled(found, seed), sources=[largest], tails=[_TAILS], bootstrap=Bootstrap(0, 0))[
            0
        ].value
        for seed in range(20)
    ]
    assert abs(np.mean(recalls) - 0.1) < 4 * np.std(recalls) / np.sqrt(len(recalls)) + 0.002


# --- CPJUMP1: 160 knocked-out and 175 overexpressed genes, 15 nuclear phenotype scores of each well ---


def _cpjump1_wells(modality):
    frame = pd.read_parquet(find_real_data("cpjump1_crispr_orf_well_profiles") / "well_profiles.parquet")
    frame = frame[frame["treatment_type"] == modality]
    is_control = frame["is_control"].astype(bool)
    frame = frame[is_control | (frame["treatment"] != "")].reset_index(drop=True)
    is_control = frame["is_control"].astype(bool)
    scores = frame[[name for name in frame if name.startswith("final_")]].to_numpy(np.float64)
    wells = pd.DataFrame(
        {
            "screen": "cpjump1",
            "experiment": frame["Cell_type"] + " " + frame["Time"].astype(str) + " h",
            "plate": frame["Metadata_Plate"],
            "well": frame["Metadata_Well"],
            "perturbation": frame["treatment"].where(~is_control, _CONTROL),
            "perturbation_type": np.where(is_control, "control", modality),
            "is_negative_control": is_control,
            "is_positive_control": False,
            "cell_type": frame["Cell_type"],
            "timepoint_h": frame["Time"].astype(float),
        }
    )
    return EmbeddingTable(wells, np.log(scores + 1e-4), "well", encoder="nuclear phenotypes")


def _cpjump1_maps(modality, strata=()):
    steps = (CenterScaleStep(batch_key="plate"), TvnStep(batch_key="plate"), AggregateStep())
    return fit_map(_cpjump1_wells(modality), config=MapConfig(steps=steps, strata=strata))


@pytest.mark.parametrize("modality", ["crispr", "orf"])
def test_cpjump1_genes_with_shuffled_names_are_recalled_at_chance(modality):
    found = _cpjump1_maps(modality)
    assert len(found.map) == {"crispr": 160, "orf": 160}[modality]
    for each in found.after_step.values():
        _refuse_recall_of_shuffled_names(each)


@pytest.mark.acceptance
@pytest.mark.parametrize("modality", ["crispr", "orf"])
def test_cpjump1_genes_are_scored_before_and_after_correction(modality):
    found = _cpjump1_maps(modality)
    print(f"\nCPJUMP1 {modality}: {len(found.map)} genes x {found.map.dimensions}")
    for step, each in found.after_step.items():
        recalls = _recall_lines(step, each, num_permutations=9999, resamples=1000)
        assert all(0 <= row.value <= 1 for row in recalls.values() if row.value is not None)
    for step, each in found.after_step.items():
        assert 0 < _arm_lines(step, each).value < 1
    tables = {"0_none": _cpjump1_wells(modality), "2_tvn": found.corrected}
    for step, table in tables.items():
        for row in consistency_rows(table, config=ConsistencyConfig(across="plate", max_pairs=20_000)):
            print(f"| {step} | {row.metric} | {row.value:.3f} [{row.low:.3f}, {row.high:.3f}] n={row.n} |")
        config = BatchEffectConfig(targets=("plate", "experiment"), wells=("all",), num_resamples=100)
        for row in well_rows(table, config=config):
            print(f"| {step} | {row.source} | {row.value:.3f} (chance {row.settings['chance']:.3f}) |")


# --- PERISCOPE: significant features of five channels in two media, of about 20,000 genes in HeLa ---


def _periscope_table():
    """log(1 + count) of every gene; the genes without a transcript are its negative controls."""
    folder = find_real_data("periscope_genomewide_crispr")
    parts = []
    for kind, is_control in (("expressed", False), ("0TPM", True)):
        media = [
            pd.read_csv(folder / f"HeLa_{medium}_significant_features_{kind}_genes.csv.gz", index_col="Gene")
            for medium in ("DMEM", "HPLM")
        ]
        joined = pd.concat([medium.drop(columns="Sum") for medium in media], axis=1, join="inner")
        parts.append((joined, np.full(len(joined), is_control)))
    counts = pd.concat([joined for joined, _ in parts])
    is_control = np.concatenate([flags for _, flags in parts])
    frame = pd.DataFrame(
        {
            "screen": "periscope",
            "experiment": "HeLa",
            "plate": "pooled",
            "perturbation": counts.index.astype(str),
            "perturbation_type": np.where(is_control, "control", "crispr"),
            "is_negative_control": is_control,
        }
    )
    return EmbeddingTable(frame, np.log1p(counts.to_numpy(np.float64)), "perturbation", encoder="counts")


def _periscope_maps(table):
    """The map of expressed genes after each step, the arm correction from genes without a transcript last."""
    steps = (CenterScaleStep(batch_key="none"), TvnStep(batch_key="none"), AggregateStep())
    found = fit_map(table, config=MapConfig(steps=steps))
    controls = table.frame["is_negative_control"].to_numpy(dtype=bool)
    genes = pd.DataFrame({"gene": table.frame["perturbation"], "zfpkm": np.where(controls, -10.0, 0.0)})
    genes["arm"] = genes["gene"].map(_arms())
    everything = PerturbationMap(table.frame[["perturbation"]], found.corrected.embeddings)
    step = ArmCorrectionStep(min_num_genes=20)
    corrected = fit_arm_correction(everything, genes, step=step).transform(everything)
    return {**found.after_step, "3_arm_correction": corrected.select(~controls)}


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("values", ["counts", "pattern"])
def test_periscope_genes_are_scored_before_and_after_correction(values):
    """`pattern` takes each gene's mean log count in each medium away: strength is gone, channels are left."""
    table = _periscope_table()
    if values == "pattern":
        media = table.embeddings.reshape(len(table), 2, -1)
        table = table.with_embeddings((media - media.mean(axis=2, keepdims=True))[:, :, :4].reshape(-1, 8))
    maps = _periscope_maps(table)
    print(f"\nPERISCOPE {values}: {len(maps['0_none'])} expressed genes x {table.dimensions}")
    for step, each in maps.items():
        recalls = _recall_lines(step, each, num_permutations=199)
        assert all(0 <= row.value <= 1 for row in recalls.values())
    for step, each in maps.items():
        assert 0 < _arm_lines(step, each).value < 1
    small = maps["2_tvn"].select(np.arange(0, len(maps["2_tvn"]), 8))
    _refuse_recall_of_shuffled_names(small)
