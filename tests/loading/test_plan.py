"""The sample plan: pure, uniform, and without ties between purposes, samples, epochs and seeds."""

import numpy as np
import pytest
from scipy import stats

from phenoscale.loading.plan import (
    balanced_weights,
    crop_corners,
    flips,
    mask_noise,
    same_plate_length,
    same_plate_order,
    sample_order,
)

SAMPLES = np.arange(20_000)


def corners_of(samples, *, height=40, width=50, size=32, seed=0, epoch=0):
    heights, widths = np.full(len(samples), height), np.full(len(samples), width)
    return crop_corners(samples, seed=seed, epoch=epoch, heights=heights, widths=widths, size=size)


def test_order_without_weights_is_a_permutation_that_changes_with_epoch_and_seed():
    orders = [sample_order(500, seed=seed, epoch=epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    for order in orders:
        assert sorted(order) == list(range(500))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    np.testing.assert_array_equal(orders[0], sample_order(500, seed=0, epoch=0))


def test_equal_weights_give_the_order_without_weights():
    weighted = sample_order(100, seed=3, epoch=2, weights=np.full(100, 0.25))
    np.testing.assert_array_equal(weighted, sample_order(100, seed=3, epoch=2))


def test_every_position_of_an_order_is_equally_likely_for_every_field():
    places = np.stack([np.argsort(sample_order(8, seed=0, epoch=epoch)) for epoch in range(4000)])
    for field in range(8):
        counts = np.bincount(places[:, field], minlength=8)
        assert stats.chisquare(counts).pvalue > 1e-4


def test_weighted_fields_occur_as_often_as_their_share_says_rounded_up_or_down():
    weights = np.random.default_rng(0).gamma(1.0, size=60)
    expected = 60 * weights / weights.sum()
    total = np.zeros(60)
    for epoch in range(400):
        order = sample_order(60, seed=1, epoch=epoch, weights=weights)
        counts = np.bincount(order, minlength=60)
        assert len(order) == 60
        assert (counts >= np.floor(expected)).all()
        assert (counts <= np.ceil(expected)).all()
        total += counts
    np.testing.assert_allclose(total / 400, expected, atol=0.1)


plate_of = np.random.default_rng(7).permutation(np.repeat([4, 0, 9, 2], [12, 7, 5, 2]))


def runs_of(*, length, **changes):
    order = same_plate_order(plate_of, run_length=length, **{"seed": 3, "epoch": 1, **changes})
    return order.reshape(-1, length)


@pytest.mark.parametrize(("length", "num_fields"), [(1, 26), (3, 12 + 9 + 6 + 3), (4, 12 + 8 + 8 + 4)])
def test_every_run_is_of_one_plate_and_every_field_comes_once_besides_what_fills_runs(length, num_fields):
    runs = runs_of(length=length)
    assert (plate_of[runs] == plate_of[runs[:, :1]]).all()
    assert runs.size == num_fields == same_plate_length(plate_of, run_length=length)
    counts = np.bincount(runs.ravel(), minlength=len(plate_of))
    for plate, size in [(4, 12), (0, 7), (9, 5)]:
        extra = counts[plate_of == plate] - 1
        assert extra.sum() == -size % length
        assert set(extra) <= {0, 1}
        assert all(len(set(run)) == length for run in runs if plate_of[run[0]] == plate)
    # the plate of two fields is smaller than a run of four: both are in it twice
    assert counts[plate_of == 2].sum() == -(-2 // length) * length


def test_order_of_runs_changes_with_epoch_and_seed_and_with_nothing_else():
    plain = runs_of(length=3)
    np.testing.assert_array_equal(plain, runs_of(length=3))
    np.testing.assert_array_equal(plain, runs_of(length=3, weights=np.full(len(plate_of), 2.0)))
    for change in ({"epoch": 2}, {"seed": 4}):
        assert not np.array_equal(plain, runs_of(length=3, **change))


def test_every_plate_is_equally_likely_at_every_place_that_its_size_earns():
    first = [plate_of[runs_of(length=2, epoch=epoch)[0, 0]] for epoch in range(3000)]
    counts = np.bincount(first, minlength=10)[[4, 0, 9, 2]]
    assert stats.chisquare(counts, 3000 * np.array([6, 4, 3, 1]) / 14).pvalue > 1e-4


def test_weighted_runs_are_of_one_plate_and_fields_come_as_often_as_their_weight_says():
    weights = np.random.default_rng(0).gamma(1.0, size=len(plate_of))
    length = same_plate_length(plate_of, run_length=3)
    total = np.zeros(len(plate_of))
    for epoch in range(4000):
        runs = runs_of(length=3, epoch=epoch, weights=weights)
        assert runs.size == length
        assert (plate_of[runs] == plate_of[runs[:, :1]]).all()
        total += np.bincount(runs.ravel(), minlength=len(plate_of))
    np.testing.assert_allclose(total / 4000, length * weights / weights.sum(), rtol=0.05, atol=0.02)


def test_balanced_weights_give_every_label_the_same_total():
    labels = np.array(["b", "a", "b", "", "b", "a"])
    weights = balanced_weights(labels)
    np.testing.assert_allclose(weights, [1 / 3, 1 / 2, 1 / 3, 1, 1 / 3, 1 / 2])
    assert {name: weights[labels == name].sum() for name in ("a", "b", "")} == {"a": 1, "b": 1, "": 1}


def test_crops_lie_inside_their_field_and_every_position_is_equally_likely():
    corners = corners_of(SAMPLES)
    for axis, choices in [(0, 9), (1, 19)]:
        counts = np.bincount(corners[:, axis])
        assert len(counts) == choices
        assert stats.chisquare(counts).pvalue > 1e-4
    joint = np.bincount(corners[:, 0] * 19 + corners[:, 1], minlength=9 * 19)
    assert stats.chisquare(joint).pvalue > 1e-4


def test_a_field_as_large_as_the_crop_has_one_crop():
    assert (corners_of(SAMPLES[:100], height=32, width=32) == 0).all()


def test_fields_of_different_sizes_each_get_corners_of_their_own_range():
    heights, widths = np.array([32, 100, 2048]), np.array([64, 32, 2048])
    corners = [
        crop_corners(np.full(3, sample), seed=0, epoch=0, heights=heights, widths=widths, size=32)
        for sample in range(300)
    ]
    assert (np.max(corners, axis=0) <= np.stack([heights, widths], axis=1) - 32).all()
    assert np.max(corners, axis=0)[2].min() > 1900


def test_flips_are_fair_and_independent_of_each_other():
    turned = flips(SAMPLES, seed=0, epoch=0)
    counts = np.bincount(turned[:, 0] * 2 + turned[:, 1])
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("num_tokens", [1, 15, 64])
def test_mask_noise_is_uniform_between_0_and_1(num_tokens):
    values = mask_noise(SAMPLES[:2000], seed=0, epoch=0, num_tokens=num_tokens)
    assert values.shape == (2000, num_tokens)
    assert values.dtype == np.float32
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-4


def test_mask_noise_has_no_ties_that_matter_and_no_correlation_between_tokens():
    values = mask_noise(SAMPLES[:4000], seed=0, epoch=0, num_tokens=16)
    correlation = np.corrcoef(values.T) - np.eye(16)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_a_sample_s_numbers_do_not_depend_on_which_others_are_computed():
    picked = np.array([17, 3, 999])
    epochs = np.array([2, 0, 5])
    together = mask_noise(picked, seed=4, epoch=epochs, num_tokens=10)
    for index, (sample, epoch) in enumerate(zip(picked, epochs, strict=True)):
        alone = mask_noise(np.array([sample]), seed=4, epoch=int(epoch), num_tokens=10)
        np.testing.assert_array_equal(together[index], alone[0])
        np.testing.assert_array_equal(
            corners_of(picked, epoch=epochs)[index], corners_of(np.array([sample]), epoch=int(epoch))[0]
        )
        np.testing.assert_array_equal(
            flips(picked, seed=0, epoch=epochs)[index], flips(np.array([sample]), seed=0, epoch=int(epoch))[0]
        )


def test_seed_epoch_and_sample_each_change_the_mask():
    reference = mask_noise(np.array([5]), seed=1, epoch=1, num_tokens=16)
    for sample, seed, epoch in [(6, 1, 1), (5, 2, 1), (5, 1, 2), (5, 1 + 2**32, 1)]:
        assert not np.array_equal(
            reference, mask_noise(np.array([sample]), seed=seed, epoch=epoch, num_tokens=16)
        )
