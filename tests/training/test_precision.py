"""Floating-point formats."""

import torch

from phenoscale.training.precision import autocast, choose_precision


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
