"""What is wrong with a curation in one sentence: the place in the file, what is there, what is right."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.redaction import SECRETIVE, redact


def explain(error: ValidationError, raw: dict[str, Any]) -> str:
    """The first problem as one sentence: the place, what is there, what would be right."""
    first = error.errors(include_url=False)[0]
    place = place_of(first["loc"], raw)
    return sentence(place, first["type"], first.get("input"), first["msg"], first.get("ctx", {}))


def place_of(loc: tuple[int | str, ...], raw: Any) -> str:
    """The path in the YAML. Pydantic's own has levels that no file has: a method's kind, a union's branch."""
    place, here = "", raw
    for item in loc:
        if isinstance(item, int) and isinstance(here, list):
            place, here = f"{place}[{item}]", here[item]
        elif isinstance(here, dict) and here.get("kind") != item:
            place, here = f"{place}.{item}" if place else str(item), here.get(item)
    return place


def sentence(place: str, kind: str, value: Any, message: str, context: dict[str, Any]) -> str:
    shown = redact(repr(value) if isinstance(value, str) else str(value))
    if SECRETIVE.search(place):
        shown = "not told here"
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    bounds = {
        "less_than_equal": "must be at most {le}",
        "less_than": "must be less than {lt}",
        "greater_than_equal": "must be at least {ge}",
        "greater_than": "must be more than {gt}",
        "literal_error": "must be {expected}",
        "union_tag_invalid": "has no such kind; there are {expected_tags}",
        "string_pattern_mismatch": "must match {pattern}",
    }
    if kind == "missing":
        return f"{place} is missing"
    if kind == "union_tag_not_found":
        return f"{place} needs a kind; `winnow methods` lists them"
    if kind == "extra_forbidden":
        key = place.rpartition(".")[2]
        near = get_close_matches(key, known_keys(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{place} is not a key that winnow knows{hint}"
    if kind == "union_tag_invalid":
        return f"{place}.kind is {context['tag']!r}, must be one of {context['expected_tags']}"
    if kind in bounds:
        return f"{place} is {shown}, {bounds[kind].format(**context)}"
    if kind == "value_error":
        text = message.removeprefix("Value error, ")
        return f"{place}: {text}" if place else text
    return f"{place} is {shown}: {message[0].lower()}{message[1:]}"


def known_keys() -> set[str]:
    """Every field of every section and method, for suggestions."""
    from tasks.catalog import METHODS
    from tasks.config import Curation, Gate, Ingest, Refit, Runner, Teach, Waiver

    sections: list[type[BaseModel]] = [Curation, Ingest, Teach, Refit, Gate, Waiver, Runner]
    sections += [method for methods in METHODS.values() for method in methods]
    return {name for section in sections for name in section.model_fields}
