"""StringDB recall at a false positive rate: a slow twin with scikit-learn, both conventions, real links."""

import gzip

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from phenoscale.benchmarks.relations.annotations import read_annotations
from phenoscale.benchmarks.relations.config import STRING_RECALL, StringRecallConfig
from phenoscale.benchmarks.relations.string_fpr import genes_of_list, string_recall_rows
from phenoscale.benchmarks.relations.string_links import Links, read_genes, read_links
from phenoscale.errors import UserError
from phenoscale.schema.maps import parse_map, write_bare_map

NUM_GENES, NUM_LONE = 40, 6
BOTH = ("negatives", "left_out")


def _screen(seed=0, *, signal=1.0):
    """40 genes in complexes of four; the last six have no link inside the list."""
    generator = np.random.default_rng(seed)
    names = [f"g{number:02d}" for number in range(NUM_GENES)]
    centers = generator.standard_normal((NUM_GENES // 4, 16))
    vectors = signal * centers[np.arange(NUM_GENES) // 4] + generator.standard_normal((NUM_GENES, 16))
    rows = []
    for first in range(NUM_GENES - NUM_LONE):
        for second in range(first + 1, NUM_GENES - NUM_LONE):
            if first // 4 == second // 4:
                rows.append((names[first], names[second], 0.99))
            elif generator.random() < 0.2:
                rows.append((names[second], names[first], generator.choice([0.4, 0.95, 0.9])))
    frame = pd.DataFrame(rows, columns=["entity1", "entity2", "score"])
    part = parse_map(pd.DataFrame({"perturbation": names}), vectors, source="planted")
    return part, frame


def _slow(part, frame, *, convention):
    """The definition, one pair at a time, as the published loop over a pivot table of links does it."""
    score = {frozenset(pair): value for *pair, value in frame.itertuples(index=False)}
    linked = set(frame["entity1"]) | set(frame["entity2"])
    names = [n for n in part.entities.tolist() if convention == "negatives" or n in linked]
    vectors = dict(zip(part.entities.tolist(), part.embeddings, strict=True))
    labels, cosines = [], []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            strength = score.get(frozenset((first, second)), 0.0)
            if 0 < strength <= 0.95:
                continue
            a, b = vectors[first], vectors[second]
            labels.append(strength > 0.95)
            cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    false_rate, true_rate, _ = roc_curve(labels, cosines)
    recalls = np.interp([0.05, 0.1], false_rate, true_rate)
    return [*recalls, roc_auc_score(labels, cosines), average_precision_score(labels, cosines)], len(labels)


def _links(part, frame):
    place = {name: number for number, name in enumerate(part.entities)}
    return Links(
        frame["entity1"].map(place).to_numpy(),
        frame["entity2"].map(place).to_numpy(),
        frame["score"].to_numpy(),
        len(frame),
    )


@pytest.mark.parametrize("convention", BOTH)
@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_every_number_equals_its_slow_twin(convention, signal):
    part, frame = _screen(signal=signal)
    config = StringRecallConfig(genes_without_links=(convention,), num_resamples=0)
    rows = string_recall_rows(part, _links(part, frame), config=config)
    expected, count = _slow(part, frame, convention=convention)
    assert np.allclose([row.value for row in rows], expected, atol=1e-12)
    assert [row.metric for row in rows] == ["recall_at_fpr", "recall_at_fpr", "roc_auc", "average_precision"]
    assert rows[0].n == count
    assert rows[0].n + rows[0].excluded == (780 if convention == "negatives" else 34 * 33 // 2)


def test_genes_without_a_link_stay_negatives_unless_the_published_convention_is_asked_for():
    part, frame = _screen()
    rows = string_recall_rows(part, _links(part, frame), config=StringRecallConfig(num_resamples=20))
    ours, published = (
        next(row for row in rows if row.settings["genes_without_links"] == name) for name in BOTH
    )
    assert ours.n - published.n == NUM_LONE * (NUM_GENES - NUM_LONE) + NUM_LONE * (NUM_LONE - 1) // 2
    assert ours.settings["num_positive"] == published.settings["num_positive"]
    assert ours.low < ours.value < ours.high


def test_random_vectors_recall_what_the_false_positive_rate_allows_and_modules_far_more():
    recalls = []
    for seed in range(20):
        part, frame = _screen(seed, signal=0.0)
        rows = string_recall_rows(part, _links(part, frame), config=StringRecallConfig(num_resamples=0))
        recalls.append(rows[0].value)
    assert abs(np.mean(recalls) - 0.05) < 4 * np.std(recalls) / np.sqrt(20)
    part, frame = _screen(signal=3.0)
    rows = string_recall_rows(part, _links(part, frame), config=StringRecallConfig(num_resamples=0))
    assert rows[0].value > 0.9


def test_absolute_cosines_find_opposite_genes():
    part, frame = _screen(signal=3.0)
    part.embeddings[::2] *= -1
    signed, absolute = (
        string_recall_rows(
            part, _links(part, frame), config=StringRecallConfig(num_resamples=0, absolute=flag)
        )[0].value
        for flag in (False, True)
    )
    assert absolute > 0.9 > signed + 0.4


def _official(folder, frame):
    """The same links as STRING publishes them: both directions, thousandths, proteins and not genes."""
    lines = ["protein1 protein2 combined_score"]
    for first, second, score in frame.itertuples(index=False):
        for left, right in ((first, second), (second, first)):
            lines.append(f"9606.P{left} 9606.P{right} {round(1000 * score)}")
    lines.append("9606.Pelsewhere 9606.Pg00 999")
    with gzip.open(folder / "9606.protein.links.v11.5.txt.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    names = ["#string_protein_id\tpreferred_name\tprotein_size\tannotation"]
    names += [
        f"9606.Pg{number:02d}\tg{number:02d}\t100\tsome protein, a 'known' one" for number in range(NUM_GENES)
    ]
    (folder / "info.txt").write_text("\n".join([*names, "9606.Pelsewhere\tOTHER\t5\tx"]) + "\n")


def test_strings_own_files_and_a_csv_say_the_same(tmp_path):
    part, frame = _screen()
    _official(tmp_path, frame)
    frame.to_csv(tmp_path / "links.csv", index=False)
    write_bare_map(tmp_path / "map.parquet", part)
    shared = {"map": str(tmp_path / "map.parquet"), "num_resamples": 5}
    official = STRING_RECALL.run(
        StringRecallConfig(
            links=str(tmp_path / "9606.protein.links.v11.5.txt.gz"),
            proteins=str(tmp_path / "info.txt"),
            **shared,
        )
    )
    table = STRING_RECALL.run(StringRecallConfig(links=str(tmp_path / "links.csv"), **shared))
    assert official == table
    assert len(table) == 8 and all(row.map for row in table)


def test_a_gene_list_keeps_its_genes_and_counts_those_that_the_map_lacks(tmp_path):
    part, _ = _screen()
    (tmp_path / "genes.txt").write_text("# a list\ng00\ng01, a comment\n\ng02\nABSENT\ng01\n")
    names = read_genes(tmp_path / "genes.txt")
    assert names == ["g00", "g01", "g02", "ABSENT"]
    genes, num_absent = genes_of_list(part, names, left_out=("nontargeting",))
    assert (genes.entities.tolist(), num_absent) == (["g00", "g01", "g02"], 1)


def test_control_guides_are_no_genes():
    frame = pd.DataFrame({"perturbation": ["NonTargeting_1", "b", "a", "intergenic-7", "c"]})
    part = parse_map(frame, np.eye(5), source="t")
    genes, _ = genes_of_list(part, None, left_out=StringRecallConfig().left_out)
    assert genes.entities.tolist() == ["a", "b", "c"]


def test_real_string_pairs_and_random_vectors_recall_five_percent(real_data):
    """The pairs above .95 of a published file as positives, everything else as negatives."""
    file = next((real_data("gene_annotations") / "efaar_benchmark_annotations").glob("StringDB*"))
    source = read_annotations(file)
    names = np.random.default_rng(0).choice(source.entities, 1200, replace=False)
    place = {name: number for number, name in enumerate(np.sort(names))}
    inside = np.array([[place.get(a, -1), place.get(b, -1)] for a, b in source.pairs.tolist()])
    inside = inside[(inside >= 0).all(axis=1)]
    vectors = np.random.default_rng(1).standard_normal((1200, 32))
    part = parse_map(pd.DataFrame({"perturbation": np.sort(names)}), vectors, source="random")
    links = Links(inside[:, 0], inside[:, 1], np.full(len(inside), 0.96), len(source.pairs))
    rows = string_recall_rows(part, links, config=StringRecallConfig(num_resamples=20))
    assert len(inside) > 300
    for row in rows[:2]:
        rate = row.settings["false_positive_rate"]
        assert abs(row.value - rate) < 4 * np.sqrt(rate * (1 - rate) / len(inside))
        assert row.low < row.value < row.high


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b\n1 2\n", "rename the columns"),
        ("protein1 protein2 combined_score\n9606.P1 9606.P2 900\n", "protein.info"),
        ("entity1,entity2,score\ng00,g01,0.9\ng00,g02\n", "line 3"),
        ("entity1,entity2,score\ng00,g01,990\n", "between 0 and 1"),
        ("", "not a readable table"),
    ],
)
def test_wrong_links_are_refused_with_the_way_out(tmp_path, text, words):
    (tmp_path / "links.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        read_links(tmp_path / "links.txt", genes=np.array(["g00", "g01", "g02"]))


def test_a_cut_off_archive_is_refused(tmp_path):
    _, frame = _screen()
    _official(tmp_path, frame)
    file = tmp_path / "9606.protein.links.v11.5.txt.gz"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UserError, match="not a readable table"):
        read_links(file, genes=np.array(["g00", "g01"]), proteins=tmp_path / "info.txt")


def test_lists_that_cannot_be_ranked_are_refused_with_the_way_out(tmp_path):
    part, _ = _screen()
    with pytest.raises(UserError, match="3 to 5000"):
        genes_of_list(part, ["g00", "g01", "zzz"], left_out=())
    twice = parse_map(
        pd.DataFrame({"perturbation": ["a", "b", "c"], "gene": ["x", "x", "y"]}), np.eye(3), source="t"
    )
    with pytest.raises(UserError, match="more than once"):
        genes_of_list(twice, None, left_out=())
    nothing = Links(np.empty(0, int), np.empty(0, int), np.empty(0), 0)
    with pytest.raises(UserError, match="both kinds are needed"):
        string_recall_rows(part, nothing, config=StringRecallConfig())
    with pytest.raises(UserError, match="between 0 and 1"):
        StringRecallConfig(false_positive_rates=(5.0,))
    (tmp_path / "empty.txt").write_text("\n# nothing\n")
    with pytest.raises(UserError, match="no gene"):
        read_genes(tmp_path / "empty.txt")


def test_scores_in_thousandths_are_refused_with_the_way_out(tmp_path):
    (tmp_path / "links.csv").write_text("entity1,entity2,score\ng00,g01,970\n")
    with pytest.raises(
        UserError, match=r"has the score '970' in line 2, .* divide scores in thousandths by 1000"
    ):
        read_links(tmp_path / "links.csv", genes=np.array(["g00", "g01"]))
