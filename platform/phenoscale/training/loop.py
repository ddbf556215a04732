"""The training loop: the same numbers for any number of processes, and after any number of kills.

Crops, order, flips and masks are pure functions of (seed, epoch, sample); stochastic depth is seeded anew
at every step from (seed, step, rank). So a checkpoint holds model, optimizer and step, and going on is
arithmetic. The mean over the global batch is the mean over ranks and accumulations of the means over their
crops, because every crop has the same number of removed patches.

Shapes: B crops of one forward pass, C channels, H W pixels, L patch tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from phenoscale.loading.crops import CropMinibatch
from phenoscale.loading.plan import mask_noise
from phenoscale.loading.prefetch import Prefetcher
from phenoscale.models.losses import mae_loss_terms
from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.models.preprocess import standardize
from phenoscale.training.checkpoints import Checkpoints, Trained
from phenoscale.training.finite import stop_unless_finite
from phenoscale.training.guards import Verdict, diverged_error
from phenoscale.training.journal import Journal
from phenoscale.training.optimizer import build_optimizer, set_learning_rate
from phenoscale.training.precision import autocast
from phenoscale.training.preemption import preempted_error
from phenoscale.training.ranks import Ranks
from phenoscale.training.schedule import learning_rate_at
from phenoscale.training.settings import BatchPlan, plan_batch
from phenoscale.training.sharding import accumulating, gradient_norm, wrap_model
from phenoscale.training.task import StepTerms, TrainingTask


class TrainingResult(NamedTuple):
    """The trained model, on this rank, and the steps that it took."""

    model: MaskedAutoencoder
    num_steps: int


def train(task: TrainingTask) -> TrainingResult:
    """Train from the newest checkpoint, or from the beginning, to the last step.

    Raises:
        UserError: the batch does not divide, a checkpoint belongs to another training, the loss is not
            finite, or the training diverged.
        RetryError: SIGTERM came; a checkpoint was saved.
    """
    settings, ranks = task.settings, task.ranks
    batch = plan_batch(settings.global_batch, micro_batch=settings.micro_batch, num_ranks=ranks.world_size)
    checkpoints = Checkpoints(task.checkpoint_folder, settings=settings, ranks=ranks)
    with _own_randomness(ranks), contextlib.closing(checkpoints):
        model = MaskedAutoencoder(settings.model, seed=settings.seed).to(ranks.device).train()
        optimizer = build_optimizer(model, settings=settings.optimizer)
        trained = Trained(wrap_model(model, settings=settings, ranks=ranks), optimizer)
        step = checkpoints.load_newest(trained)
        journal = Journal(task, first_step=step)
        if journal.verdict is Verdict.STOP:
            return TrainingResult(model, step)
        with _minibatches(task, first_step=step) as minibatches, task.preemption.deferred(), journal:
            for minibatch in minibatches:
                terms = _take_step(trained, minibatch, step=step, task=task, batch=batch)
                step += 1
                verdict = journal.write(step, terms=terms, model=model)
                _act_on(verdict, step=step, terms=terms, trained=trained, task=task, checkpoints=checkpoints)
                if verdict is Verdict.STOP:
                    break
    return TrainingResult(model, step)


def _take_step(
    trained: Trained, minibatch: CropMinibatch, *, step: int, task: TrainingTask, batch: BatchPlan
) -> StepTerms:
    """One optimizer step on a global batch; returns its means over all ranks."""
    settings, ranks, optimizer = task.settings, task.ranks, trained.optimizer
    torch.manual_seed(noise_seed(settings.seed, step=step, rank=ranks.rank))
    noise_BL = torch.from_numpy(
        mask_noise(
            minibatch.samples,
            seed=settings.seed,
            epoch=minibatch.epochs,
            num_tokens=settings.model.num_tokens,
        )
    )
    crops_BCHW = torch.from_numpy(minibatch.crops_BCHW)
    micro_batches = zip(
        torch.split(crops_BCHW, batch.micro_batch), torch.split(noise_BL, batch.micro_batch), strict=True
    )
    terms = []
    for number, (crops, noise) in enumerate(micro_batches, start=1):
        with accumulating(trained.model, is_last=number == batch.num_accumulations):
            terms.append(_backward(trained.model, crops, noise_BL=noise, task=task, batch=batch))
    own_terms = torch.stack(terms)
    norm = gradient_norm(trained.model)
    loss, mse, fourier = ranks.mean(own_terms.mean(dim=0)).tolist()
    result = StepTerms(loss=loss, mse=mse, fourier=fourier, gradient_norm=norm.item())
    stop_unless_finite(result, own_terms=own_terms, minibatch=minibatch, step=step, task=task)
    set_learning_rate(
        optimizer,
        learning_rate_at(step, peak=settings.optimizer.learning_rate, schedule=settings.schedule),
    )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return result


def _backward(
    model: nn.Module, crops_BCHW: Tensor, *, noise_BL: Tensor, task: TrainingTask, batch: BatchPlan
) -> Tensor:
    """Add one micro-batch's share to the gradients; returns its loss, squared error and Fourier loss."""
    settings, device = task.settings, task.ranks.device
    ready_BCHW = standardize(crops_BCHW.to(device), intensity_scale=settings.intensity_scale)
    with autocast(settings.precision, device=device):
        prediction = model(ready_BCHW, noise_BL.to(device))
    terms = mae_loss_terms(prediction, alpha=settings.loss.alpha, fourier_mode=settings.loss.fourier_mode)
    torch.autograd.backward(terms.total / batch.num_accumulations)
    return torch.stack([terms.total, terms.mse, terms.fourier]).detach()


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
def _own_randomness(ranks: Ranks) -> Iterator[None]:
    """Leave torch's global random numbers as they were."""
    devices = [ranks.device] if ranks.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def _minibatches(task: TrainingTask, *, first_step: int) -> Prefetcher[CropMinibatch]:
    return task.source.prefetch(
        first_step,
        task.settings.schedule.num_steps - first_step,
        global_batch=task.settings.global_batch,
        rank=task.ranks.rank,
        world_size=task.ranks.world_size,
    )
