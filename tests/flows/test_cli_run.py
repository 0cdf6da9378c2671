"""`winnow run` and `winnow demo`: cheap with nothing to do, and the whole chain once.

Run: pytest tests/flows/test_cli_run.py; the chain itself with -m slow, some minutes.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from storage.classes import extend
from storage.store import Store
from tasks.config import load
from tasks.plan import Planner, enabled
from tests.flows.cli_stores import NIGHTS, curation, night_of, put, release

ROOT = Path(__file__).parents[2]
ONE_LINE = """
import sys
from flows.cli import run_command
code = run_command(sys.argv[1:])
print("loaded:", *{"prefect", "torch", "sklearn", "cleanlab", "kornia", "matplotlib"} & set(sys.modules))
sys.exit(code)
"""


def winnow(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, as from a shell."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """A curation whose first night is in the store exactly as its stages would leave it."""
    path = curation(tmp_path)
    loaded = load(path)
    store = Store(loaded.store, loaded.dataset).open(create=True)
    extend(store, loaded.vocabulary or ())
    made = night_of(0)
    for stage in enabled(loaded):
        planner = Planner(loaded, store)
        plan = planner.stage(stage, NIGHTS[0])
        job = planner.job(plan)
        assert job is not None
        for table in stage.tables:
            put(store, table, NIGHTS[0], made[table], job.fingerprint, plan.parts)
    release(store, NIGHTS[0])
    return path


def test_nothing_to_do_is_one_line_without_prefect_or_torch(done: Path) -> None:
    arguments = [sys.executable, "-c", ONE_LINE, "run", str(done), "--partition", NIGHTS[0]]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.stdout == f"digits {NIGHTS[0]} is up to date (release 1)\nloaded:\n"
    assert run.stderr == ""
    # Processor time, so that a busy machine does not fail the test.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["backfill", "--dry-run"],
        ["run", "--partition", NIGHTS[0], "--stage", "teach"],
        ["releases"],
    ],
)
def test_deciding_and_looking_load_no_engine(done: Path, arguments: list[str]) -> None:
    verb, *rest = arguments
    command = [sys.executable, "-c", ONE_LINE, verb, str(done), *rest]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.splitlines()[-1] == "loaded:"


def test_a_finished_night_is_not_missing_until_something_changes(done: Path) -> None:
    run = winnow("backfill", str(done), "--to", NIGHTS[0], "--dry-run")
    assert run.stdout == (
        f"digits to {NIGHTS[0]} has no missing partition: nothing to do "
        "(the source holds 2026-01-01, 2026-01-02, 2026-01-03)\n"
    )
    done.write_text(done.read_text().replace("kind: threshold", "kind: threshold, fix_at: 0.9"))
    stale = winnow("backfill", str(done), "--to", NIGHTS[0], "--only", "stale", "--dry-run").stdout
    assert "2026-01-01   relabel: its methods changed" in stale
    assert "nothing to do" in winnow("backfill", str(done), "--to", NIGHTS[0], "--dry-run").stdout


@pytest.mark.slow
def test_the_demo_curates_two_nights_and_people_have_the_last_word(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    path = str(folder / "digits.yaml")
    demo = winnow("demo", "--folder", str(folder))
    assert demo.returncode == 0, demo.stderr
    assert demo.stderr == ""
    [right] = [line for line in demo.stdout.splitlines() if line.startswith("labels that are right")]
    given, curated = (float(word.rstrip("%")) for word in right.split()[-2:])
    assert curated > given
    [page] = [line for line in demo.stdout.splitlines() if line.startswith("report: file://")]
    assert "<!DOCTYPE html>" in Path(page.removeprefix("report: file://")).read_text()

    assert (
        winnow("run", path, "--partition", NIGHTS[1]).stdout
        == f"digits {NIGHTS[1]} is up to date (release 2)\n"
    )

    file = tmp_path / "doubtful.csv"
    assert winnow("review", "export", path, str(file)).returncode == 0
    doubtful = pl.read_csv(file, infer_schema=False)
    first = doubtful["id"][0]
    decided = pl.col("id") == first
    doubtful.with_columns(
        label=pl.when(decided).then(pl.lit("7")).otherwise("label"),
        reviewer=pl.when(decided).then(pl.lit("ada")).otherwise("reviewer"),
    ).write_csv(file)
    assert winnow("review", "import", path, str(file)).stdout.startswith("1 decision on 1 partition taken")

    assert (
        "relabel: reviews changed"
        in winnow("backfill", path, "--only", "stale", "--to", NIGHTS[1], "--dry-run").stdout
    )
    backfill = winnow("backfill", path, "--only", "stale", "--to", NIGHTS[1])
    assert backfill.returncode == 0, backfill.stderr
    told = winnow("why", path, first).stdout
    assert "becomes 7, by ada" in told or "7 stays, by ada" in told
