"""Components that compare model families: what `probe`, `benchmark` and `report` do, for seven encoders."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.image import component


@component
def probe_families(
    step: str,
    pipeline: str,
    config: str,
    run_folder: str,
    mae: Input[Model],
    mae_fourier: Input[Model],
    ca_mae: Input[Model],
    mu_net: Input[Model],
    wsl: Input[Model],
    untrained: Input[Model],
    pixel_statistics: Input[Model],
    manifest: Input[Dataset],
    encoders: Output[Model],
    summary: Output[Metrics],
) -> None:
    """Probe every block of every encoder, and trim each after its best one."""
    from phenoscale.operations.running.component import run_component

    run_component(
        step,
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={
            "pretrain_mae": mae,
            "pretrain_mae_fourier": mae_fourier,
            "pretrain_ca_mae": ca_mae,
            "pretrain_mu_net": mu_net,
            "pretrain_wsl": wsl,
            "import_untrained": untrained,
            "import_pixel_statistics": pixel_statistics,
            "curate": manifest,
        },
        output=encoders,
        shown={"metrics": summary},
    )


@component
def benchmark_families(
    step: str,
    pipeline: str,
    config: str,
    run_folder: str,
    embeddings_mae: Input[Dataset],
    embeddings_mae_fourier: Input[Dataset],
    embeddings_ca_mae: Input[Dataset],
    embeddings_mu_net: Input[Dataset],
    embeddings_wsl: Input[Dataset],
    embeddings_untrained: Input[Dataset],
    embeddings_pixel_statistics: Input[Dataset],
    map_mae: Input[Dataset],
    map_mae_fourier: Input[Dataset],
    map_ca_mae: Input[Dataset],
    map_mu_net: Input[Dataset],
    map_wsl: Input[Dataset],
    map_untrained: Input[Dataset],
    map_pixel_statistics: Input[Dataset],
    rows: Output[Dataset],
    summary: Output[Metrics],
    images: Input[Dataset] = None,  # Kubeflow's way to say that it is optional
) -> None:
    """Measure the maps and embeddings of all encoders side by side."""
    from phenoscale.operations.running.component import run_component

    run_component(
        step,
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={
            "embed_mae": embeddings_mae,
            "embed_mae_fourier": embeddings_mae_fourier,
            "embed_ca_mae": embeddings_ca_mae,
            "embed_mu_net": embeddings_mu_net,
            "embed_wsl": embeddings_wsl,
            "embed_untrained": embeddings_untrained,
            "embed_pixel_statistics": embeddings_pixel_statistics,
            "map_mae": map_mae,
            "map_mae_fourier": map_mae_fourier,
            "map_ca_mae": map_ca_mae,
            "map_mu_net": map_mu_net,
            "map_wsl": map_wsl,
            "map_untrained": map_untrained,
            "map_pixel_statistics": map_pixel_statistics,
            "simulate": images,
        },
        output=rows,
        shown={"metrics": summary},
    )


@component
def report_families(
    step: str,
    pipeline: str,
    config: str,
    run_folder: str,
    store: Input[Dataset],
    manifest: Input[Dataset],
    mae: Input[Model],
    mae_fourier: Input[Model],
    ca_mae: Input[Model],
    mu_net: Input[Model],
    wsl: Input[Model],
    encoders: Input[Model],
    embeddings: Input[Dataset],
    map_mae: Input[Dataset],
    map_mae_fourier: Input[Dataset],
    map_ca_mae: Input[Dataset],
    map_mu_net: Input[Dataset],
    map_wsl: Input[Dataset],
    map_untrained: Input[Dataset],
    map_pixel_statistics: Input[Dataset],
    rows: Input[Dataset],
    record: Output[Dataset],
    page: Output[HTML],
    images: Input[Dataset] = None,  # Kubeflow's way to say that it is optional
) -> None:
    """Write one HTML page over the comparison."""
    from phenoscale.operations.running.component import run_component

    run_component(
        step,
        pipeline=pipeline,
        config=config,
        run_folder=run_folder,
        inputs={
            "ingest": store,
            "curate": manifest,
            "pretrain_mae": mae,
            "pretrain_mae_fourier": mae_fourier,
            "pretrain_ca_mae": ca_mae,
            "pretrain_mu_net": mu_net,
            "pretrain_wsl": wsl,
            "probe": encoders,
            "embed_mae": embeddings,
            "map_mae": map_mae,
            "map_mae_fourier": map_mae_fourier,
            "map_ca_mae": map_ca_mae,
            "map_mu_net": map_mu_net,
            "map_wsl": map_wsl,
            "map_untrained": map_untrained,
            "map_pixel_statistics": map_pixel_statistics,
            "benchmark": rows,
            "simulate": images,
        },
        output=record,
        shown={"page": page},
    )
