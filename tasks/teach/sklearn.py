"""Any scikit-learn classifier on the embedding, named by its import path.

Pedregosa et al., "Scikit-learn: machine learning in Python", JMLR 2011. For a teacher that errs
differently from `linear`: averaging helps as far as errors are not shared. Assumes what the estimator
named assumes. Cost: the estimator's; predictions go through blocks of 1,024 rows.

The estimator is refused unless it is scikit-learn's own, and the fitted model is stored by
skops as arrays and a JSON schema: nothing is pickled, and only types of scikit-learn, NumPy and
SciPy are ever built from it.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, JsonValue

from tasks.data import Examples, State
from tasks.teach import BadTraining, Named, Start
from tasks.teach.rowwise import embedding_of, in_blocks, one_thread, over_vocabulary


class Sklearn(Named):
    """A scikit-learn classifier with `predict_proba` on the embedding."""

    kind: Literal["sklearn"] = "sklearn"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Pedregosa et al., Scikit-learn: machine learning in Python, JMLR 2011"
    reads: ClassVar[Literal["images", "embedding", "nothing"]] = "embedding"

    estimator: str = Field(
        pattern=r"^sklearn(\.[A-Za-z_][A-Za-z0-9_]*)+$",
        description="import path in scikit-learn, such as sklearn.ensemble.HistGradientBoostingClassifier",
    )
    params: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="the estimator's own parameters; random_state and n_jobs are set from the seed and to 1",
    )

    def names(self) -> tuple[str, ...]:
        """The class: two scikit-learn teachers are told apart by it."""
        return (self.name or self.estimator.rpartition(".")[2],)

    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """The fitted model as skops bytes, uint8 (size,), and the classes present. See Teacher.fit.

        Always from scratch, whatever `start`: estimators do not agree on what going on means.
        """
        embedding = embedding_of(train, self.kind)
        if not len(train):
            raise BadTraining("teach.teachers: sklearn has no labelled rows to learn from; ingest some first")
        classes = np.unique(train.labels).astype(np.int64)
        model = np.zeros(0, dtype=np.uint8)
        if len(classes) > 1:
            from tasks.teach.skops_bytes import dumps

            try:
                with one_thread():
                    fitted = self._estimator(seed).fit(embedding, train.labels)
                model = np.frombuffer(dumps(fitted), dtype=np.uint8)
            except (ValueError, TypeError) as error:
                raise BadTraining(f"teach.teachers: {self.estimator} cannot be used: {error}") from error
        return State({"model": model, "classes": classes}, {"estimator": self.estimator})

    def _estimator(self, seed: int) -> Any:
        from sklearn.base import ClassifierMixin

        module, _, name = self.estimator.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise TypeError("scikit-learn has no such class; check teach.teachers.estimator") from error
        if not (isinstance(found, type) and issubclass(found, ClassifierMixin)):
            raise TypeError("it is not a classifier; name one under teach.teachers.estimator")
        estimator = found(**self.params)
        if not hasattr(estimator, "predict_proba"):
            raise TypeError("it has no predict_proba with these params; name one that gives probabilities")
        fixed = {"random_state": seed % 2**32, "n_jobs": 1}
        own = estimator.get_params(deep=False)
        return estimator.set_params(**{key: value for key, value in fixed.items() if key in own})

    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """Float32 (1, n, n_classes); below 1e-6 is lifted to it before rows are summed to 1 again."""
        classes = state.arrays["classes"]
        embedding = embedding_of(examples, self.kind)
        probs = np.ones((len(embedding), 1))
        if len(classes) > 1:
            from tasks.teach.skops_bytes import loads

            model = loads(state.arrays["model"].tobytes())
            with one_thread():
                probs = in_blocks(model.predict_proba, embedding, len(classes))
        return over_vocabulary(probs, classes, n_classes)[None]
