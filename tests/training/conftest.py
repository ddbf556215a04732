"""A tiny screen and its manifest, made once for all training tests."""

import pytest
import torch

from phenoscale.training.ranks import Ranks
from tests.support.pretraining import launch_pretrain, tiny_config
from tests.support.pretraining_processes import PLAIN
from tests.support.screens import make_tiny_manifest, make_tiny_store


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """A manifest of 22 training and 22 validation fields of 40 px and 3 channels."""
    place = tmp_path_factory.mktemp("tiny")
    return make_tiny_manifest(place / "manifest", make_tiny_store(place / "store"))


@pytest.fixture(scope="session")
def mixed_manifest(tmp_path_factory):
    """A manifest of two stores of 22 fields each, DNA, ER and RNA in one, DNA, ER and AGP in the other."""
    place = tmp_path_factory.mktemp("mixed")
    stains = {"one": ("DNA", "ER", "RNA"), "two": ("DNA", "ER", "AGP")}
    stores = [
        make_tiny_store(place / name, channels=channels, num_plates=1, screen=name)
        for name, channels in stains.items()
    ]
    return make_tiny_manifest(place / "manifest", *stores)


@pytest.fixture(scope="session")
def one_rank(manifest, tmp_path_factory):
    """The training PLAIN, by one process."""
    return launch_pretrain(tiny_config(manifest, tmp_path_factory.mktemp("one"), **PLAIN))


@pytest.fixture(scope="session")
def two_ranks(manifest, tmp_path_factory):
    """The training PLAIN, by two processes, undisturbed, with three accumulations a step."""
    place = tmp_path_factory.mktemp("two")
    return launch_pretrain(tiny_config(manifest, place, num_processes=2, micro_batch=2, **PLAIN))


@pytest.fixture
def alone():
    """The only rank of a training on a CPU."""
    return Ranks(rank=0, world_size=1, device=torch.device("cpu"))
