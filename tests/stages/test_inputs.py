"""Digests of inputs of each kind."""

import hashlib
import os

import pytest

from phenoscale.errors import UserError
from phenoscale.stages.inputs import Input, inputs_digest, resolve_inputs
from phenoscale.stages.output import Output
from phenoscale.storage.digests import digest_entries, digest_file
from tests.support.s3 import BUCKET, CREDENTIALS, s3_server


def test_a_raw_file_enters_by_its_content(tmp_path):
    table = tmp_path / "table.csv"
    table.write_bytes(b"1")
    (found,) = resolve_inputs({"table": table})
    assert found == Input("table", uri=str(table), digest=hashlib.sha256(b"1").hexdigest())
    assert found.record() == {"uri": found.uri, "digest": found.digest}


def _plates(folder):
    (found,) = resolve_inputs({"plates": folder}, workspace=folder / "workspace")
    return found.digest


def test_a_raw_folder_enters_by_what_it_lists_and_nothing_is_read(tmp_path):
    image = tmp_path / "week1" / "a.tif"
    image.parent.mkdir()
    image.write_bytes(b"1")
    before = _plates(tmp_path)
    image.chmod(0)
    assert _plates(tmp_path) == before
    os.utime(image, ns=(0, 1))
    later = _plates(tmp_path)
    image.rename(image.with_name("b.tif"))
    assert len({before, later, _plates(tmp_path)}) == 3


def test_the_workspace_in_a_raw_folder_and_links_to_nothing_do_not_enter(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"1")
    before = _plates(tmp_path)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "log").write_text("changes all the time")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert _plates(tmp_path) == before


def test_a_stage_output_enters_by_its_commit_record_with_stage_and_key(chain):
    embedded = chain.embed()
    whole, part = resolve_inputs({"whole": embedded.path, "part": str(embedded.path / "wells")})
    assert (whole.stage, whole.key, whole.digest) == ("embed", embedded.key, embedded.digest)
    assert (part.stage, part.key) == ("embed", embedded.key)
    assert part.digest == digest_entries(
        {"numbers.txt": digest_file(embedded.path / "wells" / "numbers.txt")}
    )


def test_a_copy_of_an_output_is_the_same_input(chain, tmp_path):
    embedded = chain.embed()
    copy = tmp_path / "copied"
    embedded.path.rename(copy)
    (found,) = resolve_inputs({"e": copy})
    assert (found.digest, found.key) == (embedded.digest, embedded.key)


def test_several_inputs_of_one_name_are_numbered_and_their_order_counts(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    forward = resolve_inputs({"stores": [tmp_path / "a", tmp_path / "b"]})
    backward = resolve_inputs({"stores": [tmp_path / "b", tmp_path / "a"]})
    assert [entry.name for entry in forward] == ["stores[0]", "stores[1]"]
    assert inputs_digest(forward) != inputs_digest(backward)


def test_the_digest_of_inputs_does_not_depend_on_places(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("same")
    digests = {inputs_digest(resolve_inputs({"table": tmp_path / name})) for name in ("a", "b")}
    assert len(digests) == 1


def test_an_empty_location_is_no_input(tmp_path):
    assert resolve_inputs({"genes": "", "stores": []}) == []


def test_a_missing_input_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match=r"input manifest: .*none does not exist"):
        resolve_inputs({"manifest": tmp_path / "none"})


def test_the_output_of_a_stage_that_did_not_finish_is_refused(chain):
    embedded = chain.embed()
    (embedded.path / "_SUCCESS.json").unlink()
    for place in (embedded.path, embedded.path / "wells"):
        with pytest.raises(UserError, match=r"is incomplete: its stage did not finish.*run embed again"):
            resolve_inputs({"embeddings": place})


def test_a_half_written_output_is_refused_when_it_was_copied_away(chain, tmp_path):
    copy = tmp_path / "copy"
    (copy / "wells").mkdir(parents=True)
    (copy / "wells" / "numbers.txt").write_text("1")
    Output(copy).publish("wells", ["wells"])
    with pytest.raises(UserError, match="is incomplete"):
        resolve_inputs({"embeddings": copy})


def test_an_output_and_an_attempt_at_it_are_known_by_their_lease(chain):
    embedded = chain.embed()
    for name in ("_SUCCESS.json", "lineage.json"):
        (embedded.path / name).unlink()
    attempt = embedded.path.with_name(embedded.path.name + ".attempt-2")
    attempt.mkdir()
    for place in (embedded.path, attempt):
        with pytest.raises(UserError, match="incomplete"):
            resolve_inputs({"embeddings": place})


def test_a_file_that_happens_to_be_named_like_a_lease_makes_no_stage_output(tmp_path):
    (tmp_path / "plates").mkdir()
    (tmp_path / "plates" / "a").write_text("a")
    (tmp_path / "plates.lease").write_text("until May")
    (found,) = resolve_inputs({"plates": tmp_path / "plates"})
    assert found.stage == ""


def test_a_file_that_its_stage_did_not_write_is_no_part_of_the_output(chain):
    embedded = chain.embed()
    (embedded.path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt is not among the files that its stage wrote"):
        resolve_inputs({"table": embedded.path / "notes.txt"})


def test_remote_data_enter_by_etag_and_not_by_download(monkeypatch):
    with s3_server() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        from phenoscale.storage import open_storage

        store = open_storage(f"s3://{BUCKET}/plates")
        store.write_bytes("a.tif", b"1")
        (before,) = resolve_inputs({"plates": f"s3://{BUCKET}/plates"})
        store.write_bytes("a.tif", b"2")
        (after,) = resolve_inputs({"plates": f"s3://{BUCKET}/plates"})
    assert before.uri == after.uri and before.digest != after.digest
