"""A step's config: the pipeline's section, the places of the earlier steps, one runtime for all."""

import json

import pytest

from phenoscale.config import fingerprint, load_config
from phenoscale.errors import UserError
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.full import FULL
from phenoscale.operations.pipelines.table import PIPELINES, find_pipeline
from phenoscale.operations.running.steps import run_step, step_config
from phenoscale.operations.stage_table import STAGES

OUTPUTS = {step.name: f"w/{step.name}" for step in FULL.steps}


def _pipeline(**flags):
    return load_config(
        config_class(FULL), None, flags={name.replace("__", "."): value for name, value in flags.items()}
    )


def _config(step, pipeline, **changes):
    return step_config(FULL.find_step(step), pipeline, outputs={**OUTPUTS, **changes})


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_step_runs_a_known_stage_with_a_section_of_the_pipeline_and_needs_earlier_steps_only(pipeline):
    earlier = set()
    for step in find_pipeline(pipeline).steps:
        assert step.stage in STAGES
        assert step.section_name in config_class(find_pipeline(pipeline)).model_fields
        assert set(step.needs) <= earlier
        earlier.add(step.name)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_location_that_the_graph_fills_is_a_field_of_its_section(pipeline):
    for step in find_pipeline(pipeline).steps:
        fields = STAGES[step.stage].load_config_class().model_fields
        assert set(step.locations) | set(step.settings) <= set(fields), step.name


def test_a_step_finds_the_outputs_of_the_steps_before_it():
    pipeline = _pipeline(simulate__seed="3")
    assert _config("ingest", pipeline).path == "w/simulate"
    assert _config("curate", pipeline).stores == ["w/ingest"]
    probe = _config("probe", pipeline)
    assert probe.encoder == "w/pretrain/encoder"
    assert probe.baselines == {
        "untrained": "w/import_untrained",
        "pixel_statistics": "w/import_pixel_statistics",
    }
    assert _config("embed_untrained", pipeline).encoder == "w/probe/baselines/untrained"
    assert _config("import_pixel_statistics", pipeline).source == "pixel_statistics"
    assert _config("benchmark", pipeline).oracle == "w/simulate/truth/latents.parquet"


def test_real_plates_keep_the_places_that_the_config_names():
    pipeline = _pipeline(ingest__path="plates", benchmark__annotations="corum.csv")
    outputs = {name: place for name, place in OUTPUTS.items() if name != "simulate"}
    assert step_config(FULL.find_step("ingest"), pipeline, outputs=outputs).path == "plates"
    benchmark = step_config(FULL.find_step("benchmark"), pipeline, outputs=outputs)
    assert benchmark.annotations == ("corum.csv",)
    assert benchmark.oracle == ""
    assert pipeline.steps[0].name == "ingest"


def test_annotations_of_the_config_stay_beside_the_planted_pairs():
    pipeline = _pipeline(simulate__seed="3", benchmark__annotations="corum.csv")
    assert _config("benchmark", pipeline).annotations == ("corum.csv", "w/simulate/truth/pairs.csv")


def test_all_steps_share_the_runtime_and_a_section_may_differ_in_a_field():
    pipeline = _pipeline(
        runtime__workspace="w", runtime__num_workers="7", pretrain__runtime__num_processes="2"
    )
    pretrain = _config("pretrain", pipeline).runtime
    assert (pretrain.workspace, pretrain.num_workers, pretrain.num_processes) == ("w", 7, 2)
    assert _config("curate", pipeline).runtime.num_processes == 1


def test_one_seed_replaces_those_of_all_sections():
    assert _config("pretrain", _pipeline(pretrain__seed="4")).seed == 4
    assert _config("pretrain", _pipeline(pretrain__seed="4", seed="9")).seed == 9


def test_the_places_and_the_runtime_do_not_enter_a_fingerprint_and_a_setting_does():
    here = fingerprint(_config("map_trained", _pipeline(runtime__workspace="a")))
    assert here == fingerprint(_config("map_trained", _pipeline(runtime__workspace="b"), embed_trained="x"))
    assert here != fingerprint(_config("map_trained", _pipeline(map__strata="cell_type")))


def test_the_config_survives_its_journey_to_a_step_as_json():
    pipeline = _pipeline(simulate__seed="3", pretrain__runtime__num_processes="2", map__strata="cell_type")
    again = config_class(FULL).model_validate(json.loads(pipeline.model_dump_json(exclude_unset=True)))
    for step in FULL.steps:
        assert _config(step.name, again) == _config(step.name, pipeline)


def test_a_step_without_the_outputs_that_it_reads_is_refused_with_their_names():
    with pytest.raises(
        UserError, match="step probe needs the output of import_pixel_statistics; run the steps"
    ):
        inputs = {"pretrain": "p", "import_untrained": "u", "curate": "c"}
        run_step(FULL.find_step("probe"), config=_pipeline(), inputs=inputs)
