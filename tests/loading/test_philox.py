"""Philox4x32-10 against the known answers that its authors published with Random123."""

import numpy as np
import pytest

from phenoscale.loading.philox import philox4x32, seed_key

# Random123, tests/kat_vectors: counter, key, result
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("case", KNOWN_ANSWERS)
def test_generator_gives_the_published_known_answers(case):
    counter, key, expected = map(words, case)
    result = philox4x32(np.array(counter, dtype=np.uint32), key=(key[0], key[1]))
    assert result.tolist() == expected


def test_many_counters_at_once_give_what_each_gives_alone():
    counters = np.array([words(counter) for counter, _, _ in KNOWN_ANSWERS], dtype=np.uint32)
    together = philox4x32(counters, key=(1, 2))
    alone = [philox4x32(counter, key=(1, 2)) for counter in counters]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_seeds_beyond_32_bits_differ():
    assert seed_key(5) == (5, 0)
    assert seed_key(5 + 2**40) == (5, 256)
