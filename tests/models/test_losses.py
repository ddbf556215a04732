"""Losses against loops over single patches, channels and pixels."""

import numpy as np
import pytest
import torch

from phenoscale.models.losses import mae_loss_terms, masked_fourier, masked_mse
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
    assert mae_loss_terms(prediction, alpha=0.0).total.item() == pytest.approx(mse, rel=1e-5)


def test_visible_patches_do_not_count():
    prediction = random_prediction()
    visible = prediction.mask_BL[:, :, None] == 0
    changed = prediction._replace(prediction_BLP=torch.where(visible, 100.0, prediction.prediction_BLP))
    found, wanted = (mae_loss_terms(side, alpha=0.01).total.item() for side in (changed, prediction))
    assert found == wanted


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
    mae_loss_terms(prediction._replace(prediction_BLP=zeros, target_BLP=target), alpha=0.5).total.backward()
    assert torch.isfinite(zeros.grad).all()


def test_loss_is_computed_in_float32_under_autocast():
    prediction = random_prediction()
    rounded = prediction._replace(prediction_BLP=prediction.prediction_BLP.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = mae_loss_terms(rounded, alpha=0.5).total
    exact = prediction._replace(prediction_BLP=rounded.prediction_BLP.float())
    assert loss.dtype == torch.float32
    assert loss.item() == mae_loss_terms(exact, alpha=0.5).total.item()


def channel_tokens(*, patch_size, grid, channels=6, batch=1):
    """A prediction of a channel-agnostic model: every token is a patch of one channel."""
    flat = random_prediction(batch=batch * channels, grid=grid, patch_size=patch_size, channels=1)
    joined = (values.reshape(batch, channels * grid**2, -1) for values in flat[:2])
    return MaskedPrediction(*joined, flat.mask_BL.reshape(batch, -1), patch_size, grid)


@pytest.mark.parametrize("patch_size", [8, 16])
def test_fourier_loss_of_single_channel_patches_equals_a_loop_over_them(patch_size):
    prediction = channel_tokens(patch_size=patch_size, grid=3, channels=2, batch=2)
    assert masked_fourier(prediction).item() == pytest.approx(slow_terms(prediction)[1], rel=1e-5)


def test_legacy_fourier_loss_is_the_paper_s_for_channel_tokens_of_16_px_in_256_px_crops():
    prediction = channel_tokens(patch_size=16, grid=16, batch=2)
    found, expected = masked_fourier(prediction, mode="legacy"), masked_fourier(prediction)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    # not for the patches of all channels, nor for channel tokens of crops of another size
    for other in (
        random_prediction(batch=1, grid=16, patch_size=16, channels=6),
        channel_tokens(patch_size=16, grid=8),
    ):
        assert masked_fourier(other, mode="legacy").item() != pytest.approx(
            masked_fourier(other).item(), rel=1e-3
        )


def test_one_row_of_all_channel_tokens_has_the_fourier_loss_of_the_minibatch_they_come_from():
    apart = channel_tokens(patch_size=8, grid=4, channels=3, batch=4)
    joined = MaskedPrediction(*(values.flatten(0, 1)[None] for values in apart[:3]), *apart[3:])
    for mode in ("per_patch", "legacy"):
        found, expected = masked_fourier(joined, mode=mode), masked_fourier(apart, mode=mode)
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def tokens_touched_by_an_edit(prediction, token, *, mode):
    """Tokens near an edited one whose own loss changes."""
    edited = prediction.prediction_BLP.clone()
    edited[0, token] += 1.0
    touched = []
    for index in range(max(token - 20, 0), token + 21):
        mask = torch.zeros_like(prediction.mask_BL)
        mask[0, index] = 1
        before = masked_fourier(prediction._replace(mask_BL=mask), mode=mode)
        after = masked_fourier(prediction._replace(mask_BL=mask, prediction_BLP=edited), mode=mode)
        if before != after:
            touched.append(index)
    return touched


def test_legacy_fourier_loss_mixes_6_tokens_of_all_channels_or_16_of_single_ones_and_the_paper_s_none():
    """Patches of 8 px in 256 px crops of six channels: science.md 11.2."""
    together = random_prediction(batch=1, grid=32, patch_size=8, channels=6)
    alone = channel_tokens(patch_size=8, grid=32)
    assert tokens_touched_by_an_edit(together, 10, mode="legacy") == [8, 9, 10, 11, 12, 13]
    assert tokens_touched_by_an_edit(alone, 20, mode="legacy") == list(range(16, 32))
    for prediction in (together, alone):
        assert tokens_touched_by_an_edit(prediction, 30, mode="per_patch") == [30]


@pytest.mark.parametrize("kind", ["all channels", "single channels"])
def test_legacy_magnitudes_are_about_four_times_larger_at_patch_8(kind):
    if kind == "all channels":
        prediction = random_prediction(batch=1, grid=32, patch_size=8, channels=6)
    else:
        prediction = channel_tokens(patch_size=8, grid=32)
    ratio = masked_fourier(prediction, mode="legacy") / masked_fourier(prediction)
    assert ratio.item() == pytest.approx(5.34 / 1.36, rel=0.05)
