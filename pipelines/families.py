"""The comparison of model families on one screen, from plates to a report; the plates may be drawn first."""

from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.encoder import import_encoder, pretrain
from components.families import benchmark_families, probe_families, report_families
from components.maps import build_map, embed
from components.screen import curate, ingest, simulate
from pipelines.naming import named

TRAININGS = ("mae", "mae_fourier", "ca_mae", "mu_net", "wsl")
BASELINES = ("untrained", "pixel_statistics")


def _chain(run: dict[str, str], *, drawn: PipelineTask | None) -> None:
    images: dict[str, Any] = {} if drawn is None else {"images": drawn.outputs["images"]}
    store = named(ingest(**run, **images), "ingest").outputs["store"]
    manifest = named(curate(**run, store=store), "curate").outputs["manifest"]
    trained = _trained(run, manifest=manifest)
    untrained = _untrained(run, like=trained["mae"])
    probed = probe_families(**run, step="probe", **trained, **untrained, manifest=manifest)
    encoders = named(probed, "probe").outputs["encoders"]
    embeddings, maps = _mapped(run, manifest=manifest, encoders=encoders, images=images)
    every_embedding = {f"embeddings_{name}": table for name, table in embeddings.items()}
    measured = benchmark_families(**run, step="benchmark", **every_embedding, **maps, **images)
    page = report_families(
        **run,
        step="report",
        store=store,
        manifest=manifest,
        **trained,
        encoders=encoders,
        embeddings=embeddings["mae"],
        **maps,
        rows=named(measured, "benchmark").outputs["rows"],
        **images,
    )
    named(page, "report")


def _trained(run: dict[str, str], *, manifest: Any) -> dict[str, Any]:
    """Train one encoder of each family."""
    return {
        name: named(pretrain(**run, step=f"pretrain_{name}", manifest=manifest), f"pretrain_{name}").outputs[
            "encoder"
        ]
        for name in TRAININGS
    }


def _untrained(run: dict[str, str], *, like: Any) -> dict[str, Any]:
    """Make the baselines that no training went into."""
    return {
        name: named(
            import_encoder(**run, step=f"import_{name}", like_step="pretrain_mae", like=like),
            f"import_{name}",
        ).outputs["encoder"]
        for name in BASELINES
    }


def _mapped(
    run: dict[str, str], *, manifest: Any, encoders: Any, images: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Embed the screen with each encoder and make its map."""
    embeddings: dict[str, Any] = {}
    maps: dict[str, Any] = {}
    for name in (*TRAININGS, *BASELINES):
        embedded = embed(**run, step=f"embed_{name}", encoders=encoders, manifest=manifest)
        embeddings[name] = named(embedded, f"embed_{name}").outputs["embeddings"]
        mapped = build_map(**run, step=f"map_{name}", encoder=name, embeddings=embeddings[name], **images)
        maps[f"map_{name}"] = named(mapped, f"map_{name}").outputs["perturbation_map"]
    return embeddings, maps


@dsl.pipeline(name="families", description="Every model family on one screen, side by side.")
def families(config: str, run_folder: str) -> None:
    """The comparison on plates that were really imaged.

    Args:
        config: the pipeline's config as JSON.
        run_folder: folder of this run's records.
    """
    _chain({"pipeline": "families", "config": config, "run_folder": run_folder}, drawn=None)


@dsl.pipeline(
    name="families-simulated", description="Every model family on a simulated screen with a known answer."
)
def families_simulated(config: str, run_folder: str) -> None:
    """The comparison on a screen that is drawn first.

    Args:
        config: the pipeline's config as JSON.
        run_folder: folder of this run's records.
    """
    run = {"pipeline": "families", "config": config, "run_folder": run_folder}
    _chain(run, drawn=named(simulate(**run), "simulate"))
