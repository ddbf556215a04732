"""Published numbers: as many as were printed, the same sums, and consistent with each other."""

import statistics

import pytest

from phenoscale.benchmarks.published.numbers import TABLES, is_secondary, published_rows
from phenoscale.schema.rows import Row, read_rows, write_rows

# numbers and their sum, added up from the tables of the literature (science.md 9.1 to 9.13)
_COUNTS = {
    "batch_correction": (36, 11.799),
    "rxrx3_recall": (136, 51.478),
    "jump_mean_over_conditions": (10, 4.24),
    "jump_conditions": (80, 40.77),
    "jump_notebook": (20, 7.401),
    "jump_gene_compound": (3, 0.108),
    "stringdb_recall": (15, 5.38),
    "feature_regression": (10, 5.461),
    "vitally_rxrx3": (19, 105.896),
    "vitally_gains": (3, 1.11),
    "jump_recall": (21, 3.737),
    "compound_gene": (15, 29.739),
    "rxrx3_core_recall": (25, 7.036),
    "linear_probes": (9, 5.238),
    "probe_proxies": (2, 1.88),
    "model_facts": (12, 330e6 + 1.9e9 + 93e6 + 11.5e9 + 11.8e12 + 111_072),
    "chart_axis": (2, 0.91),
    "map_sizes": (5, 60_145),
}


def _value(table, *, source, encoder, metric=None, **settings):
    found = [
        row.value
        for row in published_rows(table)
        if (row.source, row.encoder) == (source, encoder)
        and metric in (None, row.metric)
        and settings.items() <= row.settings.items()
    ]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_table_has_as_many_numbers_as_were_printed_and_their_sum(table):
    rows = published_rows(table)
    count, total = _COUNTS[table]
    assert len(rows) == count
    assert sum(row.value for row in rows) == pytest.approx(total, rel=1e-9)


def test_every_number_is_a_row_that_names_its_source(tmp_path):
    rows = published_rows()
    assert all(isinstance(row, Row) and row.citation and row.value is not None for row in rows)
    assert read_rows(write_rows(tmp_path, rows)) == list(rows)
    keys = [(r.benchmark, r.source, r.metric, r.setting, r.encoder, r.citation) for r in rows]
    assert len(set(keys)) == len(keys) == sum(count for count, _ in _COUNTS.values())


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (
            0.622,
            {
                "table": "batch_correction",
                "source": "CORUM",
                "encoder": "MAE L/8+, RPI-93M",
                "transform": "TVN",
            },
        ),
        (0.397, {"table": "rxrx3_recall", "source": "HuMAP", "encoder": "WSL ViT-L/16, RxRx1-2M"}),
        (0.174, {"table": "rxrx3_recall", "source": "Reactome", "encoder": "DenseNet-161, RxRx3"}),
        (
            0.17,
            {
                "table": "stringdb_recall",
                "source": "StringDB",
                "encoder": "MAE L/8+, RPI-93M",
                "gene_list": "DG-1640",
            },
        ),
        (0.737, {"table": "feature_regression", "source": "Intensity", "encoder": "MAE ViT-L/8+, RPI-93M"}),
        (0.415, {"table": "rxrx3_core_recall", "source": "StringDB", "encoder": "Phenom-2"}),
        (0.102, {"table": "jump_recall", "source": "SIGNOR", "encoder": "CellProfiler, 3671 features"}),
        (
            0.309,
            {
                "table": "compound_gene",
                "source": "",
                "encoder": "MAE-G/8 trimmed, PP-16M",
                "metric": "average_precision",
            },
        ),
        (
            0.51,
            {"table": "linear_probes", "source": "RxRx1", "encoder": "MAE-G/8 trimmed, PP-16M", "block": 38},
        ),
    ],
)
def test_single_numbers_stand_where_they_were_printed(value, place):
    assert _value(**place) == value


def test_what_is_known_through_others_only_is_marked():
    marked = {table.name for table in TABLES if all(map(is_secondary, published_rows(table.name)))}
    assert marked == {"vitally_rxrx3", "vitally_gains", "compound_gene", "rxrx3_core_recall"}
    own_runs = {row.citation for row in published_rows("jump_recall") if not is_secondary(row)}
    assert own_runs == {"Bonbon (own run)", "proxbias notebook"}


@pytest.mark.parametrize(
    ("model", "column", "task", "mean", "std"),
    [
        ("CA-MAE L/16+, RPI-93M", "CA-93M-ViT-L-8chans, RPI-93M", "jump_detection", 0.945, 0.051),
        ("ViT-L/16, ImageNet", "ViT-L/16, ImageNet", "jump_detection", 0.880, 0.087),
        ("CellProfiler", "CellProfiler", "jump_detection", 0.527, 0.296),
        ("CellProfiler", "CellProfiler", "jump_siblings", 0.135, 0.066),
        ("ViT-L/16, ImageNet", "ViT-L/16, ImageNet", "jump_siblings", 0.056, 0.036),
        ("CA-MAE L/16+, RPI-93M", "CA-93M-ViT-L-8chans, RPI-93M", "jump_siblings", 0.020, 0.014),
    ],
)
def test_table_4_of_kraus_et_al_follows_from_tables_8_and_9(model, column, task, mean, std):
    values = [
        r.value for r in published_rows("jump_conditions") if (r.benchmark, r.encoder) == (task, column)
    ]
    assert len(values) == (12 if task == "jump_detection" else 8)
    assert statistics.mean(values) == pytest.approx(mean, abs=0.0006)
    assert statistics.stdev(values) == pytest.approx(std, abs=0.0006)
    (printed,) = (
        row
        for row in published_rows("jump_mean_over_conditions")
        if (row.benchmark, row.encoder) == (task, model)
    )
    # printed with two digits, and of the siblings cut rather than rounded: .135 became .13, .036 became .03
    assert statistics.mean(values) == pytest.approx(printed.value, abs=0.0075)
    assert statistics.stdev(values) == pytest.approx(printed.settings["std"], abs=0.0075)


def test_the_gains_of_the_slides_follow_from_their_tables():
    gains = {(r.benchmark, r.metric): r.value for r in published_rows("vitally_gains")}
    best, old = "MAE-G/8 trimmed, PP-16M", "MAE-L/8, RPI-93M"
    for metric in ("ks", "cvm"):
        new, before = (
            _value("vitally_rxrx3", source="replicates", encoder=encoder, metric=metric)
            for encoder in (best, old)
        )
        gain = gains["consistency", f"{metric}_relative_gain"]
        assert new / before - 1 == pytest.approx(gain, abs=0.005)
    new, before = (
        _value("compound_gene", source="", encoder=encoder, metric="z_score") for encoder in (best, old)
    )
    assert new / before - 1 == pytest.approx(gains["compound_gene", "z_score_relative_gain"], abs=0.01)


def test_the_11_5_percent_of_the_abstract_follow_from_the_table():
    ours = _value("rxrx3_recall", source="HuMAP", encoder="MAE L/8+, RPI-93M")
    best_supervised = _value("rxrx3_recall", source="HuMAP", encoder="WSL ViT-L/16, RxRx1-2M")
    assert 100 * (ours / best_supervised - 1) == pytest.approx(11.5, abs=0.1)


def test_the_best_transform_of_table_2_is_the_row_of_table_3():
    tvn = [row.value for row in published_rows("batch_correction") if row.settings["transform"] == "TVN"]
    best = [row.value for row in published_rows("rxrx3_recall") if row.encoder == "MAE L/8+, RPI-93M"]
    assert tvn == best
    assert statistics.mean(best) == pytest.approx(0.454, abs=0.0005)
