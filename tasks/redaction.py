"""Texts without secrets: what came from the environment is told by its name, `${DB_PASSWORD}`.

A secret reaches winnow as `${NAME}` in a curation, as a variable that a library reads by itself
(`AWS_SECRET_ACCESS_KEY`), or inside an address (`https://user:secret@host`). It leaves in errors: a
file that cannot be opened quotes its path, a server that refuses quotes its address, and Prefect
keeps both, with the traceback, in its database. An error may surface anywhere, so what a curation took
in is remembered once a process rather than handed to whoever might need it; and every flow and task
is `discreet`, which a test holds (tests/test_architecture.py).

What is replaced: every value of at least 6 characters that a curation took from the environment, and
every such variable that is named like a secret; the user part of an address; the signature of a signed
one. Tables keep what they are told of files, less the secrets by name: what stands in a table must not
change with the value of `${DATA_FOLDER}`. What a method prints or logs by itself is not looked at.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import ParamSpec, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import StageFailed

P = ParamSpec("P")
T = TypeVar("T")

SHORTEST = 6
"""Shorter values are no secrets, and would be found in every other word."""

SECRETIVE = re.compile(
    r"secret|passw|passphrase|token|credential|webhook|api_?key|access_?key|private|auth_string", re.I
)
"""How the names of variables and parameters look whose values are nobody's business."""

_USER = re.compile(r"(\b[A-Za-z][\w+.-]*://)[^/@\s'\"]+@")
_SIGNED = re.compile(r"([?&][^=&\s]*(?:sig|token|key|secret|passw|credential)[^=&\s]*=)[^&\s'\")]+", re.I)

_taken: dict[str, str] = {}


def remember(variables: Mapping[str, str]) -> None:
    """From now on, texts of this process show these variables' names in place of their values."""
    _taken.update(variables)


def redact(text: str) -> str:
    """`text` with the names of secrets in their place. Doing it twice changes nothing more."""
    names = spelled({**secrets(os.environ), **_taken})
    # A name that stands there already is taken whole, lest a value be found inside it.
    longest_first = [r"\$\{\w+\}", *map(re.escape, sorted(names, key=len, reverse=True))]
    text = re.sub("|".join(longest_first), lambda found: names.get(found[0], found[0]), text)
    return _SIGNED.sub(r"\1…", _USER.sub(r"\1…@", text))


def redact_columns(table: pa.Table, *columns: str) -> pa.Table:
    """A table whose text `columns` hold no secret; others are left as they are."""
    names = spelled(secrets({**os.environ, **_taken}))
    for column in columns:
        for form in sorted(names, key=len, reverse=True):
            told = pc.replace_substring(table[column], form, names[form])
            table = table.set_column(table.schema.get_field_index(column), column, told)
    return table


def secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of some variables that are named like secrets."""
    return {name: value for name, value in variables.items() if SECRETIVE.search(name)}


def spelled(variables: Mapping[str, str]) -> dict[str, str]:
    """`${NAME}` by what texts may show of its value: as it is, escaped, in an address, as a path, a line."""
    return {
        form: f"${{{name}}}"
        for name, value in variables.items()
        for form in (
            *(value, repr(value)[1:-1], json.dumps(value)[1:-1]),
            *(quote(value, safe=""), os.path.normpath(value), *value.splitlines()),
        )
        if len(form) >= SHORTEST
    }


def cleaned(error: Exception) -> Exception:
    """The error itself, its texts redacted in place; where its text cannot be changed, a StageFailed."""
    for link in chain(error):
        link.args = tuple(redact(item) if isinstance(item, str) else item for item in link.args)
        if isinstance(link, OSError):
            for name in ("strerror", "filename", "filename2"):
                if isinstance(getattr(link, name), str):
                    setattr(link, name, redact(getattr(link, name)))
        link.__notes__ = [redact(note) for note in getattr(link, "__notes__", [])]
    if is_clean(error):
        for link in chain(error):
            if any(cause and not is_clean(cause) for cause in (link.__cause__, link.__context__)):
                link.__cause__ = link.__context__ = None
        return error
    return StageFailed(f"{type(error).__name__}: {redact(str(error))}")


def is_clean(error: BaseException) -> bool:
    return redact(str(error)) == str(error)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it was raised from or beside."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__]


def discreet(function: Callable[P, T]) -> Callable[P, T]:
    """Under `@flow` or `@task`: what the function raises is redacted before Prefect hears of it."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            clean = cleaned(error)
            if clean is error:
                raise
            raise clean from None

    # Prefect would look the names of postponed annotations up in this module.
    wrapped.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return wrapped
