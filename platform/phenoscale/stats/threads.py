"""Threads of our own around numpy: one task a thread, with the matrix library held to one thread in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

Item = TypeVar("Item")
Result = TypeVar("Result")


def num_blas_threads() -> int:
    """How many threads a matrix product may use now."""
    return max(
        (entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"), default=1
    )


def map_threads(task: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The task's result for every item, in order, with as many threads as a matrix product may use."""
    threads = num_blas_threads()
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(task, items))
