"""What the training loop trains: models of any family, and the two kinds of prediction that losses judge.

Shapes: B minibatch, C channels, H W pixels, L patch tokens, P pixels of a patch, K classes.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn

from phenoscale.schema.encoders import EncoderConfig


class MaskedPrediction(NamedTuple):
    """A reconstruction of all patches, its target, and the weight of each patch in the loss.

    Attributes:
        prediction_BLP: pixels of every patch as the model restores them.
        target_BLP: pixels as they are.
        mask_BL: 0 where the encoder saw the patch, else its weight: 1, if all crops have as many channels.
        patch_size: height and width of a patch; P is a whole number of channels times its square.
        grid_size: patches per side of an image, where L holds several images one after the other, one per
            channel; None: all L patches are one image.
    """

    prediction_BLP: Tensor
    target_BLP: Tensor
    mask_BL: Tensor
    patch_size: int
    grid_size: int | None = None


class ClassPrediction(NamedTuple):
    """The logits of all classes, and the true class of each crop."""

    logits_BK: Tensor
    labels_B: Tensor


Prediction = MaskedPrediction | ClassPrediction


class TrainingModel(nn.Module):
    """A model of any family as the training loop sees it; all its weights follow from a seed.

    A masked family is called with (crops, noise), or (crops, noise, present) where crops have different
    channels, and returns a MaskedPrediction. A family without a mask is called with (crops, labels) and
    returns a ClassPrediction. Crops are float32, each channel standardized on its own.

    Attributes:
        config: the family's frozen dataclass.
    """

    config: Any

    @property
    def num_mask_tokens(self) -> int:
        """How much noise one crop's mask takes; 0: the family learns from labels."""
        return 0

    @property
    def needs_same_plate(self) -> int:
        """So many crops that follow each other in a minibatch must come from one plate; 0: any may."""
        return 0

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The repeated blocks, encoder first: what is compiled, recomputed and sharded block by block."""

    @property
    @abstractmethod
    def encoder_weights(self) -> nn.Module:
        """The part that is kept after training, with the parameter names of the encoder's weights."""

    @abstractmethod
    def encoder_config(
        self, *, channels: tuple[str, ...], intensity_scale: float, **facts: Any
    ) -> EncoderConfig:
        """The description of the encoder in it; `facts` are further fields, such as seed or precision."""
