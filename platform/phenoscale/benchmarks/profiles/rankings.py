"""Who ranks whom: rankings of rows by columns that positives and negatives share, or by lists of labels.

Similarities are cosines of unit vectors, rounded to float32 as the published numbers' were, so that equal
profiles tie. At equal similarity positives stand before negatives, as in the published code (copairs), so
that a query to which all profiles are equally similar would score 1: that is refused. Memory is one block of
similarities. Shapes: N rows, D dimensions, T labels, Q queries.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.profiles.average_precision import (
    Array,
    Positions,
    RankedQueries,
    Similarities,
    average_precision,
)
from phenoscale.errors import UserError

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.str_]
_BLOCK = 4_000_000
_ROUNDING = 2.0**-22


@dataclass(frozen=True)
class PairRule:
    """Which rows a query is compared with: they share every value in `same`, and none in `different`.

    Attributes:
        same: columns, each [N].
        different: columns, each [N].
        is_candidate: [N] which rows may be found.
    """

    same: Sequence[Labels]
    different: Sequence[Labels]
    is_candidate: Mask


@dataclass
class _Found:
    """Queries as they are ranked."""

    average_precision: list[float]
    num_positives: list[int]
    num_total: list[int]
    group: list[int]

    def add(self, positives: Similarities, *, sorted_negatives: Similarities, group: int) -> None:
        if len(positives) and len(sorted_negatives):
            _refuse_equal(positives, sorted_negatives)
            self.average_precision.append(average_precision(positives, sorted_negatives=sorted_negatives))
            self.num_positives.append(len(positives))
            self.num_total.append(len(positives) + len(sorted_negatives))
            self.group.append(group)

    def ranked(self, groups: Labels) -> RankedQueries:
        return RankedQueries(
            average_precision=np.array(self.average_precision, np.float64),
            num_positives=np.array(self.num_positives, np.intp),
            num_total=np.array(self.num_total, np.intp),
            group=np.array(self.group, np.intp),
            groups=groups,
        )


def rank_rows(
    units_ND: Array, labels_N: Labels, *, is_query: Mask, positives: PairRule, negatives: PairRule,
    is_absolute: bool = False,
) -> RankedQueries:  # fmt: skip
    """Rank each query's positives among its negatives; queries without either are left out.

    Args:
        units_ND: rows of unit length.
        labels_N: what each row is judged as.
        is_query: [N] rows that rank others.
        positives: rule of positives; the query itself never is one.
        negatives: rule of negatives.
        is_absolute: rank by the absolute value of the cosine.
    """
    groups, group_of = np.unique(labels_N, return_inverse=True)
    used = np.unique(group_of[is_query])
    place = np.searchsorted(used, group_of)
    matching = _members(positives)
    shared = _codes(positives)
    found = _Found([], [], [], [])
    for queries, is_negative, columns in _blocks(negatives, is_query=is_query):
        similar = _similarities(units_ND[queries], units_ND[columns], is_absolute=is_absolute)
        for row, query in enumerate(queries.tolist()):
            others = matching[shared[query]]
            others = others[others != query]
            for values in positives.different:
                others = others[values[others] != values[query]]
            if len(others):
                alike = _similarities(units_ND[[query]], units_ND[others], is_absolute=is_absolute)[0]
                against = np.sort(similar[row][is_negative[row]])
                found.add(alike, sorted_negatives=against, group=int(place[query]))
    return found.ranked(groups[used])


def rank_labels(
    units_ND: Array, labels: Sequence[frozenset[str]], *, positive_different: Sequence[Labels] = (),
    negative_different: Sequence[Labels] = (), is_absolute: bool = False,
) -> RankedQueries:  # fmt: skip
    """Rank, for each label of each row, the rows with it among the rows that share none of its labels.

    Args:
        units_ND: rows of unit length.
        labels: labels of each row; a row without any is neither query nor negative.
        positive_different: columns in which positives differ from the query.
        negative_different: columns in which negatives differ from the query.
        is_absolute: rank by the absolute value of the cosine.
    """
    names = np.array(sorted(set().union(*labels)), np.str_)
    code = {name: position for position, name in enumerate(names.tolist())}
    has_label_NT = np.zeros((len(labels), len(names)), np.float32)
    for row, held in enumerate(labels):
        has_label_NT[row, [code[name] for name in held]] = 1
    is_labelled = has_label_NT.any(axis=1)
    found = _Found([], [], [], [])
    step = max(_BLOCK // max(len(labels), 1), 1)
    for start in range(0, len(labels), step):
        rows = np.arange(start, min(start + step, len(labels)))
        similar = _similarities(units_ND[rows], units_ND, is_absolute=is_absolute)
        allowed = is_labelled & _differ(positive_different, rows)
        allowed[np.arange(len(rows)), rows] = False
        is_negative = is_labelled & _differ(negative_different, rows)
        is_negative &= (has_label_NT[rows] @ has_label_NT.T) == 0
        for row, query in enumerate(rows.tolist()):
            against = np.sort(similar[row][is_negative[row]])
            for label in np.flatnonzero(has_label_NT[query]).tolist():
                is_positive = allowed[row] & (has_label_NT[:, label] > 0)
                found.add(similar[row][is_positive], sorted_negatives=against, group=label)
    return found.ranked(names)


def _refuse_equal(positives: Similarities, sorted_negatives: Similarities) -> None:
    """Refuse a query to which all profiles are equally similar, up to the rounding of float32."""
    lowest = min(positives.min(), sorted_negatives[0])
    if max(positives.max(), sorted_negatives[-1]) - lowest <= _ROUNDING:
        raise UserError(
            f"all {len(positives) + len(sorted_negatives)} profiles that one profile is compared with are "
            f"equally similar to it ({lowest:.6g}), as if all point the same way, but a ranking needs "
            "profiles that differ; check the features, or leave out plates on which they do not vary"
        )


def _blocks(rule: PairRule, *, is_query: Mask) -> Iterator[tuple[Positions, Mask, Positions]]:
    """Queries that share the columns of the rule, which columns are their negatives, and these columns."""
    shared, candidates = _codes(rule), _members(rule)
    for code in np.unique(shared[is_query]).tolist():
        queries = np.flatnonzero(is_query & (shared == code))
        columns = candidates[code]
        step = max(_BLOCK // max(len(columns), 1), 1)
        for start in range(0, len(queries), step):
            rows = queries[start : start + step]
            is_negative = rows[:, None] != columns[None, :]
            for values in rule.different:
                is_negative &= values[rows][:, None] != values[columns][None, :]
            yield rows, is_negative, columns


def _members(rule: PairRule) -> list[Positions]:
    """Candidates of each code of the columns that are shared."""
    codes = _codes(rule)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(codes.max(initial=0) + 2))
    parts = [order[start:stop] for start, stop in itertools.pairwise(bounds.tolist())]
    return [np.sort(part[rule.is_candidate[part]]) for part in parts]


def _codes(rule: PairRule) -> Positions:
    """One code for each combination of the values that are shared."""
    joined = np.zeros(len(rule.is_candidate), np.intp)
    for values in rule.same:
        names, inverse = np.unique(values, return_inverse=True)
        joined = np.unique(joined * len(names) + inverse, return_inverse=True)[1].astype(np.intp)
    return joined


def _differ(columns: Sequence[Labels], rows: Positions) -> Mask:
    differ = np.ones((len(rows), 1), np.bool_)
    for values in columns:
        differ = differ & (values[rows][:, None] != values[None, :])
    return differ


def _similarities(left_QD: Array, right_ND: Array, *, is_absolute: bool) -> Similarities:
    cosines = (left_QD @ right_ND.T).astype(np.float32)
    return np.abs(cosines) if is_absolute else cosines
