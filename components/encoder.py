"""Components that make and measure encoders: pretrain, import, probe."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.image import component


@component
def pretrain(
    step: str,
    pipeline: str,
    config: str,
    run_folder: str,
    manifest: Input[Dataset],
    encoder: Output[Model],
    summary: Output[Metrics],
) -> None:
    """Train an encoder."""
    from phenoscale.operations.running.component import run_component

    run_component(
        step,
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={"curate": manifest},
        output=encoder,
        shown={"metrics": summary},
    )


@component
def import_encoder(
    step: str,
    like_step: str,
    pipeline: str,
    config: str,
    run_folder: str,
    like: Input[Model],
    encoder: Output[Model],
) -> None:
    """Make a baseline encoder that reads what the one trained in `like_step` reads."""
    from phenoscale.operations.running.component import run_component

    run_component(
        step,
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={like_step: like},
        output=encoder,
    )


@component
def probe(
    pipeline: str,
    config: str,
    run_folder: str,
    trained: Input[Model],
    untrained: Input[Model],
    pixel_statistics: Input[Model],
    manifest: Input[Dataset],
    encoders: Output[Model],
    summary: Output[Metrics],
) -> None:
    """Probe every block, and trim each encoder after its best one."""
    from phenoscale.operations.running.component import run_component

    run_component(
        "probe",
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={
            "pretrain": trained,
            "import_untrained": untrained,
            "import_pixel_statistics": pixel_statistics,
            "curate": manifest,
        },
        output=encoders,
        shown={"metrics": summary},
    )
