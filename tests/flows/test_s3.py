"""Curating into a bucket, through the command line. Run with: python -m pytest tests/flows/test_s3.py

The server speaks S3 and runs on this machine; longer scenes are `python -m benchmarks s3`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks._s3 import BUCKET, SECRET_KEY
from benchmarks._scenes import contents
from flows import credentials
from storage.store import Store
from tasks.config import load
from tasks.errors import BadInput

NIGHT = "2026-01-01"
SMALL = {
    "teach__folds": 2,
    "reinforce": None,
    "report__steps": 20,
    "report__seeds": 1,
    "source__days": 8,
}
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def address() -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def environment(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return s3_environment


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in NAMES}


@pytest.mark.slow
def test_a_night_in_a_bucket_is_the_night_on_disk_and_no_secret_is_said(
    winnow: Callable[..., Any],
    digits_yaml: Callable[..., Path],
    prefect_api: str,
    environment: dict[str, str],
    address: str,
    tmp_path: Path,
) -> None:
    file = digits_yaml(tmp_path, **SMALL)
    stores = {"disk": str(tmp_path / "store"), "bucket": address}
    said, tables = {}, {}
    for kind, store in stores.items():
        env = {**environment, "WINNOW_STORE": store}
        run = winnow("--verbose", "run", file, "--partition", NIGHT, env=env)
        assert run.code == 0, run.err
        assert f"report: {'s3://' if kind == 'bucket' else 'file:///'}" in run.out
        asked = winnow("sql", file, "SELECT action, count(*) FROM labels GROUP BY ALL ORDER BY 1", env=env)
        again = winnow("run", file, "--partition", NIGHT, env=env)
        assert "is up to date (release 1)" in again.out
        tables[kind], said[kind] = contents(Store(store, "digits")), asked.out
        for done in (run, asked, again):
            assert SECRET_KEY not in done.out + done.err
    assert tables["bucket"] == tables["disk"]
    assert said["bucket"] == said["disk"]


@pytest.mark.parametrize(
    "address", ["s3://AKIASWORDFISH:swordfish@bucket/x", "s3://bucket/x?secret_access_key=swordfish"]
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(
    winnow: Callable[..., Any], digits_yaml: Callable[..., Path], tmp_path: Path, address: str
) -> None:
    done = winnow("plan", digits_yaml(tmp_path, store=address))
    assert done.code == 2
    assert "the environment" in done.err
    assert "swordfish" not in (done.out + done.err).lower()


def test_the_address_of_a_bucket_is_not_taken_for_a_path(
    digits_yaml: Callable[..., Path], tmp_path: Path
) -> None:
    assert load(digits_yaml(tmp_path, store="s3://bucket/x")).store == "s3://bucket/x"


# Credentials that a Prefect block holds


def test_a_block_lends_its_values_to_the_process(
    prefect_api: str, environment: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret

    name = f"winnow-{uuid.uuid4().hex[:8]}"
    block = Secret(value=json.dumps({key: environment[key] for key in NAMES}))  # type: ignore[arg-type]
    block.save(name)
    for key in NAMES:
        monkeypatch.setenv(key, "")  # so that monkeypatch puts them back
        monkeypatch.delenv(key)
    monkeypatch.setenv(credentials.BLOCK, name)
    credentials.lend("/a/folder")
    assert NAMES[1] not in os.environ
    credentials.lend(address)
    assert {key: os.environ[key] for key in NAMES} == {key: environment[key] for key in NAMES}
    Store(address, "digits").open(create=True)


def test_a_block_that_is_not_there_is_named_with_the_way_out(
    prefect_api: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(credentials.BLOCK, "no-such-block")
    with pytest.raises(BadInput, match=r"secret/no-such-block cannot be read .*`prefect block create"):
        credentials.lend(address)


@pytest.mark.parametrize(
    "held",
    [
        "swordfish",
        '["swordfish"]',
        '{"PATH": "swordfish"}',
        '{"AWS_REGION": 1}',
        {"password": "swordfish"},
        7,
    ],
)
def test_a_block_of_other_things_is_refused_without_telling_them(held: Any) -> None:
    with pytest.raises(BadInput, match="must hold JSON such as") as refused:
        credentials.checked("creds", held)
    assert "swordfish" not in str(refused.value)
