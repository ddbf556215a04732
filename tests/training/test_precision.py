"""Devices and floating-point formats."""

import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.training.precision import autocast, choose_device, choose_precision


def test_cpu_is_always_there_and_auto_takes_a_gpu_if_there_is_one():
    assert choose_device("cpu", local_rank=3) == torch.device("cpu")
    expected = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    assert choose_device("auto") == expected


@pytest.mark.parametrize(
    ("name", "words"), [("tpu", "'tpu' is not one of"), ("cuda:99", "cuda:99 does not exist")]
)
def test_device_that_is_not_there_is_refused(name, words):
    with pytest.raises(UserError, match=words):
        choose_device(name)


def test_named_precision_is_taken_and_auto_is_one_of_both():
    cpu = torch.device("cpu")
    assert choose_precision("fp32", device=cpu) == "fp32"
    assert choose_precision("bf16", device=cpu) == "bf16"
    assert choose_precision("auto", device=cpu) in ("fp32", "bf16")


def test_bf16_computes_products_in_bf16_and_fp32_does_not():
    cpu, layer, x = torch.device("cpu"), torch.nn.Linear(4, 4), torch.ones(2, 4)
    with autocast("bf16", device=cpu):
        assert layer(x).dtype == torch.bfloat16
    with autocast("fp32", device=cpu):
        assert layer(x).dtype == torch.float32
