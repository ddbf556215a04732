"""The stage: what it writes, that it is reused, and that killed it goes on to the same result."""

import json
import signal

import numpy as np
import pytest

from phenoscale.errors import RetryError, UserError
from phenoscale.models.encoder import load_encoder
from phenoscale.stages import plan_stage
from phenoscale.training.config import PretrainConfig
from phenoscale.training.metrics import read_records
from phenoscale.training.stage import run_pretrain
from tests.support.pretraining import tiny_config
from tests.support.pretraining_processes import start_pretraining, stopped, wait_for_step, weights_of

LONG = {"num_steps": 150, "checkpoint_every_steps": 13, "validate_every_steps": 50}


@pytest.fixture(scope="module")
def finished(manifest, tmp_path_factory):
    """A finished training and what was observed of it."""
    seen = []
    config = tiny_config(manifest, tmp_path_factory.mktemp("finished"))
    result = run_pretrain(config, observe=lambda step, metrics: seen.append((step, dict(metrics))))
    return config, result, seen


@pytest.fixture(scope="module")
def uninterrupted(manifest, tmp_path_factory):
    """The training that others are killed in, undisturbed."""
    return run_pretrain(tiny_config(manifest, tmp_path_factory.mktemp("whole"), **LONG))


def test_output_is_an_encoder_that_loads_and_knows_its_training(finished):
    _, result, _ = finished
    encoder = load_encoder(result.path)
    assert encoder.config.is_trained
    assert encoder.config.num_training_crops == 12 * 8
    assert encoder.config.channels == ("DNA", "ER", "RNA")
    assert encoder.config.num_blocks == 2  # the last block is there
    with np.load(result.path / "reconstructions.npz") as arrays:
        assert len(arrays["original"]) == 4
    assert (result.path / "figures" / "reconstructions.png").is_file()


def test_records_are_written_and_observed_alike(finished):
    _, result, seen = finished
    records = read_records(result.path / "metrics.jsonl")
    assert [record["step"] for record in records] == [step for step, _ in seen] == list(range(1, 13))
    for record, (_, metrics) in zip(records, seen, strict=True):
        assert {**metrics, "step": record["step"]}.items() >= record.items()
        assert metrics["crops_per_second"] > 0
    assert [record["step"] for record in records if "validation_loss" in record] == [6, 12]
    assert {"loss", "mse", "fourier", "learning_rate", "gradient_norm", "epoch"} <= records[0].keys()


def test_summary_says_what_came_out(finished):
    _, result, seen = finished
    summary = result.summary
    assert summary["loss"] == seen[-1][1]["loss"]
    assert summary["validation_loss"] == seen[-1][1]["validation_loss"]
    assert summary["num_steps"] == 12
    assert summary["num_parameters"] > summary["num_encoder_parameters"] > 0
    assert summary["forward_gflops_per_crop"] > 0


def test_only_the_last_checkpoint_remains(finished):
    _, result, _ = finished
    assert [place.name for place in (result.path / "checkpoints").iterdir()] == ["step-000000012"]


def test_same_command_again_reuses_the_output_and_another_setting_does_not(finished, tmp_path):
    config, result, _ = finished
    seen = []
    again = run_pretrain(config, observe=lambda step, metrics: seen.append(step))
    assert again.reused
    assert again.path == result.path
    assert seen == []
    more_processes = config.runtime.model_copy(update={"num_processes": 3})
    assert run_pretrain(config.model_copy(update={"runtime": more_processes})).reused
    other = plan_stage(run_pretrain, config.model_copy(update={"seed": 1}))
    assert not other.is_cached


def test_equal_trainings_have_equal_digests(finished, manifest, tmp_path):
    _, result, _ = finished
    assert run_pretrain(tiny_config(manifest, tmp_path)).digest == result.digest


def test_training_interrupted_on_one_machine_goes_on_on_another_that_sees_the_same_bucket(
    manifest, finished, tmp_path, s3_uri, monkeypatch, caplog
):
    def interrupt(step, metrics):
        if step == 8:
            raise RetryError("the machine is wanted elsewhere; run the same command again")

    _, undisturbed, _ = finished
    with pytest.raises(RetryError, match="wanted elsewhere"):
        run_pretrain(tiny_config(manifest, s3_uri), observe=interrupt)
    monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / "another machine"))
    seen = []
    with caplog.at_level("INFO", logger="phenoscale"):
        result = run_pretrain(tiny_config(manifest, s3_uri), observe=lambda step, metrics: seen.append(step))
    assert "event=resumed checkpoint=step-000000005" in caplog.text
    assert seen == list(range(1, 13))
    assert weights_of(result) == weights_of(undisturbed)
    assert result.digest == undisturbed.digest


def test_training_without_a_manifest_names_the_flag(tmp_path):
    with pytest.raises(UserError, match="--manifest"):
        run_pretrain(PretrainConfig())
    with pytest.raises(UserError, match="does not exist"):
        run_pretrain(tiny_config(tmp_path / "nowhere", tmp_path))


def test_crop_larger_than_the_fields_is_refused(manifest, tmp_path):
    with pytest.raises(UserError, match="40 x 40 px holds no crop of 64 px"):
        run_pretrain(tiny_config(manifest, tmp_path, crop_size=64))


def test_unknown_size_is_refused_with_the_known_ones(manifest, tmp_path):
    with pytest.raises(UserError, match="no size 'huge' of model family mae; choose one of tiny, small"):
        run_pretrain(tiny_config(manifest, tmp_path, model={"size": "huge"}))


@pytest.mark.ranks
@pytest.mark.parametrize("at_step", [5, 80])
def test_training_killed_at_any_step_goes_on_to_the_same_bits(manifest, tmp_path, uninterrupted, at_step):
    config = tiny_config(manifest, tmp_path / "workspace", **LONG)
    with start_pretraining(config, tmp_path) as process:
        wait_for_step(tmp_path / "workspace", at_step, process=process)
        with stopped([process]), pytest.raises(RetryError, match=f"is being run by process {process.pid} on"):
            run_pretrain(config)
        process.send_signal(signal.SIGKILL)
    seen = []
    result = run_pretrain(config, observe=lambda step, metrics: seen.append(step))
    assert json.loads((result.path / "lineage.json").read_text())["is_resumed"]
    assert weights_of(result) == weights_of(uninterrupted)
    assert result.digest == uninterrupted.digest
    assert seen == list(range(1, 151))
