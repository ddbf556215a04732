"""The batched L-BFGS finds closed-form minima, whatever company a function keeps."""

import numpy as np

from phenoscale.stats.softmax_lbfgs import minimize_batch


def quadratics(seed, *, num_functions=7, num_parameters=12):
    generator = np.random.default_rng(seed)
    curvatures = 10.0 ** generator.uniform(-3, 3, size=(num_functions, num_parameters))
    rotations = np.stack(
        [np.linalg.qr(generator.normal(size=(num_parameters,) * 2))[0] for _ in range(num_functions)]
    )
    hessians = rotations @ (curvatures[:, :, None] * rotations.transpose(0, 2, 1))
    optima = generator.normal(size=(num_functions, num_parameters))

    def evaluate(points, chosen):
        away = points - optima[chosen]
        gradients = np.einsum("pij,pj->pi", hessians[chosen], away)
        return 0.5 * np.einsum("pi,pi->p", away, gradients), gradients

    return evaluate, optima, hessians


def minimize(evaluate, optima, *, scale):
    return minimize_batch(
        evaluate, np.zeros_like(optima), scale_PW=scale, tolerance=1e-18, rounding=1e-15, memory=20
    )


def test_ill_conditioned_quadratics_reach_their_closed_form_minima():
    evaluate, optima, _ = quadratics(0)
    found = minimize(evaluate, optima, scale=np.ones_like(optima))
    assert found.converged.all()
    np.testing.assert_allclose(found.parameters, optima, atol=1e-6)


def test_a_function_ends_at_the_same_point_alone_and_in_company():
    evaluate, optima, _ = quadratics(1)
    together = minimize(evaluate, optima, scale=np.ones_like(optima))
    alone = minimize_batch(
        lambda points, chosen: evaluate(points, chosen + 3),
        np.zeros_like(optima[3:4]),
        scale_PW=np.ones_like(optima[3:4]),
        tolerance=1e-18,
        rounding=1e-15,
    )
    np.testing.assert_allclose(together.parameters[3], alone.parameters[0], atol=1e-9)
    assert together.iterations[3] == alone.iterations[0]


def test_the_exact_inverse_curvature_as_scale_needs_one_step():
    curvatures = np.array([[1e-4, 1.0, 1e4]])
    target = np.array([[3.0, -2.0, 1.0]])

    def evaluate(points, chosen):
        gradients = curvatures[chosen] * (points - target[chosen])
        return 0.5 * ((points - target[chosen]) * gradients).sum(axis=1), gradients

    found = minimize_batch(
        evaluate, np.zeros((1, 3)), scale_PW=1.0 / curvatures, tolerance=1e-20, rounding=1e-15
    )
    assert found.iterations.tolist() == [1]
    np.testing.assert_allclose(found.parameters, target, rtol=1e-12)


def test_a_start_at_the_minimum_is_left_where_it_is():
    evaluate, optima, _ = quadratics(2)
    found = minimize_batch(evaluate, optima, scale_PW=np.ones_like(optima), tolerance=1e-18, rounding=1e-15)
    assert found.iterations.tolist() == [0] * len(optima)
    np.testing.assert_array_equal(found.parameters, optima)


def test_a_search_out_of_rounds_says_that_it_did_not_converge():
    evaluate, optima, _ = quadratics(3)
    found = minimize_batch(
        evaluate,
        np.zeros_like(optima),
        scale_PW=np.ones_like(optima),
        tolerance=1e-18,
        rounding=1e-15,
        max_rounds=2,
    )
    assert not found.converged.any()
