"""The cache of decoded fields: bounded, least recently used first out."""

import numpy as np

from phenoscale.loading.cache import FieldCache


def field(value):
    return np.full((1, 10, 10), value, dtype=np.uint8)


def test_least_recently_used_field_is_dropped_beyond_the_capacity():
    cache = FieldCache(200)
    cache.put(1, field(1))
    cache.put(2, field(2))
    assert cache.get(1) is not None
    cache.put(3, field(3))
    assert cache.get(2) is None
    assert cache.get(1)[0, 0, 0] == 1
    assert cache.get(3)[0, 0, 0] == 3
    assert cache.num_bytes == 200


def test_a_field_larger_than_the_cache_is_not_kept():
    cache = FieldCache(99)
    cache.put(1, field(1))
    assert cache.get(1) is None
    assert cache.num_bytes == 0


def test_a_field_that_is_there_is_not_counted_twice():
    cache = FieldCache(1000)
    cache.put(1, field(1))
    cache.put(1, field(9))
    assert cache.num_bytes == 100
    assert cache.get(1)[0, 0, 0] == 1
