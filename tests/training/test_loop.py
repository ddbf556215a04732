"""The training loop in one process: accumulation, resume to the bit, guards, randomness."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from phenoscale.errors import RetryError, UserError
from phenoscale.loading.crops import CropLoader, CropMinibatch
from phenoscale.loading.fields import open_fields
from phenoscale.loading.plan import mask_noise
from phenoscale.loading.prefetch import Prefetcher
from phenoscale.models.flops import forward_flops
from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.training.guards import Verdict
from phenoscale.training.loop import noise_seed, train
from phenoscale.training.metrics import read_records
from phenoscale.training.preemption import Preemption
from phenoscale.training.settings import GuardSettings
from phenoscale.training.validation import (
    FixedCrops,
    choose_validation_rows,
    read_fixed_crops,
    validation_terms,
)
from tests.support.pretraining import (
    At,
    LostError,
    lose,
    records_without_times,
    same,
    tiny_model,
    tiny_settings,
    tiny_task,
    weights,
)


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_accumulated_gradients_equal_those_of_the_large_batch(manifest, tmp_path, alone, micro_batch):
    large, small = (
        train(
            tiny_task(
                manifest,
                tmp_path / name,
                ranks=alone,
                settings=tiny_settings(optimizer="sgd", learning_rate=0.05, micro_batch=size),
            )
        )
        for name, size in (("large", 0), ("small", micro_batch))
    )
    for name, value in weights(large).items():
        torch.testing.assert_close(weights(small)[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["lion", "adamw", "sgd"])
def test_resumed_training_equals_an_uninterrupted_one_to_the_last_bit(manifest, tmp_path, alone, optimizer):
    settings = tiny_settings(optimizer=optimizer, model=tiny_model(drop_path_rate=0.3))
    whole = train(tiny_task(manifest, tmp_path / "whole", ranks=alone, settings=settings))
    parts = tmp_path / "parts"
    for step in (3, 8, 12):
        with pytest.raises(LostError):
            train(tiny_task(manifest, parts, ranks=alone, settings=settings, callbacks=[At(step, act=lose)]))
    resumed = train(tiny_task(manifest, parts, ranks=alone, settings=settings))
    assert same(weights(whole), weights(resumed))
    assert records_without_times(parts) == records_without_times(tmp_path / "whole")


def test_bf16_training_resumes_to_the_last_bit_too(manifest, tmp_path, alone):
    settings = tiny_settings(precision="bf16")
    whole = train(tiny_task(manifest, tmp_path / "whole", ranks=alone, settings=settings))
    with pytest.raises(LostError):
        train(
            tiny_task(
                manifest, tmp_path / "parts", ranks=alone, settings=settings, callbacks=[At(7, act=lose)]
            )
        )
    resumed = train(tiny_task(manifest, tmp_path / "parts", ranks=alone, settings=settings))
    assert same(weights(whole), weights(resumed))


def test_record_counts_crops_and_operations_and_how_the_machine_is_used(manifest, tmp_path, alone):
    settings = tiny_settings(num_steps=3)
    train(tiny_task(manifest, tmp_path, ranks=alone, settings=settings))
    records = read_records(tmp_path / "logs" / "metrics.jsonl")
    for step, record in enumerate(records, start=1):
        assert record["crops"] == 8 * step
        assert record["flops"] == 8 * step * 3 * forward_flops(settings.model)
        assert 0 <= record["loader_wait"] <= 1
        assert record["memory_gb"] > 0.01
    assert 0 < records[0]["cpu_seconds"] < records[2]["cpu_seconds"]


def test_preempted_training_saves_its_step_and_goes_on_from_there(manifest, tmp_path, alone):
    settings = tiny_settings()
    whole = train(tiny_task(manifest, tmp_path / "whole", ranks=alone, settings=settings))
    preemption = Preemption()

    def ask_to_end():
        preemption.is_requested = True

    stop = At(7, act=ask_to_end)
    task = tiny_task(manifest, tmp_path / "parts", ranks=alone, settings=settings, callbacks=[stop])
    with pytest.raises(RetryError, match="at step 7, which is saved"):
        train(
            tiny_task(
                manifest,
                tmp_path / "parts",
                ranks=alone,
                settings=settings,
                callbacks=[stop],
                preemption=preemption,
            )
        )
    assert (task.folder / "checkpoints" / "step-000000007").is_dir()
    watch = At(0)
    resumed = train(
        tiny_task(manifest, tmp_path / "parts", ranks=alone, settings=settings, callbacks=[watch])
    )
    assert watch.seen == list(range(1, 13))  # earlier records are shown again
    assert same(weights(whole), weights(resumed))


def test_callback_may_save_and_stop_and_a_stopped_training_stays_stopped(manifest, tmp_path, alone):
    settings = tiny_settings(checkpoint_every_steps=100)
    saved = At(4, verdict=Verdict.SAVE)
    stopped = At(9, verdict=Verdict.STOP)
    task = tiny_task(manifest, tmp_path, ranks=alone, settings=settings, callbacks=[saved, stopped])
    first = train(task)
    assert first.num_steps == 9
    assert {place.name for place in (task.folder / "checkpoints").iterdir()} == {
        "step-000000004",
        "step-000000009",
    }
    again = train(
        tiny_task(manifest, tmp_path, ranks=alone, settings=settings, callbacks=[At(9, verdict=Verdict.STOP)])
    )
    assert again.num_steps == 9
    assert same(weights(first), weights(again))


def test_watching_does_not_change_the_numbers(manifest, tmp_path, alone):
    quiet = tiny_settings(log_every_steps=100)
    watched = train(tiny_task(manifest, tmp_path / "watched", ranks=alone, callbacks=[At(3)]))
    fields = open_fields(manifest=manifest)
    rows = choose_validation_rows(fields, num_crops=8)
    crops = read_fixed_crops(fields, rows=rows, settings=quiet)
    unwatched = train(tiny_task(manifest, tmp_path / "quiet", ranks=alone, settings=quiet, validation=crops))
    assert same(weights(watched), weights(unwatched))


class Ramps:
    """Crops that any of their patches determines: they brighten to the left or to the right."""

    num_samples = 1000

    def draw(self, samples):
        signs = 2 * (np.random.default_rng([7, *samples]).random((len(samples), 1, 1, 1)) < 0.5) - 1
        ramp = np.linspace(-1, 1, 32)[None, None, None, :]
        return (32768 + 20000 * signs * ramp * np.ones((1, 3, 32, 1))).astype(np.uint16)

    def prefetch(self, first_step, num_steps, *, global_batch, rank, world_size):
        def minibatches():
            for step in range(first_step, first_step + num_steps):
                samples = np.arange(step * global_batch, (step + 1) * global_batch)
                yield CropMinibatch(self.draw(samples), samples, np.zeros_like(samples), samples)

        return Prefetcher(minibatches(), depth=1, label="ramps")


def test_training_learns_to_restore_what_can_be_predicted(manifest, tmp_path, alone):
    settings = tiny_settings(
        num_steps=120, learning_rate=2e-3, validate_every_steps=120, checkpoint_every_steps=1000
    )
    unseen = Ramps().draw(np.arange(10_000, 10_016))
    noise = mask_noise(np.arange(16), seed=0, epoch=0, num_tokens=16)
    crops = FixedCrops(torch.from_numpy(unseen), torch.from_numpy(noise))
    task = tiny_task(manifest, tmp_path, ranks=alone, settings=settings, validation=crops)
    result = train(dataclasses.replace(task, source=Ramps()))
    trained = read_records(tmp_path / "logs" / "metrics.jsonl")[-1]["validation_loss"]
    fresh = MaskedAutoencoder(settings.model, seed=settings.seed)
    untrained = validation_terms(fresh, crops=crops, settings=settings, ranks=alone)["loss"]
    assert untrained > 1.0  # the mean of a standardized crop is off by its variance, 1
    assert trained < 0.5 * untrained
    found = validation_terms(result.model, crops=crops, settings=settings, ranks=alone)
    assert found == {"loss": trained}


def test_loss_that_is_not_finite_stops_with_the_fields_and_spoils_no_weights(manifest, tmp_path, alone):
    settings = tiny_settings(optimizer="sgd", learning_rate=1e30, checkpoint_every_steps=1)
    with pytest.raises(UserError) as error:
        train(tiny_task(manifest, tmp_path, ranks=alone, settings=settings))
    report_file = next((tmp_path / "logs").glob("not_finite_step_*.json"))
    report = json.loads(report_file.read_text())
    fields = open_fields(manifest=manifest)
    assert {crop["field_id"] for crop in report["crops"]} <= set(fields.frame["field_id"])
    assert len(report["crops"]) == settings.global_batch
    assert report["crops"][0]["field_id"] in str(error.value)
    assert str(report_file) in str(error.value)
    assert "lower optimizer.learning_rate" in str(error.value)
    assert error.value.exit_code == 2
    for record in read_records(tmp_path / "logs" / "metrics.jsonl"):
        assert all(math.isfinite(value) for value in record.values())


def test_only_the_micro_batch_to_blame_is_named(manifest, tmp_path, alone):
    """The crops of one sample are damaged: as float crops they may hold a NaN."""
    settings = tiny_settings(micro_batch=2)
    task = tiny_task(manifest, tmp_path, ranks=alone, settings=settings)

    class Damaged:
        num_samples = task.source.num_samples

        def prefetch(self, *args, **kwargs):
            return DamagedSteps(task.source.prefetch(*args, **kwargs))

    class DamagedSteps:
        def __init__(self, inner):
            self.inner = inner

        def __enter__(self):
            self.inner.__enter__()
            return self

        def __exit__(self, *error):
            self.inner.__exit__(*error)

        def __iter__(self):
            for minibatch in self.inner:
                crops = minibatch.crops_BCHW.astype(np.float32)
                crops[5, 0, 0, 0] = np.nan
                yield type(minibatch)(crops, minibatch.samples, minibatch.epochs, minibatch.rows)

    with pytest.raises(UserError):
        train(dataclasses.replace(task, source=Damaged()))
    report = json.loads((tmp_path / "logs" / "not_finite_step_1.json").read_text())
    assert [crop["sample"] for crop in report["crops"]] == [4, 5]


def test_training_that_diverges_is_stopped(manifest, tmp_path, alone):
    settings = tiny_settings(
        num_steps=300,
        learning_rate=0.3,
        guards=GuardSettings(divergence_factor=1.5),
        checkpoint_every_steps=1000,
    )
    with pytest.raises(UserError, match="the training diverged"):
        train(tiny_task(manifest, tmp_path, ranks=alone, settings=settings))


def test_batch_that_does_not_divide_is_refused_before_anything_is_written(manifest, tmp_path, alone):
    with pytest.raises(UserError, match="does not divide"):
        train(tiny_task(manifest, tmp_path / "out", ranks=alone, settings=tiny_settings(micro_batch=3)))
    assert not (tmp_path / "out").exists()


def test_random_numbers_of_others_are_left_alone(manifest, tmp_path, alone):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(tiny_task(manifest, tmp_path, ranks=alone, settings=tiny_settings(num_steps=2)))
    assert torch.equal(before, torch.get_rng_state())


def test_noise_of_stochastic_depth_differs_between_seeds_steps_and_ranks():
    seeds = {
        noise_seed(seed, step=step, rank=rank) for seed in range(5) for step in range(5) for rank in range(5)
    }
    assert len(seeds) == 125


@pytest.mark.parametrize("num_ranks", [2, 4, 8])
def test_order_crops_and_masks_do_not_depend_on_ranks_or_on_reading_ahead(manifest, num_ranks):
    fields = open_fields(manifest=manifest)
    loader = CropLoader(fields, crop_size=32, seed=3)
    for step in range(4):  # 22 fields in batches of 8: some batches straddle two epochs
        whole = loader.minibatch(step, global_batch=8)
        shares = []
        for rank in range(num_ranks):
            with loader.prefetch(
                step, 1, global_batch=8, rank=rank, world_size=num_ranks, depth=rank + 1
            ) as steps:
                shares.extend(steps)
        assert np.array_equal(np.concatenate([share.crops_BCHW for share in shares]), whole.crops_BCHW)
        assert np.array_equal(np.concatenate([share.rows for share in shares]), whole.rows)
        masks = [mask_noise(share.samples, seed=3, epoch=share.epochs, num_tokens=16) for share in shares]
        expected = mask_noise(whole.samples, seed=3, epoch=whole.epochs, num_tokens=16)
        assert np.array_equal(np.concatenate(masks), expected)
