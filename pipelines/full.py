"""The full pipeline, from plates to a promoted encoder and a report; the plates may be drawn first."""

from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.encoder import import_encoder, pretrain, probe
from components.maps import benchmark, build_map, embed
from components.registry import promote, register, report
from components.screen import curate, ingest, simulate
from pipelines.naming import named

ENCODERS = ("trained", "untrained", "pixel_statistics")


def _chain(run: dict[str, str], *, drawn: PipelineTask | None) -> None:
    images: dict[str, Any] = {} if drawn is None else {"images": drawn.outputs["images"]}
    store = named(ingest(**run, **images), "ingest").outputs["store"]
    manifest = named(curate(**run, store=store), "curate").outputs["manifest"]
    trained = named(pretrain(**run, step="pretrain", manifest=manifest), "pretrain").outputs["encoder"]
    encoders = _probed(run, manifest=manifest, trained=trained)
    measured = _mapped(run, manifest=manifest, encoders=encoders, images=images)
    rows = named(benchmark(**run, **measured, **images), "benchmark").outputs["rows"]
    registered = named(register(**run, encoders=encoders, rows=rows), "register").outputs["registered"]
    promoted = named(promote(**run, registered=registered), "promote").outputs["promoted"]
    page = report(
        **run,
        store=store,
        manifest=manifest,
        trained=trained,
        encoders=encoders,
        **measured,
        rows=rows,
        registered=registered,
        promoted=promoted,
        **images,
    )
    named(page, "report")


def _probed(run: dict[str, str], *, manifest: Any, trained: Any) -> Any:
    """Probe the trained encoder beside the baselines."""
    baselines = {
        name: named(
            import_encoder(**run, step=f"import_{name}", like_step="pretrain", like=trained), f"import_{name}"
        ).outputs["encoder"]
        for name in ENCODERS[1:]
    }
    return named(probe(**run, trained=trained, manifest=manifest, **baselines), "probe").outputs["encoders"]


def _mapped(run: dict[str, str], *, manifest: Any, encoders: Any, images: dict[str, Any]) -> dict[str, Any]:
    """Embed the screen with each encoder and make its map."""
    outputs: dict[str, Any] = {}
    for name in ENCODERS:
        embedded = embed(**run, step=f"embed_{name}", encoders=encoders, manifest=manifest)
        embeddings = named(embedded, f"embed_{name}").outputs["embeddings"]
        mapped = build_map(**run, step=f"map_{name}", encoder=name, embeddings=embeddings, **images)
        outputs[f"embeddings_{name}"] = embeddings
        outputs[f"map_{name}"] = named(mapped, f"map_{name}").outputs["perturbation_map"]
    return outputs


@dsl.pipeline(name="full", description="From plates to a promoted encoder and a report.")
def full(config: str, run_folder: str) -> None:
    """The chain on plates that were really imaged.

    Args:
        config: the pipeline's config as JSON.
        run_folder: folder of this run's records.
    """
    _chain({"pipeline": "full", "config": config, "run_folder": run_folder}, drawn=None)


@dsl.pipeline(
    name="full-simulated", description="The full pipeline on a simulated screen with a known answer."
)
def full_simulated(config: str, run_folder: str) -> None:
    """The chain on a screen that is drawn first.

    Args:
        config: the pipeline's config as JSON.
        run_folder: folder of this run's records.
    """
    run = {"pipeline": "full", "config": config, "run_folder": run_folder}
    _chain(run, drawn=named(simulate(**run), "simulate"))
