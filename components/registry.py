"""Components that decide about an encoder and tell people: register, promote, report."""

from kfp.dsl import HTML, Dataset, Input, Model, Output

from components.image import component


@component
def register(
    pipeline: str,
    config: str,
    run_folder: str,
    encoders: Input[Model],
    rows: Input[Dataset],
    registered: Output[Model],
) -> None:
    """Register the trained encoder as the candidate."""
    from phenoscale.operations.running.component import run_component

    run_component(
        "register",
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={"probe": encoders, "benchmark": rows},
        output=registered,
    )


@component
def promote(
    pipeline: str, config: str, run_folder: str, registered: Input[Model], promoted: Output[Model]
) -> None:
    """Make the candidate the champion, if its gates hold."""
    from phenoscale.operations.running.component import run_component

    run_component(
        "promote",
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={"register": registered},
        output=promoted,
    )


@component
def report(
    pipeline: str,
    config: str,
    run_folder: str,
    store: Input[Dataset],
    manifest: Input[Dataset],
    trained: Input[Model],
    encoders: Input[Model],
    embeddings_trained: Input[Dataset],
    embeddings_untrained: Input[Dataset],
    embeddings_pixel_statistics: Input[Dataset],
    map_trained: Input[Dataset],
    map_untrained: Input[Dataset],
    map_pixel_statistics: Input[Dataset],
    rows: Input[Dataset],
    registered: Input[Model],
    promoted: Input[Model],
    record: Output[Dataset],
    page: Output[HTML],
    images: Input[Dataset] = None,  # Kubeflow's way to say that it is optional
) -> None:
    """Write one HTML page over everything."""
    from phenoscale.operations.running.component import run_component

    run_component(
        "report",
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={
            "ingest": store,
            "curate": manifest,
            "pretrain": trained,
            "probe": encoders,
            "embed_trained": embeddings_trained,
            "embed_untrained": embeddings_untrained,
            "embed_pixel_statistics": embeddings_pixel_statistics,
            "map_trained": map_trained,
            "map_untrained": map_untrained,
            "map_pixel_statistics": map_pixel_statistics,
            "benchmark": rows,
            "register": registered,
            "promote": promoted,
            "simulate": images,
        },
        output=record,
        shown={"page": page},
    )
