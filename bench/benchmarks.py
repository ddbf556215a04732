"""The benchmarks of the field against the published algorithms: one table of every part.

Run: `python bench/benchmarks.py [--parts recall,signal] [--annotations FOLDER] [--output FILE.json]`. Each
part asserts that both sides give equal results before it states a ratio, and measures each side in a process
of its own. `COPAIRS_PYTHON` names the interpreter of an environment with copairs 0.5.5. Threads: set
OMP_NUM_THREADS, 2 for the numbers in the documents.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# name on the command line -> module with `run(...) -> list[dict]`
PARTS: Mapping[str, str] = {
    "recall": "parts.recall",
    "signal": "parts.signal",
    "jump": "parts.jump",
    "relations": "parts.relations",
    "suite": "parts.suite",
}
_COLUMNS = (
    ("ours, s", "ours_s", ".2f"),
    ("reference, s", "reference_s", ".2f"),
    ("ratio", "ratio", ".1f"),
    ("ours, CPU s", "ours_cpu_s", ".2f"),
    ("reference, CPU s", "reference_cpu_s", ".2f"),
    ("ours, MB", "ours_mb", ",.0f"),
    ("reference, MB", "reference_mb", ",.0f"),
    ("equal", "equal", ""),
    ("threads", "threads", ""),
    ("dtype", "dtype", ""),
)


def main() -> None:
    """Run the parts, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--annotations", default=None, help="folder with CORUM.txt, HuMAP.txt, ...")
    parser.add_argument("--output", type=Path, default=Path("build/bench/benchmarks.json"))
    arguments = parser.parse_args()
    names = arguments.parts.split(",")
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    rows: list[dict[str, Any]] = []
    for name in names:
        takes = {"annotations": arguments.annotations} if name in ("recall", "suite") else {}
        found = importlib.import_module(PARTS[name]).run(**takes)
        rows += [{"part": name, **row} for row in found]
        print("\n".join(table_lines(found, with_head=name == names[0])), flush=True)
    record = {"machine": machine(), "rows": rows}
    print(", ".join(f"{key} {value}" for key, value in record["machine"].items()))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1))


def table_lines(rows: Sequence[Mapping[str, Any]], *, with_head: bool) -> list[str]:
    """The rows as lines of a Markdown table; what a part did not measure is left empty."""
    head = ["what", *(title for title, _, _ in _COLUMNS)]
    lines = [f"| {' | '.join(head)} |", "| " + " | ".join("---" for _ in head) + " |"] if with_head else []
    for row in rows:
        cells = [str(row["what"])]
        for _, key, style in _COLUMNS:
            value = row.get(key)
            cells.append("" if value is None else format(value, style) if style else str(value))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def machine() -> dict[str, Any]:
    """What the numbers hold for."""
    import numpy
    import scipy

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.name == "posix" else []
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


if __name__ == "__main__":
    main()
