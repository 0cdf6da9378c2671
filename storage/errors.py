"""What can go wrong in a store. Every message is one sentence that says what to do."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot do what was asked; the message names the thing, the place and the way out."""


class Unreachable(StoreError, OSError):
    """A disk or a network failed in a way that may pass by itself; an OSError, so it is worth a retry."""


class Fenced(StoreError):
    """Somebody else took over while this process was away: nothing of its work was committed."""


class Busy(StoreError):
    """A lease is held by somebody else; `holder` says by whom, in words."""

    def __init__(self, message: str, holder: str) -> None:
        super().__init__(message)
        self.holder = holder

    def __reduce__(self) -> tuple[type[Busy], tuple[str, str]]:
        return Busy, (str(self), self.holder)
