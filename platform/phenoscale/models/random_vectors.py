"""The baseline that knows nothing of biology: one fixed random vector per crop. science.md 1.1.

Shapes: B minibatch, C channels, H W pixels, D dimensions.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

from phenoscale.models.readout import WeightlessEncoder
from phenoscale.schema.encoders import EncoderConfig

_WORD = np.dtype("<u4")


class RandomVectors(WeightlessEncoder):
    """Standard normal values that follow from the seed and the bytes of the raw crop, and from nothing else.

    A crop is known by the SHA-256 of its pixels, and SHAKE-256 of the seed and that digest is the stream of
    uniform numbers that become normal ones. So the same crop has the same vector in every minibatch, process
    and version of a library, and two crops that differ in one pixel have independent vectors: what a
    benchmark finds here is chance. Crops without content (all black, say) share a vector.
    """

    @torch.no_grad()
    def embed(self, crops_BCHW: Tensor) -> Tensor:
        """One vector per raw crop: [B, D], float32."""
        digests = [hashlib.sha256(crop.tobytes()).digest() for crop in crops_BCHW.cpu().contiguous().numpy()]
        vectors = [self._vector(digest) for digest in digests]
        return (
            torch.stack(vectors).to(crops_BCHW.device)
            if vectors
            else torch.empty(0, self.config.embedding_dim)
        )

    def _vector(self, digest: bytes) -> Tensor:
        stream = hashlib.shake_256(f"{self.config.seed} ".encode() + digest)
        words = np.frombuffer(stream.digest(_WORD.itemsize * self.config.embedding_dim), dtype=_WORD)
        uniform = (words.astype(np.float64) + 0.5) / 2**32  # never 0 or 1
        normal: Tensor = torch.special.ndtri(torch.from_numpy(uniform))
        return normal.float()


def random_vectors_config(
    channels: tuple[str, ...], *, crop_size: int, intensity_scale: float, dim: int, seed: int
) -> EncoderConfig:
    """The config of the random-vector baseline; the intensity scale is recorded, not used."""
    return EncoderConfig(
        architecture="random_vectors",
        channels=channels,
        crop_size=crop_size,
        embedding_dim=dim,
        intensity_scale=intensity_scale,
        pooling="none",
        standardize=False,
        seed=seed,
    )
