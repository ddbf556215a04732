"""Checkpoints: whole or not at all, checked before they are read, refused where they do not belong."""

import contextlib
import dataclasses
import json
import resource

import pytest
import torch

from phenoscale.errors import EXIT_RETRY, UserError, exit_code_of
from phenoscale.logs import keep_last_lines
from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.stages import Output, OutputAddress, open_output
from phenoscale.training.checkpoints import (
    HEADER_FILE,
    UNFINISHED_PREFIX,
    Checkpoints,
    Trained,
    keep_newest,
    list_checkpoints,
)
from phenoscale.training.metrics import LIVE_FILE, append_record, read_records
from phenoscale.training.optimizer import build_optimizer
from phenoscale.training.weight_average import WeightAverage
from tests.support.pretraining import tiny_model, tiny_settings


def make_trained(settings, *, steps=1):
    """A model that took some steps on random gradients, so that the optimizer has a state."""
    model = MaskedAutoencoder(settings.model, seed=settings.seed)
    trained = Trained(model, build_optimizer(model, settings=settings.optimizer))
    generator = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        for value in model.parameters():
            value.grad = torch.randn(value.shape, generator=generator)
        trained.optimizer.step()
    trained.optimizer.zero_grad()
    return trained


def tensors(trained):
    state = trained.optimizer.state_dict()["state"]
    return [value.detach().clone() for value in trained.model.parameters()] + [
        value.clone() for entry in state.values() for value in entry.values() if torch.is_tensor(value)
    ]


def same(left, right):
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.fixture
def opened(tmp_path, alone):
    """Open the checkpoints of a folder for some settings; closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def open_checkpoints(settings, **changes):
            checkpoints = Checkpoints(Output(tmp_path), settings=settings, ranks=alone, **changes)
            return stack.enter_context(contextlib.closing(checkpoints))

        yield open_checkpoints


@pytest.mark.parametrize("optimizer", ["lion", "adamw", "sgd"])
def test_model_and_optimizer_come_back_bit_for_bit(opened, optimizer):
    settings = tiny_settings(optimizer=optimizer)
    saved = make_trained(settings, steps=3)
    opened(settings).save(7, trained=saved)
    other = make_trained(dataclasses.replace(settings, seed=1), steps=1)
    assert not same(tensors(saved), tensors(other))
    assert opened(settings).load_newest(other) == 7
    assert same(tensors(saved), tensors(other))


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_averaged_weights_come_back_bit_for_bit(opened, is_asynchronous):
    settings = tiny_settings()
    trained = make_trained(settings)
    saved = dataclasses.replace(trained, ema=WeightAverage(trained.model, decay=0.9))
    with torch.no_grad():
        for value in trained.model.parameters():
            value += 1
    saved.ema.update()
    at_save = {name: value.clone() for name, value in saved.ema.weights.items()}
    checkpoints = opened(settings, is_asynchronous=is_asynchronous)
    checkpoints.save(3, trained=saved)
    saved.ema.update()
    checkpoints.wait()
    other = make_trained(dataclasses.replace(settings, seed=1))
    other = dataclasses.replace(other, ema=WeightAverage(other.model, decay=0.9))
    assert opened(settings).load_newest(other) == 3
    assert other.ema.weights.keys() == at_save.keys()
    assert all(torch.equal(other.ema.weights[name], value) for name, value in at_save.items())
    assert same(tensors(other), tensors(trained))


def test_empty_folder_means_step_zero(opened):
    settings = tiny_settings()
    assert opened(settings).load_newest(make_trained(settings)) == 0


def test_checkpoint_written_in_the_background_holds_the_state_at_its_step(opened, tmp_path):
    settings = tiny_settings()
    trained = make_trained(settings, steps=2)
    at_save = tensors(trained)
    checkpoints = opened(settings, is_asynchronous=True)
    checkpoints.save(2, trained=trained)
    with torch.no_grad():
        for value in trained.model.parameters():
            value.zero_()
    checkpoints.wait()
    assert list_checkpoints(Output(tmp_path)) == ["checkpoints/step-000000002"]
    assert opened(settings).load_newest(trained) == 2
    assert same(tensors(trained), at_save)


def test_only_the_newest_checkpoints_are_kept(opened, tmp_path):
    settings = tiny_settings(keep_checkpoints=2)
    checkpoints, trained = opened(settings), make_trained(settings)
    for step in (1, 2, 10, 11):
        checkpoints.save(step, trained=trained)
    output = Output(tmp_path)
    assert list_checkpoints(output) == ["checkpoints/step-000000011", "checkpoints/step-000000010"]
    keep_newest(output, num_kept=1)
    assert list_checkpoints(output) == ["checkpoints/step-000000011"]
    assert [place.name for place in (tmp_path / "checkpoints").iterdir()] == ["step-000000011"]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "header", "index"])
def test_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(opened, tmp_path, damage):
    settings = tiny_settings()
    first, second = make_trained(settings, steps=1), make_trained(settings, steps=2)
    checkpoints = opened(settings)
    checkpoints.save(1, trained=first)
    checkpoints.save(2, trained=second)
    place = tmp_path / "checkpoints" / "step-000000002"
    data = next(place.glob("*.distcp"))
    if damage == "flip":
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    elif damage == "cut":
        data.write_bytes(data.read_bytes()[:-10])
    elif damage == "remove":
        data.unlink()
    elif damage == "header":
        (place / HEADER_FILE).write_text("{")
    else:
        (place / ".metadata").write_bytes(b"not an index")
    loaded = make_trained(dataclasses.replace(settings, seed=3), steps=1)
    with keep_last_lines() as lines:
        assert opened(settings).load_newest(loaded) == 1
    assert same(tensors(loaded), tensors(first))
    assert any("level=warning" in line and "step-000000002 is damaged" in line for line in lines)


def test_all_checkpoints_damaged_means_a_new_beginning(opened, tmp_path):
    settings = tiny_settings()
    opened(settings).save(1, trained=make_trained(settings))
    (tmp_path / "checkpoints" / "step-000000001" / HEADER_FILE).unlink()
    assert opened(settings).load_newest(make_trained(settings)) == 0


def test_unfinished_checkpoint_of_a_killed_run_is_removed(opened, tmp_path):
    unfinished = tmp_path / "checkpoints" / f"{UNFINISHED_PREFIX}3"
    unfinished.mkdir(parents=True)
    (unfinished / "part").write_bytes(b"x")
    settings = tiny_settings()
    assert opened(settings).load_newest(make_trained(settings)) == 0
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_runner_on_another_machine_goes_on_from_what_was_published(tmp_path, alone):
    settings = tiny_settings(keep_checkpoints=2)
    saved, loaded = make_trained(settings, steps=3), make_trained(settings, steps=1)
    address = OutputAddress(str(tmp_path), name="pretrain/key", sources_digest="code")
    with (
        open_output(address) as there,
        contextlib.closing(Checkpoints(there, settings=settings, ranks=alone)) as checkpoints,
    ):
        for step in (1, 2, 3):
            append_record(there.folder / LIVE_FILE, {"step": step, "loss": 1 / step})
            checkpoints.save(step, trained=saved)
    with open_output(address) as here:
        assert not list(here.folder.iterdir())
        with contextlib.closing(Checkpoints(here, settings=settings, ranks=alone)) as checkpoints:
            assert checkpoints.load_newest(loaded) == 3
        assert same(tensors(loaded), tensors(saved))
        assert [record["loss"] for record in read_records(here.folder / LIVE_FILE)] == [1, 1 / 2, 1 / 3]
        assert [record.part for record in here.parts()] == [f"checkpoints/step-00000000{n}" for n in (2, 3)]


def test_checkpoint_of_another_architecture_is_refused_naming_what_differs(opened):
    settings = tiny_settings()
    opened(settings).save(1, trained=make_trained(settings))
    wider = tiny_settings(model=tiny_model(embedding_dim=32, num_blocks=3))
    with pytest.raises(UserError) as error:
        opened(wider).load_newest(make_trained(wider))
    assert "embedding_dim is 16 there and 32 here" in str(error.value)
    assert "num_blocks is 2 there and 3 here" in str(error.value)
    assert error.value.exit_code == 2


def test_checkpoint_of_another_config_is_refused(opened):
    settings = tiny_settings()
    opened(settings).save(1, trained=make_trained(settings))
    other = tiny_settings(config_digest="another")
    with pytest.raises(UserError, match="of a training with another config"):
        opened(other).load_newest(make_trained(other))


def test_going_on_in_another_precision_is_told(opened):
    settings = tiny_settings()
    opened(settings).save(1, trained=make_trained(settings))
    with keep_last_lines() as lines:
        bf16 = tiny_settings(precision="bf16")
        assert opened(bf16).load_newest(make_trained(bf16)) == 1
    assert any("began in fp32 and goes on in bf16" in line for line in lines)


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_full_disk_means_retry_and_leaves_the_older_checkpoint(opened, tmp_path, is_asynchronous):
    settings = tiny_settings()
    trained = make_trained(settings)
    checkpoints = opened(settings, is_asynchronous=is_asynchronous)
    checkpoints.save(1, trained=trained)
    checkpoints.wait()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(RuntimeError) as error:
            checkpoints.save(2, trained=trained)
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert exit_code_of(error.value) == EXIT_RETRY
    assert opened(settings).load_newest(trained) == 1


def test_header_says_step_architecture_and_config(opened, tmp_path):
    settings = tiny_settings()
    opened(settings).save(4, trained=make_trained(settings))
    header = json.loads((tmp_path / "checkpoints" / "step-000000004" / HEADER_FILE).read_text())
    assert (header["step"], header["config_digest"], header["precision"]) == (4, "tiny", "fp32")
    assert header["architecture"] == dataclasses.asdict(settings.model)
    assert set(header["files"]) == {".metadata", "__0_0.distcp", "metrics.jsonl"}
