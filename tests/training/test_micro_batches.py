"""Micro-batches: what the loader gives, divided, with the noise or labels beside the crops."""

import dataclasses

import numpy as np
import pytest
import torch

from phenoscale.loading.plan import mask_noise
from phenoscale.training.micro_batches import MicroBatchLoader
from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import plan_batch
from tests.support.pretraining import family_model, tiny_settings, tiny_task


def micro_batches(task, *, first_step=0, num_mask_tokens=16):
    settings = task.settings
    batch = plan_batch(settings.global_batch, micro_batch=settings.micro_batch, num_ranks=1)
    with MicroBatchLoader(
        task, batch=batch, num_mask_tokens=num_mask_tokens, first_step=first_step
    ) as loader:
        items = list(loader)
        assert loader.waited_seconds >= 0
    return items


def test_micro_batches_are_the_loader_s_crops_in_order_with_the_masks_of_their_samples(
    manifest, tmp_path, alone
):
    settings = tiny_settings(num_steps=4, micro_batch=2)
    task = tiny_task(manifest, tmp_path, ranks=alone, settings=settings)
    items = micro_batches(task, first_step=1)
    assert len(items) == 3 * 4
    for step in (1, 2, 3):
        whole = task.source.minibatch(step, global_batch=8)
        mine = items[4 * (step - 1) : 4 * step]
        assert np.array_equal(torch.cat([item.crops_BCHW for item in mine]).numpy(), whole.crops_BCHW)
        noise = mask_noise(whole.samples, seed=0, epoch=whole.epochs, num_tokens=16)
        assert np.array_equal(torch.cat([item.noise_or_labels for item in mine]).numpy(), noise)
        assert all(np.array_equal(item.minibatch.rows, whole.rows) for item in mine)
        assert all(item.arguments == (item.noise_or_labels,) for item in mine)


def test_models_that_learn_labels_are_told_those_of_their_fields(manifest, tmp_path, alone):
    settings = tiny_settings(num_steps=3, micro_batch=4, model=family_model("wsl"))
    task = tiny_task(manifest, tmp_path, ranks=alone, settings=settings)
    for item in micro_batches(task, num_mask_tokens=0)[::2]:
        assert item.noise_or_labels.tolist() == task.labels[item.minibatch.rows][:4].tolist()
        assert item.noise_or_labels.min() >= 0


def test_crops_of_different_channels_come_with_what_they_have(mixed_manifest, tmp_path, alone):
    settings = tiny_settings(num_steps=4, micro_batch=4, model=family_model("ca_mae", num_channels=4))
    task = tiny_task(mixed_manifest, tmp_path, ranks=alone, settings=settings)
    items = micro_batches(task, num_mask_tokens=64)
    sets = set()
    for number, item in enumerate(items):
        part = slice(4 * (number % 2), 4 * (number % 2) + 4)
        expected = task.source.fields.present_of(item.minibatch.rows)
        assert item.present_BC.numpy().tolist() == expected[part].tolist()
        assert item.arguments == (item.noise_or_labels, item.present_BC)
        sets |= {tuple(row) for row in item.present_BC.int().tolist()}
    assert sets == {(1, 1, 1, 0), (1, 1, 0, 1)}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_copies_to_the_gpu_are_complete_when_they_are_used(manifest, tmp_path, alone):
    task = tiny_task(manifest, tmp_path, ranks=alone, settings=tiny_settings(num_steps=6, micro_batch=2))
    on_gpu = dataclasses.replace(
        task, ranks=Ranks(rank=0, world_size=1, device=torch.device("cuda", torch.cuda.current_device()))
    )
    for here, there in zip(micro_batches(task), micro_batches(on_gpu), strict=True):
        assert there.crops_BCHW.is_cuda
        assert torch.equal(there.crops_BCHW.cpu(), here.crops_BCHW)
        assert torch.equal(there.noise_or_labels.cpu(), here.noise_or_labels)
