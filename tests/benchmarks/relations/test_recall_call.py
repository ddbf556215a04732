"""The call that notebooks rely on: `benchmark recall --json` with a bare Parquet and CSVs of pairs."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def inputs(tmp_path):
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((60, 8)).astype(np.float32)
    names = [f"G{index:02d}" for index in range(60)]
    pq.write_table(pa.table({"perturbation": names, "embedding": list(vectors)}), tmp_path / "map.parquet")
    pairs = {"CORUM": [(0, 1), (1, 0), (2, 3), (4, 59), (5, 5)], "mine": [(0, 1), (7, 8)]}
    for name, each in pairs.items():
        lines = [f"G{a:02d},G{b:02d}" for a, b in each]
        (tmp_path / f"{name}.csv").write_text("\n".join(["entity1,entity2", *lines, "G00,ABSENT"]) + "\n")
    return tmp_path, vectors


def _call(folder, *further):
    words = ["benchmark", "recall", "--map", str(folder / "map.parquet"), *further, "--json"]
    return subprocess.run(
        [sys.executable, "-m", "phenoscale", *words], capture_output=True, text=True, check=False
    )


def test_the_fixed_call_prints_one_json_list_of_rows_and_nothing_else(inputs):
    folder, vectors = inputs
    done = _call(
        folder,
        *("--annotations", str(folder / "CORUM.csv"), "--annotations", str(folder / "mine.csv")),
        *("--lower", "0.05", "--upper", "0.95", "--by-number-of-sources"),
    )
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout) if row["metric"] == "recall"]
    units = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
    cosines = units @ units.T
    null = np.sort(cosines[np.triu_indices(60, 1)])
    expected = {
        "CORUM": [(0, 1), (2, 3), (4, 59)],
        "mine": [(0, 1), (7, 8)],
        "at least 1 of 2 sources": [(0, 1), (2, 3), (4, 59), (7, 8)],
        "at least 2 of 2 sources": [(0, 1)],
    }
    assert [row["source"] for row in rows] == list(expected)
    for row in rows:
        query = np.array([cosines[pair] for pair in expected[row["source"]]])
        at_most = np.searchsorted(null, query, side="right") / len(null)
        below = np.searchsorted(null, query, side="left") / len(null)
        assert row["value"] == np.mean((at_most <= 0.05) | (below >= 0.95))
        assert row["n"] == len(query)
        assert json.loads(row["setting"])["chance"] == 0.1


def test_wrong_input_to_the_fixed_call_is_one_line_and_no_row(inputs):
    folder, _ = inputs
    (folder / "other.csv").write_text("a,b\nG00,G01\n")
    done = _call(folder, "--annotations", str(folder / "other.csv"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "its header must be entity1,entity2" in done.stderr
