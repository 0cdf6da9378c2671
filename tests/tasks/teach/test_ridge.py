"""Ridge regression against scikit-learn and by hand. Run: pytest tests/tasks/teach/test_ridge.py"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from tasks.teach import ridge


def rows(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d)).astype(np.float32)
    return x, x @ random.normal(size=d) + random.normal(size=n) + 7


def test_two_rows_by_hand() -> None:
    """Centred x is -1, 1 and y is -2, 2: w = 4 / (2 + alpha) = 1, and the line goes through the mean."""
    weights, intercept = ridge.fit(np.array([[0], [2]], np.float32), np.array([1.0, 5.0]), 2.0)
    assert weights.tolist() == [1.0]
    assert intercept == 3.0 - 1.0


@pytest.mark.parametrize(("n", "d"), [(200, 5), (5000, 17), (4, 9), (1, 3)])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_it_is_scikit_learns_ridge(n: int, d: int, alpha: float) -> None:
    x, y = rows(n, d)
    weights, intercept = ridge.fit(x, y, alpha)
    known = Ridge(alpha=alpha).fit(x.astype(np.float64), y)
    np.testing.assert_allclose(weights, known.coef_, rtol=1e-7, atol=1e-9)
    assert intercept == pytest.approx(known.intercept_, rel=1e-9)


def test_the_targets_unit_changes_nothing_but_the_unit() -> None:
    x, y = rows(300, 4)
    weights, intercept = ridge.fit(x, y, 5.0)
    others, other = ridge.fit(x, y * 1000, 5.0)
    np.testing.assert_allclose(others, weights * 1000, rtol=1e-10)
    assert other == pytest.approx(intercept * 1000)


def test_features_that_say_the_same_share_the_weight() -> None:
    x, y = rows(100, 1)
    weights, _ = ridge.fit(np.repeat(x, 2, axis=1), y, 1.0)
    assert weights[0] == pytest.approx(weights[1])


def test_a_constant_target_needs_no_weights() -> None:
    x, _ = rows(50, 3)
    weights, intercept = ridge.fit(x, np.full(50, 2.5), 1.0)
    assert weights.tolist() == [0.0, 0.0, 0.0]
    assert intercept == 2.5
