"""A model in two processes, whole in each or in shards, trains as in one; two real ranks did all of it."""

import dataclasses
import json

import pandas as pd
import pytest
from safetensors.torch import load_file

from phenoscale.errors import UserError
from phenoscale.loading.fields import open_fields
from phenoscale.schema.manifest import Manifest, StoreRef, write_manifest
from phenoscale.screens.store import open_screen
from phenoscale.training.metrics import read_records
from phenoscale.training.stage import run_pretrain
from tests.support.pretraining import tiny_config
from tests.support.pretraining_processes import free_port
from tests.support.programs import Program
from tests.support.rank_programs import CASES, CROSSED, CROSSINGS, MIXED, WAYS, train_case
from tests.support.screens import make_tiny_store

pytestmark = pytest.mark.ranks
RANK_PROGRAM = "tests.support.rank_programs:main"


@pytest.fixture(scope="module")
def mixed_manifest(tmp_path_factory):
    """Training fields of three channels, of two, and of one."""
    place = tmp_path_factory.mktemp("mixed")
    stains = [("DNA", "ER", "RNA"), ("ER", "DNA"), ("DNA",)]
    size = {"num_experiments": 1, "num_plates": 1, "num_genes": 1, "num_negative_controls": 2}
    stores = [
        make_tiny_store(place / str(n), channels=names, seed=n, screen=f"screen{n}", **size)
        for n, names in enumerate(stains)
    ]
    fields = open_fields(stores=stores, absent="zero")
    columns = {name: fields.frame[name] for name in ("field_id", "store", "split", "weight")}
    refs = tuple(StoreRef(uri=str(store), digest=open_screen(store).digest) for store in stores)
    manifest = Manifest(
        stores=refs, channels=fields.channels, fields=pd.DataFrame(columns), channel_rule="union"
    )
    write_manifest(place / "manifest", manifest)
    return place / "manifest"


@pytest.fixture(scope="module")
def by_two(manifest, mixed_manifest, tmp_path_factory):
    """The folder that two ranks have filled."""
    folder = tmp_path_factory.mktemp("by-two")
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    environments = [{**place, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    ranks = [
        Program(RANK_PROGRAM, manifest, mixed_manifest, folder, environment=environment)
        for environment in environments
    ]
    endings = [process.wait() for process in ranks]
    assert endings == [0, 0], "\n".join(process.errors for process in ranks)
    return folder


def largest_difference(left, right):
    found, wanted = (load_file(side / "weights.safetensors") for side in (left, right))
    assert found.keys() == wanted.keys()
    return max((found[name] - wanted[name]).abs().max().item() for name in wanted)


def curves(folder):
    records = read_records(folder / "logs" / "metrics.jsonl")
    names = ("loss", "mse", "validation_loss", "gradient_norm")
    return [record[name] for record in records for name in names if name in record]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_train_what_one_trains(manifest, by_two, tmp_path, alone, way, name):
    train_case(CASES[name], manifest, tmp_path, ranks=alone)
    found, wanted = curves(by_two / way / name), curves(tmp_path)
    difference = largest_difference(by_two / way / name, tmp_path)
    # a sum of rounded parts is not the rounded sum
    assert found == pytest.approx(wanted, abs=1e-5 if name != "bf16" else 3e-3)
    if CASES[name].optimizer.name == "sgd":  # the others take the sign of, or divide by, what may be rounding
        assert difference < (1e-6 if name != "bf16" else 1e-3)


@pytest.mark.parametrize(("begun", "ended"), CROSSINGS)
def test_training_begun_in_one_way_ends_in_another(manifest, by_two, tmp_path, alone, begun, ended):
    train_case(CROSSED, manifest, tmp_path, ranks=alone)
    assert largest_difference(by_two / f"{begun}-{ended}", tmp_path) < 1e-6
    assert curves(by_two / f"{begun}-{ended}") == pytest.approx(curves(tmp_path), abs=1e-5)


def test_training_in_shards_resumes_to_the_last_bit(manifest, by_two):
    whole = {**dataclasses.asdict(CROSSED), "parallel": "fsdp"}
    assert whole == {**dataclasses.asdict(CASES["averaged"]), "parallel": "fsdp"}
    assert largest_difference(by_two / "fsdp-fsdp", by_two / "fsdp" / "averaged") == 0


@pytest.mark.parametrize("way", WAYS)
def test_checkpoints_that_two_ranks_write_behind_hold_each_rank_s_state_at_its_step(by_two, way):
    found = json.loads((by_two / way / "behind" / "found.json").read_text())
    average = 0.5 * (0.5 * (0.5 * 0 + 0.5 * 1) + 0.5 * 2) + 0.5 * 3
    kept = ["step-000000003", "step-000000002"]
    assert found == [{"step": 3, "weights": [3.0], "averages": [average], "kept": kept}] * 2


def test_ranks_whose_crops_have_different_channels_train_what_one_trains(
    mixed_manifest, by_two, tmp_path, alone
):
    train_case(MIXED, mixed_manifest, tmp_path, ranks=alone)
    assert curves(by_two / "mixed") == pytest.approx(curves(tmp_path), abs=1e-5)
    assert largest_difference(by_two / "mixed", tmp_path) < 1e-6


def test_shards_need_crops_with_the_same_channels(mixed_manifest, tmp_path):
    model = {"family": "ca_mae", "size": "tiny"}
    with pytest.raises(UserError, match="parallel fsdp needs crops with the same channels"):
        run_pretrain(tiny_config(mixed_manifest, tmp_path, parallel="fsdp", model=model))
