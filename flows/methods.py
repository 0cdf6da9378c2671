"""`winnow methods`: every method, its parameters and its paper, read off the classes themselves."""

from __future__ import annotations

import inspect
import json
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows import show
from tasks.catalog import METHODS
from tasks.errors import BadInput
from tasks.method import Method

INGEST = ("source", "filter", "encoder")
"""The three contracts that the stage `ingest` has."""


def describe(stage: str | None) -> None:
    """Print the methods of a stage, or of all."""
    wanted = {None: tuple(METHODS), "ingest": INGEST}.get(stage, (stage,))
    for name in wanted:
        if name not in METHODS:
            raise BadInput(f"there is no stage {name}; there are ingest, {', '.join(METHODS)}")
        for method in METHODS[name]:
            describe_method(name, method)


def describe_method(stage: str, method: type[Method]) -> None:
    show.line(f"{stage}: {method.model_fields['kind'].default}")
    show.line(f"  {(inspect.getdoc(method) or '').splitlines()[0]}")
    if method.paper:
        show.line(f"  Paper: {method.paper}")
    rows = [parameter(name, field) for name, field in method.model_fields.items() if name != "kind"]
    if rows:
        show.table(("parameter", "type", "default", "meaning"), rows)
    show.line("")


def parameter(name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    """One row: what it is called, what it takes, what it is left at, what it means."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "pattern": "matching", "min_length": "length ≥"}
    bounds = [
        f"{sign} {getattr(rule, key)}"
        for rule in field.metadata
        for key, sign in signs.items()
        if getattr(rule, key, None) is not None
    ]
    default = "required" if field.is_required() else text(field.get_default(call_default_factory=True))
    kind = " ".join([type_of(field.annotation), ", ".join(bounds)]).strip()
    return name, kind, default, field.description or ""


def type_of(annotation: Any) -> str:
    """A type as somebody who writes YAML calls it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is NoneType:
        return "null"
    if origin is Annotated:
        return type_of(inner[0])
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (Union, UnionType):
        return " | ".join(map(type_of, inner))
    if origin is list or (origin is tuple and Ellipsis in inner):
        return f"list of {type_of(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(map(type_of, inner))}]"
    if origin is dict:
        return f"map of {type_of(inner[0])} to {type_of(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "{" + ", ".join(annotation.model_fields) + "}"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true | false"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)


def text(value: Any) -> str:
    """A default as YAML spells it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(text, value)) + "]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
