"""A YAML file to plain values, within bounds: nothing in it is run, and nothing in it explodes.

PyYAML's safe loader builds plain values only, and an alias costs it nothing, as it is the same value
again. Whoever then walks the values pays for every occurrence: nine lines of aliases to aliases are a
billion of them, and merge keys multiply in the loader itself. So the document's graph is measured
first, as if every alias were written out, in one pass over what is really there. Numbers are short:
Python refuses to read long ones, and base 60, which YAML has, takes quadratic time.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import BadInput

MAX_BYTES, MAX_VALUES, MAX_DEPTH, MAX_DIGITS = 2**18, 20_000, 40, 100
MAX_REFERENCES = 1000
"""A reference is a `${NAME}`; a value of the environment may be 128 KiB long."""

_REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")
_MALFORMED = (yaml.YAMLError, RecursionError, ValueError, KeyError, AttributeError, TypeError)
"""What PyYAML raises: values that are not what their tag says end in Python's own errors."""


BOOL, MERGE = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:merge"


class BoundedLoader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses documents that explode, and a key given twice instead of
    taking the last."""

    _depth = _values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # Stops early: PyYAML takes seconds for what it would refuse, or hand over, in the end.
        self._depth, self._values = self._depth + 1, self._values + 1
        check(self._values, self._depth, self.peek_event())  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            Measure().of(node, 1)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise refused(f"the key {key} is given twice", key_node)
            seen.add(key if isinstance(key, str) else str(key))
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, takes the key `on` and a class named `no` for booleans; YAML 1.2 does not.
BoundedLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != BOOL]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
BoundedLoader.add_implicit_resolver(BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


class Measure:
    """How many values a node stands for with its aliases written out, and how deep they lie."""

    def __init__(self) -> None:
        self._known: dict[yaml.Node, tuple[int, int]] = {}
        self._open: set[yaml.Node] = set()

    def of(self, node: yaml.Node, depth: int) -> tuple[int, int]:
        """Values and levels of `node`, which lies at `depth`. Raises ConstructorError beyond the bounds."""
        if node in self._open:
            raise refused("a value contains itself", node)
        check(1, depth, node)
        if node not in self._known:
            self._open.add(node)
            inner = [self.of(part, depth + 1) for part in parts(node)]
            self._open.remove(node)
            self._known[node] = (
                1 + sum(n for n, _ in inner),
                1 + max((levels for _, levels in inner), default=0),
            )
        values, levels = self._known[node]
        check(values, depth + levels - 1, node)
        return values, levels


def check(values: int, depth: int, place: Any) -> None:
    """Raises ConstructorError beyond the bounds."""
    if values > MAX_VALUES:
        raise refused(f"it holds more than {MAX_VALUES:,} values, aliases written out", place)
    if depth > MAX_DEPTH:
        raise refused(f"values lie more than {MAX_DEPTH} deep", place)


def parts(node: yaml.Node) -> list[yaml.Node]:
    """The nodes directly below. Raises ConstructorError for a number too long to be one."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
        raise refused(f"a number has {len(node.value):,} digits", node)
    return []


def refused(problem: str, place: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, place.start_mark)


def parse(path: str | Path) -> dict[Any, Any]:
    """The file's mapping. Raises BadInput."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise BadInput(f"{path}: is larger than {MAX_BYTES:,} bytes; a curation is a page of text")
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file; give the path of a curation's YAML") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path!s}: cannot be read ({error})") from None
    try:
        raw = yaml.load(text, Loader=BoundedLoader)
    except _MALFORMED as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise BadInput(f"{path}:{place} is not valid YAML ({problem})") from None
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: must hold keys such as dataset, store and source, not {type(raw).__name__}")
    return raw


class Environment:
    """`${NAME}` and `${NAME:-default}` to the values of the environment; `taken` says which were used."""

    def __init__(self, place: str) -> None:
        self.taken: dict[str, str] = {}
        self._place, self._references = place, 0

    def expand(self, value: Any) -> Any:
        """`value` with every string expanded. Raises BadInput for a NAME that is not set."""
        if isinstance(value, str):
            if "\0" in value:
                raise BadInput(
                    f"{self._place}: {value!r} holds a null character, which no name or path may; remove it"
                )
            return _REFERENCE.sub(self._substitute, value)
        if isinstance(value, dict):
            return {key: self.expand(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.expand(item) for item in value]
        return value

    def _substitute(self, match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        self._references += 1
        if self._references > MAX_REFERENCES:
            raise BadInput(f"{self._place}: has more than {MAX_REFERENCES:,} ${{…}}; write values out")
        if name in os.environ:
            self.taken[name] = os.environ[name]
        elif default is None:
            raise BadInput(
                f"{self._place}: the environment variable {name} is not set; "
                f"set it or write ${{{name}:-default}}"
            )
        return os.environ.get(name, default)
