"""What a run ends with: how long each step took, the headline numbers, and where everything is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from phenoscale.operations.pipelines.configs import FamiliesConfig, PipelineConfig
from phenoscale.operations.pipelines.graph import TRAININGS
from phenoscale.operations.running.headline import HeadlineTable, families_tables, headline_tables
from phenoscale.schema.rows import read_rows
from phenoscale.stages import StageResult


@dataclass(frozen=True)
class StepSummary:
    """One step of a finished run."""

    step: str
    seconds: float
    reused: bool
    output: str
    digest: str


@dataclass(frozen=True)
class RunSummary:
    """A finished run of the pipeline.

    Attributes:
        name: the run's name.
        steps: every step in order.
        tables: the headline numbers.
        report: the HTML page.
        tracking_uri: the MLflow store.
        registered: name and version of the registered model, and what became of it; empty where the
            pipeline registers none.
        run_folder: records and log of the run.
    """

    name: str
    steps: tuple[StepSummary, ...]
    tables: tuple[HeadlineTable, ...]
    report: str
    tracking_uri: str
    registered: str
    run_folder: str

    @property
    def seconds(self) -> float:
        """Time spent in all steps."""
        return sum(step.seconds for step in self.steps)

    def text(self) -> str:
        """The summary for a person to read."""
        width = max(len(step.step) for step in self.steps)
        lines = ["", f"{self.name}: {len(self.steps)} steps in {self.seconds:.0f} s"]
        for step in self.steps:
            state = "reused" if step.reused else ""
            lines.append(f"  {step.step:{width}} {step.seconds:8.1f} s  {state}".rstrip())
        for table in self.tables:
            lines += ["", table.text()]
        lines += [
            "",
            f"report    {self.report}",
            *([f"model     {self.registered}"] if self.registered else []),
            f"tracking  {self.tracking_uri}",
            f"          (look at it with: mlflow ui --backend-store-uri {self.tracking_uri})",
            f"log       {Path(self.run_folder) / 'pipeline.log'}",
        ]
        return "\n".join(lines)


def summarize(
    config: PipelineConfig,
    *,
    results: Mapping[str, StageResult],
    seconds: Mapping[str, float],
    run_folder: Path,
) -> RunSummary:
    """Put the results of a run together."""
    from phenoscale.tracking.server import tracking_uri

    steps = tuple(
        StepSummary(name, seconds.get(name, result.seconds), result.reused, str(result.path), result.digest)
        for name, result in results.items()
    )
    report = results["report"].path / "report.html"
    return RunSummary(
        name=config.name,
        steps=steps,
        tables=_tables(config, results),
        report=str(report),
        tracking_uri=tracking_uri(config.runtime),
        registered=_registered(results),
        run_folder=str(run_folder),
    )


def _tables(config: PipelineConfig, results: Mapping[str, StageResult]) -> tuple[HeadlineTable, ...]:
    """The comparison where several families were trained, elsewhere the headline of one encoder."""
    if isinstance(config, FamiliesConfig):
        return families_tables(
            trainings={name: results[f"pretrain_{name}"].path for name in TRAININGS},
            probe=results["probe"].path,
            benchmark=results["benchmark"].path,
        )
    return headline_tables([*read_rows(results["probe"].path), *read_rows(results["benchmark"].path)])


def _registered(results: Mapping[str, StageResult]) -> str:
    """The registered version and the outcome of its promotion."""
    if "promote" not in results:
        return ""
    facts = results["promote"].summary
    version = f"version {facts['version']}" if facts.get("version") else "the candidate"
    champion = (
        f"; champion is version {facts['champion']}" if facts.get("champion") else "; there is no champion"
    )
    return f"{facts['name']}: {version} {facts['decision']}{champion}"
