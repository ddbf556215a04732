"""Losses against loops over single patches, channels and pixels."""

import numpy as np
import pytest
import torch

from phenoscale.models.losses import mae_loss, mae_loss_terms, masked_fourier, masked_mse
from phenoscale.models.objectives import MaskedPrediction


def random_prediction(*, batch=3, grid=4, patch_size=8, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    shape = (batch, grid * grid, channels * patch_size**2)
    prediction, target = (torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for _ in range(2))
    # a different number of removed patches per crop tells a batch mean from a mean of crop means
    mask = torch.from_numpy(
        (rng.random(shape[:2]) < np.linspace(0.3, 0.9, batch)[:, None]).astype(np.float32)
    )
    return MaskedPrediction(prediction, target, mask, patch_size)


def slow_terms(prediction):
    """Loops over removed patches, in float64: (mean squared error, Fourier distance)."""
    p = prediction.patch_size
    squares, distances = [], []
    for crop, token in np.argwhere(prediction.mask_BL.numpy() == 1):
        found = prediction.prediction_BLP[crop, token].double().numpy()
        wanted = prediction.target_BLP[crop, token].double().numpy()
        squares.append(np.mean((wanted - found) ** 2))
        differences = [
            np.abs(np.abs(np.fft.fft2(a)) - np.abs(np.fft.fft2(b)))
            for a, b in zip(found.reshape(-1, p, p), wanted.reshape(-1, p, p), strict=True)
        ]
        distances.append(np.mean(differences))
    return np.mean(squares), np.mean(distances)


@pytest.mark.parametrize("patch_size", [1, 4, 5, 8, 16])
def test_both_terms_equal_a_loop_over_removed_patches(patch_size):
    prediction = random_prediction(patch_size=patch_size, channels=3)
    mse, fourier = slow_terms(prediction)
    assert masked_mse(prediction).item() == pytest.approx(mse, rel=1e-5)
    assert masked_fourier(prediction).item() == pytest.approx(fourier, rel=1e-5)


def test_loss_weighs_the_terms_by_alpha():
    prediction = random_prediction()
    mse, fourier = slow_terms(prediction)
    terms = mae_loss_terms(prediction, alpha=0.2)
    assert terms.total.item() == pytest.approx(0.8 * mse + 0.2 * fourier, rel=1e-5)
    assert mae_loss(prediction, alpha=0.2).item() == terms.total.item()
    assert mae_loss(prediction, alpha=0.0).item() == pytest.approx(mse, rel=1e-5)


def test_visible_patches_do_not_count():
    prediction = random_prediction()
    visible = prediction.mask_BL[:, :, None] == 0
    changed = prediction._replace(prediction_BLP=torch.where(visible, 100.0, prediction.prediction_BLP))
    assert mae_loss(changed, alpha=0.01).item() == mae_loss(prediction, alpha=0.01).item()


def test_gradient_of_the_fourier_loss_is_that_of_the_full_transform():
    prediction = random_prediction(patch_size=4)
    half = prediction.prediction_BLP.double().requires_grad_()
    full = prediction.prediction_BLP.double().requires_grad_()
    masked_fourier(prediction._replace(prediction_BLP=half)).backward()
    shape = (3, 16, 2, 4, 4)
    magnitudes = torch.fft.fft2(full.reshape(shape)).abs()
    wanted = torch.fft.fft2(prediction.target_BLP.double().reshape(shape)).abs()
    per_token = (magnitudes - wanted).abs().mean(dim=(2, 3, 4))
    ((per_token * prediction.mask_BL).sum() / prediction.mask_BL.sum()).backward()
    torch.testing.assert_close(half.grad, full.grad, atol=1e-7, rtol=1e-4)


def test_gradient_is_finite_where_prediction_or_target_is_zero():
    prediction = random_prediction()
    zeros = torch.zeros_like(prediction.prediction_BLP, requires_grad=True)
    target = prediction.target_BLP.clone()
    target[0] = 0
    mae_loss(prediction._replace(prediction_BLP=zeros, target_BLP=target), alpha=0.5).backward()
    assert torch.isfinite(zeros.grad).all()


def test_loss_is_computed_in_float32_under_autocast():
    prediction = random_prediction()
    rounded = prediction._replace(prediction_BLP=prediction.prediction_BLP.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = mae_loss(rounded, alpha=0.5)
    exact = prediction._replace(prediction_BLP=rounded.prediction_BLP.float())
    assert loss.dtype == torch.float32
    assert loss.item() == mae_loss(exact, alpha=0.5).item()


def tokens_touched_by_an_edit(token, *, mode):
    """Tokens near an edited one whose own loss changes, patch 8, 256 px, six channels: science.md 11.2."""
    prediction = random_prediction(batch=1, grid=32, patch_size=8, channels=6)
    edited = prediction.prediction_BLP.clone()
    edited[0, token] += 1.0
    touched = []
    for index in range(max(token - 8, 0), token + 9):
        mask = torch.zeros(1, 1024)
        mask[0, index] = 1
        before = masked_fourier(prediction._replace(mask_BL=mask), mode=mode)
        after = masked_fourier(prediction._replace(mask_BL=mask, prediction_BLP=edited), mode=mode)
        if before != after:
            touched.append(index)
    return touched


def test_legacy_fourier_loss_mixes_six_tokens_and_the_paper_s_only_one():
    assert tokens_touched_by_an_edit(10, mode="legacy") == [8, 9, 10, 11, 12, 13]
    assert tokens_touched_by_an_edit(10, mode="per_patch") == [10]


def test_legacy_magnitudes_are_about_four_times_larger_at_patch_8():
    prediction = random_prediction(batch=1, grid=32, patch_size=8, channels=6)
    ratio = masked_fourier(prediction, mode="legacy") / masked_fourier(prediction)
    assert ratio.item() == pytest.approx(5.34 / 1.36, rel=0.05)
