"""Against refits. Run: .venv/bin/python -m pytest tests/tasks/detect/test_softmax_influence.py"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from tasks.detect.softmax_influence import (
    directions,
    fit,
    gradients,
    look,
    projection,
    shares_of,
    with_bias,
)


def data(n: int = 60, d: int = 3, p: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(n) % p
    return random.normal(size=(n, d)) + random.normal(size=(p, d))[labels], labels


def losses(weights: np.ndarray, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(-log_softmax(with_bias(x) @ weights.T, axis=1)[np.arange(len(x)), labels])


def refitted(x: np.ndarray, labels: np.ndarray, ridge: float, n: int, p: int) -> np.ndarray:
    """The minimiser of sum of losses / n + ridge / 2 |W|^2 by another solver."""

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(p, -1)
        probs = np.exp(log_softmax(with_bias(x) @ weights.T, axis=1))
        slope = (probs - np.eye(p)[labels]).T @ with_bias(x) / n + ridge * weights
        return losses(weights, x, labels).sum() / n + ridge / 2 * (flat @ flat), slope.ravel()

    start = np.zeros(p * (x.shape[1] + 1))
    done = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 500})
    return np.asarray(done.x.reshape(p, -1))


@pytest.mark.parametrize("p", [2, 3])
def test_the_model_is_the_minimum_of_its_objective(p: int) -> None:
    x, labels = data(p=p)
    model = fit(x, labels, 0.1)
    np.testing.assert_allclose(model.weights, refitted(x, labels, 0.1, 60, p), atol=1e-6)
    total = gradients(model, x, labels).sum(axis=0)
    np.testing.assert_allclose(total, -60 * 0.1 * model.weights.ravel(), atol=1e-6)


def test_the_factor_is_that_of_the_hessian_by_finite_differences() -> None:
    x, labels = data()
    model = fit(x, labels, 0.1)

    def slope(weights: np.ndarray) -> np.ndarray:
        moved = type(model)(weights.reshape(3, -1), model.factor)
        return np.asarray(gradients(moved, x, labels).mean(axis=0) + 0.1 * weights)

    at, step = model.weights.ravel(), 1e-5
    columns = [(slope(at + step * e) - slope(at - step * e)) / (2 * step) for e in np.eye(12)]
    np.testing.assert_allclose(model.factor @ model.factor.T, np.stack(columns), atol=1e-7)


def test_influence_foretells_what_leaving_a_row_out_does_to_every_loss() -> None:
    x, labels = data()
    model = fit(x, labels, 0.1)
    u = directions(model, gradients(model, x, labels))
    foretold, before = u @ u.T / 60, losses(model.weights, x, labels)
    true = np.empty((60, 60))
    for i in range(60):
        rest = np.arange(60) != i
        true[i] = losses(refitted(x[rest], labels[rest], 0.1, 60, 3), x, labels) - before
    assert np.corrcoef(foretold.ravel(), true.ravel())[0, 1] > 0.99
    slope = np.polyfit(foretold.ravel(), true.ravel(), 1)[0]
    assert 1 < slope < 1.2  # the first order underestimates
    largest = np.argsort(-np.abs(foretold).ravel())[:20]
    assert (np.sign(foretold.ravel()[largest]) == np.sign(true.ravel()[largest])).all()


def test_influence_is_symmetric_and_every_row_helps_itself_and_copies_help_alike() -> None:
    x, labels = data()
    x[7], labels[7] = x[2], labels[2]
    model = fit(x, labels, 0.1)
    u = directions(model, gradients(model, x, labels))
    help_ = u @ u.T
    np.testing.assert_allclose(help_, help_.T)
    assert (np.diag(help_) > 0).all()
    np.testing.assert_allclose(help_[7], help_[2])


def test_a_look_gives_the_probability_the_squared_length_and_the_unit_direction() -> None:
    x, labels = data()
    model = fit(x, labels, 0.1)
    found, u = look(model, x, labels), directions(model, gradients(model, x, labels))
    np.testing.assert_allclose(found[:, 0], np.exp(-losses(model.weights, x, labels)))
    np.testing.assert_allclose(found[:, 1], (u * u).sum(axis=1))
    np.testing.assert_allclose(found[:, 2:] * np.sqrt(found[:, 1:2]), u)


def test_all_components_rotate_nothing_away_and_few_keep_the_most_variance() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 3)) * [1, 10, 100]
    x = np.column_stack([x, x[:, 0] + 0.01 * random.normal(size=200), np.full(200, 7.0)]).astype(np.float32)
    mean, components = projection(x, 5)
    np.testing.assert_allclose(((x - mean) @ components).std(axis=0), [1, 1, 1, 1, 0], atol=1e-6)
    mean, components = projection(x, 1)
    leading = (x - mean) @ components
    assert components.shape == (5, 1)
    assert abs(np.corrcoef(leading[:, 0], x[:, 0])[0, 1]) > 0.99


def test_votes_are_shares_by_hand() -> None:
    influence = np.array([[0.5, 0.3, 0.2], [0.4, -0.9, -np.inf], [-0.1, -0.2, -np.inf]])
    labels = np.array([[1, 0, 1], [2, 0, -1], [0, 1, -1]])
    expected = np.array([[0.3, 0.7, 0], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_allclose(shares_of(influence, labels, 3), expected)
