"""Losses, always in float32: reconstruction (MAE paper Eq. 1-3; science.md 1.5, 11.2) and classification.

Shapes: B minibatch, L patch tokens, P = C * p * p pixels of a patch (channel-major), C channels, p its side,
K classes.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from phenoscale.models.objectives import ClassPrediction, MaskedPrediction, Prediction

FourierMode = Literal["per_patch", "legacy"]


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """(1 - alpha) * masked mean squared error + alpha * Fourier loss; without a mask, cross-entropy."""

    alpha: float = 0.01
    fourier_mode: FourierMode = "per_patch"


class MaskedLoss(NamedTuple):
    """The loss to minimize and its two terms (scalars, float32)."""

    total: Tensor
    mse: Tensor
    fourier: Tensor


def loss_terms(prediction: Prediction, *, loss: LossSettings) -> dict[str, Tensor]:
    """What to minimize, first and under the name `loss`, and what to know about it (scalars, float32)."""
    if isinstance(prediction, MaskedPrediction):
        terms = mae_loss_terms(prediction, alpha=loss.alpha, fourier_mode=loss.fourier_mode)
        return {"loss": terms.total, "mse": terms.mse, "fourier": terms.fourier}
    return class_loss_terms(prediction)


def class_loss_terms(prediction: ClassPrediction) -> dict[str, Tensor]:
    """Cross-entropy of the true classes, and the fraction of crops whose class is the likeliest one."""
    logits_BK = prediction.logits_BK.float()
    with torch.autocast(logits_BK.device.type, enabled=False):
        loss = torch.nn.functional.cross_entropy(logits_BK, prediction.labels_B)
    is_right_B = logits_BK.argmax(dim=1) == prediction.labels_B
    return {"loss": loss, "accuracy": is_right_B.float().mean()}


def masked_mse(prediction: MaskedPrediction) -> Tensor:
    """Mean squared error of a patch's pixels, averaged over the removed patches of the whole minibatch."""
    with torch.autocast(prediction.mask_BL.device.type, enabled=False):
        errors_BLP = prediction.prediction_BLP.float() - prediction.target_BLP.float()
        return _mean_over_removed(errors_BLP.square().mean(dim=2), mask_BL=prediction.mask_BL)


def masked_fourier(prediction: MaskedPrediction, *, mode: FourierMode = "per_patch") -> Tensor:
    """L1 distance of Fourier magnitudes, averaged over the removed patches of the whole minibatch.

    `per_patch` is the paper: an un-normalized 2-D transform of each patch and channel. `legacy` is the
    released code, which transforms images cut out of the flattened tokens without regard to their borders.
    """
    with torch.autocast(prediction.mask_BL.device.type, enabled=False):
        distance_BL = _legacy_distance(prediction) if mode == "legacy" else _patch_distance(prediction)
        return _mean_over_removed(distance_BL, mask_BL=prediction.mask_BL)


def mae_loss_terms(
    prediction: MaskedPrediction, *, alpha: float, fourier_mode: FourierMode = "per_patch"
) -> MaskedLoss:
    """(1 - alpha) * mse + alpha * fourier, with both terms; without alpha the transform is not computed."""
    mse = masked_mse(prediction)
    if alpha == 0:
        return MaskedLoss(mse, mse, torch.zeros_like(mse))
    fourier = masked_fourier(prediction, mode=fourier_mode)
    return MaskedLoss((1 - alpha) * mse + alpha * fourier, mse, fourier)


def _mean_over_removed(values_BL: Tensor, *, mask_BL: Tensor) -> Tensor:
    return (values_BL * mask_BL).sum() / mask_BL.sum()


def _patch_distance(prediction: MaskedPrediction) -> Tensor:
    """Mean over all frequencies and channels of | |F(prediction)| - |F(target)| |: [B, L].

    The pixels are real, so half of the frequencies mirror the other half: `rfft2` computes one half, and
    the columns that stand for two count twice.
    """
    p = prediction.patch_size

    def magnitudes(patches_BLP: Tensor) -> Tensor:
        return torch.abs(torch.fft.rfft2(torch.unflatten(patches_BLP.float(), 2, (-1, p, p))))

    predicted, target = magnitudes(prediction.prediction_BLP), magnitudes(prediction.target_BLP)
    distance_BLC = (predicted - target).abs() @ _column_counts(p, like=predicted)
    return torch.sum(distance_BLC, dim=-1).mean(dim=-1) / (p * p)


def _column_counts(patch_size: int, *, like: Tensor) -> Tensor:
    """How many columns of the full transform each column of the half one stands for."""
    counts = torch.full((patch_size // 2 + 1,), 2.0, dtype=like.dtype, device=like.device)
    counts[0] = 1.0
    if patch_size % 2 == 0:
        counts[-1] = 1.0
    return counts


def _legacy_distance(prediction: MaskedPrediction) -> Tensor:
    B, L, P = prediction.prediction_BLP.shape
    side = prediction.grid_size or round(L**0.5)

    def magnitudes(patches_BLP: Tensor) -> Tensor:
        released_order = torch.unflatten(patches_BLP.float(), 2, (-1, prediction.patch_size**2)).transpose(
            2, 3
        )
        return torch.abs(torch.fft.fft2(released_order.reshape(B, -1, side, side)))

    distance = magnitudes(prediction.prediction_BLP) - magnitudes(prediction.target_BLP)
    return distance.abs().reshape(B, L, P).mean(dim=2)
