"""Operations of a model: counted, in closed form, and by the rule of the papers. science.md 1.9.

One multiplication with its addition is two floating-point operations. Attention is in; what is computed again
in the backward pass, normalizations, activations and losses are not, as everywhere in the literature.
Shapes: B crops, C channels, H W pixels, L mask tokens.
"""

from functools import lru_cache
from typing import Any, Final, Protocol

import torch
from torch.utils.flop_counter import FlopCounterMode

from phenoscale.errors import UserError
from phenoscale.models.families import build_model
from phenoscale.models.objectives import Prediction, TrainingModel

PASSES_OF_TRAINING: Final = 3  # forward, and backward to the inputs and to the weights of every product

# Forward GFLOP of one 224 px crop with 16 px patches: Touvron et al. (2022), arXiv:2203.09795, Table 1, which
# counts a multiplication with its addition as one.
TOUVRON_GFLOPS: Final = {"S": 4.6, "B": 17.6, "L": 61.6}
PAPER_CROP_SIZE: Final = 256
PAPER_AREA_RATIO: Final = 1.69  # as printed; the square of 256 over 196 tokens is 1.706
PAPER_PATCH_FACTOR: Final = 16  # as if all of a transformer grew with the square of its tokens


class TokenStack(Protocol):
    """What decides the operations of the blocks of a transformer."""

    @property
    def num_blocks(self) -> int:
        """Blocks, all alike."""

    @property
    def embedding_dim(self) -> int:
        """Dimensions of a token."""

    @property
    def mlp_ratio(self) -> float:
        """Hidden over outer width of the MLP."""

    @property
    def num_tokens(self) -> int:
        """Patch tokens of a whole crop, without the class token."""


def block_flops(num_tokens: int, *, dim: int, hidden: int) -> int:
    """Operations of one transformer block: q, k, v and output, the two products of attention, the MLP."""
    return 2 * num_tokens * (4 * dim * dim + 2 * dim * hidden) + 4 * num_tokens * num_tokens * dim


def vit_flops(config: TokenStack, *, num_visible: int | None = None) -> int:
    """Operations of the blocks of an encoder for one crop, in closed form, without the patch projection.

    Args:
        config: of the transformer.
        num_visible: patch tokens that the mask keeps; None means all. The class token comes on top.
    """
    tokens = 1 + (config.num_tokens if num_visible is None else num_visible)
    dim = config.embedding_dim
    return config.num_blocks * block_flops(tokens, dim=dim, hidden=round(dim * config.mlp_ratio))


@lru_cache(maxsize=64)
def forward_flops(model_config: Any) -> int:
    """Operations of one forward pass of one crop of a model of any family, masked and with its decoder.

    They are counted while the model runs on tensors without values.
    """
    model = meta_model(model_config).eval()
    batch = max(1, model.needs_same_plate)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run_on_meta(model, batch=batch)
    return int(counter.get_total_flops()) // batch


def training_flops(model_config: Any) -> int:
    """Operations of training on one crop: forward and backward, without recomputation and optimizer."""
    return PASSES_OF_TRAINING * forward_flops(model_config)


def meta_model(model_config: Any) -> TrainingModel:
    """A model of any family that has shapes, but neither values nor memory."""
    with torch.device("meta"):
        return build_model(model_config, seed=0)


def run_on_meta(model: TrainingModel, *, batch: int) -> Prediction:
    """The prediction, without values, of a model without values for so many crops."""
    config = model.config
    crops = torch.empty(batch, config.num_channels, config.crop_size, config.crop_size, device="meta")
    if model.num_mask_tokens:
        aside = torch.empty(batch, model.num_mask_tokens, device="meta")
    else:
        aside = torch.empty(batch, dtype=torch.long, device="meta")
    prediction: Prediction = model(crops, aside)
    return prediction


def paper_flops_of(model_config: Any) -> int | None:
    """The papers' rule for a model; None where it knows none of that width, patch and number of tokens."""
    sizes = {384: "S", 768: "B", 1024: "L"}
    width, patch = (getattr(model_config, name, None) for name in ("embedding_dim", "patch_size"))
    if width not in sizes or patch not in (8, 16) or model_config.crop_size != PAPER_CROP_SIZE:
        return None
    squares = (PAPER_CROP_SIZE // patch) ** 2
    is_one_token_a_patch = getattr(model_config, "num_tokens", squares) == squares
    return paper_flops(sizes[width], patch_size=patch) if is_one_token_a_patch else None


def paper_flops(size: str, *, patch_size: int) -> int:
    """Forward operations of one 256 px crop by the rule of the MAE paper, whatever the mask keeps.

    It is the table of Touvron et al. times 1.69, times 16 if patches have 8 px: an upper bound that takes all
    of a transformer for attention, and counts a multiplication with its addition as one operation.

    Raises:
        UserError: the rule knows no such model.
    """
    if size not in TOUVRON_GFLOPS or patch_size not in (8, 16):
        raise UserError(
            f"the papers' rule knows the sizes {', '.join(TOUVRON_GFLOPS)} with patches of 16 or 8 px, not "
            f"{size}/{patch_size}; use the exact count"
        )
    factor = PAPER_PATCH_FACTOR if patch_size == 8 else 1
    return round(TOUVRON_GFLOPS[size] * 1e9 * PAPER_AREA_RATIO * factor)
