"""p-values from a null: counted one by one, never 0, ties as said."""

import numpy as np

from phenoscale.stats.p_values import num_reaching, published_upper_p_values, q_values, upper_p_values


def test_p_values_are_counts_with_the_value_counted_in():
    generator = np.random.default_rng(0)
    values, null = generator.integers(0, 20, 50) / 4, generator.integers(0, 20, 99) / 4
    found = upper_p_values(values, null_B=null)
    assert found.tolist() == [(sum(other >= value for other in null) + 1) / 100 for value in values]
    strict = upper_p_values(values, null_B=null, ties="gt")
    assert strict.tolist() == [(sum(other > value for other in null) + 1) / 100 for value in values]
    assert upper_p_values(np.array([1e9]), null_B=null).item() == 0.01


def test_published_p_values_do_not_count_it_in_and_reach_zero():
    null = np.array([0.0, 0.5, 1.0])
    assert published_upper_p_values(np.array([0.5, 2.0]), null_B=null).tolist() == [2 / 3, 0.0]
    assert published_upper_p_values(np.array([0.5]), null_B=null, ties="gt").tolist() == [1 / 3]


def test_values_that_differ_by_rounding_are_tied():
    null = np.array([0.3, 0.1 + 0.2])
    assert num_reaching(np.array([0.3]), null_B=null, ties="ge").item() == 2
    assert num_reaching(np.array([0.3]), null_B=null, ties="gt").item() == 0


def test_q_values_are_those_of_the_step_up_procedure_and_skip_missing_ones():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.5])
    # ranks of the four known: .01 -> .04, .03 -> .06 capped by .04 * 4 / 3, .5 -> .5
    expected = [0.04, np.nan, 0.16 / 3, 0.16 / 3, 0.5]
    assert np.allclose(q_values(p), expected, equal_nan=True)
    assert np.isnan(q_values(np.array([np.nan]))).all()
