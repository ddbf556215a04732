"""The comparison of families: every encoder's cost and knowledge in its own line, nothing invented."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phenoscale.config import Runtime
from phenoscale.reports.config import ReportConfig
from phenoscale.reports.families import (
    CHANCE,
    CONFOUNDS,
    NOT_RECORDED,
    Columns,
    family_columns,
)
from phenoscale.reports.inputs import ReportInputs, TrainingFacts, read_num_parameters
from phenoscale.reports.stage import run_report
from phenoscale.schema.rows import Row, canonical_setting
from tests.reports.conftest import Reported
from tests.support.pipeline_outputs import made_up


def _training(**summary: Any) -> TrainingFacts:
    return TrainingFacts(records=[], reconstructions=None, summary=summary, settings={}, encoder=None)


def _probe(encoder: str, block: int | None, value: float, *, features: str = "embedding", **more: Any) -> Row:
    setting = canonical_setting(
        **{"features": features, "block": block, "inverse_regularization": 0.01, "chosen": False, **more}
    )
    ends = (value - 0.01, value + 0.01)
    return Row("probe", "gene", "balanced_accuracy", setting, value, *ends, encoder=encoder)


def _recall(encoder: str, step: str, value: float) -> Row:
    setting = canonical_setting(step=step, lower=0.05, upper=0.95, chance=0.1)
    return Row("recall", "pairs", "recall", setting, value, value - 0.02, value + 0.02, n=9, encoder=encoder)


def _texts(columns: Columns) -> dict[str, tuple[str, ...]]:
    return {name: tuple(cell.text for cell in cells) for name, cells in columns.cells.items()}


INPUTS = ReportInputs(
    trainings={
        "mae": _training(cpu_seconds=61.4, num_training_crops=38_400, forward_gflops_per_crop=0.0512),
        "mu_net": _training(num_training_crops=1_000),
    },
    num_parameters={"mae": 2_000_000, "mu_net": 900_000, "pixel_statistics": 0},
    probe_rows=[
        _probe("", None, 0.05, features="chance"),
        _probe("", None, 0.07, features="confounds"),
        _probe("mu_net", 0, 0.2, chosen=True),
        _probe("pixel_statistics", 0, 0.1, chosen=True),
        _probe("mae", 0, 0.3),
        _probe("mae", 1, 0.4, chosen=True),
        _probe("mae", 2, 0.35),
        _probe("mae", 2, 0.99, features="embedding+confounds"),
    ],
    rows=[
        _recall("mae", "0_none", 0.15),
        _recall("mae", "1_tvn", 0.9),
        _recall("mae", "final", 0.5),
        _recall("mu_net", "final", 0.25),
        _recall("oracle", "final", 1.0),
    ],
)


def test_each_encoder_has_its_cost_and_what_was_not_recorded_is_said() -> None:
    cost = family_columns(INPUTS)[0]
    assert cost.heads == ("encoder parameters", "CPU seconds", "crops seen", "GFLOP per crop")
    assert _texts(cost) == {
        "mae": ("2,000,000", "61", "38,400", "0.0512"),
        "mu_net": ("900,000", NOT_RECORDED, "1,000", NOT_RECORDED),
        "pixel_statistics": ("0", "", "", ""),
    }


def test_best_and_last_block_stand_side_by_side_for_encoders_of_any_number_of_blocks() -> None:
    probe = family_columns(INPUTS)[1]
    assert _texts(probe) == {
        "mae": ("0.400 [0.390, 0.410]", "1", "0.350"),
        "mu_net": ("0.200 [0.190, 0.210]", "0", "0.200"),
        "pixel_statistics": ("0.100 [0.090, 0.110]", "0", "0.100"),
        CONFOUNDS: ("0.070 [0.060, 0.080]", "", ""),
        CHANCE: ("0.050", "", ""),
    }


def test_recall_is_that_before_all_steps_and_after_them() -> None:
    recall = family_columns(INPUTS)[2]
    assert recall.heads == ("before", "corrected")
    assert recall.title == "recall of known relationships (planted pairs)"
    assert _texts(recall) == {
        "mae": ("0.150", "0.500 [0.480, 0.520]"),
        "mu_net": ("", "0.250 [0.230, 0.270]"),
        "oracle": ("", "1.000 [0.980, 1.020]"),
        CHANCE: ("", "0.100"),
    }


def test_a_report_on_several_trainings_begins_with_their_comparison(reported: Reported) -> None:
    places = reported.outputs.report_places()
    pretrain = places.pop("pretrain")
    config = ReportConfig(
        **places,
        pretrains={"trained": pretrain, "mu_net": pretrain},
        runtime=Runtime(workspace=str(reported.outputs.workspace)),
    )
    result = run_report(config)
    assert result.summary["sections"][0] == "families"
    html = (result.path / "report.html").read_text(encoding="utf-8")
    section = html.partition('<section id="families">')[2].partition("</section>")[0]
    assert ">MU-Net<" in section and ">pixel statistics<" in section
    assert NOT_RECORDED in section
    assert 'id="families-blocks-' in section and 'id="families-recall-0-' in section
    training = html.partition('<section id="training">')[2].partition("</section>")[0]
    assert training.count("<h3>") == 2


def test_a_report_on_one_training_compares_no_families(reported: Reported) -> None:
    assert "families" not in reported.result.summary["sections"] + reported.result.summary["missing"]


def test_parameters_are_those_that_the_stages_before_the_probe_wrote_down(tmp_path: Path) -> None:
    def stage(name: str, summary: Mapping[str, Any], **inputs: Path) -> Path:
        def build(folder: Path) -> Mapping[str, Any]:
            (folder / "encoder").mkdir(exist_ok=True)
            (folder / "encoder" / "config.json").write_text("{}")
            return summary

        named = {f"encoder {key}": place / "encoder" for key, place in inputs.items()}
        return made_up(tmp_path, name, build=build, inputs=named)

    trained = stage("pretrain", {"num_parameters": 70, "num_encoder_parameters": 50})
    imported = stage("import", {"num_parameters": 60})
    silent = stage("curate", {})
    probe = stage("probe", {}, mae=trained, untrained=imported, other=silent)
    assert read_num_parameters(probe) == {"mae": 50, "untrained": 60}
