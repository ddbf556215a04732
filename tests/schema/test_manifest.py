"""Manifests: immutable, movable, and independent of where the stores lie."""

import dataclasses
import json
import shutil

import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.schema.manifest import FunnelStep, Manifest, StoreRef, read_manifest, write_manifest

FIELDS = pd.DataFrame(
    {
        "field_id": ["a", "b", "c"],
        "store": [0, 0, 1],
        "split": ["train", "validation", "test"],
        "weight": [1.0, 1.0, 0.5],
    }
)
FUNNEL = (
    FunnelStep("empty", "min 0.1", kept=3, removed=1, kept_per_type={"crispr": 3}, removed_per_type={"": 1}),
)
STORES = (StoreRef("/elsewhere/s0", "d0"), StoreRef("s3://bucket/s1", "d1"))
MANIFEST = Manifest(stores=STORES, channels=("DNA", "ER"), fields=FIELDS, funnel=FUNNEL)


def test_a_manifest_survives_writing_and_reading(tmp_path):
    write_manifest(tmp_path, MANIFEST)
    read = read_manifest(tmp_path)
    pd.testing.assert_frame_equal(read.fields, FIELDS)
    assert (read.stores, read.channels, read.funnel) == (STORES, ("DNA", "ER"), FUNNEL)
    assert read.digest == MANIFEST.digest
    assert [read.count(split) for split in ("train", "validation", "test")] == [1, 1, 1]


def test_the_digest_depends_on_the_selection_and_not_on_places():
    moved = tuple(dataclasses.replace(store, uri="/moved") for store in STORES)
    assert dataclasses.replace(MANIFEST, stores=moved).digest == MANIFEST.digest
    changed = [
        dataclasses.replace(MANIFEST, fields=FIELDS.iloc[:2]),
        dataclasses.replace(MANIFEST, fields=FIELDS.assign(weight=1.0)),
        dataclasses.replace(MANIFEST, fields=FIELDS.assign(split="train")),
        dataclasses.replace(MANIFEST, stores=(STORES[0], dataclasses.replace(STORES[1], digest="d2"))),
    ]
    assert len({manifest.digest for manifest in [MANIFEST, *changed]}) == 5


def test_a_workspace_can_be_moved_with_its_stores(tmp_path):
    store = tmp_path / "old" / "ingest" / "key"
    store.mkdir(parents=True)
    manifest = dataclasses.replace(MANIFEST, stores=(StoreRef(str(store), "d0"), STORES[1]))
    write_manifest(tmp_path / "old" / "curate" / "key", manifest)
    shutil.move(tmp_path / "old", tmp_path / "new")
    read = read_manifest(tmp_path / "new" / "curate" / "key")
    assert read.stores[0].uri == str(tmp_path / "new" / "ingest" / "key")
    assert read.stores[1].uri == "s3://bucket/s1"


def test_a_manifest_that_was_changed_by_hand_is_refused(tmp_path):
    write_manifest(tmp_path, MANIFEST)
    FIELDS.assign(weight=2.0).to_parquet(tmp_path / "fields.parquet")
    with pytest.raises(UserError, match="immutable"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (FIELDS.iloc[:0], "selects nothing"),
        (FIELDS.drop(columns="split"), "missing: split"),
        (FIELDS.assign(split="training"), "'training' is not one of"),
        (FIELDS.assign(field_id="a"), "selected twice"),
        (FIELDS.assign(weight=0.0), "positive numbers"),
        (FIELDS.assign(store=5), "names store 5"),
    ],
)
def test_fields_that_are_no_selection_are_refused(fields, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(MANIFEST, fields=fields)


def test_a_folder_without_manifest_is_refused_with_the_way_to_make_one(tmp_path):
    with pytest.raises(UserError, match="phenoscale curate"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("change", [{"stores": 3}, {"channels": None}])
def test_a_damaged_manifest_is_refused_without_a_traceback(tmp_path, change):
    write_manifest(tmp_path, MANIFEST)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match="curate` again"):
        read_manifest(tmp_path)


def test_a_manifest_of_another_version_is_refused_by_name(tmp_path):
    write_manifest(tmp_path, MANIFEST)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": 7}))
    with pytest.raises(UserError, match=r"manifest\.json is .* version 7, .* reads version 1; run .*curate"):
        read_manifest(tmp_path)
