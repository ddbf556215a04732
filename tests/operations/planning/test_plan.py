"""A plan says what is cached, what is left, on how many crops, and computes nothing."""

import pytest

from phenoscale.config import load_config
from phenoscale.errors import UserError
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.full import FULL
from phenoscale.operations.planning.crop_counts import count_crops, training_crops
from phenoscale.operations.planning.plan import plan_pipeline
from phenoscale.operations.running.steps import run_step
from phenoscale.recipes import find_recipe
from phenoscale.training.config import PretrainConfig
from tests.support.screens import make_tiny_manifest, make_tiny_store

FEW_FIELDS = {
    "simulate.layout.rows": "4",
    "simulate.layout.columns": "8",
    "simulate.layout.negative_controls_per_plate": "4",
    "simulate.biology.num_modules": "1",
    "simulate.biology.num_unexpressed_genes": "1",
    "simulate.biology.guides_per_gene": "1",
}


def _config(workspace, **flags):
    everything = {**FEW_FIELDS, "runtime.workspace": str(workspace), **flags}
    return load_config(config_class(FULL), find_recipe("demo_tiny"), flags=everything)


def test_in_an_empty_workspace_all_is_left_and_nothing_is_written(workspace):
    plan = plan_pipeline(_config(workspace))
    first, second = plan.steps[:2]
    assert plan.num_left == len(plan.steps)
    assert first.key and not first.waits_for
    assert (second.key, second.waits_for) == ("", ("simulate",))
    assert list(workspace.iterdir()) == []
    assert "0 of 17 steps are reused" in plan.text()


def test_a_plan_knows_the_keys_as_far_as_the_outputs_reach(workspace):
    config, outputs = _config(workspace), {}
    for step in ("simulate", "ingest", "curate"):
        outputs[step] = str(run_step(FULL.find_step(step), config=config, inputs=outputs).path)
    plan = {step.step: step for step in plan_pipeline(_config(workspace)).steps}
    assert [step.step for step in plan.values() if step.is_cached] == ["simulate", "ingest", "curate"]
    assert plan["curate"].path == outputs["curate"]
    assert plan["pretrain"].key and plan["pretrain"].num_crops == 12 * 32
    assert plan["probe"].num_crops is None
    assert "384 crops" in plan_pipeline(_config(workspace)).text()


def test_real_plates_that_are_not_there_are_told_before_anything_runs(workspace, tmp_path):
    config = load_config(
        config_class(FULL),
        None,
        flags={"ingest.path": str(tmp_path / "nowhere"), "runtime.workspace": str(workspace)},
    )
    with pytest.raises(UserError, match="nowhere"):
        plan_pipeline(config)


def test_training_crops_are_whole_minibatches(tmp_path):
    manifest = make_tiny_manifest(tmp_path / "manifest", make_tiny_store(tmp_path / "store"))
    config = PretrainConfig(manifest=str(manifest), num_epochs=2.0, global_batch=8)
    from phenoscale.schema.manifest import read_manifest

    num_fields = read_manifest(manifest).count("train")
    assert training_crops(config) == round(2.0 * num_fields / 8) * 8
    assert count_crops(PretrainConfig(num_steps=7, global_batch=4)) == 28
