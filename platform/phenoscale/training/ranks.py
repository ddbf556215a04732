"""The processes that train together: one group, a few collective operations, the same code for one process.

gloo between CPUs, nccl between GPUs. With one process every operation is the identity and no group is made.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import TCPStore
from torch.distributed.distributed_c10d import PrefixStore, Store

from phenoscale.distributed import local_rank, rank, world_size
from phenoscale.errors import RetryError
from phenoscale.models.device import choose_device

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
SECONDS_BETWEEN_LOOKS = 0.02

AnyT = TypeVar("AnyT")


@dataclass(frozen=True)
class Ranks:
    """This process's place among all that train together."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over all ranks."""
        if self.world_size > 1:
            dist.all_reduce(values, op=dist.ReduceOp.SUM)
            values /= self.world_size
        return values

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all ranks."""
        if self.world_size > 1:
            dist.all_reduce(values, op=dist.ReduceOp.SUM)
        return values

    def largest(self, value: int) -> int:
        """The largest of one number per rank."""
        if self.world_size == 1:
            return value
        numbers = torch.tensor([value], device=self.device)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
        return int(numbers.item())

    def share(self, value: AnyT) -> AnyT:
        """Rank 0's value, on every rank."""
        if self.world_size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0, device=self.device)
        shared: AnyT = values[0]
        return shared

    def gather(self, value: AnyT) -> list[AnyT]:
        """Every rank's value, in the order of the ranks, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)


@contextmanager
def join_ranks(device_name: str = "auto") -> Iterator[Ranks]:
    """Join the group that torchrun's environment describes; outside of one, a group of one without a group.

    Args:
        device_name: auto, cpu, cuda or cuda:N.
    """
    device = choose_device(device_name, local_rank=local_rank())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    place = Ranks(rank=rank(), world_size=world_size(), device=device)
    if place.world_size == 1:
        yield place
        return
    # The CPU backend beside nccl carries checkpoints, which are written from a thread.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend,
        store=_meeting_place(place),
        rank=place.rank,
        world_size=place.world_size,
        timeout=COLLECTIVE_TIMEOUT,
    )
    try:
        yield place
    finally:
        dist.destroy_process_group()


def _meeting_place(place: Ranks) -> Store:
    """The store in which the ranks find each other.

    An elastic agent serves one store for all its restarts (torch 2.15), in which restarted ranks would find
    the addresses of the dead ones: "connection refused". So each meeting has a name of its own.
    """
    serves_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        world_size=place.world_size,
        is_master=place.is_first and not serves_agent,
        timeout=COLLECTIVE_TIMEOUT,
    )
    return PrefixStore(f"phenoscale/{_agree_on_name(PrefixStore('phenoscale', store), place)}", store)


def _agree_on_name(store: Store, place: Ranks) -> str:
    """A name that rank 0 draws and hands to each rank that asks for it now, not to those that asked and died.

    Restarts cannot be counted instead: agents of several machines count them differently.
    """
    own = uuid.uuid4().hex
    if not place.is_first:
        store.set(f"request-{place.rank}", own)
        name = store.get(f"answer-{own}").decode()
        store.set(f"{name}-{place.rank}", "here")
        return name
    missing = set(range(1, place.world_size))
    deadline = time.monotonic() + COLLECTIVE_TIMEOUT.total_seconds()
    while missing:
        for other in sorted(missing):
            if store.check([f"{own}-{other}"]):
                missing.remove(other)
            elif store.check([f"request-{other}"]):
                store.set(f"answer-{store.get(f'request-{other}').decode()}", own)
        if time.monotonic() > deadline:
            raise RetryError(f"ranks {sorted(missing)} did not come within {COLLECTIVE_TIMEOUT}")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return own
