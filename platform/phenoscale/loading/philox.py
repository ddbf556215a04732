"""Counter-based random numbers: Philox4x32-10, vectorized. Salmon et al. (2011), doi:10.1145/2063384.2063405.

A number is a pure function of a key and a counter, so any process can compute any sample's numbers without
having computed those of the others.
"""

import numpy as np
from numpy.typing import NDArray

WordArray = NDArray[np.uint32]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox4x32(counters: WordArray, *, key: tuple[int, int]) -> WordArray:
    """Four random words for each counter.

    Args:
        counters: [..., 4].
        key: two 32-bit words.

    Returns:
        [..., 4].
    """
    c0, c1, c2, c3 = (counters[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> _HALF) ^ c1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _HALF) ^ c3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def seed_key(seed: int) -> tuple[int, int]:
    """The two words of a seed of up to 64 bits."""
    return seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
