"""The comparison of families: sections that know what they train, and steps that chain all encoders."""

import pytest

from phenoscale.config import load_config, parse_config
from phenoscale.errors import UserError
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.families import FAMILIES
from phenoscale.operations.planning.plan import plan_pipeline
from phenoscale.operations.running.steps import step_config
from phenoscale.recipes import find_recipe

CONFIG = config_class(FAMILIES)
OUTPUTS = {step.name: f"w/{step.name}" for step in FAMILIES.steps}
FAMILY = {"mae": "mae", "mae_fourier": "mae", "ca_mae": "ca_mae", "mu_net": "mu_net", "wsl": "wsl"}
COMPARED = (*FAMILY, "untrained", "pixel_statistics")


def _families(**flags):
    return load_config(CONFIG, None, flags={name.replace("__", "."): value for name, value in flags.items()})


def _config(step, pipeline):
    return step_config(FAMILIES.find_step(step), pipeline, outputs=OUTPUTS)


@pytest.mark.parametrize("flags", [{}, {"ca_mae__num_steps": "5", "wsl__model__size": "tiny"}])
def test_a_section_trains_its_family_whatever_else_it_says(flags):
    pipeline = _families(**flags)
    again = parse_config(CONFIG, pipeline.model_dump(mode="json", exclude_unset=True), source="JSON")
    for name in FAMILY:
        assert _config(f"pretrain_{name}", pipeline).model.family == FAMILY[name]
        assert _config(f"pretrain_{name}", again) == _config(f"pretrain_{name}", pipeline)


def test_the_two_masked_autoencoders_differ_in_the_fourier_loss_alone():
    pipeline = _families(mae__num_steps="5", mae_fourier__num_steps="5")
    plain, fourier = (_config(f"pretrain_{name}", pipeline) for name in ("mae", "mae_fourier"))
    assert (plain.loss.alpha, fourier.loss.alpha) == (0.0, 0.01)
    assert plain.model_copy(update={"loss": fourier.loss}) == fourier


def test_a_section_of_another_family_is_refused():
    with pytest.raises(UserError, match=r"family is 'mae', but in section ca_mae it is always 'ca_mae'"):
        _families(ca_mae__model__family="mae")


def test_all_encoders_are_probed_together_and_embedded_from_the_probe():
    pipeline = _families()
    probe = _config("probe", pipeline)
    assert (probe.name, probe.encoder) == ("mae", "w/pretrain_mae/encoder")
    assert set(probe.baselines) == set(COMPARED) - {"mae"}
    assert probe.baselines["wsl"] == "w/pretrain_wsl/encoder"
    assert probe.baselines["untrained"] == "w/import_untrained"
    assert _config("embed_mae", pipeline).encoder == "w/probe/encoder"
    assert _config("embed_mu_net", pipeline).encoder == "w/probe/baselines/mu_net"
    assert _config("import_untrained", pipeline).like == "w/pretrain_mae/encoder"
    assert set(_config("benchmark", pipeline).maps) == set(COMPARED)
    assert _config("report", pipeline).trainings == {name: f"w/pretrain_{name}" for name in FAMILY}


def test_the_headline_and_the_differences_are_those_of_the_plain_mae_unless_the_config_says_otherwise():
    pipeline = _families(report__title="x")
    assert _config("report", pipeline).shown_map == _config("benchmark", pipeline).reference == "mae"
    assert _config("report", _families(report__shown_map="wsl")).shown_map == "wsl"


def test_a_plan_lists_every_training_and_shortens_long_lists(workspace):
    config = load_config(
        CONFIG, find_recipe("families/demo_tiny"), flags={"runtime.workspace": str(workspace)}
    )
    plan = plan_pipeline(config)
    assert [step.step for step in plan.steps] == [step.name for step in FAMILIES.steps]
    text = plan.text()
    assert "key known after pretrain_mae, pretrain_mae_fourier, pretrain_ca_mae and 5 more" in text
    assert "0 of 27 steps are reused" in text
