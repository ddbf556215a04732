"""Channel-agnostic autoencoder: published sizes, a slow twin, crops of mixed channels in one minibatch."""

import itertools

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes
from torch.nn.parallel import DistributedDataParallel

from phenoscale.errors import UserError
from phenoscale.models.ca_mae import ChannelAgnosticMae
from phenoscale.models.families import model_config
from phenoscale.models.losses import LossSettings, loss_terms
from phenoscale.models.preprocess import standardize
from phenoscale.models.vit import patchify, unpatchify
from tests.support.encoders import noise, raw_crops

NUM_CHANNELS, CROP_SIZE, NUM_PATCHES = 3, 32, 16  # patches of one channel


def tiny_config(**changes):
    settings = {"crop_size": CROP_SIZE, "decoder_blocks": 2, "num_channels": NUM_CHANNELS}
    return model_config("ca_mae", size="tiny", **{**settings, **changes})


def distinct_model(*, seed=1, **changes):
    """A model whose channel and mask tokens, norms and biases are not at their neutral values."""
    model = ChannelAgnosticMae(tiny_config(**changes), seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def crops_and_noise(num_crops, *, num_channels=NUM_CHANNELS, seed=0):
    raw = raw_crops(num_crops, channels=num_channels, seed=seed)
    values = noise(num_crops, num_tokens=num_channels * NUM_PATCHES, seed=seed + 1)
    return standardize(raw, intensity_scale=65535.0), values


def num_values(module):
    return sum(parameter.numel() for parameter in module.parameters())


def meta_model(size, **changes):
    with torch.device("meta"):
        return ChannelAgnosticMae(model_config("ca_mae", size=size, num_channels=6, **changes))


def test_openphenom_has_the_parameters_of_the_released_file_with_its_tables_of_positions():
    """178.05 million values, 712.2 MB in float32, science.md 1.4.

    The release counts fixed positions as parameters, and stores them once per channel: 11 times 256 rows for
    the encoder, 6 times 256 for the decoder, and a row each for the class token. Here they are no parameters.
    """
    model = meta_model("openphenom")
    config = model.config
    positions = (1 + config.max_channels * 256) * config.embedding_dim + (1 + 6 * 256) * config.decoder_dim
    assert round(num_values(model.encoder) / 1e6, 1) == 21.4
    assert round(num_values(model.decoder) / 1e6, 1) == 154.8
    total = num_values(model) + positions
    assert round(total / 1e6, 2) == 178.05
    assert round(total * 4 / 1e6, 1) == 712.2


def test_decoder_of_phenom_beta_has_the_published_number_of_parameters():
    assert round(num_values(meta_model("S/16").decoder) / 1e6, 1) == 19.9


@pytest.mark.parametrize(("size", "kept"), [("S/16", 384), ("B/16", 384), ("L/16", 230), ("openphenom", 384)])
def test_as_many_tokens_are_kept_as_published(size, kept):
    assert model_config("ca_mae", size=size, num_channels=6).num_kept == kept


def reconstruct_slowly(model, *, crop_CHW, values_CN, channels):
    """One crop of some channels, token by token and channel by channel; `values_CN` decides what is seen."""
    encoder, decoder = model.encoder, model.decoder
    order = np.argsort(values_CN.flatten().numpy())
    kept = order[: len(order) // 4]
    tokens = [encoder.cls_token[0, 0]]
    for index in kept:
        channel, place = divmod(int(index), NUM_PATCHES)
        top, left = 8 * (place // 4), 8 * (place % 4)
        patch = crop_CHW[channel, top : top + 8, left : left + 8].reshape(-1)
        tokens.append(encoder.patch_projection(patch) + encoder.positions[1 + place])
    tokens = torch.stack(tokens)[None]
    for block in encoder.blocks:
        tokens = block(tokens)
    small = decoder.projection(encoder.norm(tokens))[0]
    table = [small[0]] + [decoder.mask_token[0, 0]] * len(order)
    for rank, index in enumerate(kept):
        table[1 + index] = small[1 + rank]
    for index in range(len(order)):
        channel, place = divmod(index, NUM_PATCHES)
        table[1 + index] = (
            table[1 + index] + decoder.positions[1 + place] + decoder.channel_tokens[channels[channel]]
        )
    context = decoder.mixer.context_norm(torch.stack(table))
    restored = []
    for number, channel in enumerate(channels):
        own = torch.stack(table[1 + number * NUM_PATCHES : 1 + (number + 1) * NUM_PATCHES])
        seen = attend_slowly(
            decoder.mixer.cross_attention, own=decoder.mixer.query_norm(own), context=context
        )
        mixed = (seen + decoder.mixer.mlp(decoder.mixer.out_norm(seen)))[None]
        for block in decoder.stacks[channel]:
            mixed = block(mixed)
        restored.append(decoder.head(mixed[0]))
    return torch.cat(restored)


def attend_slowly(attention, *, own, context):
    """Eight heads, one after the other."""
    queries, keys_values = own @ attention.q.weight.T, context @ attention.kv.weight.T
    dim = queries.shape[1]
    keys, values = keys_values[:, :dim], keys_values[:, dim:]
    heads = []
    for head in range(8):
        part = slice(head * dim // 8, (head + 1) * dim // 8)
        weights = (queries[:, part] @ keys[:, part].T / (dim // 8) ** 0.5).softmax(dim=1)
        heads.append(weights @ values[:, part])
    return torch.cat(heads, dim=1) @ attention.proj.weight.T + attention.proj.bias


def test_reconstruction_equals_a_loop_over_single_crops_channels_and_tokens():
    model = distinct_model()
    crops, values = crops_and_noise(3)
    with torch.no_grad():
        found = model(crops, values)
        for row in range(3):
            expected = reconstruct_slowly(
                model,
                crop_CHW=crops[row],
                values_CN=values[row].reshape(NUM_CHANNELS, NUM_PATCHES),
                channels=(0, 1, 2),
            )
            torch.testing.assert_close(found.prediction_BLP[row], expected, atol=1e-4, rtol=1e-3)
            by_channel = [patchify(crops[row, [c]][None], patch_size=8)[0] for c in range(NUM_CHANNELS)]
            assert torch.equal(found.target_BLP[row], torch.cat(by_channel))


PRESENT = [(0, 1, 2), (0, 2), (1,), (0, 1, 2), (0, 2)]


def mixed_minibatch():
    crops, values = crops_and_noise(len(PRESENT))
    present = torch.zeros(len(PRESENT), NUM_CHANNELS, dtype=torch.bool)
    for row, channels in enumerate(PRESENT):
        present[row, list(channels)] = True
    padded = torch.where(present[:, :, None, None], crops, 0.0)
    return padded, values, present


def slow_mixed_loss(model, *, alpha):
    """Every crop alone: the mean over its removed patches, then the mean over crops."""
    padded, values, _ = mixed_minibatch()
    losses = []
    for row, channels in enumerate(PRESENT):
        own = list(channels)
        noise_CN = values[row].reshape(NUM_CHANNELS, NUM_PATCHES)[own]
        restored = reconstruct_slowly(model, crop_CHW=padded[row, own], values_CN=noise_CN, channels=channels)
        target = torch.cat([patchify(padded[row, [c]][None], patch_size=8)[0] for c in own])
        removed = np.argsort(noise_CN.flatten().numpy())[len(target) // 4 :]
        found, wanted = restored[removed].reshape(-1, 8, 8), target[removed].reshape(-1, 8, 8)
        mse = (found - wanted).square().mean()
        fourier = (torch.fft.fft2(found).abs() - torch.fft.fft2(wanted).abs()).abs().mean()
        losses.append((1 - alpha) * mse + alpha * fourier)
    return torch.stack(losses).mean()


def test_crops_of_mixed_channels_give_the_loss_and_gradient_of_every_crop_alone():
    model = distinct_model()
    padded, values, present = mixed_minibatch()
    found = loss_terms(model(padded, values, present), loss=LossSettings(alpha=0.2))["loss"]
    found.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    expected = slow_mixed_loss(model, alpha=0.2)
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    largest = max(parameter.grad.abs().max() for parameter in model.parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            gradients[name] / largest, parameter.grad / largest, atol=1e-5, rtol=1e-4, msg=name
        )


def test_what_stands_in_a_channel_that_a_crop_does_not_have_is_never_read():
    model = distinct_model()
    padded, values, present = mixed_minibatch()
    noisy = torch.where(present[:, :, None, None], padded, float("nan"))
    with torch.no_grad():
        first, second = model(padded, values, present), model(noisy, values, present)
    assert torch.equal(first.prediction_BLP, second.prediction_BLP)
    assert torch.equal(first.target_BLP, second.target_BLP)


def test_minibatch_in_which_all_crops_have_all_channels_gives_the_same_loss_either_way():
    model = distinct_model()
    crops, values = crops_and_noise(4)
    everything = torch.ones(4, NUM_CHANNELS, dtype=torch.bool)
    settings = LossSettings(alpha=0.1)
    with torch.no_grad():
        plain = loss_terms(model(crops, values), loss=settings)
        mixed = loss_terms(model(crops, values, everything), loss=settings)
    for name, value in plain.items():
        assert mixed[name].item() == pytest.approx(value.item(), rel=1e-6), name


def test_weights_of_a_channel_that_no_crop_has_get_a_gradient_of_zero_and_not_none():
    model = distinct_model()
    crops, values = crops_and_noise(4)
    present = torch.tensor([[True, False, True]] * 4)
    loss_terms(model(crops, values, present), loss=LossSettings())["loss"].backward()
    unused = list(model.decoder.stacks[1].parameters())
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in unused)
    assert not model.decoder.channel_tokens.grad[1].any()
    used = list(model.decoder.stacks[0].parameters()) + list(model.decoder.stacks[2].parameters())
    assert all(parameter.grad.any() for parameter in used)


def train_on_own_crops(rank, folder):
    """One of two ranks: the first has crops of the outer channels, the second of the middle one."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = DistributedDataParallel(distinct_model())
    crops, values = crops_and_noise(4)
    own = slice(2 * rank, 2 * rank + 2)
    loss = loss_terms(model(crops[own], values[own], OUTER_THEN_MIDDLE[own]), loss=LossSettings())["loss"]
    loss.backward()
    if rank == 0:
        torch.save([parameter.grad for parameter in model.parameters()], folder / "gradients.pt")
    dist.destroy_process_group()


OUTER_THEN_MIDDLE = torch.tensor([[True, False, True]] * 2 + [[False, True, False]] * 2)


@pytest.mark.ranks
def test_two_ranks_with_crops_of_other_channels_have_the_gradient_of_one_with_all_crops(tmp_path):
    start_processes(train_on_own_crops, args=(tmp_path,), nprocs=2, start_method="forkserver")
    model = distinct_model()
    crops, values = crops_and_noise(4)
    loss_terms(model(crops, values, OUTER_THEN_MIDDLE), loss=LossSettings())["loss"].backward()
    largest = max(parameter.grad.abs().max() for parameter in model.parameters())
    gradients = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for (name, parameter), found in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(found / largest, parameter.grad / largest, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("is_mixed", [False, True])
def test_hidden_patches_do_not_reach_the_prediction(is_mixed):
    model = distinct_model()
    crops, values = crops_and_noise(4)
    arguments = (values, torch.ones(4, NUM_CHANNELS, dtype=torch.bool)) if is_mixed else (values,)
    with torch.no_grad():
        first = model(crops, *arguments)
        hidden = (first.mask_BL > 0).reshape(4, -1, 1)
        patches = torch.where(hidden, 5.0, model.encoder.cut(crops))
        changed = unpatchify(patches, num_channels=NUM_CHANNELS, patch_size=8)
        second = model(changed, *arguments)
    assert torch.equal(first.prediction_BLP, second.prediction_BLP)
    assert not torch.equal(first.target_BLP, second.target_BLP)


def test_every_channel_has_a_mask_of_its_own():
    model = distinct_model()
    mask_BCN = model(*crops_and_noise(4)).mask_BL.reshape(4, NUM_CHANNELS, NUM_PATCHES)
    assert (mask_BCN.sum(dim=(1, 2)) == 36).all()
    for first, second in itertools.combinations(range(NUM_CHANNELS), 2):
        assert not torch.equal(mask_BCN[:, first], mask_BCN[:, second])


def test_forward_pass_compiles_into_one_graph_with_the_same_result():
    model = distinct_model()
    crops, values = crops_and_noise(2)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(crops, values).prediction_BLP, model(crops, values).prediction_BLP)


def test_bfloat16_autocast_stays_close_to_float32_and_the_loss_is_float32():
    model = ChannelAgnosticMae(tiny_config(), seed=5)
    padded, values, present = mixed_minibatch()
    exact = loss_terms(model(padded, values, present), loss=LossSettings())["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = loss_terms(model(padded, values, present), loss=LossSettings())["loss"]
    rounded.backward()
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.02)


def test_fifty_steps_teach_the_model_the_brightness_of_a_channel_from_its_other_patches():
    model = ChannelAgnosticMae(tiny_config(), seed=6)
    signs = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    crops = signs[:, :, None, None].expand(4, NUM_CHANNELS, CROP_SIZE, CROP_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(50):
        values = noise(4, num_tokens=NUM_CHANNELS * NUM_PATCHES, seed=step)
        loss = loss_terms(model(crops, values), loss=LossSettings())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.9
    assert losses[-1] < 0.1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_channels": 12}, "crops of 12 channels are more than max_channels, 11; raise"),
        ({"mask_ratio": 0.95}, "keeps 0 of 16 patches of a crop of one channel"),
        ({"decoder_dim": 20, "decoder_heads": 2}, "number of heads, 8"),
    ],
)
def test_dimensions_that_do_not_fit_are_a_user_error(changes, words):
    with pytest.raises(UserError, match=words):
        tiny_config(**changes)
