"""Minimize many smooth convex functions at once: limited-memory BFGS with one line search per function.

Reference: Nocedal & Wright, Numerical Optimization (2006), algorithms 7.4 and 3.1; the acceptance test that
stays meaningful when values differ by rounding alone follows Hager & Zhang (2005), doi:10.1137/030601880.
The functions do not wait for each other: every round evaluates each unfinished function at its own trial
point, which is either accepted (new direction) or answered by a shorter step.
Shapes: P functions, M remembered steps, W parameters of one function (flattened).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

SUFFICIENT_DECREASE = 1e-4
SMALLEST_STEP = 1e-10


@dataclass(frozen=True)
class BatchMinimum:
    """Where each function stopped; `converged` is false where rounding or the round limit ended it."""

    parameters: Floats
    values: Floats
    iterations: npt.NDArray[np.int64]
    converged: Flags


def _rowwise(left_PW: Floats, right_PW: Floats) -> Floats:
    products: Floats = np.einsum("pw,pw->p", left_PW, right_PW)
    return products


class _History:
    """The last M steps and gradient changes of every function, as ring buffers."""

    def __init__(self, scale_PW: Floats, *, memory: int) -> None:
        num_functions, num_parameters = scale_PW.shape
        self.scale_PW = scale_PW
        self.memory = memory
        self.steps_PMW = np.zeros((num_functions, memory, num_parameters))
        self.changes_PMW = np.zeros((num_functions, memory, num_parameters))
        self.inverse_products_PM = np.zeros((num_functions, memory))
        self.num_kept_P = np.zeros(num_functions, dtype=np.intp)
        self.gain_P = np.ones(num_functions)

    def remember(self, functions: Indices, *, steps: Floats, changes: Floats) -> None:
        """Store a step of some functions; steps whose curvature drowned in rounding are dropped."""
        products = _rowwise(steps, changes)
        lengths = np.sqrt(_rowwise(steps, steps) * _rowwise(changes, changes))
        curved = products > 1e-12 * lengths
        rows, products, changes = functions[curved], products[curved], changes[curved]
        slot = self.num_kept_P[rows] % self.memory
        self.steps_PMW[rows, slot] = steps[curved]
        self.changes_PMW[rows, slot] = changes
        self.inverse_products_PM[rows, slot] = 1.0 / products
        self.gain_P[rows] = products / np.einsum("pw,pw,pw->p", changes, changes, self.scale_PW[rows])
        self.num_kept_P[rows] += 1

    def directions(self, functions: Indices, gradients: Floats) -> Floats:
        """Two-loop recursion: minus the approximate inverse Hessian times the gradient."""
        moved = -gradients
        ages = range(int(min(self.num_kept_P[functions].max(initial=0), self.memory)))
        weights = []
        for age in ages:
            slot = (self.num_kept_P[functions] - 1 - age) % self.memory
            inverse = np.where(
                age < self.num_kept_P[functions], self.inverse_products_PM[functions, slot], 0.0
            )
            weight = inverse * _rowwise(self.steps_PMW[functions, slot], moved)
            moved -= weight[:, None] * self.changes_PMW[functions, slot]
            weights.append((slot, inverse, weight))
        moved *= self.scale_PW[functions] * self.gain_P[functions, None]
        for slot, inverse, weight in reversed(weights):
            back = inverse * _rowwise(self.changes_PMW[functions, slot], moved)
            moved += (weight - back)[:, None] * self.steps_PMW[functions, slot]
        return moved


class _Search:
    """The state of P searches: where each stands, where it goes, how far it tries."""

    def __init__(
        self, points_PW: Floats, *, values_P: Floats, gradients_PW: Floats, history: _History
    ) -> None:
        num_functions = len(points_PW)
        self.history = history
        self.points_PW, self.values_P, self.gradients_PW = points_PW.copy(), values_P, gradients_PW
        self.steps_P = np.ones(num_functions)
        self.iterations_P = np.zeros(num_functions, dtype=np.int64)
        self.directions_PW = np.zeros_like(points_PW)
        self.slopes_P = np.zeros(num_functions)
        self.turn(np.arange(num_functions))

    def turn(self, functions: Indices) -> None:
        """Choose new directions and start again with the full step."""
        self.directions_PW[functions] = self.history.directions(functions, self.gradients_PW[functions])
        self.slopes_P[functions] = _rowwise(self.gradients_PW[functions], self.directions_PW[functions])
        self.steps_P[functions] = 1.0

    def advance(self, functions: Indices, *, trials: Floats, values: Floats, gradients: Floats) -> None:
        """Accept trial points."""
        self.history.remember(
            functions,
            steps=trials - self.points_PW[functions],
            changes=gradients - self.gradients_PW[functions],
        )
        self.points_PW[functions], self.values_P[functions] = trials, values
        self.gradients_PW[functions] = gradients
        self.iterations_P[functions] += 1
        self.turn(functions)

    def shorten(self, functions: Indices, *, values: Floats) -> None:
        """Go to the minimum of the parabola through the refused trial, within 0.1 to 0.5 of the step."""
        line = self.slopes_P[functions] * self.steps_P[functions]
        excess = np.maximum(values - self.values_P[functions] - line, 1e-300)
        self.steps_P[functions] *= np.clip(-line / (2.0 * excess), 0.1, 0.5)

    def accepts(self, functions: Indices, *, values: Floats, slopes: Floats, rounding: float) -> Flags:
        """Say which trials are good enough."""
        before, slopes_before = self.values_P[functions], self.slopes_P[functions]
        decreased = values <= before + SUFFICIENT_DECREASE * self.steps_P[functions] * slopes_before
        # Near the optimum values differ by rounding alone; the slope along a convex line still tells.
        level = values <= before + rounding * np.abs(before)
        gentle = np.abs(slopes) <= 0.9 * np.abs(slopes_before)
        accepted: Flags = decreased | (level & gentle)
        return accepted


def minimize_batch(
    evaluate: Callable[[Floats, Indices], tuple[Floats, Floats]],
    start_PW: Floats,
    *,
    scale_PW: Floats,
    tolerance: float,
    rounding: float,
    memory: int = 20,
    max_rounds: int = 1000,
) -> BatchMinimum:
    """Minimize P convex functions from their starting points.

    Args:
        evaluate: from parameters [p, W] and indices [p] of functions to values [p], gradients [p, W].
        start_PW: where to start.
        scale_PW: guess of the inverse Hessian's diagonal, the preconditioner.
        tolerance: a function is done when the predicted decrease (gradient times direction) falls below it.
        rounding: relative error of `evaluate`'s values.
        memory: remembered steps.
        max_rounds: evaluations before giving up.
    """
    values, gradients = evaluate(start_PW, np.arange(len(start_PW)))
    search = _Search(
        start_PW, values_P=values, gradients_PW=gradients, history=_History(scale_PW, memory=memory)
    )
    is_done = -search.slopes_P < tolerance
    active = np.flatnonzero(~is_done)
    for _ in range(max_rounds):
        if not len(active):
            break
        trials = search.points_PW[active] + search.steps_P[active, None] * search.directions_PW[active]
        values, gradients = evaluate(trials, active)
        slopes = _rowwise(gradients, search.directions_PW[active])
        accepted = search.accepts(active, values=values, slopes=slopes, rounding=rounding)
        search.advance(
            active[accepted], trials=trials[accepted], values=values[accepted], gradients=gradients[accepted]
        )
        search.shorten(active[~accepted], values=values[~accepted])
        is_done[active] = -search.slopes_P[active] < tolerance
        active = active[~is_done[active] & (search.steps_P[active] > SMALLEST_STEP)]
    return BatchMinimum(search.points_PW, search.values_P, search.iterations_P, is_done)
