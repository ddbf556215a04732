"""What a run ends with: how long each step took, the headline numbers, and where everything is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from phenoscale.operations.pipelines.config import PipelineConfig
from phenoscale.operations.running.headline import HeadlineTable
from phenoscale.references import find
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
        report: the HTML page; empty where the pipeline writes none.
        tracking_uri: the MLflow store.
        registered: name and version of the registered model, and what became of it; empty where the
            pipeline registers none.
        log: what the steps printed, in the folder of the run's records.
    """

    name: str
    steps: tuple[StepSummary, ...]
    tables: tuple[HeadlineTable, ...]
    report: str
    tracking_uri: str
    registered: str
    log: str

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
            *([f"report    {self.report}"] if self.report else []),
            *([f"model     {self.registered}"] if self.registered else []),
            f"tracking  {self.tracking_uri}",
            f"          (look at it with: mlflow ui --backend-store-uri {self.tracking_uri})",
            f"log       {self.log}",
        ]
        return "\n".join(lines)


def summarize(
    config: PipelineConfig, *, results: Mapping[str, StageResult], seconds: Mapping[str, float], log: Path
) -> RunSummary:
    """Put the results of a run together."""
    from phenoscale.tracking.server import tracking_uri

    steps = tuple(
        StepSummary(name, seconds.get(name, result.seconds), result.reused, result.place, result.digest)
        for name, result in results.items()
    )
    tables: tuple[HeadlineTable, ...] = find(config.pipeline.tables)(results)
    return RunSummary(
        name=config.name,
        steps=steps,
        tables=tables,
        report=f"{results['report'].place}/report.html" if "report" in results else "",
        tracking_uri=tracking_uri(config.runtime),
        registered=_registered(results),
        log=str(log),
    )


def _registered(results: Mapping[str, StageResult]) -> str:
    """The registered version, and the outcome of its promotion where it was asked for."""
    if "register" not in results:
        return ""
    facts = results["promote" if "promote" in results else "register"].summary
    version = f"version {facts['version']}" if facts.get("version") else "the candidate"
    if "promote" not in results:
        return f"{facts['name']}: {version} {'is the candidate' if facts.get('version') else 'was refused'}"
    champion = (
        f"; champion is version {facts['champion']}" if facts.get("champion") else "; there is no champion"
    )
    return f"{facts['name']}: {version} {facts['decision']}{champion}"
