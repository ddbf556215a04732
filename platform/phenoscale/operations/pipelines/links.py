"""Links that several pipelines have in common: from plates to a manifest, and from encoders to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from phenoscale.operations.pipelines.value import At, FirstOf, Given, Parameter, Place, Section, Source, Step

TRAINED: Final = "trained"
UNTRAINED: Final = "untrained"
PIXEL_STATISTICS: Final = "pixel_statistics"
BASELINES: Final = (UNTRAINED, PIXEL_STATISTICS)


def is_simulated(config: Any) -> bool:
    """Whether the screen is drawn, which a config says by its section `simulate`."""
    return config.simulate is not None


def has_plates(config: Any) -> bool:
    """Whether there are plates to read, beside or instead of finished screens."""
    return is_simulated(config) or bool(config.ingest.path or config.ingest.table) or not config.screens


SCREEN_STEPS: Final = (
    Step("simulate", is_needed=is_simulated),
    Step("ingest", locations={"path": At("simulate")}, is_needed=has_plates),
    Step("curate", locations={"stores": (Given("screens"), At("ingest"))}),
)
SCREEN_SECTIONS: Final = {
    "simulate": Section("simulate", optional="the screen to draw; none: the plates are real"),
    "ingest": Section("ingest"),
    "curate": Section("curate"),
}
SCREEN_PLACES: Final = {
    "screens": Place(
        "finished screens: outputs of `ingest`, or folders and s3:// prefixes below which every one that is "
        "there when the run starts is taken; beside or instead of plates to ingest",
        default=(),
    )
}
SCREEN_PARAMETERS: Final = (
    Parameter("plates", ("ingest.path",)),
    Parameter("plate_table", ("ingest.table",)),
    Parameter("plate_layout", ("ingest.source",)),
    Parameter("screen_name", ("ingest.screen",)),
    Parameter("screens", ("screens",)),
)
TRAINING_PARAMETERS: Final = (
    Parameter("num_epochs", ("pretrain.num_epochs",)),
    Parameter("num_steps", ("pretrain.num_steps",)),
    Parameter(
        "num_processes",
        ("pretrain.runtime.num_processes",),
        help="processes of one machine that train together",
    ),
)
# A map shows every well: what the rules of training leave out stays, and nothing is set apart for validation.
KEEP_EVERY_FIELD: Final = Section(
    "curate",
    defaults={
        "quality": {
            "min_relative_contrast": None,
            "max_saturated_fraction": None,
            "max_focus_deviation": None,
        },
        "validation_fraction": 0.0,
    },
)
CHAMPION: Final = "models:/phenoscale-encoder@champion"
MODEL_PARAMETER: Final = Parameter("model_name", ("registry.name", "promote.name"))


def import_baseline(name: str, *, like: Source) -> Step:
    """Make an encoder without training, which reads what another one reads."""
    return Step("import", name, section="baseline", locations={"like": like}, settings={"source": name})


def embed_probed(name: str, *, probed: str) -> Step:
    """Embed the screen with an encoder that `probe` trimmed; `probed` is the one that was probed first."""
    encoder = At("probe", "encoder") if name == probed else At("probe", f"baselines/{name}")
    return embed_with(encoder, variant=name)


def embed_with(encoder: Source, *, variant: str) -> Step:
    """Embed the screen with an encoder."""
    return Step("embed", variant, locations={"encoder": encoder, "manifest": At("curate")})


def map_of(name: str) -> Step:
    """Turn the embeddings of an encoder into a map."""
    genes = At("simulate", "truth/genes.csv")
    return Step("map", name, locations={"embeddings": At(f"embed_{name}"), "genes": genes})


def benchmark_of(encoders: Sequence[str]) -> Step:
    """Measure the maps and embeddings of encoders side by side."""
    locations: dict[str, Source] = {
        "maps": {name: At(f"map_{name}") for name in encoders},
        "embeddings": {name: At(f"embed_{name}") for name in encoders},
        "annotations": (At("simulate", "truth/pairs.csv"),),
        "oracle": At("simulate", "truth/latents.parquet"),
        "genes": At("simulate", "truth/genes.csv"),
    }
    return Step("benchmark", locations=locations)


def report_on(maps: Sequence[str], *, embeddings: Sequence[str], further: Mapping[str, Source]) -> Step:
    """Write one page over the screen, the maps and what else the pipeline made."""
    locations: dict[str, Source] = {
        "screen": FirstOf((At("ingest"), Given("screens"))),
        "manifest": At("curate"),
        "embeddings": {name: At(f"embed_{name}") for name in embeddings},
        "maps": {name: At(f"map_{name}") for name in maps},
        "benchmark": At("benchmark"),
        "oracle": At("simulate", "truth/latents.parquet"),
        "genes": At("simulate", "truth/genes.csv"),
        **further,
    }
    return Step("report", locations=locations)


def pretrain_and_probe() -> tuple[Step, ...]:
    """Train an encoder, and probe it beside what it has to beat."""
    return (
        Step("pretrain", locations={"manifest": At("curate")}),
        *probe_beside_baselines(At("pretrain", "encoder")),
    )


def probe_beside_baselines(encoder: Source) -> tuple[Step, ...]:
    """Probe an encoder beside what it has to beat: random weights and pixel statistics."""
    locations: dict[str, Source] = {
        "encoder": encoder,
        "baselines": {name: At(f"import_{name}") for name in BASELINES},
        "manifest": At("curate"),
    }
    return (
        *(import_baseline(name, like=encoder) for name in BASELINES),
        Step("probe", locations=locations),
    )


PROMOTE: Final = Step("promote", locations={"candidate": At("register")})
PROBE_SECTIONS: Final = {"baseline": Section("import"), "probe": Section("probe")}
MAP_SECTIONS: Final = {"embed": Section("embed"), "map": Section("map")}
