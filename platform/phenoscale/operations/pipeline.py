"""The config of the full pipeline: one section per stage, one runtime for all."""

from __future__ import annotations

from phenoscale.benchmarks.config import BenchmarkConfig
from phenoscale.config import Config, Runtime, runtime, setting
from phenoscale.curation.config import CurateConfig
from phenoscale.inference.config import EmbedConfig
from phenoscale.mapping.config import MapConfig
from phenoscale.models.config import ImportConfig
from phenoscale.probing.config import ProbeConfig
from phenoscale.registry.config import PromoteConfig, RegisterConfig
from phenoscale.reports.config import ReportConfig
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.simulate.config import SimulateConfig
from phenoscale.training.config import PretrainConfig


class PipelineConfig(Config):
    """Run the whole chain, from plates to a promoted encoder and a report, as a local Kubeflow pipeline.

    Each section is the config of the stage of that name; the places where a stage finds the outputs of
    earlier ones are filled in. Steps whose code, settings and inputs have not changed are reused, so the
    same command goes on where a killed run stopped. Without a `simulate` section the plates are those that
    `ingest` names.
    """

    name: str = runtime("full", help="name of the run in MLflow and in the summary")
    seed: int | None = setting(None, ge=0, help="seed of every stage, in place of the sections' own")
    simulate: SimulateConfig | None = setting(None, help="the screen to draw; none: the plates are real")
    ingest: IngestConfig = IngestConfig()
    curate: CurateConfig = CurateConfig()
    pretrain: PretrainConfig = PretrainConfig()
    baseline: ImportConfig = ImportConfig()
    probe: ProbeConfig = ProbeConfig()
    embed: EmbedConfig = EmbedConfig()
    map: MapConfig = MapConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    registry: RegisterConfig = RegisterConfig()
    promote: PromoteConfig = PromoteConfig()
    report: ReportConfig = ReportConfig()
    in_process: bool = runtime(False, help="run the steps in this process, without Kubeflow: for debugging")
    runtime: Runtime = Runtime()


class PlanConfig(PipelineConfig):
    """Say what `run` would do with the same config: which steps are reused, which computed.

    Nothing is computed or written. The key of a step is known as soon as the outputs that it reads are there.
    """
