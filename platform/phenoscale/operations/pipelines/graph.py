"""The steps of the pipelines, in order, and where each finds its inputs: one list for `run` and `plan`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TRAINED, UNTRAINED, PIXEL_STATISTICS = "trained", "untrained", "pixel_statistics"
ENCODERS = (TRAINED, UNTRAINED, PIXEL_STATISTICS)
TRAININGS = ("mae", "mae_fourier", "ca_mae", "mu_net", "wsl")
COMPARED = (*TRAININGS, UNTRAINED, PIXEL_STATISTICS)


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


def _baseline(name: str, *, like: str) -> Step:
    return Step(f"import_{name}", "import", "baseline", {"like": At(like, "encoder")}, {"source": name})


def _embed(name: str, *, probed: str) -> Step:
    encoder = At("probe", "encoder") if name == probed else At("probe", f"baselines/{name}")
    return Step(f"embed_{name}", "embed", "embed", {"encoder": encoder, "manifest": At("curate")})


def _map(name: str) -> Step:
    genes = At("simulate", "truth/genes.csv")
    return Step(f"map_{name}", "map", "map", {"embeddings": At(f"embed_{name}"), "genes": genes})


def _benchmark(encoders: tuple[str, ...]) -> Step:
    locations: dict[str, Source] = {
        "maps": {name: At(f"map_{name}") for name in encoders},
        "embeddings": {name: At(f"embed_{name}") for name in encoders},
        "annotations": (At("simulate", "truth/pairs.csv"),),
        "oracle": At("simulate", "truth/latents.parquet"),
        "genes": At("simulate", "truth/genes.csv"),
    }
    return Step("benchmark", "benchmark", "benchmark", locations)


def _report(maps: tuple[str, ...], *, embeddings: tuple[str, ...], **further: Source) -> Step:
    locations: dict[str, Source] = {
        "screen": At("ingest"),
        "manifest": At("curate"),
        "probe": At("probe"),
        "embeddings": {name: At(f"embed_{name}") for name in embeddings},
        "maps": {name: At(f"map_{name}") for name in maps},
        "benchmark": At("benchmark"),
        "oracle": At("simulate", "truth/latents.parquet"),
        "genes": At("simulate", "truth/genes.csv"),
        **further,
    }
    return Step("report", "report", "report", locations)


_SCREEN = (
    Step("simulate", "simulate", "simulate"),
    Step("ingest", "ingest", "ingest", {"path": At("simulate")}),
    Step("curate", "curate", "curate", {"stores": (At("ingest"),)}),
)

FULL: tuple[Step, ...] = (
    *_SCREEN,
    Step("pretrain", "pretrain", "pretrain", {"manifest": At("curate")}),
    _baseline(UNTRAINED, like="pretrain"),
    _baseline(PIXEL_STATISTICS, like="pretrain"),
    Step(
        "probe",
        "probe",
        "probe",
        {
            "encoder": At("pretrain", "encoder"),
            "baselines": {name: At(f"import_{name}") for name in (UNTRAINED, PIXEL_STATISTICS)},
            "manifest": At("curate"),
        },
    ),
    *(_embed(name, probed=TRAINED) for name in ENCODERS),
    *(_map(name) for name in ENCODERS),
    _benchmark(ENCODERS),
    Step(
        "register",
        "register",
        "registry",
        {"encoder": At("probe", "encoder"), "benchmark": At("benchmark"), "probe": At("probe")},
    ),
    Step("promote", "promote", "promote", {"candidate": At("register")}),
    _report(
        ENCODERS,
        embeddings=ENCODERS,
        pretrain=At("pretrain"),
        registered=At("register"),
        promoted=At("promote"),
    ),
)

FAMILIES: tuple[Step, ...] = (
    *_SCREEN,
    *(Step(f"pretrain_{name}", "pretrain", name, {"manifest": At("curate")}) for name in TRAININGS),
    _baseline(UNTRAINED, like="pretrain_mae"),
    _baseline(PIXEL_STATISTICS, like="pretrain_mae"),
    Step(
        "probe",
        "probe",
        "probe",
        {
            "encoder": At("pretrain_mae", "encoder"),
            "baselines": {
                **{name: At(f"pretrain_{name}", "encoder") for name in TRAININGS[1:]},
                **{name: At(f"import_{name}") for name in (UNTRAINED, PIXEL_STATISTICS)},
            },
            "manifest": At("curate"),
        },
        {"name": "mae"},
    ),
    *(_embed(name, probed="mae") for name in COMPARED),
    *(_map(name) for name in COMPARED),
    _benchmark(COMPARED),
    # the page draws no embeddings: one of them says which perturbation belongs to which group
    _report(COMPARED, embeddings=("mae",), pretrains={name: At(f"pretrain_{name}") for name in TRAININGS}),
)

PIPELINES: Mapping[str, tuple[Step, ...]] = {"full": FULL, "families": FAMILIES}


def find_step(name: str, *, pipeline: str) -> Step:
    """The step of this name in a pipeline."""
    found = [step for step in PIPELINES[pipeline] if step.name == name]
    assert found, f"{name} is no step of the pipeline {pipeline}"
    return found[0]


def steps_of(pipeline: str, *, with_simulate: bool) -> tuple[Step, ...]:
    """The steps of a pipeline; a screen that was really imaged starts at `ingest`."""
    steps = PIPELINES[pipeline]
    return steps if with_simulate else tuple(step for step in steps if step.name != "simulate")
