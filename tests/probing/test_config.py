"""Probe settings that contradict themselves are refused with the value, the rule and the way out."""

import pytest

from phenoscale.config import fingerprint, parse_config
from phenoscale.errors import UserError
from phenoscale.probing.config import ProbeConfig, ProbeTask


def parse(**data):
    return parse_config(ProbeConfig, data, source="probe.yaml")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"inverse_regularization": [1.0, -2.0]}, "must be positive and different"),
        ({"inverse_regularization": [1.0, 1.0]}, "must be positive and different"),
        ({"chooses_with": 5.0}, r"chooses_with is 5.0, but must be one of .*\[1.0, 0.01\]"),
        ({"with_confounds": True, "confounds": []}, "with_confounds needs `confounds`"),
        ({"level": "plate"}, "level"),
        ({"num_folds": 1}, "num_folds"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(task, message):
    with pytest.raises(UserError, match=message):
        parse(tasks=[task])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"tasks": [{"name": "a"}, {"name": "a"}]}, "'a' occurs 2 times"),
        (
            {"tasks": [{"name": "a", "chooses_block": True}, {"name": "b", "chooses_block": True}]},
            "one task chooses",
        ),
        ({"tasks": []}, "tasks"),
        ({"baselines": {"../up": "x"}}, "becomes a folder"),
        ({"baselines": {"trained": "x"}}, "a baseline is called 'trained'"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(data, message):
    with pytest.raises(UserError, match=message):
        parse(**data)


def test_the_first_task_chooses_the_block_unless_another_says_so():
    tasks = [{"name": "a"}, {"name": "b", "chooses_block": True}]
    assert parse(tasks=tasks).choosing_task.name == "b"
    assert parse(tasks=tasks[:1]).choosing_task.name == "a"


def test_the_last_strength_chooses_unless_another_is_named():
    assert ProbeTask().choosing_strength == 0.01
    assert ProbeTask(chooses_with=1.0).choosing_strength == 1.0


def test_tasks_enter_the_fingerprint_and_places_do_not():
    plain = fingerprint(parse())
    assert fingerprint(parse(encoder="elsewhere", minibatch_size=3, baselines={"b": "place"})) == plain
    assert fingerprint(parse(tasks=[{"label": "moa"}])) != plain
    assert fingerprint(parse(seed=1)) != plain
