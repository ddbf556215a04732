"""The headline tables: the right rows of many, in the order of the story."""

from phenoscale.operations.running.headline import headline_tables
from phenoscale.schema.rows import Row, canonical_setting


def _recall(encoder, step, value, *, lower=0.05, source="pairs", metric="recall"):
    setting = canonical_setting(step=step, lower=lower, upper=1 - lower)
    return Row("recall", source, metric, setting, value, value - 0.1, value + 0.1, n=200, encoder=encoder)


def _probe(encoder, features, value, *, block=None, chosen=False, strength=0.01):
    setting = canonical_setting(
        features=features, block=block, chosen=chosen, inverse_regularization=strength
    )
    return Row("probe", "moa", "balanced_accuracy", setting, value, encoder=encoder)


def _cells(table):
    return {name: [cell.partition(" ")[0] for cell in cells] for name, cells in table.cells.items()}


def test_recall_is_shown_before_and_after_correction_from_the_weakest_encoder_to_the_oracle():
    rows = [
        _recall("trained", "0_none", 0.3),
        _recall("trained", "1_center", 0.9),
        _recall("trained", "final", 0.5),
        _recall("oracle", "final", 0.8),
        _recall("untrained", "0_none", 0.1),
        _recall("untrained", "final", 0.2),
        _recall("trained", "final", 0.7, metric="recall_across_arms"),
    ]
    (table,) = headline_tables(rows)
    assert table.title == "recall of known relationships (pairs, 200 pairs) at 0.05/0.95"
    assert table.columns == ("before correction", "after correction")
    assert list(table.cells) == ["untrained", "trained", "oracle"]
    assert _cells(table) == {
        "untrained": ["0.100", "0.200"],
        "trained": ["0.300", "0.500"],
        "oracle": ["", "0.800"],
    }


def test_recall_at_other_tails_does_not_mix_in():
    rows = [_recall("trained", "final", 0.5), _recall("trained", "final", 0.9, lower=0.1)]
    (table,) = headline_tables(rows)
    assert _cells(table) == {"trained": ["0.500"]}


def test_each_annotation_source_has_a_table_of_its_own():
    rows = [_recall("trained", "final", 0.5), _recall("trained", "final", 0.6, source="CORUM")]
    assert [table.title.split(" (")[1].split(",")[0] for table in headline_tables(rows)] == ["pairs", "CORUM"]


def test_a_probe_is_shown_at_each_encoders_chosen_block_beside_confounds_and_chance():
    rows = [
        _probe("", "chance", 0.08),
        _probe("", "confounds", 0.46),
        _probe("trained", "embedding", 0.25, block=4, strength=1.0),
        _probe("trained", "embedding", 0.29, block=4, chosen=True),
        _probe("trained", "embedding", 0.31, block=5),
        _probe("trained", "embedding+confounds", 0.62, block=4),
        _probe("untrained", "embedding", 0.26, block=2, chosen=True),
    ]
    (table,) = headline_tables(rows)
    assert table.columns == ("alone", "with confounds")
    assert _cells(table) == {
        "untrained": ["0.260", ""],
        "trained": ["0.290", "0.620"],
        "chance": ["0.080", ""],
        "confounds": ["0.460", ""],
    }


def test_a_table_is_aligned_and_without_rows_there_is_none():
    (table,) = headline_tables([_recall("trained", "final", 0.5), _recall("untrained", "final", 0.25)])
    lines = table.text().splitlines()
    assert len({len(line) for line in lines[2:]}) == 1
    assert headline_tables([]) == ()
