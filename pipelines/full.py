"""The full pipeline, from plates to a promoted encoder and a report; the plates may be drawn first."""

from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.encoder import import_encoder, pretrain, probe
from components.maps import benchmark, build_map, embed
from components.registry import promote, register, report
from components.screen import curate, ingest, simulate

ENCODERS = ("trained", "untrained", "pixel_statistics")


def _named(task: PipelineTask, step: str) -> PipelineTask:
    """Show the step's own name, and keep Kubeflow's cache off: it cannot see code changes inside an image."""
    return task.set_display_name(step).set_caching_options(enable_caching=False)


def _chain(run: dict[str, str], *, drawn: PipelineTask | None) -> None:
    images: dict[str, Any] = {} if drawn is None else {"images": drawn.outputs["images"]}
    store = _named(ingest(**run, **images), "ingest").outputs["store"]
    manifest = _named(curate(**run, store=store), "curate").outputs["manifest"]
    trained = _named(pretrain(**run, manifest=manifest), "pretrain").outputs["encoder"]
    encoders = _probed(run, manifest=manifest, trained=trained)
    measured = _mapped(run, manifest=manifest, encoders=encoders, images=images)
    rows = _named(benchmark(**run, **measured, **images), "benchmark").outputs["rows"]
    registered = _named(register(**run, encoders=encoders, rows=rows), "register").outputs["registered"]
    promoted = _named(promote(**run, registered=registered), "promote").outputs["promoted"]
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
    _named(page, "report")


def _probed(run: dict[str, str], *, manifest: Any, trained: Any) -> Any:
    """Probe the trained encoder beside the baselines."""
    baselines = {
        name: _named(import_encoder(**run, step=f"import_{name}", like=trained), f"import_{name}").outputs[
            "encoder"
        ]
        for name in ENCODERS[1:]
    }
    return _named(probe(**run, trained=trained, manifest=manifest, **baselines), "probe").outputs["encoders"]


def _mapped(run: dict[str, str], *, manifest: Any, encoders: Any, images: dict[str, Any]) -> dict[str, Any]:
    """Embed the screen with each encoder and make its map."""
    outputs: dict[str, Any] = {}
    for name in ENCODERS:
        embedded = embed(**run, step=f"embed_{name}", encoders=encoders, manifest=manifest)
        embeddings = _named(embedded, f"embed_{name}").outputs["embeddings"]
        mapped = build_map(**run, step=f"map_{name}", encoder=name, embeddings=embeddings, **images)
        outputs[f"embeddings_{name}"] = embeddings
        outputs[f"map_{name}"] = _named(mapped, f"map_{name}").outputs["perturbation_map"]
    return outputs


@dsl.pipeline(name="full", description="From plates to a promoted encoder and a report.")
def full(config: str, run_folder: str) -> None:
    """The chain on plates that were really imaged.

    Args:
        config: the pipeline's config as JSON.
        run_folder: folder of this run's records.
    """
    _chain({"config": config, "run_folder": run_folder}, drawn=None)


@dsl.pipeline(
    name="full-simulated", description="The full pipeline on a simulated screen with a known answer."
)
def full_simulated(config: str, run_folder: str) -> None:
    """The chain on a screen that is drawn first.

    Args:
        config: the pipeline's config as JSON.
        run_folder: folder of this run's records.
    """
    run = {"config": config, "run_folder": run_folder}
    _chain(run, drawn=_named(simulate(**run), "simulate"))


PIPELINES = {"full": full, "full_simulated": full_simulated}
