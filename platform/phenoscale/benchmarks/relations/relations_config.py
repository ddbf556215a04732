"""Settings of the benchmarks that ask a map for known relations with a strength: compound-gene and STRING."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import UserError

GenesWithoutLinks = Literal["negatives", "left_out"]

_MAP = "map folder, or a Parquet with `perturbation` and `embedding`"
_SEED = "seed of everything that is drawn"


class CompoundGeneConfig(Config):
    """Compound-gene activity: does a compound look like the knock-out of the genes that it acts on?

    The score is the absolute cosine of a compound at a concentration and a gene. For each compound, genes at
    or below `active_nm` are actives, those up to `gray_nm` are left out, and max(2 x actives, 20) others of
    the truth table are drawn as negatives, anew for each seed. A compound without an active, or with
    too few negatives, is left out and counted. Rows give average precision at each concentration and at the
    maximum over concentrations: mean, median and quantiles over compounds (macro) and over all pairs at once
    (micro), of the map and of random scores for the same labels, and the z-score between the two.
    """

    map: str = location("", help=f"{_MAP}; it holds genes, and compounds with `concentration_um`")
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
    seed: int = setting(0, ge=0, help=_SEED)
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

    map: str = location("", help=_MAP)
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
        ("negatives", "left_out"), min_length=1, help="what becomes of genes without a link in the list"
    )
    left_out: tuple[str, ...] = setting(
        ("nontargeting", "intergenic"), help="names that begin so are controls and no genes"
    )
    num_resamples: int = setting(200, ge=0, help="bootstrap resamples of genes; 0: no intervals")
    seed: int = setting(0, ge=0, help=_SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _rates(self) -> StringRecallConfig:
        wrong = [rate for rate in self.false_positive_rates if not 0 < rate < 1]
        if wrong:
            raise UserError(f"false_positive_rates holds {wrong}, but a rate lies between 0 and 1; try 0.05")
        return self
