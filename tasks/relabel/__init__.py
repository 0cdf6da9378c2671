"""Relabel: fix what can be proved, soften or drop what cannot, queue the rest for people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated

from tasks.data import Decisions, Evidence, State
from tasks.method import Method, third_party


class Policy(Method, ABC):
    """Decides on every label from the evidence.

    `fit` sees the whole partition without the rows that people decided (those are settled, and
    count towards no cap); `apply` decides one shard. People's decisions are laid over the result by
    the stage, whatever the policy.
    """

    @abstractmethod
    def fit(self, shards: Iterable[Evidence]) -> State:
        """Whether caps are exceeded; integers only. `state.info["notes"]` is a list of sentences
        for the run's log, artifact and report (empty when all is well)."""

    @abstractmethod
    def apply(self, shard: Evidence, state: State, class_names: tuple[str, ...]) -> Decisions:
        """One decision a row, in order."""


from tasks.relabel.threshold import Threshold  # noqa: E402

AnyPolicy = Annotated[Threshold, third_party(Policy)]
