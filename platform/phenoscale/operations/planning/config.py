"""Config of the verb that says what a training takes."""

from __future__ import annotations

from phenoscale.config import location, runtime
from phenoscale.training.config import PretrainConfig


class PlanTrainingConfig(PretrainConfig):
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
