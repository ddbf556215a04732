"""Configs of the verbs that run, plan and inspect pipelines."""

from __future__ import annotations

from typing import Literal

from phenoscale.config import Config, Runtime, location, runtime
from phenoscale.training.config import PretrainConfig


class LineageConfig(Config):
    """Show where an output came from, or what was made from it.

    Every stage leaves a lineage.json in its output; from these alone the walk finds its way, also through
    outputs of other workspaces as long as they lie where they did.
    """

    target: str = location(
        help="output folder of a stage, a file in one, or a registered encoder (models:/NAME@ALIAS)"
    )
    direction: Literal["upstream", "downstream"] = runtime(
        "upstream", help="upstream: what it was made from; downstream: what was made from it"
    )
    runtime: Runtime = Runtime()


class DoctorConfig(Config):
    """Check whether this machine is ready, and say for each check what to do if it is not."""

    store: str = location(help="screen store, folder or s3:// address to try to read")
    min_free_gb: float = runtime(5.0, ge=0, help="free space that the workspace's disk should have, in GB")
    min_memory_gb: float = runtime(4.0, ge=0, help="memory that the machine should have, in GB")
    runtime: Runtime = Runtime()


class CompileConfig(Config):
    """Compile the pipelines of a checkout to the YAML that Kubeflow runs.

    The package carries the compiled files: only somebody who changes a component or a pipeline needs this.
    """

    output: str = location(
        help="folder for the YAML files; by default that of the package, where `run` finds them"
    )


class PlanPretrainConfig(PretrainConfig):
    """Say what a training takes on GPUs of a kind: parameters, operations, memory, hours, cost; runs nothing.

    Takes every setting of `pretrain`, so that --config takes the same file. The published bills of the
    literature stand beside the answer, each with the MFU that it comes to by the same count.
    """

    gpus: int = runtime(8, ge=1, help="GPUs that train together")
    gpu_kind: str = runtime("h100", help="a100, h100, h200, b200, l4, t4, ...")
    price_per_gpu_hour: float | None = runtime(None, ge=0, help="price of one GPU for one hour, any currency")
    mfu: float | None = runtime(
        None, gt=0, le=1, help="share of the dense bf16 rate that is reached; default: the target, 0.5"
    )
    calibration: str = location(
        help="JSON that bench/train.py wrote on such a GPU: its measured MFU is taken"
    )
    num_crops: float | None = runtime(None, gt=0, help="crops of the whole training, in place of epochs")
    num_images: int | None = runtime(None, ge=1, help="training fields, where there is no manifest yet")
    num_channels: int = runtime(6, ge=1, help="channels of a crop, where there is no manifest yet")
    num_classes: int = runtime(1000, ge=2, help="labels that a weakly supervised model tells apart")
