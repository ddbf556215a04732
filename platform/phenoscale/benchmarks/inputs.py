"""What benchmarks read: each kind of input with its reader, by name and not by import."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from phenoscale.benchmarks.benchmark import Input

_TABLES: Final = "phenoscale.schema.embeddings"
_PROFILES: Final = "phenoscale.benchmarks.profiles.profile_tables:read_profiles"

MAP: Final = Input("map", reader="phenoscale.schema.maps:read_map")
WELLS: Final = Input(
    "embeddings",
    reader=f"{_TABLES}:read_embeddings",
    locate="phenoscale.benchmarks.wells.places:place_of_wells",
    note="of wells",
)
FIELDS: Final = replace(WELLS, locate="phenoscale.benchmarks.wells.places:place_of_fields")
ANNOTATIONS: Final = Input("annotations", reader="phenoscale.benchmarks.relations.annotations:read_sources")
ARMS: Final = Input("genes", reader="phenoscale.mapping.genes:read_arms", note="with arm")
GENE_SETS: Final = Input("clusters", reader="phenoscale.benchmarks.gene_sets.set_files:read_set_sources")
PLATES: Final = Input("profiles", reader=_PROFILES, note="of plates")
ANY_TABLE: Final = Input("profiles", reader=_PROFILES, given_as="embeddings", note="or embeddings")
