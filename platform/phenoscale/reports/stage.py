"""The `report` verb: read the stages' outputs, write report.html."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from phenoscale.files import write_atomic
from phenoscale.reports.config import ReportConfig
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage

REPORT_FILE = "report.html"
_PLACES = (
    "screen",
    "manifest",
    "pretrain",
    "probe",
    "benchmark",
    "oracle",
    "genes",
    "registered",
    "promoted",
)


def run_report(config: ReportConfig, *, observe: Observer = ignore) -> StageResult:
    """Write the report of the given outputs.

    `config.run`, the record of which steps were reused, is shown but does not enter the key: a pipeline whose
    steps are all reused also reuses its report.

    Raises:
        UserError: a place that was given and does not hold what it should.
    """
    inputs: dict[str, str] = {name: getattr(config, name) for name in _PLACES if getattr(config, name)}
    inputs |= {f"pretrain {name}": place for name, place in config.pretrains.items()}
    inputs |= {f"embeddings {name}": place for name, place in config.embeddings.items()}
    inputs |= {f"map {name}": place for name, place in config.maps.items()}
    return run_stage(
        "report", entry=__name__, config=config, inputs=inputs, build=partial(_build, config=config)
    )


def _build(output: Output, *, config: ReportConfig) -> Mapping[str, Any]:
    folder = output.folder
    from phenoscale.reports.compose import compose_report
    from phenoscale.reports.inputs import read_inputs

    composed = compose_report(read_inputs(config), config=config)
    write_atomic(folder / REPORT_FILE, composed.html.encode("utf-8"))
    output.dated = frozenset({REPORT_FILE})  # it shows places, times and versions
    return {
        "report": REPORT_FILE,
        "megabytes": round(len(composed.html.encode("utf-8")) / 1e6, 2),
        "sections": [section.name for section in composed.sections if not section.is_empty],
        "missing": [section.name for section in composed.sections if section.is_empty],
    }
