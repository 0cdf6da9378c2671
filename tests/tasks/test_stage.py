"""What the one way a stage runs says of itself. Run: python -m pytest tests/tasks/test_stage.py"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.store import Store
from tasks.config import load
from tests.conftest import Finished

NIGHT = "2026-01-01"
LINE = re.compile(
    r"(stage=\w+ partition=\S+ rows=\d+ seconds=[\d.]+ bytes=\d+ shards=\d+ computed=\d+ reason=.*)$",
    re.MULTILINE,
)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("has not run yet", '"has not run yet"'),
        (12, "12"),
        (0.25, "0.25"),
        ('a "b"', '"a \\"b\\""'),
        ("x=1", '"x=1"'),
        ("über", "über"),
        ("", '""'),
        ("two\nlines", '"two\\nlines"'),
    ],
)
def test_logfmt_quotes_what_would_not_be_read_back(value: Any, written: str) -> None:
    from tasks.stage import logfmt

    assert logfmt({"a": 1, "reason": value}) == f"a=1 reason={written}"


def lines(done: Finished) -> list[dict[str, str]]:
    """The log's lines on stages, each as its fields."""
    found = LINE.findall(done.out + done.err)
    assert found, f"exit code {done.code}: {done.out}{done.err}"
    return [dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line)) for line in found]


def test_a_run_logs_one_line_a_stage_whether_there_was_work_or_not(
    tmp_path: Path, digits_yaml: Callable[..., Path], winnow: Callable[..., Finished], prefect_api: str
) -> None:
    short = dict.fromkeys(("teach", "detect", "relabel", "reinforce", "distill"))
    runner = {"shard_rows": 200}
    path = digits_yaml(tmp_path, **short, runner=runner)
    quiet = {"COLUMNS": "1000", "PREFECT_LOGGING_COLORS": "false"}
    first = lines(winnow("--verbose", "run", path, "--partition", NIGHT, env=quiet))
    curation = load(path)
    store = Store(curation.store, curation.dataset)
    rows, rejects = store.ref("rows", NIGHT), store.ref("rejects", NIGHT)
    assert rows
    assert rejects
    assert [line["stage"] for line in first] == ["ingest", "report"]
    assert first[0] | {"seconds": ""} == {
        "stage": "ingest",
        "partition": NIGHT,
        "rows": str(rows.rows),
        "seconds": "",
        "bytes": str(store.size(rows) + store.size(rejects)),
        "shards": "3",
        "computed": "3",
        "reason": '"has not run yet"',
    }
    assert float(first[0]["seconds"]) > 0
    digits_yaml(tmp_path, **short, runner=runner, report__steps=201)
    second = lines(winnow("--verbose", "run", path, "--partition", NIGHT, env=quiet))
    assert [(line["stage"], line["computed"], line["reason"]) for line in second] == [
        ("ingest", "0", f'"{rows.rows} rows"'),
        ("report", "1", '"its methods changed"'),
    ]
