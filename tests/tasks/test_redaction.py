"""Texts without secrets: pytest tests/tasks/test_redaction.py"""

from __future__ import annotations

import inspect
import pickle
import traceback
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tasks import redaction
from tasks.config import load
from tasks.errors import StageFailed
from tasks.redaction import chain, cleaned, discreet, redact, redact_columns, remember

SECRET = "hunter2/sesame+open"


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_taken", {})
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    monkeypatch.setenv("DATA_FOLDER", "/data/pictures")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"no file in/{SECRET}/x.csv", "no file in/${DB_PASSWORD}/x.csv"),
        ("at https://host/hunter2%2Fsesame%2Bopen", "at https://host/${DB_PASSWORD}"),
        ("s3://me:pass@bucket/x is not there", "s3://…@bucket/x is not there"),
        ("GET https://h/x?X-Amz-Signature=abc123&part=1", "GET https://h/x?X-Amz-Signature=…&part=1"),
        ("${DB_PASSWORD} stays", "${DB_PASSWORD} stays"),
        ("/data/pictures/x.png is broken", "/data/pictures/x.png is broken"),
        ("mail to me@host.org", "mail to me@host.org"),
    ],
)
def test_a_secret_is_told_by_its_name(text: str, told: str) -> None:
    assert redact(text) == told


def test_whatever_a_curation_took_in_is_told_by_its_name_too() -> None:
    remember({"DATA_FOLDER": "/data/pictures", "DAYS": "14"})
    assert redact("/data/pictures/2026-01-14.csv") == "${DATA_FOLDER}/2026-01-14.csv"  # 14 is no secret


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    remember({"A_NAME_IN_IT": "A_NAME_IN_IT", "OTHER": "PASSWORD"})
    once = redact(text + SECRET + text + "PASSWORD A_NAME_IN_IT")
    assert redact(once) == once
    assert SECRET not in once


def test_tables_lose_secrets_by_name_and_keep_the_rest() -> None:
    remember({"DATA_FOLDER": "/data/pictures"})
    table = pa.table({"source": [f"{SECRET}/x", "/data/pictures/x", None], "text": [SECRET] * 3})
    assert redact_columns(table, "source").to_pydict() == {
        "source": ["${DB_PASSWORD}/x", "/data/pictures/x", None],
        "text": [SECRET] * 3,
    }


class Model(BaseModel):
    number: int


def failing(kind: str) -> None:
    if kind == "plain":
        raise ValueError(f"bad {SECRET}")
    if kind == "file":
        Path(f"/nowhere/{SECRET}").read_text()
    if kind == "chained":
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise RuntimeError("could not log in") from error
    if kind == "beside":
        try:
            raise KeyError(SECRET)
        except KeyError:
            raise RuntimeError("could not log in")  # noqa: B904
    if kind == "noted":
        error = RuntimeError("failed")
        error.add_note(SECRET)
        raise error
    Model.model_validate({"number": SECRET})


@pytest.mark.parametrize("kind", ["plain", "file", "chained", "beside", "noted", "rendered"])
def test_what_leaves_a_discreet_function_shows_no_secret_anywhere(kind: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        discreet(failing)(kind)
    shown = "".join(traceback.format_exception(raised.value))
    assert SECRET not in shown
    assert kind in ("chained", "beside", "noted") or "${DB_PASSWORD}" in str(raised.value)


def test_an_error_keeps_its_type_where_its_text_can_be_changed() -> None:
    with pytest.raises(FileNotFoundError) as raised:
        discreet(failing)("file")
    assert (raised.value.errno, raised.value.filename) == (2, "/nowhere/${DB_PASSWORD}")
    with pytest.raises(StageFailed, match="ValidationError: 1 validation error"):
        discreet(failing)("rendered")


def test_an_error_without_secrets_is_left_as_it_is() -> None:
    with pytest.raises(ValidationError) as raised:
        Model.model_validate({"number": "x"})
    error = raised.value
    assert cleaned(error) is error
    assert list(chain(error)) == [error]


def test_a_discreet_function_looks_the_same_to_prefect() -> None:
    wrapped = discreet(failing)
    assert inspect.signature(wrapped).parameters["kind"].annotation is str
    assert wrapped.__name__ == "failing"


def test_a_curation_is_told_and_stored_by_name_and_file(tmp_path: Path) -> None:
    keys = {"kind": "csv", "path": "${DB_PASSWORD}/{partition}.csv", "text": "x"}
    file = tmp_path / "pets.yaml"
    file.write_text(yaml.safe_dump({"dataset": "pets", "store": "./store", "source": keys}))
    curation = load(file)
    assert SECRET in curation.source.path
    told = {"dataset": "pets", "file": str(file)}
    assert curation.model_dump(mode="json") == told
    assert SECRET not in repr(curation) + str(curation) + curation.model_dump_json()


def test_a_worker_that_gets_a_curation_knows_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pets.yaml"
    file.write_text("dataset: pets\nstore: ./${PLAIN_NAME}\nsource: {kind: sklearn_digits}")
    monkeypatch.setenv("PLAIN_NAME", "not-to-be-told")
    sent = pickle.dumps(load(file))
    monkeypatch.delenv("PLAIN_NAME")
    monkeypatch.setattr(redaction, "_taken", {})
    assert pickle.loads(sent).dataset == "pets"  # noqa: S301  # as Ray hands it to a worker
    assert redact("not-to-be-told") == "${PLAIN_NAME}"
