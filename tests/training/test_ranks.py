"""One process alone: every collective operation is the identity."""

import torch

from phenoscale.training.ranks import join_ranks


def test_process_alone_is_rank_zero_of_one_and_needs_no_group():
    with join_ranks("cpu") as ranks:
        assert (ranks.rank, ranks.world_size, ranks.device) == (0, 1, torch.device("cpu"))
        assert ranks.is_first
        assert not torch.distributed.is_initialized()


def test_collective_operations_of_one_rank_change_nothing(alone):
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(alone.mean(values.clone()), values)
    assert torch.equal(alone.sum(values.clone()), values)
    assert alone.largest(3) == 3
    assert alone.share({"folder": "here"}) == {"folder": "here"}
    assert alone.gather("mine") == ["mine"]
    alone.barrier()
