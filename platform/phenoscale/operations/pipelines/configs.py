"""The configs of the pipelines: one section per stage, one runtime for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import model_validator

from phenoscale.benchmarks.config import BenchmarkConfig
from phenoscale.config import Config, Runtime, runtime, setting
from phenoscale.curation.config import CurateConfig
from phenoscale.errors import UserError
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
    """What every pipeline's config has: a name, a screen, and how to run."""

    pipeline: ClassVar[str]

    name: str = runtime("", help="name of the run in MLflow and in the summary")
    seed: int | None = setting(None, ge=0, help="seed of every stage, in place of the sections' own")
    simulate: SimulateConfig | None = setting(None, help="the screen to draw; none: the plates are real")
    ingest: IngestConfig = IngestConfig()
    curate: CurateConfig = CurateConfig()
    in_process: bool = runtime(False, help="run the steps in this process, without Kubeflow: for debugging")
    runtime: Runtime = Runtime()


class FullConfig(PipelineConfig):
    """Run the whole chain, from plates to a promoted encoder and a report, as a local Kubeflow pipeline.

    Each section is the config of the stage of that name; the places where a stage finds the outputs of
    earlier ones are filled in. Steps whose code, settings and inputs have not changed are reused, so the
    same command goes on where a killed run stopped. Without a `simulate` section the plates are those that
    `ingest` names.
    """

    pipeline = "full"

    name: str = runtime("full", help="name of the run in MLflow and in the summary")
    pretrain: PretrainConfig = PretrainConfig()
    baseline: ImportConfig = ImportConfig()
    probe: ProbeConfig = ProbeConfig()
    embed: EmbedConfig = EmbedConfig()
    map: MapConfig = MapConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    registry: RegisterConfig = RegisterConfig()
    promote: PromoteConfig = PromoteConfig()
    report: ReportConfig = ReportConfig()


class PlanFullConfig(FullConfig):
    """Say what `run full` would do with the same config: which steps are reused, which computed.

    Nothing is computed or written. The key of a step is known as soon as the outputs that it reads are there.
    """


# What a section of FamiliesConfig is unless it says otherwise.
_FAMILIES: Final[Mapping[str, Any]] = {
    "mae": {"model": {"family": "mae"}, "loss": {"alpha": 0.0}},
    "mae_fourier": {"model": {"family": "mae"}},
    "ca_mae": {"model": {"family": "ca_mae"}},
    "mu_net": {"model": {"family": "mu_net"}},
    "wsl": {"model": {"family": "wsl"}},
    "benchmark": {"reference": "mae"},
    "report": {"shown_map": "mae"},
}


class FamiliesConfig(PipelineConfig):
    """Train one encoder of every model family on one screen, and compare them with each other and baselines.

    As `run full`, with one training section a family in place of `pretrain`, and nothing is registered:
    masked autoencoders without and with the Fourier loss, channel-agnostic, MU-Net, weakly supervised, beside
    an untrained ViT and pixel statistics. The table at the end sets accuracy and recall beside what each
    training cost; how long each trains is for the config to say.
    """

    pipeline = "families"

    name: str = runtime("families", help="name of the run in MLflow and in the summary")
    mae: PretrainConfig = PretrainConfig()
    mae_fourier: PretrainConfig = PretrainConfig()
    ca_mae: PretrainConfig = PretrainConfig()
    mu_net: PretrainConfig = PretrainConfig()
    wsl: PretrainConfig = PretrainConfig()
    baseline: ImportConfig = ImportConfig()
    probe: ProbeConfig = ProbeConfig()
    embed: EmbedConfig = EmbedConfig()
    map: MapConfig = MapConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="before")
    @classmethod
    def _sections_know_their_family(cls, data: Any) -> Any:
        return _laid_over(_FAMILIES, data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _every_family_is_there(self) -> FamiliesConfig:
        for section, given in _FAMILIES.items():
            if "model" not in given:
                continue
            wanted, found = given["model"]["family"], getattr(self, section).model.family
            if found != wanted:
                raise UserError(
                    f"{section}.model.family is {found!r}, but section {section} trains {wanted!r}; "
                    "leave the family out there"
                )
        return self


class PlanFamiliesConfig(FamiliesConfig):
    """Say what `run families` would do with the same config: which steps are reused, which computed.

    Nothing is computed or written. The key of a step is known as soon as the outputs that it reads are there.
    """


_CONFIGS: Final[Mapping[str, type[PipelineConfig]]] = {
    config.pipeline: config for config in (FullConfig, FamiliesConfig)
}


def config_class(pipeline: str) -> type[PipelineConfig]:
    """The config class of the pipeline of this name."""
    return _CONFIGS[pipeline]


def _laid_over(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, with defaults where it says nothing."""
    both = {
        name: _laid_over(value, given[name])
        for name, value in defaults.items()
        if isinstance(value, Mapping) and isinstance(given.get(name), Mapping)
    }
    return {**defaults, **given, **both}
