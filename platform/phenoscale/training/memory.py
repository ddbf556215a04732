"""Memory of a training on one accelerator, in closed form: the model's state, and what a forward pass keeps.

Weights, gradients, optimizer state and averages are float32. Activations are those of autocast: inputs and
results of matrix products in the training's precision, the residual stream and inputs of norms in float32,
attention by a fused kernel that keeps no scores. Compiled blocks keep less, so these are upper bounds.

Letters: L tokens of a crop with the class token, K kept patches, D dimensions, H hidden units, N heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from phenoscale.models.ca_mae import CROSS_HEADS, ChannelAgnosticMaeConfig
from phenoscale.models.flops import meta_model, run_on_meta
from phenoscale.models.losses import LossSettings
from phenoscale.models.mae import MaskedAutoencoderConfig
from phenoscale.schema.encoders import Precision
from phenoscale.training.settings import OptimizerSettings, Recompute, TrainingSettings

FLOAT: Final = 4
INDEX: Final = 8
SHARDED_BLOCKS_AT_ONCE: Final = 2  # FSDP gathers the next block while it computes with this one


@dataclass(frozen=True, kw_only=True)
class StackShape:
    """Equal transformer blocks and the tokens that one crop sends through them."""

    num_blocks: int
    num_tokens: int
    dim: int
    hidden: int
    num_heads: int
    is_parallel: bool = False
    has_qk_norm: bool = False
    has_layer_scale: bool = False


@dataclass(frozen=True, kw_only=True)
class CropMemory:
    """Bytes that one crop of a micro-batch takes.

    Attributes:
        saved: what the forward pass keeps for the backward pass.
        working: crops, target and prediction, and what one block has in hand while its gradient is computed.
    """

    saved: int
    working: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.saved + self.working


@dataclass(frozen=True, kw_only=True)
class StateMemory:
    """Bytes on one accelerator that do not depend on the micro-batch.

    Attributes:
        weights: in float32.
        gradients: in float32.
        optimizer: averages that the optimizer keeps.
        average: the moving average of the weights, if there is one.
        copies: weights in the precision of the forward pass; with sharding, the blocks that are gathered.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    copies: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.average + self.copies


def state_memory(
    settings: TrainingSettings, *, num_parameters: int, largest_block: int, num_shards: int = 1
) -> StateMemory:
    """State of one accelerator.

    Args:
        settings: of the training.
        num_parameters: of the whole model.
        largest_block: parameters of its largest block.
        num_shards: accelerators over which the state is divided; 1 means that each has all of it.
    """
    share = -(-num_parameters // num_shards) * FLOAT
    low = bytes_per_value(settings.precision)
    if num_shards > 1:  # weights as gathered and as autocast copies them, and the gradient before its scatter
        copies = SHARDED_BLOCKS_AT_ONCE * largest_block * (FLOAT + low + FLOAT)
    elif settings.precision == "bf16" and settings.recompute == "none":
        copies = num_parameters * low
    else:
        copies = largest_block * low
    return StateMemory(
        weights=share,
        gradients=share,
        optimizer=optimizer_slots(settings.optimizer) * share,
        average=share if settings.ema_decay is not None else 0,
        copies=copies,
    )


def optimizer_slots(settings: OptimizerSettings) -> int:
    """How many values an optimizer keeps for each weight."""
    if settings.name == "sgd":
        return 1 if settings.momentum else 0
    return 2 if settings.name == "adamw" else 1


def checkpoint_bytes(settings: TrainingSettings, *, num_parameters: int) -> int:
    """Size of one checkpoint: weights, optimizer and, if there is one, the average."""
    copies = 1 + optimizer_slots(settings.optimizer) + (settings.ema_decay is not None)
    return copies * num_parameters * FLOAT


def crop_memory(settings: TrainingSettings) -> CropMemory:
    """Memory of one crop of a micro-batch: in closed form for masked autoencoders, counted for the others.

    A count knows no recomputation: it is that of `recompute: none`.
    """
    config = settings.model
    low = bytes_per_value(settings.precision)
    values = config.num_channels * config.crop_size**2
    held = 2 * FLOAT * values + low * values  # crops, target, prediction
    if not has_closed_form(config):
        return CropMemory(saved=counted_bytes(config) * low // FLOAT, working=held)
    stacks = stacks_of(config)
    saved = sum(stack.num_blocks * kept_by_block(stack, settings=settings) for stack in stacks)
    in_hand = max(_all_of_block(stack, low=low) for stack in stacks)
    return CropMemory(
        saved=saved + _around_blocks(config, low=low) + _loss(config, loss=settings.loss),
        working=held + in_hand,
    )


def has_closed_form(model_config: Any) -> bool:
    """Whether a model is a masked transformer, whose memory is known by formula for every recomputation."""
    return isinstance(model_config, MaskedAutoencoderConfig)


def stacks_of(config: MaskedAutoencoderConfig) -> tuple[StackShape, StackShape]:
    """The encoder over the kept tokens, and the decoder over all: one per channel if channel-agnostic."""
    encoder = StackShape(
        num_blocks=config.num_blocks,
        num_tokens=1 + config.num_kept,
        dim=config.embedding_dim,
        hidden=round(config.embedding_dim * config.mlp_ratio),
        num_heads=config.num_heads,
        is_parallel=config.block == "parallel",
        has_qk_norm=config.qk_norm,
        has_layer_scale=config.layer_scale_init is not None,
    )
    decoders = config.num_channels if isinstance(config, ChannelAgnosticMaeConfig) else 1
    decoder = StackShape(
        num_blocks=decoders * config.decoder_blocks,
        num_tokens=1 + config.num_tokens // decoders,
        dim=config.decoder_dim,
        hidden=4 * config.decoder_dim,
        num_heads=config.decoder_heads,
    )
    return encoder, decoder


def kept_by_block(stack: StackShape, *, settings: TrainingSettings) -> int:
    """Bytes that one block keeps for its backward pass, by what is computed again."""
    low = bytes_per_value(settings.precision)
    residual = FLOAT * stack.num_tokens * stack.dim
    policy: Recompute = settings.recompute
    if policy == "blocks":
        return residual
    if policy == "elementwise":  # results of the products q k v, attention, output, MLP twice
        results = (6 * stack.dim + stack.hidden) * stack.num_tokens
        return residual + low * results + FLOAT * stack.num_tokens * stack.num_heads
    return _all_of_block(stack, low=low)


def _all_of_block(stack: StackShape, *, low: int) -> int:
    L, D, H, N = stack.num_tokens, stack.dim, stack.hidden, stack.num_heads
    num_norms = 1 if stack.is_parallel else 2
    norms = num_norms * (FLOAT * L * D + low * L * D + 2 * FLOAT * L)  # input, result, mean and scale
    attention = 4 * low * L * D + FLOAT * L * N  # q k v, result, logarithm of the sums
    if stack.has_qk_norm:  # in float32 the norms' inputs are views of q and k
        inputs = 0 if low == FLOAT else 2 * FLOAT * L * D
        attention += inputs + 2 * low * L * D + 2 * 2 * FLOAT * L * N
    mlp = 2 * low * L * H  # before and after the activation
    scaled = num_norms * low * L * D if stack.has_layer_scale else 0
    return norms + attention + mlp + scaled


def _around_blocks(config: MaskedAutoencoderConfig, *, low: int) -> int:
    """Kept patches, the encoder's last norm, the projection, the decoder's last norm, and two gathers."""
    K, L = config.num_kept, config.num_tokens
    encoder = low * K * config.encoder.patch_dim + (FLOAT + low) * (1 + K) * config.embedding_dim
    decoder = (FLOAT + low) * (1 + L) * config.decoder_dim
    if isinstance(config, ChannelAgnosticMaeConfig):  # the channels are mixed by what is nearly a block
        mixer = replace(stacks_of(config)[1], num_tokens=1 + L, num_heads=CROSS_HEADS)
        decoder = _all_of_block(mixer, low=low)
    return encoder + decoder + INDEX * (K + L)


def _loss(config: MaskedAutoencoderConfig, *, loss: LossSettings) -> int:
    """Errors of all pixels; for the Fourier loss the pixels, half their complex plane, and differences."""
    values = config.num_channels * config.crop_size**2
    if loss.alpha == 0:
        return FLOAT * values
    frequencies = values * (config.patch_size // 2 + 1) // config.patch_size
    return 2 * FLOAT * values + 3 * FLOAT * frequencies


def counted_bytes(model_config: Any) -> int:
    """Bytes that the forward pass of one crop keeps in float32: counted on tensors without values."""
    model = meta_model(model_config).train()
    batch = max(2, model.needs_same_plate)  # batch norm needs two
    saved = SavedBytes(model)
    with saved, FusedAttention():
        prediction = run_on_meta(model, batch=batch)
        assert prediction is not None, "the graph lives while its tensors are counted"
    return saved.total // batch


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """While it is open, notes what autograd keeps for the backward pass, each storage once, weights aside."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(self._note, lambda tensor: tensor)
        self._own = {_key(value) for value in (*model.parameters(), *model.buffers())}
        self._kept: dict[int, torch.UntypedStorage] = {}

    @property
    def total(self) -> int:
        """Bytes so far."""
        return sum(storage.nbytes() for storage in self._kept.values())

    def _note(self, tensor: torch.Tensor) -> torch.Tensor:
        if _key(tensor) not in self._own:
            self._kept[_key(tensor)] = tensor.untyped_storage()
        return tensor


class FusedAttention(torch.overrides.TorchFunctionMode):
    """Attention by the fused kernel, which torch would not choose for tensors without values."""

    def __torch_function__(self, function: Any, *rest: Any) -> Any:
        _, arguments, *named = rest
        options = named[0] or {} if named else {}
        if function is torch.nn.functional.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention(*arguments, **options)[0]
        return function(*arguments, **options)


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def bytes_per_value(precision: Precision) -> int:
    """Bytes of one value in the precision of the forward pass."""
    return 2 if precision == "bf16" else FLOAT
