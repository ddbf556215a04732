"""Settings of `report`: where the stages' outputs are and what the page is called."""

from __future__ import annotations

from phenoscale.config import Config, Runtime, location, setting


class ReportConfig(Config):
    """Write one self-contained HTML page over a pipeline's outputs; the page says which parts are missing."""

    title: str = setting("Phenoscale report", help="heading of the page")
    screen: str = location("", help="screen store, output of `ingest`")
    manifest: str = location("", help="output of `curate`")
    pretrain: str = location("", help="output of `pretrain`")
    pretrains: dict[str, str] = location(
        default_factory=dict, help="outputs of several trainings, by encoder: they are compared"
    )
    probe: str = location("", help="output of `probe`")
    embeddings: dict[str, str] = location(default_factory=dict, help="outputs of `embed`, by encoder")
    maps: dict[str, str] = location(default_factory=dict, help="outputs of `map`, by encoder")
    benchmark: str = location("", help="output of `benchmark`")
    oracle: str = location("", help="map of planted latents, where the answer is known")
    genes: str = location("", help="table with `gene` and a column of groups (module, pathway)")
    registered: str = location("", help="output folder of `register`")
    promoted: str = location("", help="output folder of `promote`")
    run: str = location("", help="record of the pipeline run: which steps were computed and which reused")
    shown_map: str = setting("trained", help="name of the encoder whose headline numbers and map are shown")
    group_column: str = setting(
        "module", help="column of `genes` (or of the map) that colors the map overview"
    )
    num_reconstructions: int = setting(6, ge=0, le=24, help="crops in the reconstruction gallery")
    max_map_points: int = setting(4000, ge=10, help="points in the map overview; more are sampled")
    num_neighbor_queries: int = setting(8, ge=0, help="perturbations in the nearest-neighbor table")
    seed: int = setting(0, help="seed of the map overview's layout")
    runtime: Runtime = Runtime()

    @property
    def trainings(self) -> dict[str, str]:
        """Outputs of `pretrain` by encoder; the one that is not named is that of the shown encoder."""
        return {**({self.shown_map: self.pretrain} if self.pretrain else {}), **self.pretrains}
