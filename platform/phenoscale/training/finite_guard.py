"""The guard against a loss that is not finite: name the fields and stop before the weights are spoiled."""

from __future__ import annotations

import json
import math

import numpy as np
from torch import Tensor

from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.loading.crops import CropMinibatch
from phenoscale.training.schedule import learning_rate_at
from phenoscale.training.task import StepTerms, TrainingTask

SHOWN_FIELDS = 3


def stop_unless_finite(
    terms: StepTerms, *, own_terms: Tensor, minibatch: CropMinibatch, step: int, task: TrainingTask
) -> None:
    """Raise a UserError if the loss or the gradient of a step is not finite, on all ranks alike.

    Args:
        terms: means over all ranks, the same on each.
        own_terms: this rank's terms, one row per micro-batch: says which of them are to blame.
        minibatch: this rank's crops.
        step: steps done before this one.
        task: the training.
    """
    if all(map(math.isfinite, [*terms.terms.values(), terms.gradient_norm])):
        return
    is_blamed = ~own_terms.isfinite().all(dim=1).cpu().numpy()
    each = np.array_split(np.arange(len(minibatch.rows)), len(is_blamed))
    blamed = [index for chunk, bad in zip(each, is_blamed, strict=True) if bad for index in chunk]
    entries = [_entry(index, minibatch=minibatch, task=task) for index in blamed]
    everyone = [entry for part in task.ranks.gather(entries) for entry in part]
    if not everyone:  # every loss is finite: it is the gradient
        indices = range(len(minibatch.rows))
        whole = [_entry(index, minibatch=minibatch, task=task) for index in indices]
        everyone = [entry for part in task.ranks.gather(whole) for entry in part]
    peak = task.settings.optimizer.learning_rate
    learning_rate = learning_rate_at(step, peak=peak, schedule=task.settings.schedule)
    report = {
        "step": step + 1,
        "loss": str(terms.loss),
        "gradient_norm": str(terms.gradient_norm),
        "learning_rate": learning_rate,
        "crops": everyone,
    }
    file = task.folder / "logs" / f"not_finite_step_{step + 1}.json"
    if task.ranks.is_first:
        write_atomic(file, json.dumps(report, indent=1).encode())
    fields = list(dict.fromkeys(str(entry["field_id"]) for entry in everyone))
    more = f" and {len(fields) - SHOWN_FIELDS} more" if len(fields) > SHOWN_FIELDS else ""
    raise UserError(
        f"the loss is {terms.loss} and the gradient norm {terms.gradient_norm} at step {step + 1} (learning "
        f"rate {learning_rate:.3g}), in a batch with fields {', '.join(fields[:SHOWN_FIELDS])}{more}, all "
        f"listed in {file}; look at these fields, and lower optimizer.learning_rate, lengthen "
        "schedule.warmup_fraction or set precision to fp32"
    )


def _entry(index: int, *, minibatch: CropMinibatch, task: TrainingTask) -> dict[str, int | str]:
    return {
        "field_id": str(task.field_ids[int(minibatch.rows[index])]),
        "sample": int(minibatch.samples[index]),
        "epoch": int(minibatch.epochs[index]),
    }
