"""A curation: one YAML file, read, checked and frozen.

Everything that can be refused is refused here, before anything runs, with the path in the file
and what would be right. Relative paths are relative to the YAML; `${NAME:-default}` takes a value
from the environment; WINNOW_STORE overrides `store`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from tasks.detect import AnyDetector
from tasks.distill import AnyDistiller
from tasks.errors import BadInput
from tasks.explain import explain
from tasks.impossible import impossible
from tasks.ingest import AnyEncoder, AnyFilter, AnySource
from tasks.ingest.files import UNKNOWN
from tasks.method import Task
from tasks.redaction import redact, remember
from tasks.reinforce import AnyReinforcer
from tasks.relabel import AnyPolicy
from tasks.report.planted_flips import PlantedFlips
from tasks.report.student import Student
from tasks.report.trial import Trial
from tasks.teach import AnyEnsemble, AnyTeacher
from tasks.teach.mean import Mean
from tasks.yaml_file import Environment, parse

NAME = r"^[A-Za-z0-9][A-Za-z0-9._=-]*$"
"""What data sets and partitions may be called: they become folders."""


class Section(BaseModel):
    """A part of the YAML: frozen, and without keys nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Ingest(Section):
    """What happens to a row on its way in."""

    filters: tuple[AnyFilter, ...] = Field((), description="which good rows are not wanted, in order")
    encoder: AnyEncoder | None = Field(None, description="makes `embedding` from the payload")


class Refit(Section):
    """When teachers are trained anew, and from what.

    A partition is an anchor when it is the first, or when at least `growth` times the rows of the last
    anchor's window have arrived since. Anchors' teachers judge every partition up to the next anchor.
    """

    growth: float = Field(
        0.0, ge=0, le=100, description="share of new rows that calls for training; 0: every partition does"
    )
    start: Literal["fresh", "warm"] = Field(
        "fresh", description="warm: go on from the last anchor's teachers, in less time"
    )


class Teach(Section):
    """Who gives soft labels, and how rows are kept out of their own teachers' sight."""

    teachers: tuple[AnyTeacher, ...] = Field(min_length=1)
    folds: int = Field(4, ge=2, le=20, description="a row is judged by teachers of the other folds")
    top_k: int = Field(10, ge=1, le=1000, description="probabilities kept a row, the largest first")
    ensemble: AnyEnsemble = Field(Mean(), description="how the teachers' opinions become one")
    refit: Refit = Field(default_factory=Refit)
    relearn: bool = Field(
        False, description="whether teachers learn again, from decided labels, before they judge views"
    )

    @model_validator(mode="after")
    def names_differ(self) -> Self:
        names = [name for teacher in self.teachers for name in teacher.names()] + [self.ensemble.kind]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two opinions are called {name}; give one of the teachers another `name`")
        return self


class Waiver(Section):
    """Why, and how long, a gate may fail without holding a release back."""

    until: date = Field(description="from this day (UTC) on, a failure holds releases back again")
    why: str = Field(min_length=1, description="kept with every release that it lets pass")


BOUNDS = (
    "at_least",
    "at_most",
    "above",
    "at_most_below_last",
    "at_most_above_last",
    "z_at_least",
    "z_at_most",
    "z_within",
)
"""What a gate can hold a metric to, one of them a gate."""


class Gate(Section):
    """A bound that a metric must keep before a release is published; of kind `standard`, a set of them."""

    kind: Literal["bound", "standard"] = "bound"
    metric: str = Field("", description="a name of the metrics table")
    at_least: float | str | None = Field(None, description="a number, or the name of another metric")
    at_most: float | str | None = Field(None, description="a number, or the name of another metric")
    above: float | str | None = Field(None, description="as at_least, but more than that")
    at_most_below_last: float | None = Field(None, ge=0, description="how far it may fall since a release")
    at_most_above_last: float | None = Field(None, ge=0, description="how far it may rise since a release")
    z_at_least: float | None = Field(None, lt=0, description="lowest robust z-score against its history")
    z_at_most: float | None = Field(None, gt=0, description="highest robust z-score against its history")
    z_within: float | None = Field(None, gt=0, description="robust z-score allowed in either direction")
    history: int = Field(28, ge=3, le=1000, description="earlier partitions that a z-score looks at, at most")
    min_history: int = Field(14, ge=3, le=1000, description="with fewer of them the gate passes and says so")
    floor: float | None = Field(None, gt=0, description="the least deviation that a z-score divides by")
    keeps: Literal["distilled"] | None = Field(
        None, description="what a failure keeps as readers have it, instead of holding the release back"
    )
    waived: Waiver | None = None

    @model_validator(mode="after")
    def one_bound(self) -> Self:
        given = [name for name in BOUNDS if getattr(self, name) is not None]
        fields = type(self).model_fields.items()
        changed = {name for name, field in fields if getattr(self, name) != field.default}
        if self.kind == "standard":
            if changed - {"kind"}:
                raise ValueError("kind: standard stands alone; give a gate of your own to replace one of its")
            return self
        if not self.metric:
            raise ValueError("a gate needs a metric; `winnow report` lists those that a night has")
        if len(given) != 1:
            raise ValueError(f"a gate needs exactly one of {', '.join(BOUNDS[:-1])} and {BOUNDS[-1]}")
        if changed & {"history", "min_history", "floor"} and not given[0].startswith("z_"):
            raise ValueError("history, min_history and floor are for z_at_least, z_at_most and z_within")
        if self.min_history > self.history:
            raise ValueError(f"min_history is {self.min_history}, must be at most history, {self.history}")
        return self


class Runner(Section):
    """Where shards run. Never changes a value, so it is no part of a fingerprint."""

    kind: Literal["threads", "ray"] = Field(
        "threads", description="threads of one process, or the workers of a Ray cluster"
    )
    workers: int = Field(
        2, ge=1, le=256, description="tasks at once; a Ray cluster at an address has the size it has"
    )
    address: str | None = Field(
        None,
        min_length=1,
        description="where a Ray cluster listens, as ray.init takes it; a local one is started without",
    )
    shard_rows: int = Field(4096, ge=1, description="rows a shard; large partitions get larger ones")

    @model_validator(mode="after")
    def address_is_of_a_cluster(self) -> Self:
        if self.address and self.kind != "ray":
            raise ValueError("address is where a Ray cluster listens; add kind: ray, or leave it out")
        return self


class Restate(Section):
    """When a night that is curated already is curated again by itself."""

    stale_over: float = Field(
        gt=0, lt=1, description="when more than this share of the rows it was made from has changed"
    )


Event = Literal["failed", "held", "empty", "late"]


class Alerts(Section):
    """Whom to tell of what nobody sits and waits for (`flows.alerts`)."""

    webhook: SecretStr = Field(
        description="address that is sent a small JSON; ${NAME}, as it often is a secret"
    )
    secret: SecretStr = Field(
        min_length=16, description="what the messages are signed with; ${NAME} of the environment"
    )
    on: tuple[Event, ...] = Field(
        ("failed", "held"),
        description="failed: a partition's run; held: a release, by its gates; empty: a night without data; "
        "late: rows for a night that was curated before",
    )

    @field_validator("webhook")
    @classmethod
    def is_an_address(cls, webhook: SecretStr) -> SecretStr:
        if not re.match(r"https?://[^/\s@]+(/\S*)?$", webhook.get_secret_value()):
            raise ValueError("must be an address like https://host/path, without a user name")
        return webhook


class Curation(Section):
    """A data set, where it comes from, and which method runs at each stage.

    Whoever prints one, or stores it as a flow run's parameter, gets its data set and its file, never its
    content: values of the environment may be in it.
    """

    dataset: Annotated[str, Field(pattern=NAME, max_length=100)]
    store: str = Field(description="a path, file:///… or s3://bucket/prefix")
    task: Task = Field(
        "single_label",
        description="what a row is given: one class, a set of them, or a number; a data set keeps its task",
    )
    classes: tuple[str, ...] | None = Field(
        None, min_length=1, description="the vocabulary in order of index; discovered when left out"
    )
    rename: dict[str, str] = Field({}, description="classes that have another name now: old to new")
    retired: tuple[str, ...] = Field(
        (), description="classes that no row may have any more; their index stays reserved"
    )
    empty_night: Literal["succeed", "fail"] = Field(
        "fail", description="how a night ends that brought no usable row, or on which nothing arrived"
    )
    window: Literal["all", "partition"] | Annotated[int, Field(ge=1)] = Field(
        "all", description="the last partitions that a stage may learn from, never a later one"
    )
    restate: Literal["never", "always"] | Restate = Field(
        "never",
        description="whether `nightly` redoes old partitions that the data set would now make otherwise",
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    source: AnySource
    ingest: Ingest = Ingest()
    teach: Teach | None = None
    detect: tuple[AnyDetector, ...] = ()
    relabel: AnyPolicy | None = None
    reinforce: AnyReinforcer | None = None
    distill: AnyDistiller | None = None
    audit: PlantedFlips | None = Field(
        None, description="wrong labels planted in a shadow copy, to tell how many detection finds"
    )
    trial: Trial | None = Field(
        None, description="whether students learn more from the distilled set than from random rows"
    )
    report: Student = Field(Student(), description="the fixed small student that measures labels")
    gates: tuple[Gate, ...] = ()
    alerts: Alerts | None = None
    runner: Runner = Field(default_factory=Runner)
    _file: str = PrivateAttr("")
    _taken: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("gates", mode="before")
    @classmethod
    def gates_by_name(cls, value: Any) -> Any:
        """`gates: standard` is short for a list of that one."""
        return [{"kind": "standard"}] if value == "standard" else value

    @model_validator(mode="after")
    def stages_fit_together(self) -> Self:
        for problem in impossible(self):
            raise ValueError(problem)
        return self

    @property
    def file(self) -> str:
        """The absolute path of its YAML; empty where there is none."""
        return self._file

    @model_serializer(mode="wrap", when_used="json")
    def as_json(self, handler: SerializerFunctionWrapHandler) -> dict[str, str]:
        return {"dataset": self.dataset, "file": self.file}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return [("dataset", self.dataset), ("file", self.file)]

    def __setstate__(self, state: dict[Any, Any]) -> None:
        # A worker of a cluster gets the curation from the driver, and not its environment.
        super().__setstate__(state)
        remember(self._taken)

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """The declared classes: the YAML's, else what the source knows, else none."""
        if self.classes or self.source.classes is None:
            return self.classes
        known = self.source.classes
        return tuple(name if self.rename.get(name, name) in known else self.rename[name] for name in known)

    def may_be_empty(self, partition: str) -> bool:
        """Whether a partition may end without a row. Inputs that name no partition are rejects by nature."""
        return self.empty_night == "succeed" or partition == UNKNOWN

    @property
    def window_size(self) -> int | None:
        """How many partitions a window holds; None for all."""
        if isinstance(self.window, int):
            return self.window
        return None if self.window == "all" else 1


def load(path: str | Path, **overrides: Any) -> Curation:
    """Read and check a curation; `overrides` replace top-level keys. Raises BadInput."""
    file = Path(path)
    raw = parse(path)
    for problem in secrets_in_clear(raw):
        raise BadInput(f"{path}: {problem}")
    environment = Environment(str(path))
    raw = {**environment.expand(raw), **overrides}
    remember(environment.taken)
    anchor_paths(raw, file.resolve().parent)
    try:
        curation = Curation.model_validate(raw)
    except ValidationError as error:
        raise BadInput(redact(f"{path}: {explain(error, raw)}")) from None
    curation._file, curation._taken = str(file.resolve()), environment.taken
    return curation


def secrets_in_clear(raw: dict[Any, Any]) -> list[str]:
    """Sentences for secrets that stand in the file itself, which people mail and check in."""
    source, alerts = raw.get("source"), raw.get("alerts")
    found = []
    for place, value in (
        ("store", raw.get("store")),
        ("source.path", source.get("path") if isinstance(source, dict) else None),
    ):
        if isinstance(value, str) and re.search(r"://[^/@\s]*:[^/@\s]*@", value):
            found.append(
                f"{place} holds a password; leave it out, object stores take theirs from the environment"
            )
    for key, variable in (("webhook", "WINNOW_WEBHOOK"), ("secret", "WINNOW_WEBHOOK_SECRET")):
        value = alerts.get(key) if isinstance(alerts, dict) else None
        if isinstance(value, str) and "${" not in value:
            found.append(f"alerts.{key} stands there in clear; write ${{{variable}}} and set that")
    return found


def anchor_paths(raw: dict[str, Any], folder: Path) -> None:
    """Make `store` and every `path` of sources and teachers absolute, in place."""
    raw["store"] = os.environ.get("WINNOW_STORE") or raw.get("store")
    if raw["store"] is None:
        del raw["store"]
    elif isinstance(raw["store"], str) and "://" not in raw["store"]:
        raw["store"] = os.path.normpath(folder / raw["store"])
    teach = raw.get("teach")
    teachers = teach.get("teachers") if isinstance(teach, dict) else None
    parts = [raw.get("source"), *(teachers if isinstance(teachers, list) else [])]
    others = [part.get(name) for part in parts if isinstance(part, dict) for name in ("cheap", "expensive")]
    for part in [*parts, *others]:
        if isinstance(part, dict) and isinstance(part.get("path"), str):
            part["path"] = os.path.normpath(folder / part["path"])
