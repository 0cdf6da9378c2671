"""The command line as its users meet it. Run: pytest tests/flows/test_cli.py"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from flows.cli import explain, run_command
from storage import releases
from storage.errors import Busy, Fenced, StoreError
from storage.query import QueryError
from storage.store import Store
from tasks.errors import BadInput, StageFailed
from tasks.ingest import BadSource
from tasks.teach import BadTraining
from tests.flows.cli_stores import CURATION, curation, filled

VERBS = (
    *("demo", "plan", "run", "backfill", "nightly", "status", "sql", "why", "releases", "rollback", "diff"),
    *("review export", "review import", "export", "report", "methods", "vacuum"),
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Store]:
    path, store = filled(tmp_path_factory.mktemp("digits"))
    return str(path), store


@pytest.fixture
def own_data_set(tmp_path: Path) -> tuple[str, Store]:
    path, store = filled(tmp_path)
    return str(path), store


def winnow(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, as from a shell."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


# What every verb does


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*verb.split(), "--help"]) == 0
    assert f"Example: winnow {verb}" in capsys.readouterr().out


def test_without_arguments_it_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([]) == 0
    out = capsys.readouterr().out
    assert all(verb.split()[0] in out for verb in VERBS)


def test_help_needs_neither_tables_nor_engines() -> None:
    heavy = {"duckdb", "polars", "deltalake", "pyarrow", "numpy", "pydantic", "prefect", "torch"}
    code = "import sys; from flows.cli import run_command; run_command(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not heavy & set(done.stdout.splitlines()[-1].split())


def test_version_names_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.startswith("winnow 0.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["frobnicate"], "winnow: No such command 'frobnicate'; see `winnow --help`\n"),
        (["plan"], "winnow: Missing argument 'CURATION'; see `winnow plan --help`\n"),
        (["plan", "no.yaml"], "winnow: no.yaml: there is no such file; give the path of a curation's YAML\n"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    assert capsys.readouterr() == ("", sentence)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (BadSource("x"), 2),
        (QueryError("x"), 2),
        (StageFailed("x"), 1),
        (BadTraining("x"), 1),
        (StoreError("x"), 1),
        (Fenced("x"), 1),
        (Busy("x", "somebody"), 0),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_the_exit_code_says_whose_fault_it_is(error: Exception, code: int) -> None:
    found, sentence = explain(error)
    assert found == code
    assert "x" in sentence


def test_an_unexpected_error_hints_at_verbose_which_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("the moon is in the way")

    monkeypatch.setattr("flows.run.show_plan", explode)
    path = str(curation(tmp_path))
    assert run_command(["plan", path]) == 1
    sentence = "winnow: unexpected RuntimeError: the moon is in the way; run with --verbose to see where\n"
    assert capsys.readouterr().err == sentence
    assert run_command(["plan", path, "--verbose"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith(sentence)


def test_control_c_is_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.run.show_plan", interrupt)
    assert run_command(["plan", str(curation(tmp_path))]) == 130


def test_a_reader_that_has_seen_enough_is_no_error(data_set: tuple[str, Store]) -> None:
    command = f"{sys.executable} -c 'from flows.cli import main; main()' sql {data_set[0]}"
    query = '"SELECT range FROM range(300000)" --format csv | head -n 1; echo ${PIPESTATUS[0]}'
    done = subprocess.run(
        ["bash", "-c", f"{command} {query}"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == '"range"\n0\n'
    assert done.stderr == ""


# plan, run, backfill: deciding


def test_plan_shows_every_stage_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", str(curation(tmp_path)), "--to", "2026-01-01"]) == 0
    out = capsys.readouterr().out
    assert "2026-01-01   ingest    runs      has not run yet" in out
    assert "2026-01-01   teach     follows   needs ingest first" in out
    assert out.endswith("1 of 1 partition to run\n")
    assert not (tmp_path / "store").exists()


def test_a_partition_that_never_arrived_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", str(curation(tmp_path)), "--partition", "2027-01-01"]) == 2
    assert capsys.readouterr().err == (
        "winnow: digits has no partition 2027-01-01; the source holds 2026-01-01, 2026-01-02, 2026-01-03\n"
    )


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("polish", "there is no stage polish"),
        ("distill", "digits leaves out distill"),
        ("detect", "detect of 2026-01-01 needs ingest and teach first"),
    ],
)
def test_a_stage_that_cannot_run_is_bad_input(
    stage: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(curation(tmp_path)), "--partition", "2026-01-01", "--stage", stage]
    assert run_command(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_a_dry_backfill_gives_each_partition_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "backfill",
        str(curation(tmp_path)),
        "--from",
        "2026-01-02",
        "--order",
        "newest",
        "--dry-run",
    ]
    assert run_command(arguments) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()[2:]] == [
        "2026-01-03   ingest: has not run yet",
        "2026-01-02   ingest: has not run yet",
        "2 partitions would run",
    ]


def test_an_empty_range_is_nothing_to_do_and_a_reversed_one_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(curation(tmp_path))
    assert run_command(["backfill", path, "--from", "2026-02-01"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run_command(["backfill", path, "--from", "2026-01-02", "--to", "2026-01-01"]) == 2
    assert "swap them" in capsys.readouterr().err


# sql


def test_sql_shows_bytes_by_kind_and_size(
    data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    query = "SELECT id, image, label_name, truth FROM rows ORDER BY id LIMIT 2"
    assert run_command(["sql", data_set[0], query]) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "id     image              label_name   truth",
        "────────────────────────────────────────────",
        "0001   <PNG, 312 bytes>   cat              1",
        "0002   <PNG, 312 bytes>   cat",
    ]


def test_piped_tables_are_never_cut(data_set: tuple[str, Store]) -> None:
    long = "SELECT repeat('0123456789', 100) AS id"
    done = winnow("sql", data_set[0], long)
    assert "0123456789" * 100 in done.stdout
    assert "\x1b" not in done.stdout


def test_sql_writes_csv_and_json_that_read_back(
    data_set: tuple[str, Store], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    columns = "id, classes, given_p, NULL AS nothing, 'a,\"b\"' AS text"
    query = f"SELECT {columns} FROM soft_labels ORDER BY id, teacher LIMIT 2"
    assert run_command(["sql", data_set[0], query, "--format", "csv"]) == 0
    table = pyarrow.csv.read_csv(
        io.BytesIO(capfdbinary.readouterr().out),
        convert_options=pyarrow.csv.ConvertOptions(column_types={"id": "string"}),
    )
    assert table["id"].to_pylist() == ["0001", "0001"]
    assert table["classes"].to_pylist() == ["[1,0]", "[1,0]"]
    assert table["text"].to_pylist() == ['a,"b"'] * 2
    assert run_command(["sql", data_set[0], query, "--format", "json"]) == 0
    [first, _] = json.loads(capfdbinary.readouterr().out)
    assert first["id"] == "0001"
    assert first["classes"] == [1, 0]
    assert first["given_p"] == pytest.approx(655 / 32767)
    assert first["nothing"] is None


def test_json_of_no_rows_is_an_empty_list_and_nan_is_null(
    data_set: tuple[str, Store], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run_command(["sql", data_set[0], "SELECT * FROM rows WHERE false", "--format", "json"])
    assert json.loads(capfdbinary.readouterr().out) == []
    run_command(["sql", data_set[0], "SELECT 'nan'::DOUBLE AS x, 1.5::FLOAT AS y", "--format", "json"])
    assert json.loads(capfdbinary.readouterr().out) == [{"x": None, "y": 1.5}]


def test_sql_writes_parquet_to_a_file_and_to_a_pipe(
    data_set: tuple[str, Store], tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    query = "SELECT id, image FROM rows ORDER BY id"
    assert run_command(["sql", data_set[0], query, "--output", str(tmp_path / "rows.parquet")]) == 0
    assert capfdbinary.readouterr().out == b""
    assert run_command(["sql", data_set[0], query, "--format", "parquet"]) == 0
    piped = pyarrow.parquet.read_table(io.BytesIO(capfdbinary.readouterr().out))
    assert piped.equals(pyarrow.parquet.read_table(tmp_path / "rows.parquet"))
    assert piped.num_rows == 6


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM cats", "cats does not exist"),
        ("DROP TABLE rows", "can only SELECT"),
        ("COPY rows TO '/tmp/x.csv'", "can only SELECT"),
        ("SELECT 1; SELECT 2", "exactly one SELECT"),
    ],
)
def test_bad_sql_is_one_sentence_and_exit_code_2(
    query: str, sentence: str, data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["sql", data_set[0], query]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_sql_reads_the_release_asked_for(
    data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    query = "SELECT count(*) AS n FROM rows"
    run_command(["sql", data_set[0], query, "--release", "1"])
    assert capsys.readouterr().out.split()[-1] == "3"
    run_command(["sql", data_set[0], query])
    assert capsys.readouterr().out.split()[-1] == "6"
    assert run_command(["sql", data_set[0], query, "--release", "9"]) == 2
    assert "no release 9; they are 1 to 2" in capsys.readouterr().err


def test_a_long_table_is_cut_and_says_so(
    data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(["sql", data_set[0], "SELECT range FROM range(1500)"])
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1002
    assert err == "the first 1,000 of 1,500 rows; --format csv gives all\n"


def test_a_store_that_is_not_supported_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = curation(tmp_path)
    path.write_text(CURATION.replace("./store", "gs://bucket/store"))
    assert run_command(["plan", str(path)]) == 2
    assert "only file:/// and s3:// addresses" in capsys.readouterr().err


def test_reading_where_nothing_was_curated_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["sql", str(curation(tmp_path)), "SELECT 1"]) == 2
    assert "run a partition of digits first" in capsys.readouterr().err


# why


def test_why_tells_the_whole_story_of_a_row(
    data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["why", data_set[0], "0001"]) == 0
    out = capsys.readouterr().out
    for told in (
        "digits 0001, of partition 2026-01-01",
        "pets.csv, position 0, split train",
        "given label cat",
        "true label  dog (known for measuring only)",
        "<PNG, 312 bytes>",
        "linear    dog 98.0%, cat 2.0%   2.0%          0",
        "confident_learning            0.02   yes       dog        98.0%",
        "decision: fix, cat becomes dog, by threshold",
        "because     teachers give dog 98%",
        "views: 2 stored; the teachers' first choice on each: dog >99.9%, cat >99.9%",
        "distilled set: herding-1-0 of 2026-01-01",
    ):
        assert told in out


def test_why_says_what_a_row_is_not_used_for(
    data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(["why", data_set[0], "1003"])
    out = capsys.readouterr().out
    assert "decision: keep, owl stays" in out
    assert "views: none stored" in out
    assert "distilled set: not in it" in out
    assert "people" not in out


def test_why_says_why_an_input_was_rejected(
    data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["why", data_set[0], "0009"]) == 0
    out = capsys.readouterr().out
    assert "was rejected" in out
    assert "because     unknown_label: 'cow' is not one of the classes" in out


@pytest.mark.parametrize("row", ["7777", "' OR 1=1 --"])
def test_why_of_no_row_is_bad_input(
    row: str, data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["why", data_set[0], row]) == 2
    assert f"digits has no row {row}" in capsys.readouterr().err


# releases, rollback, diff, report, vacuum


def test_rollback_gives_readers_the_old_release_under_a_new_number(
    own_data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = own_data_set
    assert run_command(["rollback", path, "1"]) == 0
    assert capsys.readouterr().out == "readers of digits get release 1 again, as release 3\n"
    run_command(["sql", path, "SELECT count(*) FROM rows"])
    assert capsys.readouterr().out.split()[-1] == "3"
    run_command(["releases", path])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert [" yes " in line for line in lines] == [True, False, False]
    assert run_command(["rollback", path, "8"]) == 2


def test_releases_show_the_gates_that_failed(
    own_data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = own_data_set
    checks = [
        {"name": "accuracy", "value": 0.5, "bound": "at least 0.9", "passed": False},
        {"name": "share_fixed", "value": None, "bound": "at most 0.1", "passed": False},
    ]
    releases.publish(store, "2026-01-02", None, checks, {"rows": 1}, "held")
    run_command(["releases", path])
    newest = capsys.readouterr().out.splitlines()[2]
    assert "accuracy 0.5, at least 0.9 FAILED; share_fixed not measured, at most 0.1 FAILED" in newest
    assert " yes " not in newest


def test_diff_counts_what_changed_and_names_examples(
    data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["diff", data_set[0], "1", "2"]) == 0
    assert "added             cat        2   [1001, 1002]" in capsys.readouterr().out
    run_command(["diff", data_set[0], "2", "2"])
    assert capsys.readouterr().out == "releases 2 and 2 of digits hold the same\n"


def test_report_prints_the_newest_figures_and_the_page(
    data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["report", data_set[0]]) == 0
    out = capsys.readouterr().out
    assert "relabel   label_accuracy_curated   100.00%" in out
    page = Path(out.splitlines()[-1].removeprefix("report: file://"))
    assert page.read_text() == "<html>2026-01-02</html>"
    run_command(["report", data_set[0], "--partition", "2026-01-01"])
    assert "2026-01-01/page.html" in capsys.readouterr().out
    assert run_command(["report", data_set[0], "--partition", "2027-01-01"]) == 2


def test_vacuum_lists_first_and_deletes_then(
    own_data_set: tuple[str, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = own_data_set
    store.write_shard("rejects", "2026-01-01", "abandoned", 0, 1, store.read(store.refs("rejects")[:1]))
    run_command(["vacuum", path, "--dry-run"])
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 2
    assert Path(listed[0]).exists()
    assert listed[1] == "1 file would be deleted"
    run_command(["vacuum", path])
    assert capsys.readouterr().out.splitlines() == [listed[0], "1 file deleted"]
    assert not Path(listed[0]).exists()


# methods


def test_methods_lists_parameters_with_bounds_defaults_and_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["methods", "relabel"]) == 0
    out = capsys.readouterr().out
    assert "relabel: threshold" in out
    [fix_at] = [line for line in out.splitlines() if line.startswith("fix_at")]
    assert "number ≥ 0, ≤ 1   0.95 " in fix_at
    assert run_command(["methods", "ingest"]) == 0
    out = capsys.readouterr().out
    assert all(
        kind in out for kind in ("source: sklearn_digits", "filter: exact_duplicates", "encoder: pixels")
    )
    assert "Paper: Alpaydin & Kaynak" in out


def test_methods_of_all_stages_import_no_engine() -> None:
    code = "import sys; from flows.cli import run_command; run_command(['methods']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"torch", "prefect", "sklearn", "kornia"} & set(done.stdout.splitlines()[-1].split())


def test_methods_of_no_stage_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["methods", "polish"]) == 2
    assert "there is no stage polish" in capsys.readouterr().err


def test_the_example_curation_is_valid(tmp_path: Path) -> None:
    from tasks.config import load

    example = load(ROOT / "curations" / "digits.yaml")
    assert example.source.partitions()[:2] == ["2026-01-01", "2026-01-02"]
    assert CURATION.startswith("dataset: digits")
