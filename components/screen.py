"""Components from plates to a manifest: simulate, ingest, curate."""

from kfp.dsl import Dataset, Input, Metrics, Output

from components.image import component


@component
def simulate(pipeline: str, config: str, run_folder: str, images: Output[Dataset]) -> None:
    """Draw a screen with a known answer."""
    from phenoscale.operations.running.component import run_component

    run_component(
        "simulate", pipeline=pipeline, config=config, run_folder=run_folder, inputs={}, output=images
    )


@component
def ingest(
    pipeline: str,
    config: str,
    run_folder: str,
    store: Output[Dataset],
    summary: Output[Metrics],
    images: Input[Dataset] = None,  # Kubeflow's way to say that it is optional
) -> None:
    """Read plates into a screen store."""
    from phenoscale.operations.running.component import run_component

    run_component(
        "ingest",
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={"simulate": images},
        output=store,
        shown={"metrics": summary},
    )


@component
def curate(
    pipeline: str,
    config: str,
    run_folder: str,
    store: Input[Dataset],
    manifest: Output[Dataset],
    summary: Output[Metrics],
) -> None:
    """Choose fields and splits."""
    from phenoscale.operations.running.component import run_component

    run_component(
        "curate",
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={"ingest": store},
        output=manifest,
        shown={"metrics": summary},
    )
