"""The `benchmark` verb: rows for every encoder before and after correction, and why something is skipped."""

import json

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.config import BenchmarkConfig
from phenoscale.benchmarks.relations.config import RECALL, RecallConfig
from phenoscale.benchmarks.stage import run_benchmark
from phenoscale.benchmarks.wells.config import (
    BATCH_EFFECT,
    CONSISTENCY,
    MOA,
    BatchEffectConfig,
    ConsistencyConfig,
    MoaConfig,
)
from phenoscale.config import Runtime
from phenoscale.errors import UserError
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.stage import run_map
from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.arm_correction import ArmCorrectionStep
from phenoscale.mapping.steps.center import CenterStep
from phenoscale.schema.embeddings import EmbeddingTable, write_embeddings
from phenoscale.schema.maps import write_bare_map
from phenoscale.schema.rows import read_rows
from tests.support.null_screens import ScreenSpec, simulate_screen

_FAST = {
    "recall": RecallConfig(num_resamples=100),
    "consistency": ConsistencyConfig(num_resamples=10),
    "batch_effect": BatchEffectConfig(num_resamples=10, targets=("plate", "edge")),
}


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """A screen on disk, mapped for two encoders: one that sees well and one that hardly sees."""
    folder = tmp_path_factory.mktemp("screen")
    made = simulate_screen(
        ScreenSpec(num_modules=8, num_unexpressed=24, num_negative_controls=24, dimensions=16)
    )
    made.genes.to_csv(folder / "genes.csv", index=False)
    pd.DataFrame(made.pairs.pairs, columns=["entity1", "entity2"]).to_csv(folder / "modules.csv", index=False)
    write_bare_map(folder / "oracle.parquet", made.oracle)
    runtime = Runtime(workspace=str(folder / "workspace"))
    steps = (CenterStep(batch_key="plate"), AggregateStep(), ArmCorrectionStep(min_num_genes=3))
    maps, embeddings = {}, {}
    for name, noise in (("trained", 0.0), ("untrained", 20.0)):
        blur = noise * np.random.default_rng(1).standard_normal(made.table.embeddings.shape)
        write_embeddings(folder / name / "wells", made.table.with_embeddings(made.table.embeddings + blur))
        embeddings[name] = str(folder / name)
        config = MapConfig(
            embeddings=embeddings[name], genes=str(folder / "genes.csv"), steps=steps, runtime=runtime
        )
        maps[name] = str(run_map(config).path)
    config = BenchmarkConfig(
        maps=maps,
        embeddings=embeddings,
        annotations=(str(folder / "modules.csv"),),
        oracle=str(folder / "oracle.parquet"),
        genes=str(folder / "genes.csv"),
        runtime=runtime,
        **_FAST,
    )
    return folder, config


def _find(rows, **wanted):
    """The rows whose fields, or settings, have the wanted values."""
    return [
        row
        for row in rows
        if all(
            getattr(row, name, None) == value or row.settings.get(name) == value
            for name, value in wanted.items()
        )
    ]


def test_every_encoder_is_scored_before_and_after_each_step(screen):
    _, config = screen
    result = run_benchmark(config)
    rows = read_rows(result.path)
    for encoder in ("trained", "untrained"):
        steps = [row.settings["step"] for row in _find(rows, metric="recall", encoder=encoder)]
        assert steps == ["0_none", "1_center", "2_arm_correction", "final"]
        for step in ("0_none", "final"):
            assert len(_find(rows, benchmark="consistency", encoder=encoder, step=step)) == 4
            assert len(_find(rows, benchmark="batch_effect", encoder=encoder, step=step)) == 5
    trained, untrained, oracle = (
        _find(rows, metric="recall", encoder=encoder, step="final")[0]
        for encoder in ("trained", "untrained", "oracle")
    )
    assert oracle.value == 1.0
    assert trained.value > untrained.value
    assert (trained.n, trained.settings["chance"]) == (80, 0.1)
    assert result.summary["recall/modules/trained/final"] == trained.value
    assert json.loads((result.path / "rows.json").read_text())[0]["benchmark"] == "recall"


def test_the_reference_is_compared_pair_by_pair_with_the_others_and_with_itself_before(screen):
    _, config = screen
    rows = read_rows(run_benchmark(config).path)
    differences = {
        (row.settings["against"], row.settings["against_step"]): row
        for row in _find(rows, metric="recall_difference")
    }
    assert set(differences) == {("untrained", "final"), ("trained", "0_none")}
    found = differences["untrained", "final"]
    assert found.encoder == "trained"
    assert found.low > 0
    recalls = [_find(rows, metric="recall", encoder=name, step="final")[0].value for name in config.maps]
    assert found.value == pytest.approx(recalls[0] - recalls[1])


def test_the_same_benchmark_is_reused_and_changed_pairs_are_not(screen, tmp_path):
    folder, config = screen
    assert run_benchmark(config).path == run_benchmark(config).path
    assert run_benchmark(config).reused
    pd.read_csv(folder / "modules.csv").head(50).to_csv(tmp_path / "modules.csv", index=False)
    changed = config.model_copy(update={"annotations": (str(tmp_path / "modules.csv"),)})
    assert not run_benchmark(changed).reused


def test_a_screen_without_genes_says_why_recall_is_skipped(screen, tmp_path):
    _, config = screen
    bare = BenchmarkConfig(
        embeddings={"trained": config.embeddings["trained"]},
        runtime=Runtime(workspace=str(tmp_path / "workspace")),
        **_FAST,
    )
    rows = read_rows(run_benchmark(bare).path)
    reasons = {row.benchmark: row.settings["reason"] for row in _find(rows, metric="skipped")}
    assert reasons["recall"] == "needs --annotations"
    assert "no `moa` column" in reasons["moa"]
    assert _find(rows, benchmark="batch_effect", step="0_none")


def test_mechanisms_are_scored_where_the_wells_name_them(screen, tmp_path):
    folder, config = screen
    table = simulate_screen(ScreenSpec(num_modules=8, dimensions=16)).table
    modules = table.frame["perturbation"].map(
        pd.read_csv(folder / "genes.csv").set_index("gene")["module"].to_dict()
    )
    named = EmbeddingTable(table.frame.assign(moa=modules.fillna("")), table.embeddings, "well")
    write_embeddings(tmp_path / "wells", named)
    scored = BenchmarkConfig(embeddings={"trained": str(tmp_path)}, runtime=config.runtime, **_FAST)
    rows = _find(read_rows(run_benchmark(scored).path), benchmark="moa")
    assert [row.metric for row in rows] == ["nsc_accuracy", "nscb_accuracy"]
    # Every gene is in every experiment, so no treatment keeps a candidate in another batch.
    assert (rows[1].value, rows[1].n) == (None, 0)
    alone = MOA.run(MoaConfig(embeddings=str(tmp_path)))
    assert [row.value for row in alone] == [row.value for row in rows]


def test_an_annotation_source_of_other_genes_ends_the_benchmark(screen, tmp_path):
    _, config = screen
    (tmp_path / "other.csv").write_text("entity1,entity2\nX,Y\n")
    with pytest.raises(UserError, match="no pair of other has both entities in the map"):
        run_benchmark(config.model_copy(update={"annotations": (str(tmp_path / "other.csv"),)}))


def test_one_map_and_one_pair_table_are_enough_for_recall(screen, tmp_path):
    _, config = screen
    pd.DataFrame(
        {
            "perturbation": [f"G{index}" for index in range(30)],
            "embedding": np.random.default_rng(0).standard_normal((30, 4)).tolist(),
        }
    ).to_parquet(tmp_path / "map.parquet")
    (tmp_path / "first.csv").write_text("entity1,entity2\nG1,G2\nG3,G4\n")
    (tmp_path / "second.csv").write_text("entity1,entity2\nG1,G9\nG9,G1\nQ,G1\n")
    rows = RECALL.run(
        RecallConfig(
            map=str(tmp_path / "map.parquet"),
            annotations=(str(tmp_path / "first.csv"), str(tmp_path / "second.csv")),
            curve=(0.1,),
        )
    )
    assert [(row.source, row.settings["lower"], row.n, row.excluded) for row in rows] == [
        ("first", 0.05, 2, 0),
        ("first", 0.1, 2, 0),
        ("second", 0.05, 1, 1),
        ("second", 0.1, 1, 1),
    ]
    full = RECALL.run(
        RecallConfig(map=config.maps["trained"], annotations=config.annotations, genes=config.genes)
    )
    assert [row.metric for row in full] == ["recall", "recall_within_arm", "recall_across_arms"]
    assert full[0].encoder == "simulated"
    assert full[0].map


def test_single_benchmarks_return_the_rows_of_one_table(screen):
    _, config = screen
    consistency = CONSISTENCY.run(ConsistencyConfig(embeddings=config.embeddings["trained"], num_resamples=5))
    assert {row.metric for row in consistency} == {"ks_pooled", "cvm_pooled", "ks_mean", "cvm_mean"}
    batch = BATCH_EFFECT.run(
        BatchEffectConfig(
            embeddings=config.embeddings["trained"],
            map=config.maps["trained"],
            genes=config.genes,
            targets=("plate",),
            num_resamples=5,
        )
    )
    assert [row.source for row in batch] == ["plate", "plate", "arm"]
    assert batch.text().count("\n") == 2


def test_missing_inputs_are_asked_for_by_their_flag(screen):
    _, config = screen
    with pytest.raises(UserError, match="--map"):
        RECALL.run(RecallConfig())
    with pytest.raises(UserError, match="--annotations"):
        RECALL.run(RecallConfig(map=config.maps["trained"]))
    with pytest.raises(UserError, match="--genes"):
        BATCH_EFFECT.run(BatchEffectConfig(map=config.maps["trained"]))
    with pytest.raises(UserError, match="needs --embeddings or --map, got none"):
        BATCH_EFFECT.run(BatchEffectConfig())
    with pytest.raises(UserError, match="got neither"):
        run_benchmark(BenchmarkConfig())
    with pytest.raises(UserError, match="--embeddings"):
        MOA.run(MoaConfig())
