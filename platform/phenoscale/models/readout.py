"""What every encoder does, and the part of it that all encoders with weights share.

Shapes: B minibatch, C channels, H W pixels, D embedding, N readable blocks.
"""

from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.preprocess import standardize
from phenoscale.schema.encoders import EncoderConfig

CPU_CROPS = 64  # crops at once on a CPU: their tokens stay in its cache, which is a sixth to a third quicker


class Encoder(Protocol):
    """What every encoder can do, the baselines included."""

    config: EncoderConfig

    @property
    def num_blocks(self) -> int:
        """Readable blocks, 0-based from the input."""

    @property
    def weights(self) -> nn.Module:
        """What is saved: a module without tensors, for a baseline without weights."""

    def embed_blocks(self, crops_BCHW: Tensor) -> Tensor:
        """Every block's embedding of raw crops in one forward pass: [N, B, D], float32."""

    def embed(self, crops_BCHW: Tensor) -> Tensor:
        """Embeddings of raw crops at the chosen block: [B, D], float32."""

    def initialize(self, generator: torch.Generator) -> None:
        """Draw untrained weights."""

    def compile_blocks(self, backend: Any = "inductor") -> None:
        """Compile the repeated blocks, where there are any."""

    def eval(self) -> Self:
        """The encoder, set to evaluation."""

    def to(self, device: Any) -> Self:
        """The encoder on another device."""


class WeightlessEncoder(nn.Module):
    """A baseline without weights, with one readable block; a subclass says what `embed` returns."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def embed(self, crops_BCHW: Tensor) -> Tensor:
        """Values of raw crops: [B, D], float32."""

    @property
    def num_blocks(self) -> int:
        """One readable block."""
        return 1

    @property
    def weights(self) -> nn.Module:
        """Nothing: there are no weights."""
        return self

    def initialize(self, generator: torch.Generator) -> None:
        """Nothing is drawn: there are no weights."""

    def compile_blocks(self, backend: Any = "inductor") -> None:
        """Nothing is compiled: there are no blocks."""

    @torch.no_grad()
    def embed_blocks(self, crops_BCHW: Tensor) -> Tensor:
        """The values as the one block there is: [1, B, D]."""
        return self.embed(crops_BCHW)[None]


class BlockReader(nn.Module):
    """An encoder with weights, read out block by block.

    Takes raw intensities of any integer or float type; scaling and self-standardization happen inside, on the
    device. Every crop is embedded on its own, its companions in the minibatch have no say, unless the config
    has a `ghost_batch`.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config

    @property
    @abstractmethod
    def weights(self) -> nn.Module:
        """The module whose tensors are saved."""

    @abstractmethod
    def read_blocks(self, crops_BCHW: Tensor, *, first: int) -> Iterator[Tensor]:
        """Pooled values [B, D] of prepared crops after block `first`, the next one, ..., when asked for."""

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw untrained weights."""

    def compile_blocks(self, backend: Any = "inductor") -> None:
        """Compile the blocks of a transformer; other networks run as they are."""
        for block in getattr(self.weights, "blocks", ()):
            block.compile(backend=backend)

    @property
    def num_blocks(self) -> int:
        """Blocks that were kept; each can be read."""
        return self.config.num_blocks

    @torch.no_grad()
    def embed_blocks(self, crops_BCHW: Tensor) -> Tensor:
        """Every block's embedding of raw crops in one forward pass: [N, B, D], float32."""
        return self._read(crops_BCHW, first=0, last=self.num_blocks - 1)

    @torch.no_grad()
    def embed(self, crops_BCHW: Tensor) -> Tensor:
        """Embeddings of raw crops at the chosen block: [B, D], float32; later blocks are not computed."""
        chosen = self.config.chosen_block
        return self._read(crops_BCHW, first=chosen, last=chosen)[0]

    @property
    def channel_counts(self) -> range:
        """How many channels crops may have."""
        return range(len(self.config.channels), len(self.config.channels) + 1)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.weights.parameters()).device

    def _read(self, crops_BCHW: Tensor, *, first: int, last: int) -> Tensor:
        self._check(crops_BCHW)
        device = self.device
        in_one_piece = device.type != "cpu" or self.config.ghost_batch is not None
        pieces = (crops_BCHW,) if in_one_piece else torch.split(crops_BCHW, CPU_CROPS)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            read = [self._read_piece(piece.to(device), first=first, last=last) for piece in pieces]
        return torch.cat(read, dim=1)

    def _read_piece(self, crops_BCHW: Tensor, *, first: int, last: int) -> Tensor:
        blocks = self.read_blocks(self._prepare(crops_BCHW), first=first)
        return torch.stack([pooled.float() for pooled in islice(blocks, last + 1 - first)])

    def _prepare(self, crops_BCHW: Tensor) -> Tensor:
        if self.config.standardize:
            return standardize(crops_BCHW, intensity_scale=self.config.intensity_scale)
        return crops_BCHW.float() / self.config.intensity_scale

    def _check(self, crops_BCHW: Tensor) -> None:
        config, size = self.config, self.config.crop_size
        is_square = crops_BCHW.ndim == 4 and tuple(crops_BCHW.shape[2:]) == (size, size)
        counts = self.channel_counts
        if not is_square or crops_BCHW.shape[1] not in counts:
            shown = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            raise UserError(
                f"crops of shape {list(crops_BCHW.shape)} do not fit this encoder, which reads [B, "
                f"{shown}, {size}, {size}]: {config.describe()}; crop to {size} px and "
                "give its channels in its order"
            )
