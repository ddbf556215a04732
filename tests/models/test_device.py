"""Devices."""

import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.models.device import choose_device


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
