"""Asking for a key without running."""

import pytest

from phenoscale.errors import UserError
from phenoscale.stages import plan_stage
from tests.stages.conftest import EmbedConfig


def _plan(chain, gain=1):
    return plan_stage(lambda config: chain.embed(config.gain), EmbedConfig(gain=gain))


def test_a_plan_has_the_key_of_the_run_and_does_nothing(chain):
    plan = _plan(chain)
    assert chain.built == [] and not chain.workspace.exists()
    assert not plan.is_cached
    result = chain.embed()
    assert (plan.key, plan.path, plan.stage) == (result.key, result.path, "embed")
    assert [entry.name for entry in plan.inputs] == ["table"]


def test_a_plan_knows_what_is_cached(chain):
    chain.embed()
    assert _plan(chain).is_cached
    assert not _plan(chain, gain=2).is_cached
    assert chain.built == ["embed"]


def test_after_a_plan_stages_run_again(chain):
    _plan(chain)
    assert not chain.embed().reused


def test_a_plan_with_a_missing_input_is_refused_as_the_run_would_be(chain):
    chain.table.unlink()
    with pytest.raises(UserError, match="input table"):
        _plan(chain)
    chain.table.write_text("1")
    chain.embed()


def test_a_function_that_is_no_stage_has_no_plan():
    with pytest.raises(AssertionError, match="ran without calling run_stage"):
        plan_stage(lambda config: None, EmbedConfig())
