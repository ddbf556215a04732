"""Addresses in a config become paths that this machine can read, and nothing else changes."""

from pathlib import Path

import pytest

from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import UserError
from phenoscale.operations.addresses import with_local_inputs
from phenoscale.stages import run_stage
from phenoscale.storage import open_storage
from phenoscale.storage.mirror import address_of


class SectionConfig(Config):
    """A section with a location."""

    table: str = location(help="table")


class ReadConfig(Config):
    """Locations of every form, and a setting that looks like one."""

    store: str = location(in_place=True, help="store")
    maps: dict[str, str] = location({}, help="maps")
    stores: tuple[str, ...] = location((), help="stores")
    section: SectionConfig = SectionConfig()
    name: str = setting("", help="name")
    runtime: Runtime = Runtime()


@pytest.fixture
def output(s3_uri):
    """The address of an output in a bucket."""

    def build(output):
        (output.folder / "map.txt").write_text("a map")
        return {}

    config = ReadConfig(runtime=Runtime(workspace=s3_uri))
    path = run_stage("map", entry="phenoscale.schema.rows", config=config, inputs={}, build=build).path
    return address_of(path)


def test_outputs_in_a_bucket_are_read_from_the_cache_wherever_the_config_names_them(
    output, tmp_path, monkeypatch
):
    monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / "another"))
    given = ReadConfig(
        store=output,
        maps={"tvn": f"{output}/map.txt"},
        stores=(output, "plates"),
        section=SectionConfig(table=f"{output}/map.txt"),
        name=output,
    )
    local = with_local_inputs(given)
    assert local.name == output
    assert local.store == local.stores[0] and local.stores[1] == "plates"
    assert local.maps["tvn"] == local.section.table
    with Path(local.section.table).open() as file:
        assert file.read() == "a map"
    # what a step before has fetched, and named by its path here, is fetched like its address
    assert with_local_inputs(local) == local


def test_raw_data_in_a_bucket_and_local_paths_stay_what_they_are(s3_uri, tmp_path):
    open_storage(s3_uri).write_bytes("plates/a.tif", b"1")
    given = ReadConfig(store=f"{s3_uri}/plates", stores=(str(tmp_path), ""))
    assert with_local_inputs(given) == given


def test_an_address_of_anything_but_an_output_is_refused_as_it_was_written(s3_uri):
    open_storage(s3_uri).write_bytes("map.parquet", b"1")
    with pytest.raises(UserError, match=f"^{s3_uri}/map.parquet is in no output of a finished stage"):
        with_local_inputs(ReadConfig(maps={"tvn": f"{s3_uri}/map.parquet"}))
