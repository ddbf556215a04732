"""Every stage by name: what it does and hands on, its config class and its function, imported when needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from phenoscale.errors import UserError
from phenoscale.references import find

if TYPE_CHECKING:
    from phenoscale.config import Config
    from phenoscale.operations.pipelines.value import Step
    from phenoscale.stages import StageResult


@dataclass(frozen=True)
class Stage:
    """A stage; `config` and `function` are `module:name`.

    Attributes:
        summary: what it does, in one line of help.
        config: its config class.
        function: what runs it.
        artifact: what Kubeflow's pages call its output.
        examples: command lines that work, without the leading `phenoscale`.
        kind: Kubeflow's type of that output.
        shows: what Kubeflow's pages show of it besides: the numbers of its summary, or its HTML page.
        is_pure: whether its output folder is all that it does; the registry's stages also change a
            registry, so a complete folder alone does not mean that they are done.
        check_ranks: what refuses a config that so many ranks cannot run; then the function, called by several
            processes with RANK and WORLD_SIZE set, is run by all of them together. "": one process only.
    """

    summary: str
    config: str
    function: str
    artifact: str
    examples: tuple[str, ...]
    kind: Literal["Dataset", "Model"] = "Dataset"
    shows: Literal["", "metrics", "page"] = ""
    is_pure: bool = True
    check_ranks: str = ""

    def load_config_class(self) -> type[Config]:
        """Import the config class."""
        found: type[Config] = find(self.config)
        return found

    def load_function(self) -> Callable[..., StageResult]:
        """Import the function that runs the stage."""
        found: Callable[..., StageResult] = find(self.function)
        return found


def _stage(package: str, *, name: str, summary: str, **facts: Any) -> Stage:
    config = f"phenoscale.{package}.config:{name.capitalize()}Config"
    return Stage(summary, config=config, function=f"phenoscale.{package}.stage:run_{name}", **facts)


STAGES: Final[dict[str, Stage]] = {
    "simulate": _stage(
        "screens.simulate",
        name="simulate",
        summary="draw a screen with a known answer: image files, a field table, the answer key",
        artifact="images",
        examples=("simulate --workspace work", "simulate --null --seed 3"),
    ),
    "ingest": _stage(
        "screens.ingest",
        name="ingest",
        summary="read plates into a screen store, resumable per plate, bad images set aside with a reason",
        artifact="store",
        shows="metrics",
        examples=("ingest --source table --path plates/fields.csv",),
    ),
    "curate": _stage(
        "curation",
        name="curate",
        summary="choose fields and splits from stores: a manifest with its funnel",
        artifact="manifest",
        shows="metrics",
        examples=("curate --stores work/ingest/KEY",),
    ),
    "pretrain": _stage(
        "training",
        name="pretrain",
        summary="train an encoder on a manifest, resumable at any step",
        artifact="encoder",
        kind="Model",
        shows="metrics",
        check_ranks="phenoscale.training.stage:check_ranks",
        examples=("pretrain --manifest work/curate/KEY", "pretrain --manifest work/curate/KEY --dry-run"),
    ),
    "import": _stage(
        "models",
        name="import",
        summary="make an encoder without training: released weights from a file, or a baseline",
        artifact="baseline",
        kind="Model",
        examples=(
            "import --source openphenom --weights model.safetensors --channels DNA,ER,RNA,AGP,Mito",
            "import --source timm --preset mae_l16_in1k --weights mae.safetensors --channels DNA,ER,RNA",
            "import --source pixel_statistics --like work/pretrain/KEY/encoder",
        ),
    ),
    "probe": _stage(
        "probing",
        name="probe",
        summary="measure every block of an encoder with linear probes, and keep the best block",
        artifact="encoders",
        kind="Model",
        shows="metrics",
        examples=("probe --encoder work/pretrain/KEY/encoder --manifest work/curate/KEY",),
    ),
    "embed": _stage(
        "inference",
        name="embed",
        summary="embed the fields and wells of a screen",
        artifact="embeddings",
        examples=("embed --encoder work/probe/KEY/encoder --manifest work/curate/KEY",),
    ),
    "map": _stage(
        "mapping",
        name="map",
        summary="turn embeddings into a map of perturbations by a declared list of steps",
        artifact="map",
        examples=("map --embeddings work/embed/KEY",),
    ),
    "benchmark": _stage(
        "benchmarks",
        name="benchmark",
        summary="score maps and embeddings: recall, consistency, mechanism of action, batch effects",
        artifact="rows",
        shows="metrics",
        examples=("benchmark --maps trained=work/map/KEY --annotations pairs.csv",),
    ),
    "register": _stage(
        "registry",
        name="register",
        summary="register an encoder with its rows and lineage, as the candidate",
        artifact="registered",
        kind="Model",
        is_pure=False,
        examples=("register --encoder work/probe/KEY/encoder --benchmark work/benchmark/KEY",),
    ),
    "promote": _stage(
        "registry",
        name="promote",
        summary="make the candidate the champion, if every written gate holds",
        artifact="promoted",
        kind="Model",
        is_pure=False,
        examples=("promote --candidate work/register/KEY",),
    ),
    "report": _stage(
        "reports",
        name="report",
        summary="write one self-contained HTML page over the outputs of a pipeline",
        artifact="report",
        shows="page",
        examples=("report --maps trained=work/map/KEY --benchmark work/benchmark/KEY",),
    ),
}


def find_stage(name: str) -> Stage:
    """The stage of this name.

    Raises:
        UserError: when there is none.
    """
    if name not in STAGES:
        raise UserError(f"there is no stage {name!r}; choose one of: {', '.join(STAGES)}")
    return STAGES[name]


def artifact_of(step: Step) -> str:
    """What Kubeflow's pages call the output of a pipeline's step, such as `embeddings_trained`."""
    name = find_stage(step.stage).artifact
    return f"{name}_{step.variant}" if step.variant else name
