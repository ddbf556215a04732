"""Components from an encoder to a measured map: embed, map, benchmark."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.image import component


@component
def embed(
    step: str,
    pipeline: str,
    config: str,
    run_folder: str,
    encoders: Input[Model],
    manifest: Input[Dataset],
    embeddings: Output[Dataset],
) -> None:
    """Embed every field and well with one of the probed encoders."""
    from phenoscale.operations.running.component import run_component

    run_component(
        step,
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={"probe": encoders, "curate": manifest},
        output=embeddings,
    )


@component
def build_map(
    step: str,
    encoder: str,
    pipeline: str,
    config: str,
    run_folder: str,
    embeddings: Input[Dataset],
    perturbation_map: Output[Dataset],
    images: Input[Dataset] = None,  # Kubeflow's way to say that it is optional
) -> None:
    """Turn embeddings into a map of perturbations."""
    from phenoscale.operations.running.component import run_component

    run_component(
        step,
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={f"embed_{encoder}": embeddings, "simulate": images},
        output=perturbation_map,
    )


@component
def benchmark(
    pipeline: str,
    config: str,
    run_folder: str,
    embeddings_trained: Input[Dataset],
    embeddings_untrained: Input[Dataset],
    embeddings_pixel_statistics: Input[Dataset],
    map_trained: Input[Dataset],
    map_untrained: Input[Dataset],
    map_pixel_statistics: Input[Dataset],
    rows: Output[Dataset],
    summary: Output[Metrics],
    images: Input[Dataset] = None,  # Kubeflow's way to say that it is optional
) -> None:
    """Measure the maps and embeddings of all encoders side by side."""
    from phenoscale.operations.running.component import run_component

    run_component(
        "benchmark",
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={
            "embed_trained": embeddings_trained,
            "embed_untrained": embeddings_untrained,
            "embed_pixel_statistics": embeddings_pixel_statistics,
            "map_trained": map_trained,
            "map_untrained": map_untrained,
            "map_pixel_statistics": map_pixel_statistics,
            "simulate": images,
        },
        output=rows,
        shown={"metrics": summary},
    )
