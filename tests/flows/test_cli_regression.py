"""A data set of numbers from the command line, and people's numbers back into it.

Run: pytest tests/flows/test_cli_regression.py -m slow, about a minute.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.flows.test_cli_run import ROOT, winnow

NIGHT = "2026-01-01"


@pytest.mark.slow
def test_numbers_are_curated_reviewed_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_STORE", str(tmp_path / "store"))
    path = str(ROOT / "curations" / "diabetes.yaml")
    first = winnow("run", path, "--partition", NIGHT)
    assert first.returncode == 0, first.stderr
    assert winnow("run", path, "--partition", NIGHT).stdout == f"diabetes {NIGHT} is up to date (release 1)\n"

    file = tmp_path / "doubtful.csv"
    assert winnow("review", "export", path, str(file)).returncode == 0
    doubtful = pl.read_csv(file, infer_schema=False)
    assert doubtful.filter(pl.col("id") == "patient-291")["given"].to_list() == ["428"]
    decided = pl.col("id") == "patient-291"
    filled = doubtful.with_columns(
        label=pl.when(decided).then(pl.lit("tall")).otherwise("label"),
        reviewer=pl.when(decided).then(pl.lit("ada")).otherwise("reviewer"),
    )
    filled.write_csv(file)
    refused = winnow("review", "import", path, str(file))
    assert refused.returncode == 2
    assert "'tall'" in refused.stderr
    filled.with_columns(label=pl.when(decided).then(pl.lit("248"))).write_csv(file)
    assert winnow("review", "import", path, str(file)).stdout.startswith("1 decision on 1 partition taken")

    again = winnow("run", path, "--partition", NIGHT)
    assert again.returncode == 0, again.stderr
    told = winnow("why", path, "patient-291").stdout
    assert "428 becomes 248, by ada" in told
    assert "true label  248" in told or "248 (known for measuring only)" in told
    changed = winnow("diff", path, "1", "2")
    assert "patient-291" in changed.stdout, changed.stdout + changed.stderr
