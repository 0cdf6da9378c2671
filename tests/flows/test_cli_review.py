"""Doubtful rows go out to people, their decisions come back. Run: pytest tests/flows/test_cli_review.py"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from flows.cli import run_command
from storage.leases import lease
from storage.store import Store
from tests.flows.cli_stores import NIGHTS, filled


@pytest.fixture
def data_set(tmp_path: Path) -> tuple[str, Store]:
    path, store = filled(tmp_path)
    return str(path), store


def exported(path: str, file: Path, *options: str) -> pl.DataFrame:
    assert run_command(["review", "export", path, str(file), *options]) == 0
    return pl.read_csv(file, infer_schema=False) if file.suffix == ".csv" else pl.read_parquet(file)


def reviews(store: Store, night: str) -> list[dict[str, object]]:
    ref = store.ref("reviews", night)
    return store.read([ref]).to_pylist() if ref else []


def write(file: Path, *rows: tuple[str, ...], header: str = "id,label,reviewer,decided_at,note") -> str:
    file.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return str(file)


@pytest.mark.parametrize("name", ["doubtful.csv", "doubtful.parquet"])
def test_export_writes_the_rows_that_wait_with_columns_to_fill_in(
    name: str, data_set: tuple[str, Store], tmp_path: Path
) -> None:
    frame = exported(data_set[0], tmp_path / name)
    assert frame["id"].to_list() == ["0002", "1002"]
    assert frame["partition"].to_list() == list(NIGHTS)
    assert frame["given"].to_list() == ["cat", "cat"]
    assert frame["suggested"].to_list() == ["dog", "dog"]
    assert [float(p) for p in frame["p_error"]] == pytest.approx([0.6, 0.6])
    assert frame["reason"].to_list() == ["teachers give dog 60%"] * 2
    assert frame.select("label", "reviewer", "note").fill_null("").unique().rows() == [("", "", "")]


def test_export_takes_one_partition_and_refuses_an_unknown_one(
    data_set: tuple[str, Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = exported(data_set[0], tmp_path / "a.csv", "--partition", NIGHTS[1])
    assert frame["id"].to_list() == ["1002"]
    arguments = ["review", "export", data_set[0], str(tmp_path / "b.csv"), "--partition", "2030-01-01"]
    assert run_command(arguments) == 2
    assert "digits has no decisions on 2030-01-01" in capsys.readouterr().err


def test_export_never_overwrites_a_file_that_may_hold_decisions(
    data_set: tuple[str, Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("hours of work")
    assert run_command(["review", "export", data_set[0], str(file)]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert file.read_text() == "hours of work"


def test_what_is_exported_filled_in_and_imported_is_a_review(
    data_set: tuple[str, Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = data_set
    file = tmp_path / "doubtful.parquet"
    frame = exported(path, file)
    frame.with_columns(label=pl.lit("dog"), reviewer=pl.lit("ada"), note=pl.lit("ears")).write_parquet(file)
    capsys.readouterr()
    assert run_command(["review", "import", path, str(file)]) == 0
    assert capsys.readouterr().out.startswith("2 decisions on 2 partitions taken;")
    for night, row in zip(NIGHTS, ("0002", "1002"), strict=True):
        [found] = reviews(store, night)
        assert (found["id"], found["label"], found["reviewer"], found["note"]) == (row, 1, "ada", "ears")
    assert run_command(["review", "export", path, str(tmp_path / "again.csv")]) == 0
    assert "no row waits for a person" in capsys.readouterr().out
    assert run_command(["why", path, "0002"]) == 0
    assert "ada        dog" in capsys.readouterr().out


def test_rows_left_blank_wait_on_and_an_empty_label_drops_a_row(
    data_set: tuple[str, Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = data_set
    file = write(tmp_path / "a.csv", ("0002", "", "ada", "", "blurred"), ("1002", "", "", "", ""))
    assert run_command(["review", "import", path, file]) == 0
    assert "1 decision on 1 partition taken, 1 row left undecided" in capsys.readouterr().out
    [found] = reviews(store, NIGHTS[0])
    assert found["label"] is None
    assert reviews(store, NIGHTS[1]) == []


def test_decisions_add_to_earlier_ones_and_repeating_an_import_changes_nothing(
    data_set: tuple[str, Store], tmp_path: Path
) -> None:
    path, store = data_set
    first = write(tmp_path / "a.csv", ("0002", "dog", "ada", "2026-01-03", ""))
    second = write(
        tmp_path / "b.csv", ("0002", "cat", "bob", "2026-01-04", ""), ("0001", "owl", "bob", "2026-01-04", "")
    )
    for file in (first, second):
        assert run_command(["review", "import", path, file]) == 0
    found = [(row["id"], row["label"], row["reviewer"]) for row in reviews(store, NIGHTS[0])]
    assert found == [("0001", 2, "bob"), ("0002", 1, "ada"), ("0002", 0, "bob")]
    before = store.ref("reviews", NIGHTS[0])
    assert run_command(["review", "import", path, first]) == 0
    assert store.ref("reviews", NIGHTS[0]) == before


def test_one_bad_row_refuses_the_whole_file(
    data_set: tuple[str, Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = data_set
    rows = [("0002", "dog", "ada", "", ""), ("0003", "cow", "ada", "", ""), ("7777", "dog", "ada", "", "")]
    assert run_command(["review", "import", path, write(tmp_path / "a.csv", *rows)]) == 2
    err = capsys.readouterr().err
    assert "2 problems in 3 filled-in rows, so none was taken" in err
    assert "unknown class 'cow'" in err
    assert "id '7777' is no row of digits" in err
    assert store.version("reviews") is None


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.xlsx", "x", "must end in .csv or .parquet"),
        ("a.csv", None, "there is no such file"),
        ("a.csv", "name,verdict\n1,2\n", "the file has no column id"),
        ("a.parquet", "not parquet at all", "cannot be read"),
        ("a.csv", "", "cannot be read"),
    ],
)
def test_a_file_that_is_no_review_is_bad_input(
    name: str,
    content: str | None,
    sentence: str,
    data_set: tuple[str, Store],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    assert run_command(["review", "import", data_set[0], str(file)]) == 2
    assert sentence in capsys.readouterr().err


def test_while_a_partition_is_curated_no_decision_is_taken(
    data_set: tuple[str, Store],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, store = data_set
    monkeypatch.setattr("flows.review.WAIT_SECONDS", 0.0)
    file = write(tmp_path / "a.csv", ("0002", "dog", "ada", "", ""), ("1002", "dog", "ada", "", ""))
    with lease(store, NIGHTS[1], 0, "the nightly run"):
        assert run_command(["review", "import", path, file]) == 1
    err = capsys.readouterr().err
    assert "the nightly run" in err
    assert "no decision was taken" in err
    assert store.version("reviews") is None
    assert run_command(["review", "import", path, file]) == 0
