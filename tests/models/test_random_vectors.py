"""Random vectors: chance as an encoder, the same in every minibatch, process and version."""

import hashlib
from statistics import NormalDist

import torch

from phenoscale.models.encoder import load_encoder, save_encoder, trim_encoder, untrained_encoder
from phenoscale.models.random_vectors import random_vectors_config
from tests.support.encoders import CHANNELS, raw_crops


def random_encoder(*, dim=1024, seed=0):
    return untrained_encoder(
        random_vectors_config(CHANNELS, crop_size=32, intensity_scale=65535.0, dim=dim, seed=seed)
    )


def test_a_vector_is_the_normal_quantiles_of_a_stream_of_hash_bytes():
    crop = raw_crops(1)
    stream = hashlib.shake_256(b"7 " + hashlib.sha256(crop.numpy().tobytes()).digest()).digest(4 * 5)
    words = [int.from_bytes(stream[4 * index : 4 * index + 4], "little") for index in range(5)]
    expected = torch.tensor([[NormalDist().inv_cdf((word + 0.5) / 2**32) for word in words]])
    torch.testing.assert_close(random_encoder(dim=5, seed=7).embed(crop), expected, atol=1e-6, rtol=1e-6)


def test_a_crop_has_the_same_vector_in_every_minibatch_and_any_memory_layout():
    encoder, crops = random_encoder(), raw_crops(6)
    together = encoder.embed(crops)
    assert together.shape == (6, 1024)
    assert torch.equal(encoder.embed(crops[2:3])[0], together[2])
    assert torch.equal(encoder.embed(crops.flip(0)), together.flip(0))
    strided = crops.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(encoder.embed(strided), together)
    assert torch.equal(encoder.embed_blocks(crops), together[None])
    assert encoder.embed(crops[:0]).shape == (0, 1024)


def test_one_pixel_or_another_seed_gives_an_independent_vector():
    crop = raw_crops(1)
    changed = crop.clone()
    changed[0, 0, 0, 0] = int(crop[0, 0, 0, 0]) ^ 1
    first, second = random_encoder().embed(crop), random_encoder().embed(changed)
    other_seed = random_encoder(seed=1).embed(crop)
    for vector in (second, other_seed):
        # the cosine of independent vectors of 1,024 dimensions has standard deviation 1 / 32
        assert torch.nn.functional.cosine_similarity(first, vector).abs() < 5 / 32


def test_values_are_standard_normal():
    values = random_encoder().embed(raw_crops(50)).flatten().double()
    assert abs(values.mean()) < 5 / len(values) ** 0.5
    assert abs(values.var() - 1) < 5 * (2 / len(values)) ** 0.5
    quantiles = torch.tensor([NormalDist().inv_cdf(p) for p in (0.05, 0.25, 0.75, 0.95)])
    below = (values[:, None] < quantiles).double().mean(dim=0)
    torch.testing.assert_close(below, torch.tensor([0.05, 0.25, 0.75, 0.95]).double(), atol=0.01, rtol=0)


def test_the_folder_holds_no_tensor_and_loads_to_the_same_vectors(tmp_path):
    encoder, crops = random_encoder(dim=16, seed=3), raw_crops(2)
    loaded = load_encoder(save_encoder(tmp_path, encoder))
    assert torch.equal(loaded.embed(crops), encoder.embed(crops))
    assert loaded.state_dict() == {}
    assert trim_encoder(loaded, 0) is loaded
    assert "seed 3 and the digest of the crop" in (tmp_path / "card.md").read_text()
