"""An embedding job in shards: any engine, any number of workers, any order, and plates that join a screen."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

import pytest

from phenoscale.errors import UserError
from phenoscale.inference.config import EmbedConfig
from phenoscale.inference.engines import ENGINES, find_engine
from phenoscale.inference.job import Shard, open_job, run_shard
from phenoscale.inference.stage import run_embed
from phenoscale.schema.embeddings import read_embeddings
from phenoscale.stages import fetch_output
from tests.support.embedding import save_pixel_statistics
from tests.support.screens import make_tiny_store


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A screen of ten plates, the same with an eleventh, and an encoder."""
    folder = tmp_path_factory.mktemp("job")
    for name, num_plates in (("ten", 10), ("eleven", 11)):
        make_tiny_store(
            folder / name,
            num_experiments=1,
            num_plates=num_plates,
            num_genes=1,
            guides_per_gene=1,
            num_negative_controls=2,
        )
    save_pixel_statistics(folder / "encoder")
    return folder


def config_of(place, workspace, *, store="ten", **changes):
    runtime = {"workspace": str(workspace), "device": "cpu"}
    given = {"encoder": str(place / "encoder"), "stores": [str(place / store)], "runtime": runtime}
    return EmbedConfig(**{**given, **changes})


def embed(place, workspace, **changes):
    return run_embed(config_of(place, workspace, **changes))


def counts(result):
    return tuple(result.summary[f"num_shards_{name}"] for name in ("found", "adopted", "embedded", "done"))


@pytest.fixture(scope="module")
def ten(place, tmp_path_factory):
    """The workspace in which the ten plates are embedded, and the result."""
    workspace = tmp_path_factory.mktemp("workspace")
    return workspace, embed(place, workspace)


def test_a_plate_added_to_a_finished_screen_costs_its_own_crops_only(place, ten, tmp_path):
    workspace, before = ten
    assert counts(before) == (0, 0, 10, 10)
    after = embed(place, workspace, store="eleven")
    assert counts(after) == (0, 10, 1, 11)
    assert after.digest == embed(place, tmp_path, store="eleven").digest


def test_shards_embedded_by_several_workers_in_any_order_make_the_same_output(place, ten, tmp_path):
    done = []
    for shard in ("2/3", "0/3", "1/3"):
        worker = embed(place, tmp_path, shard=shard)
        assert worker.digest == "" and not (worker.path / "_SUCCESS.json").exists()
        done.append(worker.summary["num_shards_done"])
    assert done == [3, 7, 10]
    assert worker.summary["num_shards"] == 10
    result = embed(place, tmp_path)
    assert counts(result) == (10, 0, 0, 10)
    assert result.digest == ten[1].digest
    assert embed(place, tmp_path, shard="1/3").reused, "a worker that comes too late finds it done"


def test_workers_on_several_machines_share_a_bucket(place, ten, tmp_path, s3_uri, monkeypatch):
    for shard in ("1/2", "0/2", ""):
        monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / f"machine {shard.replace('/', ' of ')}"))
        result = embed(place, s3_uri, shard=shard)
    assert counts(result) == (10, 0, 0, 10)
    assert result.digest == ten[1].digest
    after = embed(place, s3_uri, store="eleven")
    assert counts(after) == (0, 10, 1, 11)
    wells = read_embeddings(fetch_output(after.path) / "wells")
    assert wells.frame["plate"].nunique() == 11


def embed_spawned(job, opened, *, shards, output, done):
    """An engine of somebody else's: a process that knows nothing but the job and a shard."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(run_shard, repeat(job), reversed(shards)):
            done()


def test_a_new_engine_is_a_function_and_a_line_and_may_run_in_fresh_processes(
    place, ten, tmp_path, monkeypatch
):
    monkeypatch.setitem(ENGINES, "spawned", f"{__name__}:embed_spawned")
    result = embed(place, tmp_path, engine="spawned")
    assert counts(result) == (0, 0, 10, 10)
    assert result.digest == ten[1].digest


def requests(config, *, sources_digest="code"):
    job = open_job(config)
    return {shard: job.request(shard, sources_digest=sources_digest) for shard in job.shards}


def test_what_a_plate_is_asked_for_by_depends_on_all_that_decides_its_bytes_and_on_nothing_else(
    place, tmp_path
):
    plain = requests(config_of(place, tmp_path))
    assert len(set(plain.values())) == 10
    more = requests(config_of(place, tmp_path / "elsewhere", store="eleven", minibatch_size=7))
    assert {shard: more[shard] for shard in plain} == plain
    first = Shard(("tiny", "E1", "P1"))
    save_pixel_statistics(tmp_path / "encoder", crop_size=20)
    make_tiny_store(tmp_path / "store", num_experiments=1, num_plates=1, seed=1)
    others = [
        requests(config_of(place, tmp_path), sources_digest="other code"),
        requests(config_of(place, tmp_path, crop_layout="center")),
        requests(config_of(place, tmp_path, outputs=("well",))),
        requests(config_of(place, tmp_path, encoder=str(tmp_path / "encoder"))),
        requests(config_of(place, tmp_path, stores=[str(tmp_path / "store")])),
    ]
    assert len({plain[first], *(other[first] for other in others)}) == 1 + len(others)


def test_an_unknown_engine_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match="no engine 'dask2'; set engine to one of in_process"):
        find_engine("dask2")


@pytest.mark.parametrize("shard", ["x", "3", "1/", "/2", "2/2", "0/0", "-1/2", "1/2/3"])
def test_a_shard_that_is_none_is_refused_with_the_rule(shard):
    with pytest.raises(UserError, match=r"shard is .* but must be i/n"):
        EmbedConfig(shard=shard)


def test_an_engine_that_is_not_there_is_refused_before_anything_is_begun(place, tmp_path):
    with pytest.raises(UserError, match=r"there is no engine 'ray'; set engine to one of in_process"):
        embed(place, tmp_path, engine="ray")
    assert not (tmp_path / "embed").exists()
