"""What a method is, and how a third party's gets in: pytest tests/tasks/test_method.py"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from importlib import metadata
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from tasks.method import Method, third_party


class Greeter(Method, ABC):
    @abstractmethod
    def greet(self) -> str: ...


class Plain(Greeter):
    kind: Literal["plain"] = "plain"
    revision: ClassVar[int] = 3
    loudness: float = Field(1.0, ge=0)

    def greet(self) -> str:
        return "hello"


class Foreign(Greeter):
    times: int = 2

    def greet(self) -> str:
        return "salut " * self.times


class Unfinished(Greeter):
    pass


class Config(BaseModel):
    greeter: Annotated[Plain, third_party(Greeter)]


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("plugin")
    vars(module).update(Foreign=Foreign, Unfinished=Unfinished, Other=int, note="text")
    monkeypatch.setitem(sys.modules, "plugin", module)
    monkeypatch.setenv("WINNOW_PLUGINS", "plugin, no_such_module .relative")


def test_identity_is_kind_parameters_and_revision() -> None:
    assert Plain(loudness=0.5).identity() == {"kind": "plain", "loudness": 0.5, "revision": 3}


def test_a_method_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Plain().loudness = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "parameters", [{"loudnes": 1}, {"loudness": -1}, {"loudness": float("nan")}, {"loudness": float("inf")}]
)
def test_unknown_keys_and_impossible_values_are_refused(parameters: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Plain.model_validate(parameters)


def test_a_builtin_kind_is_taken_as_it_is() -> None:
    assert Config.model_validate({"greeter": {"kind": "plain"}}).greeter == Plain()


def test_a_third_partys_class_is_imported_with_its_parameters() -> None:
    greeter = Config.model_validate({"greeter": {"kind": "plugin:Foreign", "times": 1}}).greeter
    assert greeter.greet() == "salut "
    assert greeter.identity() == {"kind": "plugin:Foreign", "times": 1, "revision": 1}


def test_a_module_that_nobody_let_in_is_not_even_imported() -> None:
    with pytest.raises(ValidationError, match="nobody let in"):
        Config.model_validate({"greeter": {"kind": "this:Foreign"}})
    assert "this" not in sys.modules


def test_an_installed_package_lets_itself_in(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="any", value="plugin", group="winnow")
    monkeypatch.delenv("WINNOW_PLUGINS")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == point.group else [])
    assert Config.model_validate({"greeter": {"kind": "plugin:Foreign"}}).greeter.times == 2


def test_an_instance_of_a_third_partys_class_is_taken_too() -> None:
    greeter = Foreign(kind="plugin:Foreign")
    assert Config.model_validate({"greeter": greeter}).greeter is greeter


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("plugin:Missing", "cannot be imported"),
        ("no_such_module:Foreign", "No module named"),
        (".relative:Foreign", "cannot be imported"),
        (":Foreign", "nobody let in"),
        ("antigravity:Foreign", "nobody let in; name its package in WINNOW_PLUGINS"),
        ("plugin_of_others:Foreign", "nobody let in"),
        ("plugin:Other", "is not a Greeter; derive it from"),
        ("plugin:note", "is not a Greeter"),
        ("plugin:Unfinished", "unfinished Greeter; write its greet"),
    ],
)
def test_a_kind_that_is_no_method_is_refused_in_one_sentence(kind: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Config.model_validate({"greeter": {"kind": kind}})


def test_a_third_partys_bad_parameter_is_refused_by_its_own_class() -> None:
    with pytest.raises(ValidationError, match="times"):
        Config.model_validate({"greeter": {"kind": "plugin:Foreign", "times": "often"}})


def test_the_room_that_a_method_takes_places_work_and_changes_no_value() -> None:
    class Large(Plain):
        cpus: ClassVar[float] = 4
        memory: ClassVar[int | None] = 2**33

    assert (Plain.cpus, Plain.memory) == (1, None)
    assert Large().identity() == Plain().identity()
