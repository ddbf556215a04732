"""The plan of a training: the published bills, the arithmetic of hours and memory, and what it refuses."""

import json
import subprocess
import sys

import pytest

from phenoscale.config import parse_config
from phenoscale.errors import UserError
from phenoscale.operations.planning.config import PlanTrainingConfig
from phenoscale.operations.planning.published_bills import published_bills
from phenoscale.operations.planning.training_plan import plan_training
from tests.support.screens import make_tiny_manifest, make_tiny_store


def plan(**values):
    return plan_training(parse_config(PlanTrainingConfig, values, source="test"))


def largest(**changes):
    given = {"model": {"size": "G/8"}, "global_batch": 8192, "num_crops": 8e9, "gpus": 256}
    return plan(**{**given, **changes})


def test_published_bills_come_to_the_shares_of_the_chips_that_the_literature_implies():
    shares = [bill.mfu for bill in published_bills(0.5)]
    # issue and science.md 9.12: about 11 % of A100s for L/8, about 15 % of H100s for G/8 by two accounts
    assert shares[0] == pytest.approx(0.11, abs=0.005)
    assert shares[1] == pytest.approx(0.16, abs=0.005)
    assert shares[2] == pytest.approx(0.15, abs=0.005)
    assert shares[3] == pytest.approx(3 * 231.4e9 * 8e9 / (15_360 * 3600 * 989e12), rel=1e-3)


def test_half_of_the_chips_rate_trains_the_largest_model_for_less_than_forty_percent_of_its_bill():
    hours = largest(gpu_kind="h100").gpu_hours
    assert hours == pytest.approx(3 * 1036.96e9 * 8e9 / (0.5 * 989e12 * 3600), rel=1e-4)
    assert hours < 0.4 * 43_000


def test_plan_of_the_largest_model_has_the_published_parameters_steps_and_bytes():
    found = largest(gpu_kind="h100", price_per_gpu_hour=2.0)
    assert found.num_encoder_parameters / 1e6 == pytest.approx(1841.7, abs=0.05)
    assert found.num_steps == 976_562  # science.md 1.6: about 977 k
    assert (found.num_tokens, found.num_tokens_kept) == (1024, 256)
    assert found.checkpoint_gb == pytest.approx(1.868 * 8, abs=0.01)  # weights and Lion's average, float32
    assert found.cost == 2.0 * found.gpu_hours
    ddp = found.layouts[0]
    assert (ddp.sharding, ddp.recompute) == ("ddp", "none")
    assert ddp.state_gb == pytest.approx(1.868 * 12, abs=0.01)


def test_micro_batches_fit_divide_the_global_batch_and_grow_with_recomputation_and_sharding():
    found = largest(gpu_kind="a100", gpus=64)
    by_name = {(layout.sharding, layout.recompute): layout for layout in found.layouts}
    for layout in found.layouts:
        assert layout.micro_batch * layout.num_accumulations * 64 == 8192
        assert layout.total_gb <= found.usable_gb
        assert layout.micro_batch <= layout.max_micro_batch
    assert by_name["ddp", "none"].max_micro_batch < by_name["ddp", "elementwise"].max_micro_batch
    assert by_name["ddp", "elementwise"].max_micro_batch < by_name["ddp", "blocks"].max_micro_batch
    assert by_name["ddp", "none"].max_micro_batch < by_name["fsdp", "none"].max_micro_batch


def test_a_model_that_does_not_fit_is_shown_as_such():
    found = largest(gpu_kind="t4", gpus=8)
    assert found.layouts[0].micro_batch == 0
    assert found.layouts[0].total_gb is None
    assert "too much" in found.text()


def test_crops_come_from_the_manifest_and_epochs(tmp_path):
    manifest = make_tiny_manifest(tmp_path / "manifest", make_tiny_store(tmp_path / "store"))
    found = plan(manifest=str(manifest), model={"size": "tiny"}, num_epochs=10, global_batch=8, gpus=1)
    assert found.num_steps == round(10 * 22 / 8)
    assert found.num_crops == found.num_steps * 8


@pytest.mark.parametrize(
    ("family", "size"), [("ca_mae", "S/16"), ("mu_net", "M"), ("wsl", "densenet161"), ("wsl", "B/16")]
)
def test_every_family_can_be_planned(family, size):
    found = plan(model={"family": family, "size": size}, num_images=2_222_096, num_epochs=100, gpus=16)
    assert found.layouts[0].micro_batch > 0
    assert found.num_crops == pytest.approx(222_209_600, rel=1e-5)
    assert found.text()


def test_a_calibration_takes_the_place_of_the_assumed_share(tmp_path):
    record = {
        "bench": "train",
        "machine": {"device": "NVIDIA H200", "date": "2026-11-20"},
        "results": [
            {"size": "L/8", "path": "eager", "flops_per_second": 100e12},
            {"size": "L/8", "path": "ours", "flops_per_second": 494.5e12},
        ],
    }
    file = tmp_path / "train.json"
    file.write_text(json.dumps(record))
    found = plan(model={"size": "L/8"}, num_crops=1e9, calibration=str(file))
    assert found.mfu == pytest.approx(0.5)
    assert "NVIDIA H200" in found.mfu_source
    with pytest.raises(UserError, match="--sizes G/8"):
        plan(model={"size": "G/8"}, num_crops=1e9, calibration=str(file))
    with pytest.raises(UserError, match="not both"):
        plan(model={"size": "L/8"}, num_crops=1e9, calibration=str(file), mfu=0.3)
    file.write_text(json.dumps({**record, "machine": {"device": "AMD EPYC"}}))
    with pytest.raises(UserError, match="AMD EPYC"):
        plan(model={"size": "L/8"}, num_crops=1e9, calibration=str(file))
    with pytest.raises(UserError, match=r"absent\.json does not exist, but a calibration is needed"):
        plan(model={"size": "L/8"}, num_crops=1e9, calibration=str(tmp_path / "absent.json"))
    file.write_text("[]")
    with pytest.raises(UserError, match=r"bench/train\.py"):
        plan(model={"size": "L/8"}, num_crops=1e9, calibration=str(file))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, "--num-crops"),
        ({"num_crops": 1e6, "gpu_kind": "abacus"}, "abacus"),
        ({"num_crops": 1e6, "gpus": 7}, "7 processes"),
    ],
)
def test_a_plan_without_crops_a_known_gpu_or_a_batch_that_divides_is_refused(values, word):
    with pytest.raises(UserError, match=word):
        plan(**values)


def test_the_verb_answers_in_json():
    words = ["plan", "training", "--json", "--model.size", "tiny", "--num-steps", "10", "--gpus", "2"]
    program = f"import sys; from phenoscale.cli.main import main; sys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["num_crops"] == 10 * 256
    assert len(answer["published"]) == 5


def test_rehearsal_is_not_planned():
    with pytest.raises(UserError, match="tiny, which is a rehearsal"):
        plan_training(PlanTrainingConfig(tiny=True, num_crops=1e6))
