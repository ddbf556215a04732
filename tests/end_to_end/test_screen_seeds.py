"""Over three screens the trained encoder finds more of what was planted than its baselines do.

`make acceptance` runs this: each screen is the demo with another seed, from pixel to report, and
takes as long as `make demo`. Bounds are those of a paired bootstrap over the planted pairs. With
PHENOSCALE_ACCEPTANCE_WORKSPACE set, the screens stay in that folder and a second run reuses what is there.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phenoscale.schema.rows import read_rows

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]
# Correction takes away at least this share of what plate, position and arm can be predicted by beyond chance.
LEAST_SHARE_REMOVED = 0.6


@pytest.fixture(scope="module", params=(0, 1, 2))
def rows(request, tmp_path_factory):
    """Benchmark rows of one screen."""
    seed = request.param
    kept = os.environ.get("PHENOSCALE_ACCEPTANCE_WORKSPACE")
    workspace = Path(kept) / f"seed-{seed}" if kept else tmp_path_factory.mktemp(f"seed-{seed}")
    flags = ["--simulate.seed", str(seed), "--workspace", str(workspace), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "phenoscale", "run", "full", "--config", "demo", *flags],
        # As make demo: all cores, unlike the rest of the tests.
        env={name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    for table in summary["tables"]:
        print(f"\nseed {seed}: {table['title']}\n{json.dumps(table['cells'], indent=2)}")
    return read_rows(next(step["output"] for step in summary["steps"] if step["step"] == "benchmark"))


def find(rows, **wanted):
    """The one row with these fields and settings."""
    found = [
        row
        for row in rows
        if all(getattr(row, name, row.settings.get(name)) == value for name, value in wanted.items())
    ]
    assert len(found) == 1, f"{len(found)} rows of {wanted}"
    return found[0]


@pytest.mark.parametrize("baseline", ["untrained", "pixel_statistics"])
def test_trained_encoder_recalls_more_planted_pairs_than(baseline, rows):
    row = find(rows, metric="recall_difference", against=baseline, against_step="final")
    print(f"trained minus {baseline}: {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]")
    assert row.low > 0


def test_correction_raises_recall_over_no_transformation(rows):
    row = find(rows, metric="recall_difference", against="trained", against_step="0_none")
    print(f"corrected minus uncorrected: {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]")
    assert row.low > 0


@pytest.mark.parametrize("target", ["plate", "experiment", "edge", "quadrant"])
def test_correction_brings_batch_and_position_close_to_chance(target, rows):
    facts = {"benchmark": "batch_effect", "source": target, "encoder": "trained", "wells": "all"}
    before, after = (find(rows, step=step, **facts) for step in ("0_none", "final"))
    chance = after.settings["chance"]
    print(f"{target}: {before.value:.3f} -> {after.value:.3f}, chance {chance:.3f}")
    assert after.value - chance <= max(0.05, (1 - LEAST_SHARE_REMOVED) * (before.value - chance))


def test_correction_brings_chromosome_arms_close_to_chance(rows):
    facts = {"benchmark": "batch_effect", "source": "arm", "encoder": "trained"}
    before, after = (find(rows, step=step, **facts) for step in ("0_none", "final"))
    chance = after.settings["chance"]
    print(f"arm: {before.value:.3f} -> {after.value:.3f}, chance {chance:.3f}")
    assert after.value - chance <= 0.05
