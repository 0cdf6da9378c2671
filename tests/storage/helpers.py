"""Small tables, and processes that work on a store beside the test. No tests here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage.store import Store, TableRef

NAMES = [f"row{i:02d}" for i in range(10)]
ROOT = Path(__file__).parents[2]


def metrics(names: list[str], value: float = 1.0) -> pa.Table:
    """Rows of the `metrics` table, one a name."""
    n = len(names)
    return pa.table(
        {"id": names, "stage": ["teach"] * n, "name": names, "value": [value] * n, "unit": [""] * n},
        schema=pa.schema(
            [(c, pa.string()) for c in ("id", "stage", "name")]
            + [("value", pa.float64()), ("unit", pa.string())]
        ),
    )


def shards(store: Store, partition: str, fingerprint: str, *spans: tuple[int, int]) -> None:
    """Writes the rows of NAMES in those spans."""
    for start, stop in spans:
        store.write_shard("metrics", partition, fingerprint, start, stop, metrics(NAMES[start:stop]))


def put(store: Store, table: str, partition: str, data: Any, fingerprint: str = "f1") -> TableRef:
    """Writes and commits `data` as one shard."""
    data = data if isinstance(data, pa.Table) else pa.table(data)
    base = store.version(table)
    store.write_shard(table, partition, fingerprint, 0, data.num_rows, data)
    return store.commit(table, partition, fingerprint, [(0, data.num_rows)], [], {}, base)


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own that runs `code` with the checkout on its path."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def says(process: subprocess.Popen[str]) -> str:
    """The next line a process prints; fails with its error output if it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise AssertionError(process.communicate()[1])
    return line


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9, and wait until it is gone."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def at_once(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Lets processes that said they are ready go on together; what each says next."""
    assert [says(process) for process in processes] == ["ready"] * len(processes)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [says(process) for process in processes]
    for process in processes:
        process.communicate()
    return answers


def rows(ids: list[str], labels: list[int | None], truth: int | None = None) -> dict[str, Any]:
    """Rows of the `rows` table."""
    n = len(ids)
    return {
        "id": pa.array(ids, pa.string()),
        "source": ["s"] * n,
        "position": list(range(n)),
        "content_hash": ["h"] * n,
        "split": ["train"] * n,
        "label": pa.array(labels, pa.int32()),
        "truth": pa.array([truth] * n, pa.int32()),
    }


def labels(ids: list[str], given: list[int], decided: list[int | None]) -> dict[str, Any]:
    """Rows of the `labels` table."""
    n = len(ids)
    return {
        "id": pa.array(ids, pa.string()),
        "given": pa.array(given, pa.int32()),
        "label": pa.array(decided, pa.int32()),
        "action": ["keep" if a == b else "fix" for a, b in zip(given, decided, strict=True)],
        "confidence": [0.9] * n,
        "reason": ["because"] * n,
        "decided_by": ["threshold"] * n,
    }
