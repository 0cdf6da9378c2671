"""What every method is: frozen, typed parameters with a name and a revision.

A method is data before it is code. Its fields are what the YAML may set, and together with
`kind` and `revision` they are its identity: the part of a stage's fingerprint that says whether
stored results are still what this method would compute. `revision` is raised by whoever changes
the output, so that a comment or a faster loop does not send a year of partitions back to work.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, WrapValidator

from tasks.plugins import GROUP, VARIABLE, let_in

Task = Literal["single_label", "multi_label", "regression"]
"""What the rows of a data set are given: one class, a set of classes, or a number."""

ONE_CLASS: frozenset[Task] = frozenset({"single_label"})


class Method(BaseModel):
    """One way to do a stage. Fields are parameters; `kind` names it in YAML.

    `revision` changes whenever the output of the same input would; `paper` is the source that
    `winnow methods` shows. `cpus` and `memory` (bytes) are what a cluster sets aside for a task that
    runs it; None is as much memory as there is. They place work and change no value. `tasks` are those
    that a method which sees labels can do: one that does not say so is for rows of one class each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = ""
    cpus: ClassVar[float] = 1
    memory: ClassVar[int | None] = None
    tasks: ClassVar[frozenset[Task]] = ONE_CLASS

    def identity(self) -> dict[str, Any]:
        """The parameters and the revision, as JSON: what a fingerprint hashes."""
        return {**self.model_dump(mode="json"), "revision": self.revision}


def third_party(contract: type[Method]) -> WrapValidator:
    """A validator that also takes `kind: "package.module:Class"`, a subclass of `contract`."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, contract):
            return value
        kind = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(kind, str) or ":" not in kind:
            return handler(value)
        module, _, name = kind.partition(":")
        if not let_in(module):
            raise ValueError(
                f"{kind} is code that nobody let in; name its package in {VARIABLE} where winnow runs, or "
                f"install one that offers it as an entry point of the group {GROUP}"
            )
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{kind} cannot be imported ({error}); is its package installed?") from error
        if not (isinstance(found, type) and issubclass(found, contract)):
            raise ValueError(f"{kind} is not a {contract.__name__}; derive it from {contract.__module__}")
        if inspect.isabstract(found):
            unwritten = ", ".join(sorted(found.__abstractmethods__))
            raise ValueError(f"{kind} is an unfinished {contract.__name__}; write its {unwritten}")
        return found.model_validate(value)

    return WrapValidator(validate)
