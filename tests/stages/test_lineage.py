"""Lineage records and the walk along them."""

import subprocess

import pytest

from phenoscale.errors import UserError
from phenoscale.stages import read_lineage, walk_lineage
from phenoscale.storage import digest_file


def test_a_lineage_record_says_what_made_an_output(chain):
    embedded = chain.embed(gain=3)
    mapped = chain.map(embedded.path, shift=1)
    record = read_lineage(mapped.path)
    assert (record["stage"], record["key"], record["digest"]) == ("map", mapped.key, mapped.digest)
    assert record["inputs"] == {
        "embeddings": {
            "uri": str(embedded.path),
            "digest": embedded.digest,
            "stage": "embed",
            "key": embedded.key,
        }
    }
    assert record["config"] == {"shift": 1, "embeddings": str(embedded.path)}
    assert record["outputs"] == {"map.txt": digest_file(mapped.path / "map.txt")}
    assert set(record["code"]) == {"git_commit", "dirty", "version", "image_digest"}
    assert {"num_cpus", "memory_bytes", "python", "platform"} <= set(record["host"])
    assert record["seconds"] >= 0 and record["started"].startswith("20")


def test_the_lineage_of_a_file_is_that_of_its_output(chain):
    embedded = chain.embed()
    assert read_lineage(embedded.path / "wells" / "numbers.txt")["key"] == embedded.key


def test_a_path_outside_of_every_output_has_no_lineage(chain):
    chain.embed()
    with pytest.raises(UserError, match=r"table\.txt has no lineage.*give an output folder or a file in one"):
        read_lineage(chain.table)


def _walk(path, chain, direction):
    return [
        (node.depth, node.name, node.stage)
        for node in walk_lineage(path, chain.workspace, direction=direction)
    ]


def test_upstream_leads_from_a_map_to_the_raw_data(chain):
    mapped = chain.map(chain.embed().path)
    assert _walk(mapped.path, chain, "upstream") == [
        (0, "", "map"),
        (1, "embeddings", "embed"),
        (2, "table", ""),
    ]
    nodes = walk_lineage(mapped.path, chain.workspace, direction="upstream")
    assert nodes[-1].uri == str(chain.table)


def test_downstream_leads_to_everything_that_was_made_from_an_output(chain):
    embedded = chain.embed()
    for shift in (0, 1):
        chain.map(embedded.path / ".", shift=shift)
    chain.embed(gain=7)
    assert _walk(embedded.path, chain, "downstream") == [
        (0, "", "embed"),
        (1, "embeddings", "map"),
        (1, "embeddings", "map"),
    ]


def test_an_output_used_twice_is_walked_once(chain):
    embedded = chain.embed()
    first, second = chain.map(embedded.path), chain.map(embedded.path, shift=1)
    from phenoscale.stages import run_stage
    from tests.stages.conftest import MapConfig

    both = run_stage(
        "compare",
        entry="phenoscale.mapping.stage",
        config=MapConfig(runtime=chain.runtime()),
        inputs={"maps": [first.path, second.path]},
        build=lambda output: {},
        source_root=chain.root,
    )
    nodes = walk_lineage(both.path, chain.workspace, direction="upstream")
    assert [(node.depth, node.name, node.is_repeated) for node in nodes] == [
        (0, "", False),
        (1, "maps[0]", False),
        (2, "embeddings", False),
        (3, "table", False),
        (1, "maps[1]", False),
        (2, "embeddings", True),
    ]


def test_upstream_follows_an_output_into_another_workspace(chain, tmp_path):
    embedded = chain.embed()
    chain.workspace = tmp_path / "second"
    mapped = chain.map(embedded.path)
    assert _walk(mapped.path, chain, "upstream")[1:] == [(1, "embeddings", "embed"), (2, "table", "")]


def test_the_commit_on_record_is_the_checkouts(chain):
    record = read_lineage(chain.embed().path)
    said = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert record["code"]["git_commit"] == (said.stdout.strip() or None)
