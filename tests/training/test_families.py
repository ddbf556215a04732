"""The training loop with every family: accumulation, resume to the bit, mixed channels, averaged weights."""

import dataclasses

import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.loading.fields import open_fields
from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.training.guards import Verdict
from phenoscale.training.loop import train
from phenoscale.training.validation import choose_validation_rows, read_fixed_crops, validation_terms
from tests.support.pretraining import (
    At,
    LostError,
    family_model,
    lose,
    records_without_times,
    same,
    tiny_settings,
    tiny_task,
    weights,
)

FAMILIES = {
    "ca_mae": {"drop_path_rate": 0.3},
    "mu_net": {},
    "wsl": {"drop_path_rate": 0.3},
    "wsl_dense": {"size": "dense-tiny"},
    "wsl_ghost": {"size": "dense-tiny", "ghost_batch": 4},
}


def settings_of(name, **changes):
    model = family_model("wsl" if name.startswith("wsl") else name, **FAMILIES[name])
    return tiny_settings(model=model, num_steps=6, checkpoint_every_steps=2, **changes)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_resumes_to_the_last_bit(manifest, tmp_path, alone, name):
    settings = settings_of(name, optimizer="adamw", ema_decay=0.8)
    whole = train(tiny_task(manifest, tmp_path / "whole", ranks=alone, settings=settings))
    parts = tmp_path / "parts"
    with pytest.raises(LostError):
        train(tiny_task(manifest, parts, ranks=alone, settings=settings, callbacks=[At(5, act=lose)]))
    resumed = train(tiny_task(manifest, parts, ranks=alone, settings=settings))
    assert same(weights(whole), weights(resumed))
    assert records_without_times(parts) == records_without_times(tmp_path / "whole")
    known = {"accuracy"} if name.startswith("wsl") else {"mse", "fourier"}
    assert known <= records_without_times(parts)[-1].keys()


@pytest.mark.parametrize("name", ["ca_mae", "mu_net", "wsl", "wsl_ghost"])
def test_accumulated_gradients_equal_those_of_the_large_batch_in_every_family(
    manifest, tmp_path, alone, name
):
    model = settings_of(name).model
    changes = {"drop_path_rate": 0.0} if hasattr(model, "drop_path_rate") else {}
    model = dataclasses.replace(model, **changes)
    results = [
        train(
            tiny_task(
                manifest,
                tmp_path / str(size),
                ranks=alone,
                settings=tiny_settings(
                    model=model, num_steps=6, optimizer="sgd", learning_rate=0.05, micro_batch=size
                ),
            )
        )
        for size in (0, 4)
    ]
    for key, value in weights(results[0]).items():
        torch.testing.assert_close(weights(results[1])[key], value, rtol=0, atol=2e-6)


def test_crops_of_different_channels_weigh_the_same_in_every_division_of_the_batch(
    mixed_manifest, tmp_path, alone
):
    model = family_model("ca_mae", num_channels=4)
    results = []
    for size in (0, 1, 2, 4):
        settings = tiny_settings(
            model=model, num_steps=4, optimizer="sgd", learning_rate=0.05, micro_batch=size
        )
        results.append(train(tiny_task(mixed_manifest, tmp_path / str(size), ranks=alone, settings=settings)))
    for other in results[1:]:
        for key, value in weights(results[0]).items():
            torch.testing.assert_close(weights(other)[key], value, rtol=0, atol=2e-6)


def test_ghost_groups_are_not_cut_apart_by_a_small_micro_batch(manifest, tmp_path, alone):
    with pytest.raises(UserError, match="not a whole number of groups of 4"):
        train(tiny_task(manifest, tmp_path, ranks=alone, settings=settings_of("wsl_ghost", micro_batch=2)))


def test_averaged_weights_are_those_of_a_slow_twin_that_sees_every_step(manifest, tmp_path, alone):
    plain = tiny_settings(num_steps=6, optimizer="adamw", checkpoint_every_steps=1, keep_checkpoints=10)
    first = MaskedAutoencoder(plain.model, seed=plain.seed).state_dict()
    expected = {name: value.double() for name, value in first.items()}
    for stop in range(1, 7):  # the weights after every step, each from a training that stops there
        task = tiny_task(manifest, tmp_path / "plain", ranks=alone, settings=plain)
        stopped = train(dataclasses.replace(task, callbacks=[At(stop, verdict=Verdict.STOP)]))
        assert stopped.num_steps == stop
        for name, value in weights(stopped).items():
            expected[name] = 0.75 * expected[name] + 0.25 * value.double()
    averaging = dataclasses.replace(plain, ema_decay=0.75)
    result = train(tiny_task(manifest, tmp_path / "averaged", ranks=alone, settings=averaging))
    for name, value in weights(result).items():
        torch.testing.assert_close(value.double(), expected[name], rtol=0, atol=1e-6)


def test_average_changes_neither_the_training_nor_its_record_besides_the_validation(
    manifest, tmp_path, alone
):
    settings = tiny_settings(num_steps=5)
    fields = open_fields(manifest=manifest)
    rows = choose_validation_rows(fields, num_crops=8)
    crops = read_fixed_crops(fields, rows=rows, settings=settings)
    plain, averaged = (
        train(
            tiny_task(
                manifest,
                tmp_path / str(decay),
                ranks=alone,
                settings=dataclasses.replace(settings, ema_decay=decay),
                validation=crops,
            )
        )
        for decay in (None, 0.5)
    )
    assert not same(weights(plain), weights(averaged))
    last = [records_without_times(tmp_path / name)[-1] for name in ("None", "0.5")]
    assert last[0].pop("validation_loss") != last[1]["validation_loss"]
    found = validation_terms(averaged.model, crops=crops, settings=settings, ranks=alone)
    assert found["loss"] == last[1].pop("validation_loss")
    assert last[0] == last[1]
