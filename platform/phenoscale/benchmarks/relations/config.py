"""Benchmarks that ask a map for known relations: pairs of genes, arms, compounds and links."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import model_validator

from phenoscale.benchmarks.benchmark import Benchmark, Input, Part
from phenoscale.benchmarks.inputs import ANNOTATIONS, ARMS, MAP
from phenoscale.benchmarks.settings import (
    A_MAP,
    ENOUGH_RESAMPLES,
    GENE_ARMS,
    PAIRS,
    RESAMPLES,
    SEED,
    refuse_crossed_tails,
    refuse_few_resamples,
    refuse_unusable_curve,
)
from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import UserError

_HERE: Final = "phenoscale.benchmarks.relations"
GenesWithoutLinks = Literal["negatives", "left_out"]


class RecallConfig(Config):
    """Known-relationship recall: how often annotated pairs lie in the tails of all pairwise cosines of a map.

    A pair counts when at most `lower` of all pairs are as similar or less, or at least `upper` are less
    similar. By chance that is lower + 1 - upper. Self pairs and duplicates are dropped; pairs outside the map
    are counted as excluded, and so are those of zero vectors. Compounds and controls stay out where the map
    has genes.
    """

    map: str = location("", help=A_MAP)
    annotations: tuple[str, ...] = location((), help=PAIRS)
    lower: float = setting(0.05, ge=0, le=1, help="share of all pairs in the lower tail")
    upper: float = setting(0.95, ge=0, le=1, help="share of all pairs below the upper tail")
    curve: tuple[float, ...] = setting((), help="further tails p < 0.5, each scored at (p, 1 - p)")
    by_number_of_sources: bool = setting(False, help="also the pairs that at least 1, 2, ... sources have")
    genes: str = location("", help=f"{GENE_ARMS}, for recall within and across chromosome arms")
    zero_vectors: Literal["left_out", "kept"] = setting(
        "left_out", help="kept, as published: a zero vector has the cosine 0 to every other"
    )
    num_resamples: int = setting(1000, ge=0, help=ENOUGH_RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _usable(self) -> RecallConfig:
        refuse_crossed_tails(self.lower, self.upper)
        refuse_unusable_curve(self.curve)
        refuse_few_resamples(self.num_resamples)
        return self


class RecallNullConfig(Config):
    """Permutation test of recall: are these pairs recalled more than the same graph over exchanged genes?

    The names of the annotated genes are exchanged at random and recall is read again; p = (b + 1) / (B + 1)
    where b of B permutations recall at least as much. With `genes` names are exchanged inside a chromosome
    arm only, so that pairs recalled by proximity bias are recalled by the permutations as well.
    """

    map: str = location("", help=A_MAP)
    annotations: tuple[str, ...] = location((), help=PAIRS)
    lower: float = setting(0.05, ge=0, le=1, help="share of all pairs in the lower tail")
    upper: float = setting(0.95, ge=0, le=1, help="share of all pairs below the upper tail")
    genes: str = location("", help=f"{GENE_ARMS}, to exchange genes of one arm only")
    num_permutations: int = setting(1000, ge=1, help="permutations; the smallest p is 1 / (this + 1)")
    seed: int = setting(0, ge=0, help="seed of the permutations")
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _tails(self) -> RecallNullConfig:
        refuse_crossed_tails(self.lower, self.upper)
        return self


class ProximityConfig(Config):
    """Proximity bias: are genes of one chromosome arm more similar than genes of different arms?

    The probability that a pair inside an arm has the larger cosine, ties half: .5 without bias. One row for
    the map, with pairs inside each arm in proportion to their number, and one for each arm against its pairs
    with other arms.
    """

    map: str = location("", help=A_MAP)
    genes: str = location("", help=GENE_ARMS)
    min_genes: int = setting(6, ge=2, help="genes that an arm needs")
    min_pairs: int = setting(21, ge=1, help="pairs inside an arm that the arm's own row needs")
    max_pairs: int = setting(20_000, ge=100, help="pairs drawn inside arms, and as many across")
    num_resamples: int = setting(200, ge=0, help=ENOUGH_RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _usable(self) -> ProximityConfig:
        refuse_few_resamples(self.num_resamples)
        return self


class CompoundGeneConfig(Config):
    """Compound-gene activity: does a compound look like the knock-out of the genes that it acts on?

    The score is the absolute cosine of a compound at a concentration and a gene. For each compound, genes at
    or below `active_nm` are actives, those up to `gray_nm` are left out, and max(2 x actives, 20) others of
    the truth table are drawn as negatives, anew for each seed. A compound without an active, or with
    too few negatives, is left out and counted. Rows give average precision at each concentration and at the
    maximum over concentrations: mean, median and quantiles over compounds (macro) and over all pairs at once
    (micro), of the map and of random scores for the same labels, and the z-score between the two.
    """

    map: str = location("", help=f"{A_MAP}; it holds genes, and compounds with `concentration_um`")
    truth: str = location(
        "",
        help="CSV with the columns treatment (compound), gene_symbol and nM_value (nanomolar); of several "
        "measurements of a pair the most potent counts",
    )
    by: Literal["compound", "gene"] = setting(
        "compound", help="rank genes for each compound, or compounds for each gene"
    )
    concentrations: tuple[float, ...] = setting(
        (),
        help="concentrations in uM that count; none: all of the map (RxRx3-core: .0025, .01, .025, .1, "
        ".25, 1, 2.5, 10; it holds a few stray wells at others)",
    )
    active_nm: float = setting(1000.0, gt=0, help="largest nM_value of an active pair")
    gray_nm: float = setting(10_000.0, gt=0, help="largest nM_value of a pair that is left out")
    num_seeds: int = setting(100, ge=1, help="draws of negatives, with the seeds seed, seed + 1, ...")
    num_resamples: int = setting(
        1000, ge=0, help="bootstrap resamples of compounds (or genes); 0: no intervals"
    )
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _zones(self) -> CompoundGeneConfig:
        if self.gray_nm < self.active_nm:
            raise UserError(
                f"gray_nm is {self.gray_nm:g} and active_nm {self.active_nm:g}, but the gray zone begins "
                "where the actives end; choose gray_nm at or above active_nm"
            )
        return self


class StringRecallConfig(Config):
    """StringDB recall at a false positive rate: do linked genes look more alike than genes without a link?

    All pairs of a gene list are ranked by cosine. Pairs with a score above `min_score` are positives, pairs
    without any link negatives, all others are left out. Genes without a link to another gene of the list stay
    negatives of everything; the published implementation loses them in a pivot table, and
    `genes_without_links: left_out` does as it does. Both are given unless one is chosen.
    """

    map: str = location("", help=A_MAP)
    links: str = location(
        "",
        help="STRING's protein.links file (protein1 protein2 combined_score in thousandths), or a CSV with "
        "entity1, entity2 and score (0 to 1)",
    )
    proteins: str = location(
        "", help="STRING's protein.info file, which names the proteins of protein.links; not for a CSV"
    )
    genes: str = location("", help="text file with one gene a line; none: every gene of the map")
    min_score: float = setting(0.95, ge=0, lt=1, help="a pair above this score is a positive")
    false_positive_rates: tuple[float, ...] = setting((0.05, 0.1), min_length=1, help="where recall is read")
    absolute: bool = setting(False, help="rank by the absolute cosine")
    genes_without_links: tuple[GenesWithoutLinks, ...] = setting(
        ("negatives", "left_out"),
        min_length=1,
        help="genes without a link in the list: negatives of all others, or left out",
    )
    left_out: tuple[str, ...] = setting(
        ("nontargeting", "intergenic"), help="names that begin so are controls and no genes"
    )
    num_resamples: int = setting(200, ge=0, help=RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _rates(self) -> StringRecallConfig:
        wrong = [rate for rate in self.false_positive_rates if not 0 < rate < 1]
        if wrong:
            raise UserError(f"false_positive_rates holds {wrong}, but a rate lies between 0 and 1; try 0.05")
        return self


class AnnotationsConfig(Config):
    """Import known relationships from an official file: a CSV with entity1,entity2 and a JSON beside it.

    Each pair once, the smaller name first, without self pairs; a complex gives every pair of its members. The
    JSON states checksum, version and license, and counts: pairs, entities, those left out or renamed, and
    with --map those that a map holds.
    """

    source: Literal["corum", "humap", "reactome", "signor", "string", "pairs"] = setting(
        "pairs", help="whose format the file has; pairs: any table with two columns of names"
    )
    path: str = location("", help="the official file, as downloaded; gzip is accepted")
    output: str = location("", help="CSV to write; its stem names the source in benchmarks")
    names: str = location(
        "",
        help="names of identifiers: STRING's protein.info or protein.aliases, or identifier,symbol",
    )
    aliases: str = location("", help="CSV with alias,symbol: outdated names to replace")
    map: str = location("", help="map whose overlap is counted")
    above: float | None = setting(
        None, ge=0, lt=1, help="keep scores above this, from 0 to 1; by default 0.95 for STRING, else all"
    )
    organism: str = setting("Human", help="organism of complexes, where the file says it")
    columns: tuple[str, str] = setting(("entity1", "entity2"), help="header of the names in a table of pairs")
    version: str = setting("", help="release of the source; by default as in the file's name")
    license: str = setting("", help="license of the source; by default that of its current release")
    sha256: str = setting("", help="refuse a file with another checksum")
    runtime: Runtime = Runtime()


RECALL: Final = Benchmark(
    name="recall",
    config=RecallConfig,
    parts=(Part(needs=(MAP, ANNOTATIONS), uses=(ARMS,), rows=f"{_HERE}.recall:known_pair_rows"),),
    cost="N^2 D once for all sources and tails; 1000 resamples of genes",
    source="EFAAR_benchmarking 2248f40; Kraus et al., CVPR 2024",
    examples=(
        "benchmark recall --map work/map/KEY --annotations pairs.csv",
        "benchmark recall --map MAP.parquet --annotations CORUM.csv --annotations HuMAP.csv "
        "--lower 0.05 --upper 0.95 --by-number-of-sources --json",
    ),
    in_suite=True,
    suite_settings={"by_number_of_sources": True},
    in_stage="required",
    oracle_settings={"zero_vectors": "kept"},
)

RECALL_NULL: Final = Benchmark(
    name="recall-null",
    config=RecallNullConfig,
    parts=(Part(needs=(MAP, ANNOTATIONS), uses=(ARMS,), rows=f"{_HERE}.recall_null:permuted_recall_rows"),),
    cost="N^2 D once, then the pairs of a source for each permutation",
    source="this platform",
    examples=("benchmark recall-null --map work/map/KEY --annotations pairs.csv",),
    in_suite=True,
)

PROXIMITY: Final = Benchmark(
    name="proximity",
    config=ProximityConfig,
    parts=(Part(needs=(MAP, ARMS), rows=f"{_HERE}.proximity:proximity_rows"),),
    cost="20,000 pairs inside arms and as many across; 200 resamples of genes",
    source="proxbias; science.md 6.4",
    examples=("benchmark proximity --map work/map/KEY --genes genes.csv",),
    in_suite=True,
)

_TRUTH: Final = Input("truth", reader=f"{_HERE}.compound_truth:read_compound_truth")
COMPOUND_GENE: Final = Benchmark(
    name="compound-gene",
    config=CompoundGeneConfig,
    parts=(Part(needs=(MAP, _TRUTH), rows=f"{_HERE}.compound_gene:compound_gene_rows"),),
    cost="compounds x concentrations x genes x D; 100 draws of negatives",
    source="EFAAR_benchmarking with RxRx3-core; Kraus et al. 2025",
    examples=("benchmark compound-gene --map work/map/KEY --truth compound_gene_interactions.csv",),
    in_suite=True,
)

_LINKS: Final = Input("links", reader=f"{_HERE}.string_links:open_links", beside=("proteins",))
STRING_RECALL: Final = Benchmark(
    name="string-recall",
    config=StringRecallConfig,
    parts=(
        Part(
            needs=(MAP, _LINKS),
            uses=(Input("proteins"), Input("genes", note="a list")),
            rows=f"{_HERE}.string_fpr:linked_gene_rows",
        ),
    ),
    cost="all pairs of the list ranked; 200 resamples of genes",
    source="Kraus et al., CVPR 2024; cp-posh",
    examples=(
        "benchmark string-recall --map work/map/KEY --genes genes.txt "
        "--links 9606.protein.links.v11.5.txt.gz --proteins 9606.protein.info.v11.5.txt.gz",
        "benchmark string-recall --map work/map/KEY --links scored_pairs.csv",
    ),
    in_suite=True,
)

ANNOTATIONS_IMPORT: Final = Benchmark(
    name="annotations",
    config=AnnotationsConfig,
    function=f"{_HERE}.annotation_import:run_annotations",
    parts=(
        Part(
            needs=(Input("path", note="official file"),),
            uses=(Input("names"), Input("aliases"), Input("map")),
        ),
    ),
    cost="one pass over the file",
    source="the files of CORUM, hu.MAP, Reactome, SIGNOR, STRING",
    examples=(
        "benchmark annotations --source corum --path humanComplexes.txt --output CORUM.csv",
        "benchmark annotations --source string --path 9606.protein.links.v11.5.txt.gz "
        "--names 9606.protein.info.v11.5.txt.gz --output StringDB.csv",
    ),
)
