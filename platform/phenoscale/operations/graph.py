"""The steps of the pipelines, in order, and where each finds its inputs: one list for `run` and `plan`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TRAINED, UNTRAINED, PIXEL_STATISTICS = "trained", "untrained", "pixel_statistics"
ENCODERS = (TRAINED, UNTRAINED, PIXEL_STATISTICS)


@dataclass(frozen=True)
class At:
    """A place in the output folder of an earlier step; `path` is relative to that folder."""

    step: str
    path: str = ""


Source = At | tuple[At, ...] | Mapping[str, At]


@dataclass(frozen=True)
class Step:
    """One step: the stage that it runs, the config section that it reads, and what fills its locations.

    A location whose step is not part of the pipeline (a real screen has no `simulate`) keeps what the
    config says.
    """

    name: str
    stage: str
    section: str
    locations: Mapping[str, Source] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps whose outputs this one reads, each once, in the order of its locations."""
        return tuple(
            dict.fromkeys(place.step for source in self.locations.values() for place in places(source))
        )


def places(source: Source) -> tuple[At, ...]:
    """Every place that a source names."""
    if isinstance(source, At):
        return (source,)
    return tuple(source.values()) if isinstance(source, Mapping) else tuple(source)


def _baseline(name: str) -> Step:
    return Step(f"import_{name}", "import", "baseline", {"like": At("pretrain", "encoder")}, {"source": name})


def _embed(name: str) -> Step:
    encoder = At("probe", "encoder") if name == TRAINED else At("probe", f"baselines/{name}")
    return Step(f"embed_{name}", "embed", "embed", {"encoder": encoder, "manifest": At("curate")})


def _map(name: str) -> Step:
    genes = At("simulate", "truth/genes.csv")
    return Step(f"map_{name}", "map", "map", {"embeddings": At(f"embed_{name}"), "genes": genes})


FULL: tuple[Step, ...] = (
    Step("simulate", "simulate", "simulate"),
    Step("ingest", "ingest", "ingest", {"path": At("simulate")}),
    Step("curate", "curate", "curate", {"stores": (At("ingest"),)}),
    Step("pretrain", "pretrain", "pretrain", {"manifest": At("curate")}),
    _baseline(UNTRAINED),
    _baseline(PIXEL_STATISTICS),
    Step(
        "probe",
        "probe",
        "probe",
        {
            "encoder": At("pretrain", "encoder"),
            "baselines": {UNTRAINED: At("import_untrained"), PIXEL_STATISTICS: At("import_pixel_statistics")},
            "manifest": At("curate"),
        },
    ),
    *(_embed(name) for name in ENCODERS),
    *(_map(name) for name in ENCODERS),
    Step(
        "benchmark",
        "benchmark",
        "benchmark",
        {
            "maps": {name: At(f"map_{name}") for name in ENCODERS},
            "embeddings": {name: At(f"embed_{name}") for name in ENCODERS},
            "annotations": (At("simulate", "truth/pairs.csv"),),
            "oracle": At("simulate", "truth/latents.parquet"),
            "genes": At("simulate", "truth/genes.csv"),
        },
    ),
    Step(
        "register",
        "register",
        "registry",
        {"encoder": At("probe", "encoder"), "benchmark": At("benchmark"), "probe": At("probe")},
    ),
    Step("promote", "promote", "promote", {"candidate": At("register")}),
    Step(
        "report",
        "report",
        "report",
        {
            "screen": At("ingest"),
            "manifest": At("curate"),
            "pretrain": At("pretrain"),
            "probe": At("probe"),
            "embeddings": {name: At(f"embed_{name}") for name in ENCODERS},
            "maps": {name: At(f"map_{name}") for name in ENCODERS},
            "benchmark": At("benchmark"),
            "oracle": At("simulate", "truth/latents.parquet"),
            "genes": At("simulate", "truth/genes.csv"),
            "registered": At("register"),
            "promoted": At("promote"),
        },
    ),
)


def find_step(name: str) -> Step:
    """The step of this name."""
    found = [step for step in FULL if step.name == name]
    assert found, f"{name} is no step of the full pipeline"
    return found[0]


def steps_of(*, with_simulate: bool) -> tuple[Step, ...]:
    """The steps of the full pipeline; a screen that was really imaged starts at `ingest`."""
    return FULL if with_simulate else tuple(step for step in FULL if step.name != "simulate")
