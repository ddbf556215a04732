"""Is recall above chance? A permutation test that exchanges the names of the annotated genes.

The bootstrap interval of recall says how it would vary with other genes. It is no test: pairs share genes, so
.10 is not the recall that these pairs would have by luck, and genes that anybody annotated are rarely genes
without a phenotype. Here the graph of pairs stays as it is and its genes change places (a quadratic
assignment test, as Mantel 1967, PMID 6018555). Only genes that the source names are exchanged, so that
"annotated genes look special" does not count as recall; with arms, only genes of one arm, so that proximity
bias does not either. One-sided, p = (b + 1) / (B + 1).

On 100 null screens at embedding level p is below .05 in as many as a binomial of 100 allows, see
tests/benchmarks/test_calibration.py.
Shapes: N perturbations, D dimensions, M annotated genes, Q pairs, B permutations.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.relations.annotations import AnnotationSource
from phenoscale.benchmarks.relations.config import RecallNullConfig
from phenoscale.benchmarks.relations.recall import Tails, score_pairs, tail_ranks, under_test, with_directions
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import RECALL, RECALL_P_VALUE, RECALL_PERMUTED, Row, canonical_setting
from phenoscale.stats.cosines import TILE_ROWS, pair_cosines, unit_rows
from phenoscale.stats.pair_ranks import Floats, num_pairs

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.str_]
Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Permutations:
    """How many permutations are drawn, and from which seed."""

    num_permutations: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class PermutedRecall:
    """Recall of one source, and recall of the same pairs over exchanged genes.

    Attributes:
        source: name of the annotation source.
        value: recall.
        permuted_B: recall under each permutation.
        num_pairs: pairs in the map.
        num_excluded: pairs of the source that are not in the map.
    """

    source: str
    value: float
    permuted_B: Array
    num_pairs: int
    num_excluded: int

    @property
    def p_value(self) -> float:
        """(b + 1) / (B + 1), never 0; NaN for a source without a pair in the map."""
        if not self.num_pairs:
            return float("nan")
        return (int((self.permuted_B >= self.value).sum()) + 1) / (len(self.permuted_B) + 1)


def permute_recall(
    perturbation_map: PerturbationMap,
    *,
    sources: Sequence[AnnotationSource],
    tails: Tails = (0.05, 0.95),
    arms: Mapping[str, str] | None = None,
    permutations: Permutations | None = None,
) -> list[PermutedRecall]:
    """Recall of each source in a map of one stratum, with its null of exchanged genes.

    The draws of a source depend on the seed and its name only, not on what else is scored. Memory is M^2
    bytes: which pairs of annotated genes are recalled is worked out once, a permutation looks it up.

    Args:
        perturbation_map: the perturbations under test, see `under_test` and `with_directions`.
        sources: annotation sources; one without a pair in the map has no null.
        tails: (lower, upper) of recall.
        arms: arm of each gene: genes of one arm are exchanged, and genes without an arm with each other.
        permutations: how many, and the seed.

    Raises:
        UserError: what `score_pairs` refuses.
    """
    permutations = permutations or Permutations()
    entities = perturbation_map.entities
    scores = score_pairs(entities, perturbation_map.embeddings, sources=sources, tails=[tails])
    units_ND, _ = unit_rows(perturbation_map.embeddings)
    low, high = _limits(perturbation_map.embeddings, tails=tails)
    groups = np.array([(arms or {}).get(str(name), "") for name in entities], np.str_)
    found = []
    for source in scores.sources:
        members, flat = np.unique(source.pairs, return_inverse=True)
        codes_Q2 = flat.reshape(source.pairs.shape)
        recalled_MM = _recalled(units_ND[members], low=low, high=high)
        generator = np.random.default_rng([permutations.seed, zlib.crc32(source.source.encode())])
        draws = _exchanges(groups[members], number=permutations.num_permutations, generator=generator)
        hits = np.array([_count(recalled_MM, place[codes_Q2]) for place in draws], np.float64)
        number = len(source.pairs)
        found.append(
            PermutedRecall(
                source=source.source,
                value=_count(recalled_MM, codes_Q2) / number if number else float("nan"),
                permuted_B=hits / max(number, 1),
                num_pairs=number,
                num_excluded=source.num_excluded,
            )
        )
    return found


def recall_p_values(
    perturbation_map: PerturbationMap,
    *,
    sources: Sequence[AnnotationSource],
    tails: Tails = (0.05, 0.95),
    arms: Mapping[str, str] | None = None,
    permutations: Permutations | None = None,
) -> list[Row]:
    """Rows `recall_p_value`, and `recall_permuted`: mean and central 95 % of recall over exchanged genes."""
    permutations = permutations or Permutations()
    rows: list[Row] = []
    for stratum, everything in under_test(perturbation_map).by_stratum():
        setting = canonical_setting(
            lower=tails[0],
            upper=tails[1],
            num_permutations=permutations.num_permutations,
            permuted="annotated genes" if arms is None else "annotated genes of one arm",
            interval="permutations",
            **stratum,
        )
        part = with_directions(everything)
        for found in permute_recall(part, sources=sources, tails=tails, arms=arms, permutations=permutations):
            low, high = np.quantile(found.permuted_B, [0.025, 0.975]) if found.num_pairs else (None, None)
            row = Row(
                RECALL,
                found.source,
                RECALL_P_VALUE,
                setting,
                found.p_value,
                n=found.num_pairs,
                excluded=found.num_excluded,
                seed=permutations.seed,
            )
            mean = float(found.permuted_B.mean()) if found.num_pairs else None
            rows += [row, replace(row, metric=RECALL_PERMUTED, value=mean, low=low, high=high)]
    return rows


def permuted_recall_rows(
    perturbation_map: PerturbationMap,
    *,
    annotations: Sequence[AnnotationSource],
    config: RecallNullConfig,
    genes: Mapping[str, str] | None = None,
) -> list[Row]:
    """The permutation test with the settings of a config; `genes` are arms. See `recall_p_values`."""
    return recall_p_values(
        perturbation_map,
        sources=annotations,
        tails=(config.lower, config.upper),
        arms=genes,
        permutations=Permutations(config.num_permutations, config.seed),
    )


def _limits(vectors_ND: Floats, *, tails: Tails) -> tuple[float, float]:
    """Cosines below the first and above the second are recalled; infinite where nothing is."""
    total = num_pairs(len(vectors_ND))
    k, above = tail_ranks(tails, total=total)
    ranks = ([k] if k < total else []) + ([above - 1] if above > 0 else [])
    order = pair_cosines(vectors_ND, ranks=ranks, queries_Q2=np.empty((0, 2), np.intp)).order
    # No rank means that every pair is at most `lower`, or at least `upper`: all are recalled.
    return (float(order[0]) if k < total else np.inf, float(order[-1]) if above > 0 else -np.inf)


def _recalled(units_MD: Array, *, low: float, high: float) -> npt.NDArray[np.bool_]:
    """Which pairs are recalled, [M, M]; the cosines are never all in memory."""
    recalled_MM = np.empty((len(units_MD),) * 2, np.bool_)
    for start in range(0, len(units_MD), TILE_ROWS):
        rows = slice(start, start + TILE_ROWS)
        cosines = units_MD[rows] @ units_MD.T
        recalled_MM[rows] = (cosines < low) | (cosines > high)
    return recalled_MM


def _exchanges(groups_M: Labels, *, number: int, generator: np.random.Generator) -> Iterator[Positions]:
    """Permutations of 0 .. M - 1 that keep every member in its group."""
    codes = np.unique(groups_M, return_inverse=True)[1]
    members = np.argsort(codes, kind="stable")
    for _ in range(number):
        place = np.empty(len(codes), np.intp)
        place[members] = np.argsort(codes + generator.random(len(codes)))
        yield place


def _count(recalled_MM: npt.NDArray[np.bool_], codes_Q2: Positions) -> int:
    return int(np.count_nonzero(recalled_MM[codes_Q2[:, 0], codes_Q2[:, 1]]))
