"""Masked autoencoder: what is masked, what the encoder sees, and that all of it learns."""

import numpy as np
import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.models.families import model_config
from phenoscale.models.losses import mae_loss_terms
from phenoscale.models.mae import MaskedAutoencoder, mask_patches
from phenoscale.models.preprocess import standardize
from tests.support.encoders import noise, raw_crops, tiny_mae_config


def crops_and_noise(num_crops):
    return standardize(raw_crops(num_crops), intensity_scale=65535.0), noise(num_crops)


@pytest.mark.parametrize(
    ("size", "kept"),
    [("S/16", 64), ("B/16", 64), ("L/16", 64), ("S/8", 256), ("B/8", 256), ("L/8", 256), ("G/8", 256)],
)
def test_as_many_tokens_are_kept_as_published(size, kept):
    assert model_config("mae", size=size, num_channels=5).num_kept == kept


def test_mask_keeps_the_patches_of_lowest_noise():
    values = noise(6, num_tokens=64)
    mask = mask_patches(values, num_kept=16)
    assert mask.kept_BK.shape == (6, 16)
    for row in range(6):
        lowest = set(np.argsort(values[row].numpy())[:16].tolist())
        assert set(mask.kept_BK[row].tolist()) == lowest
        assert set(np.flatnonzero(mask.mask_BL[row] == 0).tolist()) == lowest
    assert (mask.mask_BL.sum(dim=1) == 48).all()


def test_restore_is_the_double_argsort_of_the_noise():
    values = noise(4, num_tokens=25)
    restore = mask_patches(values, num_kept=6).restore_BL
    np.testing.assert_array_equal(restore, np.argsort(np.argsort(values.numpy(), axis=1), axis=1))


def test_reconstruction_equals_a_loop_over_single_crops_and_tokens():
    model = MaskedAutoencoder(tiny_mae_config(), seed=1).eval()
    torch.nn.init.normal_(model.decoder.mask_token, generator=torch.Generator().manual_seed(0))
    crops, values = crops_and_noise(3)
    with torch.no_grad():
        found = model(crops, values).prediction_BLP
        for row in range(3):
            expected = reconstruct_slowly(model, crop=crops[row], values=values[row])
            torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-4)


def reconstruct_slowly(model, *, crop, values):
    """One crop: the tokens of kept patches one by one, then the decoder over a table filled one by one."""
    order = np.argsort(values.numpy())
    kept = order[: len(order) // 4]
    encoder, decoder = model.encoder, model.decoder
    tokens = [encoder.cls_token[0, 0]]
    for index in kept:
        top, left = 8 * (index // 4), 8 * (index % 4)
        patch = crop[:, top : top + 8, left : left + 8].reshape(-1)
        tokens.append(encoder.patch_projection(patch) + encoder.positions[1 + index])
    tokens = torch.stack(tokens)[None]
    for block in encoder.blocks:
        tokens = block(tokens)
    small = decoder.projection(encoder.norm(tokens))[0]
    table = [small[0]] + [decoder.mask_token[0, 0]] * len(order)
    for place, index in enumerate(kept):
        table[1 + index] = small[1 + place]
    tokens = (torch.stack(table) + decoder.positions)[None]
    for block in decoder.blocks:
        tokens = block(tokens)
    return decoder.head(decoder.norm(tokens))[0, 1:]


def test_hidden_patches_do_not_reach_the_prediction():
    model = MaskedAutoencoder(tiny_mae_config())
    crops, values = crops_and_noise(4)
    with torch.no_grad():
        first = model(crops, values)
        hidden = first.mask_BL.reshape(4, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
        second = model(torch.where(hidden == 1, torch.full_like(crops, 5.0), crops), values)
    assert torch.equal(first.prediction_BLP, second.prediction_BLP)
    assert not torch.equal(first.target_BLP, second.target_BLP)


@pytest.mark.parametrize(
    "changes", [{}, {"block": "parallel", "qk_norm": True, "layer_scale_init": 1e-4}, {"drop_path_rate": 0.1}]
)
def test_gradient_reaches_every_parameter(changes):
    model = MaskedAutoencoder(tiny_mae_config(**changes), seed=2)
    mae_loss_terms(model(*crops_and_noise(16)), alpha=0.01).total.backward()
    unreached = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


def test_same_seed_gives_the_same_model_and_leaves_global_randomness_alone():
    before = torch.get_rng_state()
    first, second, other = (MaskedAutoencoder(tiny_mae_config(), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.decoder.head.weight, other.decoder.head.weight)


def test_forward_pass_compiles_into_one_graph_with_the_same_result():
    model = MaskedAutoencoder(tiny_mae_config()).eval()
    crops, values = crops_and_noise(2)

    def loss(crops, values):
        return mae_loss_terms(model(crops, values), alpha=0.01).total

    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    assert torch.equal(compiled(crops, values), loss(crops, values))


def test_bfloat16_autocast_stays_close_to_float32_and_the_loss_is_float32():
    model = MaskedAutoencoder(tiny_mae_config(), seed=5)
    crops, values = crops_and_noise(8)
    exact = mae_loss_terms(model(crops, values), alpha=0.01).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = model(crops, values)
        rounded = mae_loss_terms(prediction, alpha=0.01).total
    assert prediction.prediction_BLP.dtype == torch.bfloat16
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.02)


def test_fifty_steps_teach_the_model_to_copy_the_brightness_of_visible_patches():
    model = MaskedAutoencoder(tiny_mae_config(), seed=6)
    signs = torch.tensor([1.0, -1.0]).repeat(8)
    crops = signs[:, None, None, None].expand(16, 3, 32, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(50):
        loss = mae_loss_terms(model(crops, noise(16, seed=step)), alpha=0.01).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.9
    assert losses[-1] < 0.05


@pytest.mark.parametrize("ratio", [0.0, 0.99, 1.0])
def test_a_mask_that_keeps_all_or_nothing_is_a_user_error(ratio):
    with pytest.raises(UserError, match="at least one must be kept and one removed"):
        tiny_mae_config(mask_ratio=ratio)


def test_an_unknown_size_is_a_user_error_that_lists_the_sizes():
    with pytest.raises(
        UserError, match="no size 'H/14' of model family mae; choose one of tiny, small, S/16"
    ):
        model_config("mae", size="H/14", num_channels=6)
