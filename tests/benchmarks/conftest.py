"""Command lines of benchmarks: refused with one line, or answered with rows."""

import json

import pytest

from phenoscale.cli.main import main


@pytest.fixture
def refused(capfd):
    """Runs a command line that must be refused and returns its one line."""

    def run(*words):
        code = main([*words, "--json", "--log-level", "error"])
        out, err = capfd.readouterr()
        assert (code, out) == (2, ""), err
        assert err.startswith("phenoscale benchmark ") and err.count("\n") == 1, err
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture
def rows(capfd):
    """Runs a command line that must succeed and returns its rows by metric; standard output is one list."""

    def run(*words):
        code = main([*words, "--json", "--log-level", "error"])
        out, err = capfd.readouterr()
        assert code == 0, err
        return {(row["source"], row["metric"]): row for row in json.loads(out)}

    return run
