"""What holds for every encoder that `import` makes, as test_every_model has it for those that are trained."""

import pytest
import timm
import torch

from phenoscale.models.encoder import untrained_encoder
from phenoscale.models.openphenom import import_openphenom
from phenoscale.models.pixel_statistics import pixel_statistics_config
from phenoscale.models.random_vectors import random_vectors_config
from phenoscale.models.timm_encoder import import_timm, timm_encoder_config
from tests.support.encoders import CHANNELS
from tests.support.released import openphenom_tensors

INPUT = {"crop_size": 48, "intensity_scale": 65535.0}


def from_timm(**settings):
    tensors = timm.create_model("test_vit", pretrained=False).state_dict()
    return import_timm(
        timm_encoder_config("test_vit", channels=CHANNELS, **INPUT, **settings), tensors, source="w"
    )


ENCODERS = {
    "openphenom": lambda: import_openphenom(
        openphenom_tensors(patch_size=16), source="w", channels=CHANNELS, **INPUT
    ),
    "timm": from_timm,
    "timm, resized": lambda: from_timm(input_size=32),
    "timm, class token": lambda: from_timm(pooling="class_token"),
    "random vectors": lambda: untrained_encoder(random_vectors_config(CHANNELS, dim=32, seed=1, **INPUT)),
    "pixel statistics": lambda: untrained_encoder(pixel_statistics_config(CHANNELS, **INPUT)),
}


@pytest.fixture(params=ENCODERS.values(), ids=ENCODERS.keys())
def encoder(request):
    torch.manual_seed(5)
    return request.param()


def crops(num=8):
    shape = (num, len(CHANNELS), 48, 48)
    noise = torch.randint(0, 65536, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    return noise.to(torch.uint16)


def test_every_block_is_as_long_as_the_config_says(encoder):
    blocks_NBD = encoder.embed_blocks(crops())
    assert blocks_NBD.shape == (encoder.num_blocks, 8, encoder.config.embedding_dim)
    assert blocks_NBD.dtype == torch.float32
    assert torch.isfinite(blocks_NBD).all()
    assert torch.equal(encoder.embed(crops()), blocks_NBD[-1])


def test_companions_in_the_minibatch_have_no_say(encoder):
    together_NBD = encoder.embed_blocks(crops())
    alone_NBD = torch.cat([encoder.embed_blocks(crop[None]) for crop in crops()], dim=1)
    torch.testing.assert_close(alone_NBD, together_NBD, atol=1e-5, rtol=1e-5)


def test_the_embedding_follows_the_crop(encoder):
    embedded_BD = encoder.embed(crops())
    torch.testing.assert_close(encoder.embed(crops().flip(0)), embedded_BD.flip(0), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(embedded_BD[0], embedded_BD[1], atol=1e-4)


@pytest.mark.gpu
def test_gpu_and_cpu_give_the_same_embeddings(encoder):
    expected_NBD = encoder.embed_blocks(crops())
    found_NBD = encoder.to("cuda").embed_blocks(crops().cuda()).cpu()
    torch.testing.assert_close(found_NBD, expected_NBD, atol=1e-3, rtol=1e-3)
