"""How a global batch is divided."""

import re

import pytest

from phenoscale.errors import UserError
from phenoscale.training.settings import plan_batch


@pytest.mark.parametrize(
    ("global_batch", "micro_batch", "num_ranks", "accumulations"),
    [(256, 0, 1, 1), (256, 0, 4, 1), (256, 32, 1, 8), (256, 32, 4, 2), (6, 1, 3, 2)],
)
def test_global_batch_is_micro_batch_times_ranks_times_accumulations(
    global_batch, micro_batch, num_ranks, accumulations
):
    plan = plan_batch(global_batch, micro_batch=micro_batch, num_ranks=num_ranks)
    assert plan.num_accumulations == accumulations
    assert plan.micro_batch * plan.num_ranks * plan.num_accumulations == global_batch
    assert plan.rank_batch * num_ranks == global_batch


@pytest.mark.parametrize(
    ("global_batch", "micro_batch", "num_ranks", "named"),
    [
        (100, 32, 2, ["global_batch 100", "micro_batch 32 x 2 processes = 64", "use global_batch 128"]),
        (9, 0, 2, ["global_batch 9", "2 processes = 2", "use global_batch 8"]),
        (4, 8, 1, ["global_batch 4", "micro_batch 8 x 1 processes = 8", "use global_batch 8"]),
    ],
)
def test_batch_that_does_not_divide_is_refused_with_the_numbers_and_the_nearest_that_does(
    global_batch, micro_batch, num_ranks, named
):
    with pytest.raises(UserError) as error:
        plan_batch(global_batch, micro_batch=micro_batch, num_ranks=num_ranks)
    for words in named:
        assert words in str(error.value)


def test_forward_pass_is_a_whole_number_of_groups_of_one_plate():
    assert plan_batch(64, micro_batch=32, num_ranks=2, same_plate=16).num_accumulations == 1
    with pytest.raises(UserError) as error:
        plan_batch(64, micro_batch=8, num_ranks=2, same_plate=16)
    for words in ("forward pass of 8 crops", "groups of 16", "use global_batch 64", "model.ghost_batch"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("global_batch", "micro_batch", "num_ranks", "same_plate"),
    [(16, 0, 1, 5), (64, 8, 2, 16), (100, 50, 2, 16), (4, 2, 2, 16)],
)
def test_what_is_advised_for_groups_of_one_plate_is_accepted(
    global_batch, micro_batch, num_ranks, same_plate
):
    with pytest.raises(UserError) as error:
        plan_batch(global_batch, micro_batch=micro_batch, num_ranks=num_ranks, same_plate=same_plate)
    advised = re.search(r"use global_batch (\d+) and a micro_batch of 0 or (\d+)", str(error.value))
    for size in (0, int(advised[2])):
        plan_batch(int(advised[1]), micro_batch=size, num_ranks=num_ranks, same_plate=same_plate)
