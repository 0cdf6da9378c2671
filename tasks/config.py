"""A curation: one YAML file, read, checked and frozen.

Everything that can be refused is refused here, before anything runs, with the path in the file
and what would be right. Relative paths are relative to the YAML; `${NAME:-default}` takes a value
from the environment; WINNOW_STORE overrides `store`.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.detect import AnyDetector
from tasks.distill import AnyDistiller
from tasks.errors import BadInput
from tasks.ingest import AnyEncoder, AnyFilter, AnySource
from tasks.reinforce import AnyReinforcer
from tasks.relabel import AnyPolicy
from tasks.report.student import Student
from tasks.teach import AnyTeacher

NAME = r"^[A-Za-z0-9][A-Za-z0-9._=-]*$"
"""What data sets and partitions may be called: they become folders."""


class Section(BaseModel):
    """A part of the YAML: frozen, and without keys nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Ingest(Section):
    """What happens to a row on its way in."""

    filters: tuple[AnyFilter, ...] = Field((), description="which good rows are not wanted, in order")
    encoder: AnyEncoder | None = Field(None, description="makes `embedding` from the payload")


class Teach(Section):
    """Who gives soft labels, and how rows are kept out of their own teachers' sight."""

    teachers: tuple[AnyTeacher, ...] = Field(min_length=1)
    folds: int = Field(4, ge=2, le=20, description="a row is judged by teachers of the other folds")
    top_k: int = Field(10, ge=1, le=1000, description="probabilities kept a row, the largest first")
    ensemble: Literal["mean"] = Field("mean", description="mean of probabilities (MEAL V2)")

    @model_validator(mode="after")
    def names_differ(self) -> Self:
        names = [name for teacher in self.teachers for name in teacher.names()] + [self.ensemble]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two opinions are called {name}; teachers must have different names")
        return self


class Gate(Section):
    """A bound that a metric must keep before a release is published."""

    metric: str
    at_least: float | str | None = Field(None, description="a number, or the name of another metric")
    at_most: float | str | None = None

    @model_validator(mode="after")
    def one_bound(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a gate needs exactly one of at_least and at_most")
        return self


class Runner(Section):
    """Where shards run. Never changes a value, so it is no part of a fingerprint."""

    kind: Literal["threads"] = "threads"
    workers: int = Field(2, ge=1, le=256)
    shard_rows: int = Field(4096, ge=1, description="rows a shard; large partitions get larger ones")


class Curation(Section):
    """A data set, where it comes from, and which method runs at each stage."""

    dataset: Annotated[str, Field(pattern=NAME, max_length=100)]
    store: str = Field(description="file:///… or a path")
    task: Literal["single_label"] = "single_label"
    classes: tuple[str, ...] | None = Field(
        None, min_length=1, description="the vocabulary in order of index; discovered when left out"
    )
    window: Literal["all", "partition"] | Annotated[int, Field(ge=1)] = Field(
        "all", description="the last partitions that a stage may learn from, never a later one"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    source: AnySource
    ingest: Ingest = Ingest()
    teach: Teach | None = None
    detect: tuple[AnyDetector, ...] = ()
    relabel: AnyPolicy | None = None
    reinforce: AnyReinforcer | None = None
    distill: AnyDistiller | None = None
    report: Student = Field(Student(), description="the fixed small student that measures labels")
    gates: tuple[Gate, ...] = ()
    runner: Runner = Field(default_factory=Runner)

    @model_validator(mode="after")
    def stages_fit_together(self) -> Self:
        for problem in impossible(self):
            raise ValueError(problem)
        return self

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """The declared classes: the YAML's, else what the source knows, else none."""
        return self.classes or self.source.classes

    @property
    def window_size(self) -> int | None:
        """How many partitions a window holds; None for all."""
        if isinstance(self.window, int):
            return self.window
        return None if self.window == "all" else 1


def impossible(c: Curation) -> list[str]:
    """Sentences for combinations that could only fail later."""
    encoder, payload = c.ingest.encoder, c.source.payload
    payload_of = {"images": "image", "features": "features"}
    found = []
    if c.classes and len(set(c.classes)) < len(c.classes):
        found.append("classes: a name occurs twice")
    kinds = [detector.kind for detector in c.detect]
    if len(set(kinds)) < len(kinds):
        found.append("detect: a detector occurs twice; give each kind once")
    for stage, needs in (
        ("detect", "teach"),
        ("relabel", "detect"),
        ("reinforce", "relabel"),
        ("distill", "relabel"),
    ):
        if getattr(c, stage) and not getattr(c, needs):
            found.append(f"{stage} needs {needs}, which is left out; add it or leave out {stage} too")
    if encoder and payload_of[encoder.reads] != payload:
        gives = payload or "no payload"
        found.append(f"ingest.encoder {encoder.kind} reads {encoder.reads}, but the source gives {gives}")
    teachers = c.teach.teachers if c.teach else ()
    readers: list[tuple[str, str]] = [
        (f"teach.teachers[{i}] {t.kind}", t.reads) for i, t in enumerate(teachers)
    ]
    if c.distill:
        readers.append((f"distill {c.distill.kind}", c.distill.reads))
    if c.reinforce:
        readers.append((f"reinforce {c.reinforce.kind}", c.reinforce.reads))
        if c.teach and not any(t.cross_fitted for t in c.teach.teachers):
            found.append("reinforce needs a teacher that can be asked about views; precomputed ones cannot")
    for where, reads in readers:
        if reads == "embedding" and encoder is None:
            found.append(f"{where} reads embeddings, so ingest needs an encoder")
        if reads in payload_of and payload_of[reads] != payload:
            found.append(f"{where} reads {reads}, but the source gives {payload or 'no payload'}")
    return found


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key given twice instead of taking the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} is given twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else str(key))
        return super().construct_mapping(node, deep)


def load(path: str | Path, **overrides: Any) -> Curation:
    """Read and check a curation; `overrides` replace top-level keys. Raises BadInput."""
    file = Path(path)
    try:
        raw = yaml.load(file.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file; give the path of a curation's YAML") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error})") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise BadInput(f"{path}:{place} is not valid YAML ({problem})") from None
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: must hold keys such as dataset, store and source, not {type(raw).__name__}")
    raw = {**expand(raw, str(path)), **overrides}
    anchor_paths(raw, file.resolve().parent)
    try:
        return Curation.model_validate(raw)
    except ValidationError as error:
        raise BadInput(f"{path}: {explain(error, raw)}") from None


def expand(value: Any, place: str) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every string. Raises BadInput for an unset NAME."""

    def substitute(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        found = os.environ.get(name, default)
        if found is None:
            raise BadInput(
                f"{place}: the environment variable {name} is not set; set it or write ${{{name}:-default}}"
            )
        return found

    if isinstance(value, str):
        if "\0" in value:
            raise BadInput(f"{place}: {value!r} holds a null character, which no name or path may; remove it")
        return re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}", substitute, value)
    if isinstance(value, dict):
        return {key: expand(item, place) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, place) for item in value]
    return value


def anchor_paths(raw: dict[str, Any], folder: Path) -> None:
    """Make `store` and every `path` of sources and teachers absolute, in place."""
    raw["store"] = os.environ.get("WINNOW_STORE") or raw.get("store")
    if raw["store"] is None:
        del raw["store"]
    elif isinstance(raw["store"], str) and "://" not in raw["store"]:
        raw["store"] = os.path.normpath(folder / raw["store"])
    teach = raw.get("teach")
    teachers = teach.get("teachers") if isinstance(teach, dict) else None
    for part in [raw.get("source"), *(teachers if isinstance(teachers, list) else [])]:
        if isinstance(part, dict) and isinstance(part.get("path"), str):
            part["path"] = os.path.normpath(folder / part["path"])


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
    shown = repr(value) if isinstance(value, str) else str(value)
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
    sections: list[type[BaseModel]] = [Curation, Ingest, Teach, Gate, Runner]
    from tasks.catalog import METHODS

    sections += [method for methods in METHODS.values() for method in methods]
    return {name for section in sections for name in section.model_fields}
