"""Every published number as a row: one CSV per table of the literature, and what its columns mean.

A column that `numbers` names holds a number, `<number>_std` and `<number>_mad` what was printed beside it;
`model` and `training_set` make the encoder, `citation` replaces the table's, and every other column is a
setting. A citation that says "secondary" is of a number that we know through others only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from phenoscale.schema.rows import BALANCED_ACCURACY, PROBE, Row, canonical_setting

FOLDER: Final = "tables"
SECONDARY: Final = "(secondary)"
_NOT_A_SETTING: Final = ("model", "training_set", "citation")
_BESIDE: Final = ("std", "mad")

MAE_PAPER: Final = "Kraus et al., Masked Autoencoders for Microscopy, CVPR 2024"
VITALLY: Final = "ViTally Consistent, ICML 2025"
VITALLY_SLIDES: Final = "ViTally Consistent, slides, NeurIPS FM4Sci 2024"
RXRX3_CORE: Final = "Kraus et al. 2025, arXiv:2503.20158"
JUMP_NOTEBOOK: Final = "Chandrasekaran et al., Nature Methods 2024, benchmark notebook 1.0"
EFAAR: Final = "EFAAR benchmarking paper"


class Number(NamedTuple):
    """What a column of numbers is, in the words of our own rows; `setting` adds to the table's."""

    benchmark: str
    source: str
    metric: str
    setting: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table of the literature.

    Attributes:
        name: the CSV's stem.
        title: what it shows.
        citation: where it was published.
        encoder: whose numbers they are, where no column says so.
        setting: what holds for all of its numbers.
        numbers: what each column of numbers is.
    """

    name: str
    title: str
    citation: str
    encoder: str = ""
    setting: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Number]


def _recall(*sources: str) -> dict[str, Number]:
    return {source: Number("recall", source, "recall") for source in sources}


_FOUR: Final = ("CORUM", "HuMAP", "Reactome", "StringDB")
_TAILS: Final = {"lower": 0.05, "upper": 0.95, "chance": 0.1}
_JUMP: Final = {
    "detection": Number("jump_detection", "CPJUMP1", "fraction_retrieved"),
    "siblings": Number("jump_siblings", "CPJUMP1", "fraction_retrieved"),
}
_JUMP_SETTING: Final = {"dataset": "CPJUMP1", "p_values": "geometric-mean"}
_PROBES: Final = ("RxRx1", "Anax", "cell type", "batch", "siRNA", "CRISPR", "functional group")
_CATEGORIES: Final = ("AreaShape", "Intensity", "Neighbors", "RadialDistribution", "Texture")
_FACTS: Final = ("num_parameters", "num_blocks", "num_wells", "num_crops", "num_tokens", "gpu_hours")

# In the order of science.md 9.1 to 9.13.
TABLES: Final = (
    PublishedTable(
        name="batch_correction",
        title="batch correction of MAE ViT-L/8+ on RxRx3",
        citation=f"{MAE_PAPER}, Table 2",
        encoder="MAE L/8+, RPI-93M",
        setting={"dataset": "RxRx3", **_TAILS},
        numbers=_recall(*_FOUR),
    ),
    PublishedTable(
        name="rxrx3_recall",
        title="known relationships in RxRx3",
        citation=f"{MAE_PAPER}, Table 3",
        setting={"dataset": "RxRx3", "transform": "TVN + arm correction", **_TAILS},
        numbers=_recall(*_FOUR),
    ),
    PublishedTable(
        name="jump_mean_over_conditions",
        title="CPJUMP1, mean and sample standard deviation over the conditions",
        citation=f"{MAE_PAPER}, Table 4",
        setting={**_JUMP_SETTING, "condition": "mean over all"},
        numbers=_JUMP,
    ),
    PublishedTable(
        name="jump_conditions",
        title="CPJUMP1 per condition",
        citation=f"{MAE_PAPER}, Tables 8 and 9",
        setting=_JUMP_SETTING,
        numbers=_JUMP,
    ),
    PublishedTable(
        name="jump_notebook",
        title="CPJUMP1 per condition, CellProfiler features",
        citation=JUMP_NOTEBOOK,
        encoder="CellProfiler",
        setting=_JUMP_SETTING,
        numbers=_JUMP,
    ),
    PublishedTable(
        name="jump_gene_compound",
        title="CPJUMP1, compounds matched with genes",
        citation=JUMP_NOTEBOOK,
        encoder="CellProfiler",
        setting=_JUMP_SETTING,
        numbers={
            "largest": Number("jump_gene_compound", "CPJUMP1", "largest_fraction_retrieved"),
            "smallest": Number("jump_gene_compound", "CPJUMP1", "smallest_fraction_retrieved"),
        },
    ),
    PublishedTable(
        name="stringdb_recall",
        title="StringDB recall at 5 % false positives",
        citation=f"{MAE_PAPER}, Table 5",
        setting={"false_positive_rate": 0.05, "string_version": "11.5", "min_score": 0.95},
        numbers={
            name: Number("string_recall", "StringDB", "recall_at_fpr", {"gene_list": name})
            for name in ("PoC-124", "MoA-300", "DG-1640")
        },
    ),
    PublishedTable(
        name="feature_regression",
        title="CellProfiler features from embeddings, median and MAD over features",
        citation=f"{MAE_PAPER}, Table 7",
        setting={"dataset": "RxRx3, two experiments of 12 plates"},
        numbers={name: Number("feature_regression", name, "r2_median") for name in _CATEGORIES},
    ),
    PublishedTable(
        name="vitally_rxrx3",
        title="RxRx3, whole genome",
        citation=f"{VITALLY}, Table 1 {SECONDARY}",
        setting={"dataset": "RxRx3"},
        numbers={
            "recall": Number("recall", "not stated; mean of four inferred", "recall"),
            "recall_z": Number("recall", "not stated; mean of four inferred", "recall_z"),
            "ks": Number("consistency", "replicates", "ks"),
            "cvm": Number("consistency", "replicates", "cvm"),
        },
    ),
    PublishedTable(
        name="vitally_gains",
        title="relative gains of MAE-G/8 trimmed",
        citation=f"{VITALLY}, Tables 1 and 3 {SECONDARY}",
        numbers={
            "ks": Number("consistency", "replicates", "ks_relative_gain"),
            "cvm": Number("consistency", "replicates", "cvm_relative_gain"),
            "compound_gene_z": Number("compound_gene", "", "z_score_relative_gain"),
        },
    ),
    PublishedTable(
        name="jump_recall",
        title="known relationships in JUMP-CP knockouts",
        citation=f"{VITALLY}, slides Table 2 {SECONDARY}",
        setting={"dataset": "cpg0016 CRISPR", **_TAILS},
        numbers=_recall(*_FOUR, "SIGNOR"),
    ),
    PublishedTable(
        name="compound_gene",
        title="compound-gene activity in RxRx3-core",
        citation=f"{VITALLY}, Table 3 {SECONDARY}",
        setting={"dataset": "RxRx3-core", "averaging": "macro", "statistic": "mean"},
        numbers={
            "AP": Number("compound_gene", "", "average_precision"),
            "z": Number("compound_gene", "", "z_score"),
        },
    ),
    PublishedTable(
        name="rxrx3_core_recall",
        title="known relationships in RxRx3-core",
        citation=f"{RXRX3_CORE}, Table 6 {SECONDARY}",
        setting={"dataset": "RxRx3-core", "num_perturbations": 735, **_TAILS},
        numbers=_recall(*_FOUR, "SIGNOR"),
    ),
    PublishedTable(
        name="linear_probes",
        title="linear probes",
        citation=VITALLY,
        numbers={name: Number(PROBE, name, BALANCED_ACCURACY) for name in _PROBES},
    ),
    PublishedTable(
        name="probe_proxies",
        title="rank correlation of the Anax probe with other benchmarks over models and blocks",
        citation=VITALLY,
        numbers={
            name: Number("probe_proxy", name, "spearman")
            for name in ("recall of StringDB", "replicate consistency")
        },
    ),
    PublishedTable(
        name="model_facts",
        title="what models are and took",
        citation=VITALLY_SLIDES,
        numbers={name: Number("model", "facts", name) for name in _FACTS},
    ),
    PublishedTable(
        name="chart_axis",
        title="StringDB recall against the number of parameters: ends of the axis",
        citation=VITALLY_SLIDES,
        setting={"dataset": "RxRx3"},
        numbers={
            "smallest": Number("scaling", "StringDB", "smallest_recall"),
            "largest": Number("scaling", "StringDB", "largest_recall"),
        },
    ),
    PublishedTable(
        name="map_sizes",
        title="genes in public maps",
        citation=EFAAR,
        numbers={
            "num_genes": Number("map", "", "num_genes"),
            "num_expressed_genes": Number("map", "", "num_expressed_genes"),
        },
    ),
)


@cache
def published_rows(*names: str) -> tuple[Row, ...]:
    """The rows of the named tables, or of all of them."""
    chosen = [table for table in TABLES if not names or table.name in names]
    assert len(chosen) >= len(names), f"one of {names} is no table"
    return tuple(row for table in chosen for line in _lines(table) for row in _rows(table, line))


def is_secondary(row: Row) -> bool:
    """Whether a number is known through others than those who published it."""
    return SECONDARY in row.citation


def _lines(table: PublishedTable) -> list[dict[str, str]]:
    file = resources.files(__package__) / FOLDER / f"{table.name}.csv"
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def _rows(table: PublishedTable, line: Mapping[str, str]) -> Iterator[Row]:
    beside = {f"{number}_{kind}" for number in table.numbers for kind in _BESIDE}
    named = {key: _plain(text) for key, text in line.items() if text}
    setting = {
        key: value for key, value in named.items() if key not in (*_NOT_A_SETTING, *beside, *table.numbers)
    }
    encoder = ", ".join(line[key] for key in ("model", "training_set") if line.get(key))
    shared = {**table.setting, **setting}
    for column, number in table.numbers.items():
        if not line[column]:
            continue
        printed = {kind: float(text) for kind in _BESIDE if (text := line.get(f"{column}_{kind}"))}
        yield Row(
            benchmark=number.benchmark,
            source=number.source,
            metric=number.metric,
            setting=canonical_setting(**shared, **number.setting, **printed),
            value=float(line[column]),
            encoder=encoder or table.encoder,
            citation=line.get("citation") or table.citation,
        )


def _plain(text: str) -> Any:
    """A number where it is one."""
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number
