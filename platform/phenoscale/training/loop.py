"""The training loop: the same numbers for any number of processes, and after any number of kills.

Crops, order, flips and masks are pure functions of (seed, epoch, sample); stochastic depth is seeded anew
at every step from (seed, step, rank). So a checkpoint holds model, optimizer and step, and going on is
arithmetic. The mean over the global batch is the mean over ranks and accumulations of the means over their
crops, because every crop has the same weight in its micro-batch.

Shapes: B crops of one forward pass, C channels, H W pixels.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from phenoscale.models.families import build_model
from phenoscale.models.losses import loss_terms
from phenoscale.models.objectives import Prediction, TrainingModel
from phenoscale.models.preprocess import standardize
from phenoscale.training.checkpoints import Checkpoints, Trained
from phenoscale.training.finite_guard import stop_unless_finite
from phenoscale.training.guards import Verdict, diverged_error
from phenoscale.training.micro_batches import MicroBatch, MicroBatchLoader
from phenoscale.training.optimizer import build_optimizer, follow_schedule
from phenoscale.training.precision import autocast
from phenoscale.training.preemption import preempted_error
from phenoscale.training.ranks import Ranks
from phenoscale.training.recompute import recompute_blocks
from phenoscale.training.recorder import Recorder
from phenoscale.training.settings import TrainingSettings, plan_batch
from phenoscale.training.sharding import accumulating, gradient_norm, whole_model, wrap_model
from phenoscale.training.task import StepTerms, TrainingTask
from phenoscale.training.weight_average import WeightAverage

LossFunction = Callable[[Prediction], dict[str, Tensor]]


class TrainingResult(NamedTuple):
    """The trained model on this rank, with its averaged weights if they were asked for, and its steps."""

    model: TrainingModel
    num_steps: int


def train(task: TrainingTask) -> TrainingResult:
    """Train from the newest checkpoint, or from the beginning, to the last step.

    Raises:
        UserError: the batch does not divide, a checkpoint belongs to another training, the loss is not
            finite, or the training diverged.
        RetryError: SIGTERM came; a checkpoint was saved.
    """
    settings, ranks = task.settings, task.ranks
    with own_randomness(ranks), contextlib.ExitStack() as context:
        model = build_model(settings.model, seed=settings.seed)
        batch = plan_batch(
            settings.global_batch,
            micro_batch=settings.micro_batch,
            num_ranks=ranks.world_size,
            same_plate=model.needs_same_plate,
        )
        checkpoints = Checkpoints(task.output, settings=settings, ranks=ranks)
        context.enter_context(contextlib.closing(checkpoints))
        trained = prepare(model, settings=settings, ranks=ranks)
        step = checkpoints.load_newest(trained)
        recorder = Recorder(task, first_step=step)
        if recorder.verdict is not Verdict.STOP:
            loader = MicroBatchLoader(
                task, batch=batch, num_mask_tokens=model.num_mask_tokens, first_step=step
            )
            context.enter_context(loader)
            context.enter_context(task.preemption.deferred())
            context.enter_context(recorder)
            step = _take_steps(trained, loader, first_step=step, checkpoints=checkpoints, recorder=recorder)
        if trained.ema is not None:
            trained.ema.exchange()
        model = whole_model(model, settings=settings, ranks=ranks)
    return TrainingResult(model, step)


def prepare(model: TrainingModel, *, settings: TrainingSettings, ranks: Ranks) -> Trained:
    """A model as it trains here, its optimizer, and its averaged weights if they are asked for."""
    model.to(ranks.device).train()
    recompute_blocks(model.blocks(), policy=settings.recompute)
    wrapped = wrap_model(model, settings=settings, ranks=ranks)
    average = None if settings.ema_decay is None else WeightAverage(model, decay=settings.ema_decay)
    return Trained(wrapped, build_optimizer(model, settings=settings.optimizer), average)


def _take_steps(
    trained: Trained,
    loader: MicroBatchLoader,
    *,
    first_step: int,
    checkpoints: Checkpoints,
    recorder: Recorder,
) -> int:
    """Train until the last step, or until a callback stops; returns the steps done."""
    task, step = loader.task, first_step
    compute_loss = build_loss(task.settings, device=task.ranks.device)
    while step < task.settings.schedule.num_steps:
        terms = take_step(trained, loader, step=step, compute_loss=compute_loss)
        step += 1
        verdict = recorder.write(step, terms=terms, trained=trained, waited_seconds=loader.waited_seconds)
        _act_on(verdict, step=step, terms=terms, trained=trained, task=task, checkpoints=checkpoints)
        if verdict is Verdict.STOP:
            break
    return step


def take_step(
    trained: Trained, loader: MicroBatchLoader, *, step: int, compute_loss: LossFunction
) -> StepTerms:
    """One optimizer step on a global batch; returns its means over all ranks.

    What the process has to know about the step it fetches from the device at once, after the backward pass
    and before the update: so weights are never spoiled, and the one gap in the GPU's work is as long as the
    optimizer takes to be launched, while the next forward pass is launched behind the optimizer's kernels.
    """
    task, settings, num_parts = loader.task, loader.task.settings, loader.batch.num_accumulations
    torch.manual_seed(noise_seed(settings.seed, step=step, rank=task.ranks.rank))
    own: list[dict[str, Tensor]] = []
    for number, micro in enumerate(islice(loader, num_parts), start=1):
        with accumulating(trained.model, is_last=number == num_parts):
            terms = _backward(trained.model, micro, task=task, compute_loss=compute_loss, num_parts=num_parts)
            own.append(terms)
    own_terms = torch.stack([torch.stack(list(each.values())) for each in own])
    norm = gradient_norm(trained.model)
    result = _fetch(own_terms, names=list(own[0]), norm=norm, task=task)
    stop_unless_finite(result, own_terms=own_terms, minibatch=micro.minibatch, step=step, task=task)
    follow_schedule(trained.optimizer, step=step, settings=settings)
    trained.optimizer.step()
    trained.optimizer.zero_grad(set_to_none=True)
    if trained.ema is not None:
        trained.ema.update()
    return result


def build_loss(settings: TrainingSettings, *, device: torch.device) -> LossFunction:
    """What turns a prediction into loss terms; compiled on a GPU, where that joins its many small kernels."""
    compute_loss: LossFunction = functools.partial(loss_terms, loss=settings.loss)
    if settings.compile_blocks and device.type == "cuda":
        compute_loss = torch.compile(compute_loss)
    return compute_loss


def _backward(
    model: nn.Module, micro: MicroBatch, *, task: TrainingTask, compute_loss: LossFunction, num_parts: int
) -> dict[str, Tensor]:
    """Add one of so many micro-batches to the gradients; returns its loss terms."""
    settings, device = task.settings, task.ranks.device
    ready_BCHW = standardize(micro.crops_BCHW, intensity_scale=settings.intensity_scale)
    with autocast(settings.precision, device=device):
        prediction = model(ready_BCHW, *micro.arguments)
    terms = compute_loss(prediction)
    torch.autograd.backward(terms["loss"] / num_parts)
    return {name: value.detach() for name, value in terms.items()}


def _fetch(own_terms: Tensor, *, names: list[str], norm: Tensor, task: TrainingTask) -> StepTerms:
    """Everything about a step in one small tensor: one collective, if there are ranks, and one copy."""
    is_asked = own_terms.new_full((1,), float(task.preemption.is_requested))
    everything = torch.cat([own_terms.mean(dim=0), norm.reshape(1).to(own_terms), is_asked])
    *values, gradient, asked = task.ranks.mean(everything).tolist()
    return StepTerms(dict(zip(names, values, strict=True)), gradient_norm=gradient, is_preempted=asked > 0)


def _act_on(
    verdict: Verdict,
    *,
    step: int,
    terms: StepTerms,
    trained: Trained,
    task: TrainingTask,
    checkpoints: Checkpoints,
) -> None:
    """Save where it is due, and end where it was asked for."""
    settings = task.settings
    if verdict is Verdict.DIVERGED:
        raise diverged_error(step=step, loss=terms.loss, factor=settings.guards.divergence_factor)
    is_due = step % settings.checkpoint_every_steps == 0 or step == settings.schedule.num_steps
    if is_due or verdict is not Verdict.CONTINUE:
        checkpoints.save(step, trained=trained)
    if verdict is Verdict.PREEMPTED:
        checkpoints.wait()
        task.ranks.barrier()
        raise preempted_error(f"at step {step}, which is saved")


def noise_seed(seed: int, *, step: int, rank: int) -> int:
    """The seed of what torch draws by itself in one step of one rank: stochastic depth."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])


@contextlib.contextmanager
def own_randomness(ranks: Ranks) -> Iterator[None]:
    """Leave torch's global random numbers as they were."""
    devices = [ranks.device] if ranks.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
