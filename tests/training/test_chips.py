"""Chips are recognized by the names that torch reports; rates and memory are those of the data sheets."""

import pytest

from phenoscale.errors import UserError
from phenoscale.training.chips import CHIPS, chip_of_device, find_chip, peak_bf16_flops


@pytest.mark.parametrize(
    ("device_name", "kind"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA H200 NVL", "h200-nvl"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
    ],
)
def test_device_names_of_torch_mean_the_chip_of_the_data_sheet(device_name, kind):
    assert chip_of_device(device_name) is CHIPS[kind]
    assert peak_bf16_flops(device_name) == CHIPS[kind].bf16_flops


@pytest.mark.parametrize(
    "device_name", ["cpu", "AMD EPYC 9654", "NVIDIA GeForce RTX 4090", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"]
)
def test_a_device_outside_the_table_or_a_slice_of_a_chip_has_no_known_peak(device_name):
    assert peak_bf16_flops(device_name) is None


def test_dense_rates_are_half_of_what_data_sheets_print_with_sparsity():
    printed_with_sparsity = {
        "h100": 1979e12,
        "h200": 1979e12,
        "h100-pcie": 1513e12,
        "b200": 4500e12,
        "l4": 242e12,
    }
    for kind, printed in printed_with_sparsity.items():
        assert CHIPS[kind].bf16_flops == pytest.approx(printed / 2, rel=1e-3)


def test_an_unknown_kind_of_gpu_is_refused_with_the_known_ones():
    assert find_chip("H100") is CHIPS["h100"]
    with pytest.raises(UserError, match=r"'v100'.*a100"):
        find_chip("v100")
