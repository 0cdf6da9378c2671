"""The solver of softmax regression. Run: .venv/bin/python -m pytest tests/tasks/teach/test_softmax.py"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

from tasks.teach.rowwise import one_thread
from tasks.teach.softmax import BLOCK_ROWS, TOLERANCE, Loss, fit, root_of


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def valley(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features that nearly repeat one another (condition number about 1e5), three classes, a
    tenth of the labels wrong."""
    random = np.random.default_rng(seed)
    hidden = random.standard_normal((n, d)) * np.geomspace(1, 3e-3, d)
    x = hidden @ np.linalg.qr(random.standard_normal((d, d)))[0]
    labels = (hidden[:, :3] + 0.3 * random.standard_normal((n, 3))).argmax(axis=1)
    labels = np.where(random.random(n) < 0.1, random.integers(0, 3, n), labels)
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32), labels


def test_without_weights_the_loss_is_the_logarithm_of_the_classes() -> None:
    x, labels = valley(50, 4)
    value, by_coef, by_intercept = Loss(x, labels, 3, 0.1)(np.zeros((3, 4)), np.zeros(3))
    assert value == pytest.approx(np.log(3), abs=1e-6)
    np.testing.assert_allclose(by_intercept, 1 / 3 - np.bincount(labels, minlength=3) / 50, atol=1e-6)
    expected = (1 / 3 - (labels == np.arange(3)[:, None])) @ x / 50
    np.testing.assert_allclose(by_coef, expected, atol=1e-6)


def test_the_gradient_is_that_of_the_loss_over_more_than_one_block() -> None:
    x, labels = valley(BLOCK_ROWS + 100, 3)
    loss = Loss(x, labels, 3, 0.05)

    def parts(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, by_coef, by_intercept = loss(point[:9].reshape(3, 3), point[9:])
        return value, np.concatenate([by_coef.ravel(), by_intercept])

    point = np.random.default_rng(1).standard_normal(12)
    apart = check_grad(lambda p: parts(p)[0], lambda p: parts(p)[1], point, epsilon=1e-2)
    assert apart < 0.02 * np.linalg.norm(parts(point)[1]) + 1e-3


def test_the_minimum_is_scikit_learns() -> None:
    x, labels = valley(3000, 20)
    coef, intercept, _ = fit(x, labels, 3, 1 / 3000, 1000)
    reference = LogisticRegression(C=1.0, max_iter=10_000, tol=1e-9).fit(x.astype(np.float64), labels)
    logits = x @ coef.T + intercept
    theirs = reference.decision_function(x.astype(np.float64))
    np.testing.assert_allclose(logits - logits.mean(axis=1, keepdims=True), theirs, atol=0.02)


def test_in_a_narrow_valley_it_takes_a_fraction_of_the_plain_steps_to_a_lower_loss() -> None:
    x, labels = valley(3000, 60)
    coef, intercept, steps = fit(x, labels, 3, 1e-5, 1000)
    plain = LogisticRegression(C=1e5 / 3000, max_iter=10_000, tol=TOLERANCE).fit(x, labels)
    loss = Loss(x, labels, 3, 1e-5)
    assert 5 * steps < plain.n_iter_[0]
    assert loss(coef, intercept)[0] <= loss(plain.coef_.astype(np.float64), plain.intercept_)[0] + 1e-6


def test_at_the_minimum_no_entry_of_the_gradient_exceeds_the_tolerance() -> None:
    x, labels = valley(2000, 10)
    coef, intercept, _ = fit(x, labels, 3, 1e-3, 1000)
    _, by_coef, by_intercept = Loss(x, labels, 3, 1e-3)(coef, intercept)
    assert max(np.abs(by_coef).max(), np.abs(by_intercept).max()) <= 1.01 * TOLERANCE


def test_it_stops_where_it_is_told_to() -> None:
    x, labels = valley(500, 30)
    assert fit(x, labels, 3, 1e-6, 4)[2] == 4


def test_in_its_own_coordinates_the_curvature_is_at_most_one() -> None:
    """Boehning's bound, at the weights where the Hessian is largest: none, with two classes."""
    x = valley(400, 5)[0].astype(np.float64)
    root = root_of(x, 1e-2)
    hessian = np.kron(np.array([[0.25, -0.25], [-0.25, 0.25]]), x.T @ x / 400) + 1e-2 * np.eye(10)
    back = np.kron(np.eye(2), np.linalg.inv(root))
    assert np.linalg.eigvalsh(back @ hessian @ back.T).max() <= 1 + 1e-5


@pytest.mark.parametrize("n", [2, 5])
def test_fewer_rows_than_features_and_features_that_repeat_are_legal(n: int) -> None:
    x = np.repeat(np.random.default_rng(0).standard_normal((n, 4)), 3, axis=1).astype(np.float32)
    coef, intercept, _ = fit(x, np.arange(n) % 2, 2, 1e-6, 200)
    assert np.isfinite(coef).all()
    assert ((x @ coef.T + intercept).argmax(axis=1) == np.arange(n) % 2).all()
