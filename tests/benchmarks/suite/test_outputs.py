"""Every benchmark verb that writes says where it cannot in one line, before it reads its inputs."""

import pytest

from phenoscale.cli.main import main

_FILE_VERBS = {
    "annotations": ("--source", "pairs", "--path", "input"),
    "clusters": ("--map", "input", "--clusters", "sets.tsv"),
    "signal-consistency": ("--embeddings", "input"),
    "signal-magnitude": ("--embeddings", "input"),
}


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Runs a benchmark on an input that no benchmark could read, and returns its one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "input").write_text("unreadable")

    def run(verb, *words):
        code = main(["benchmark", verb, *words, "--json", "--log-level", "error"])
        out, err = capfd.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert (tmp_path / "input").read_text() == "unreadable"
        return err

    return run


@pytest.mark.parametrize("verb", _FILE_VERBS)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(refused, verb):
    assert "--output folder is a folder" in refused(verb, *_FILE_VERBS[verb], "--output", "folder")
    below = refused(verb, *_FILE_VERBS[verb], "--output", "input/x.csv")
    assert "--output input/x.csv cannot be written (Not a directory)" in below


@pytest.mark.parametrize("verb", _FILE_VERBS)
def test_no_verb_overwrites_its_own_input(refused, verb):
    assert "--output input is an input" in refused(verb, *_FILE_VERBS[verb], "--output", "input")


def test_annotations_do_not_overwrite_their_input_with_the_provenance_either(refused, tmp_path):
    (tmp_path / "x.csv.json").write_text("[]")
    words = ("--source", "pairs", "--path", "x.csv.json", "--output", "x.csv")
    assert "--output x.csv.json is an input" in refused("annotations", *words)


@pytest.mark.parametrize("output", ["input", "input/rows"])
def test_the_suite_refuses_a_folder_that_cannot_be_made_before_it_runs(refused, output):
    assert f"--output {output} " in refused("suite", "--map", "input", "--output", output)
