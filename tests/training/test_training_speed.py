"""The parts of a training, run by themselves."""

import dataclasses

import pytest

from bench.parts.training_speed import OneMinibatch, measure_speed
from tests.support.pretraining import tiny_settings, tiny_task


class Counted:
    """A source that says how many minibatches were asked of it."""

    def __init__(self, source):
        self.source, self.num_asked, self.num_samples = source, 0, source.num_samples

    def prefetch(self, first_step, num_steps, **share):
        self.num_asked += num_steps
        return self.source.prefetch(first_step, num_steps, **share)


@pytest.mark.parametrize(("part", "num_read"), [("loader", 4), ("model", 1), ("both", 4)])
def test_every_part_runs_and_reads_what_it_needs(manifest, tmp_path, alone, part, num_read):
    settings = tiny_settings(micro_batch=4)
    task = tiny_task(manifest, tmp_path / "out", ranks=alone, settings=settings)
    counted = Counted(task.source)
    speed = measure_speed(dataclasses.replace(task, source=counted), part=part, num_steps=3)
    assert speed.num_crops == 3 * 8
    assert speed.crops_per_second * speed.seconds == pytest.approx(24)
    assert counted.num_asked == num_read
    assert not (tmp_path / "out").exists()


def test_one_minibatch_comes_again_at_every_step(manifest, tmp_path, alone):
    source = tiny_task(manifest, tmp_path, ranks=alone).source
    with OneMinibatch(source).prefetch(0, 3, global_batch=8, rank=0, world_size=1) as steps:
        minibatches = list(steps)
    first = source.minibatch(0, global_batch=8)
    assert len(minibatches) == 3
    assert all((minibatch.crops_BCHW == first.crops_BCHW).all() for minibatch in minibatches)
