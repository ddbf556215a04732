"""Write what the released block computes: timm 0.9.7's own ParallelScalingBlock on small given weights.

Only that old release still has the legacy order of the bias (science.md 11.1). To write the file again:
`pip install --no-deps --target OLD timm==0.9.7`, then `PYTHONPATH=OLD:. python -m tests.golden.legacy_block`.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from timm.models.vision_transformer import ParallelScalingBlock
from torch import nn

GOLDEN_FILE = Path(__file__).parent / "legacy_block.json"
DIM, NUM_HEADS, HIDDEN_DIM = 8, 2, 32
SHAPES = {
    "in_norm.weight": (DIM,),
    "in_norm.bias": (DIM,),
    "in_proj.weight": (HIDDEN_DIM + 3 * DIM, DIM),
    "mlp_bias": (HIDDEN_DIM,),
    "q_norm.weight": (DIM // NUM_HEADS,),
    "q_norm.bias": (DIM // NUM_HEADS,),
    "k_norm.weight": (DIM // NUM_HEADS,),
    "k_norm.bias": (DIM // NUM_HEADS,),
    "attn_out_proj.weight": (DIM, DIM),
    "attn_out_proj.bias": (DIM,),
    "mlp_out_proj.weight": (DIM, HIDDEN_DIM),
    "mlp_out_proj.bias": (DIM,),
    "ls.gamma": (DIM,),
}


def waves(shape: tuple[int, ...], *, phase: float) -> torch.Tensor:
    """Numbers between -1 and 1 that no release of any generator can change."""
    return torch.from_numpy(np.sin(2.0 * np.arange(np.prod(shape)) + phase)).float().reshape(shape)


def golden_weights() -> dict[str, torch.Tensor]:
    """The weights of the block, by name."""
    return {name: waves(shape, phase=0.1 * index) for index, (name, shape) in enumerate(SHAPES.items())}


def golden_tokens() -> torch.Tensor:
    """The tokens that it reads: two crops, five tokens each."""
    return waves((2, 5, DIM), phase=7.0)


def write_golden() -> None:
    """Run the block of the installed timm and write what it returns."""
    if timm.__version__ != "0.9.7":
        raise SystemExit(f"timm {timm.__version__} does not have the legacy order any more; install 0.9.7")
    norm = partial(nn.LayerNorm, eps=1e-6)
    block = ParallelScalingBlock(DIM, NUM_HEADS, qk_norm=True, init_values=1e-4, norm_layer=norm)
    block.load_state_dict(golden_weights())
    with torch.no_grad():
        values = block.double()(golden_tokens().double()).tolist()
    GOLDEN_FILE.write_text(json.dumps({"timm": timm.__version__, "tokens_BLD": values}, indent=1) + "\n")


if __name__ == "__main__":
    write_golden()
