"""Activation checkpointing: what the backward pass computes again instead of finding it in memory.

`blocks` keeps the input of each block only: least memory, one more forward pass (a third of the work).
`elementwise` keeps the results of matrix products and attention as well and repeats what lies between them
(norms, GELU, sums): those cost little time and most of the memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from phenoscale.errors import UserError
from phenoscale.training.settings import Recompute

_aten = torch.ops.aten
KEPT = {
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten.baddbmm.default,
    _aten.convolution.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_attention_math.default,
}


def recompute_blocks(blocks: Sequence[nn.Module], *, policy: Recompute) -> None:
    """Let blocks run again in the backward pass; gradients, random numbers and parameter names stay the same.

    Do this before compiling.

    Raises:
        UserError: a block counts the minibatches that it sees (ordinary batch norm), and would count each
            twice.
    """
    if policy == "none":
        return
    parts = [part for block in blocks for part in block.modules()]
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts):
        raise UserError(
            f"recompute {policy} would enter each minibatch twice into the running averages of batch norm; "
            "use recompute none, or model.ghost_batch, which has no running averages"
        )
    options: dict[str, Any] = {"use_reentrant": False}
    if policy == "elementwise":
        options["context_fn"] = functools.partial(create_selective_checkpoint_contexts, _what_to_keep)
    for block in blocks:
        block.forward = _run_again(block.forward, options=options)


def _run_again(forward: Callable[..., Any], *, options: dict[str, Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, **options, **kwargs)

    return recomputed


def _what_to_keep(
    _: SelectiveCheckpointContext, operation: Any, *args: Any, **kwargs: Any
) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in KEPT else CheckpointPolicy.PREFER_RECOMPUTE
