"""Scaling on paper: what a step moves and computes on up to 256 GPUs, from closed forms alone.

An all-reduce of S bytes over n processes moves 2 (n - 1) / n S bytes out of each of them, an all-gather and a
reduce-scatter (n - 1) / n S. With rings through all GPUs of a node the same number of bytes leaves the node.
"""

from __future__ import annotations

from dataclasses import dataclass

from phenoscale.models.families import model_config
from phenoscale.models.flops import meta_model, training_flops
from phenoscale.training.chips import find_chip

GPU_COUNTS = (8, 32, 64, 128, 256)
GPUS_PER_NODE = 8
NODE_BYTES_PER_SECOND = 400e9 / 8  # one link of 400 Gb/s a node
MFU = 0.5
GPU_KIND = "h100"
NUM_CHANNELS = 6
BACKWARD_SHARE = 2 / 3
GRADIENT_BYTES = 4
GATHERED_BYTES = 4 + 4  # weights in fp32, for the forward and again for the backward pass
MAX_CHUNKS_PER_CROP = 4  # a crop of the chunks' size that lies across a corner


@dataclass(frozen=True)
class Training:
    """A published training: a model and its global batch."""

    size: str
    global_batch: int


TRAININGS = (
    Training("S/16", 16_384),
    Training("B/16", 16_384),
    Training("L/8", 16_384),
    Training("G/8", 8_192),
)


@dataclass(frozen=True)
class Step:
    """One step of a training on so many GPUs, at half of the chips' rate."""

    size: str
    num_gpus: int
    crops_per_gpu: float
    compute_seconds: float
    ddp_bytes: float
    fsdp_bytes: float
    crop_bytes: int

    @property
    def ddp_bandwidth(self) -> float:
        """Bytes a second that hide the all-reduce behind the backward pass."""
        return self.ddp_bytes / (BACKWARD_SHARE * self.compute_seconds)

    @property
    def fsdp_bandwidth(self) -> float:
        """Bytes a second that hide gathers and scatter behind the whole step."""
        return self.fsdp_bytes / self.compute_seconds

    @property
    def loader_bandwidth(self) -> float:
        """Raw bytes of crops that a node uses in a second."""
        gpus = min(self.num_gpus, GPUS_PER_NODE)
        return gpus * self.crops_per_gpu * self.crop_bytes / self.compute_seconds


def step_of(training: Training, *, num_gpus: int) -> Step:
    """Work out one step."""
    config = model_config("mae", size=training.size, num_channels=NUM_CHANNELS)
    num_parameters = sum(value.numel() for value in meta_model(config).parameters())
    crops = training.global_batch / num_gpus
    share = (num_gpus - 1) / num_gpus
    return Step(
        size=training.size,
        num_gpus=num_gpus,
        crops_per_gpu=crops,
        compute_seconds=crops * training_flops(config) / (MFU * find_chip(GPU_KIND).bf16_flops),
        ddp_bytes=2 * share * GRADIENT_BYTES * num_parameters,
        fsdp_bytes=share * (GATHERED_BYTES + GRADIENT_BYTES) * num_parameters,
        crop_bytes=NUM_CHANNELS * config.crop_size**2,
    )


def most_gpus(training: Training) -> dict[str, float]:
    """GPUs up to which a node's link hides the communication at this global batch, with DDP and with FSDP."""
    # Seconds of compute fall with the GPUs, bytes hardly change: the bandwidth needed grows with them.
    step = step_of(training, num_gpus=256)
    return {
        "ddp": 256 * NODE_BYTES_PER_SECOND / step.ddp_bandwidth,
        "fsdp": 256 * NODE_BYTES_PER_SECOND / step.fsdp_bandwidth,
    }


def paper_tables() -> str:
    """The two tables of docs/scaling.md, as Markdown."""
    return "\n".join([*_steps_table(), "", *_limits_table()])


def _steps_table() -> list[str]:
    lines = [
        "| model | GPUs | crops a GPU | compute, s | DDP, GB | needs, GB/s a node | FSDP, GB | needs, "
        "GB/s a node | crops, GB/s a node | read at most, GB/s a node |",
        "| --- " * 10 + "|",
    ]
    for training in TRAININGS:
        for num_gpus in GPU_COUNTS:
            step = step_of(training, num_gpus=num_gpus)
            is_one_node = num_gpus <= GPUS_PER_NODE
            cells = [
                step.size,
                f"{num_gpus}",
                f"{step.crops_per_gpu:,.0f}",
                f"{step.compute_seconds:.3f}",
                f"{step.ddp_bytes / 1e9:.2f}",
                "NVLink" if is_one_node else _needed(step.ddp_bandwidth),
                f"{step.fsdp_bytes / 1e9:.2f}",
                "NVLink" if is_one_node else _needed(step.fsdp_bandwidth),
                f"{step.loader_bandwidth / 1e9:.2f}",
                f"{MAX_CHUNKS_PER_CROP * step.loader_bandwidth / 1e9:.2f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _needed(bandwidth: float) -> str:
    shown = f"{bandwidth / 1e9:.1f}"
    return f"**{shown}**" if bandwidth > NODE_BYTES_PER_SECOND else shown


def _limits_table() -> list[str]:
    lines = [
        "| model | global batch | hidden up to, DDP | hidden up to, FSDP |",
        "| --- " * 4 + "|",
    ]
    for training in TRAININGS:
        limits = most_gpus(training)
        lines.append(
            f"| {training.size} | {training.global_batch:,} | {limits['ddp']:,.0f} GPUs | "
            f"{limits['fsdp']:,.0f} GPUs |"
        )
    return lines
