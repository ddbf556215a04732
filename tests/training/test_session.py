"""What a training opens and writes, and what the training code needs to run."""

import subprocess
import sys

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.models.encoder import load_encoder
from phenoscale.stages import Output
from phenoscale.training.session import build_task, open_labeled_fields
from phenoscale.training.stage import run_pretrain
from tests.support.pretraining import tiny_config


def test_weakly_supervised_training_balances_labels_and_says_what_it_learned(manifest, tmp_path):
    model = {"family": "wsl", "size": "dense-tiny", "ghost_batch": 4}
    result = run_pretrain(tiny_config(manifest, tmp_path, model=model, num_steps=4, ema_decay=0.9))
    summary = result.summary
    assert summary["num_classes"] == 5
    assert 0 <= summary["accuracy"] <= 1
    assert 0 <= summary["validation_accuracy"] <= 1
    assert summary["validation_loss"] > 0
    assert summary["cpu_seconds"] > 0
    assert summary["plateau_from_step"] is None
    assert not (result.path / "reconstructions.npz").exists()
    encoder = load_encoder(result.path)
    assert (encoder.config.architecture, encoder.config.ghost_batch) == ("densenet", 4)


def test_label_with_one_value_is_refused_by_its_name(manifest, tmp_path):
    model = {"family": "wsl", "size": "tiny"}
    with pytest.raises(
        UserError, match=r"label 'compound' leaves nothing to tell apart.*negative control in"
    ):
        open_labeled_fields(tiny_config(manifest, tmp_path, model=model, label="compound"))


def test_stores_of_different_channels_train_a_channel_agnostic_encoder_only(mixed_manifest, tmp_path):
    model = {"family": "ca_mae", "size": "tiny"}
    result = run_pretrain(tiny_config(mixed_manifest, tmp_path, model=model, num_steps=3))
    summary = result.summary
    config = load_encoder(result.path).config
    assert config.channels == ("DNA", "ER", "RNA", "AGP")
    assert summary["flops"] == pytest.approx(24 * 3 * 1e9 * summary["forward_gflops_per_crop"])
    with np.load(result.path / "reconstructions.npz") as arrays:
        assert len(arrays["channels"]) == arrays["original"].shape[1] == 3
    with pytest.raises(UserError, match="absent"):
        run_pretrain(tiny_config(mixed_manifest, tmp_path))
    with pytest.raises(UserError, match="legacy transforms the tokens of all channels together"):
        run_pretrain(tiny_config(mixed_manifest, tmp_path, model=model, loss={"fourier": "legacy"}))


def test_training_step_travels_without_config_tracking_pipeline_or_plot_libraries():
    unwanted = ["pydantic", "pandas", "mlflow", "kfp", "dask", "boto3", "matplotlib", "plotly", "kubernetes"]
    program = (
        f"import sys, phenoscale.training.loop; print([name for name in {unwanted} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_planning_a_training_needs_no_torch():
    program = "import sys, phenoscale.training.stage; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_labels_are_drawn_equally_often_where_they_are_balanced(manifest, tmp_path, alone):
    for sampling, expected in (("balanced", 22 / 5), ("uniform", None)):
        config = tiny_config(manifest, tmp_path, model={"family": "wsl", "size": "tiny"}, sampling=sampling)
        task = build_task(
            config, labeled=open_labeled_fields(config), output=Output(tmp_path / "out"), ranks=alone
        )
        num_epochs = 40
        rows = task.source.minibatch(0, global_batch=22 * num_epochs).rows
        counts = np.bincount(task.labels[rows], minlength=5) / num_epochs
        if expected is None:
            assert counts.tolist() == [4.0, 4.0, 4.0, 2.0, 8.0]  # guides of two plates, and their controls
        else:
            assert counts == pytest.approx([expected] * 5, abs=0.5)
