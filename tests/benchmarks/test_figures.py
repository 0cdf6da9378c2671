"""Figures, their goals, and how they reach the documents: pytest tests/benchmarks/test_figures.py"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import readme
from benchmarks.__main__ import benchmarks, machine, main
from benchmarks.figures import Figure, shown


@pytest.mark.parametrize(
    ("goal", "value", "holds"),
    [
        ("≥ 0.977", 0.977, True),
        ("≥ 0.977", 0.9769, False),
        ("≤ 2", 2, True),
        ("≤ 2", 2.01, False),
        ("> 0", 0, False),
        ("< 1", 0.5, True),
        ("= 7", 7, True),
        ("= 7", 6, False),
        (None, -1, True),
        (None, float("nan"), False),
        ("≥ 0", float("nan"), False),
        ("≤ 0", float("nan"), False),
    ],
)
def test_a_goal_holds_at_its_bound_and_not_beyond(goal: str | None, value: float, holds: bool) -> None:
    assert Figure("x", value, goal=goal).holds is holds


@pytest.mark.parametrize("goal", ["0.977", "≥0.977", "~ 1", "≥ many", "≥ nan", ""])
def test_a_goal_that_cannot_be_read_is_refused_at_once(goal: str) -> None:
    with pytest.raises(ValueError, match="a space and a number"):
        Figure("x", 1.0, goal=goal)


def test_json_says_whether_the_goal_holds() -> None:
    assert Figure("x", 1.5, "s", "≤ 1", "peer 2").as_json() == {
        "name": "x",
        "value": 1.5,
        "unit": "s",
        "goal": "≤ 1",
        "peer": "peer 2",
        "holds": False,
    }


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7 s"), (0.98765, "0.9877 s"), (1234.5, "1,234 s"), (2.5e-5, "2.5e-05 s")]
)
def test_values_are_shown_with_four_digits(value: float, text: str) -> None:
    assert shown(value, "s") == text


def test_benchmarks_are_the_files_with_a_run(tmp_path: Path) -> None:
    (tmp_path / "speed.py").write_text('"""How fast.\n\nMore."""\ndef run(progress): ...\n')
    (tmp_path / "tools.py").write_text("def walk(): ...\n")
    (tmp_path / "_hidden.py").write_text("def run(progress): ...\n")
    assert benchmarks(tmp_path) == {"speed": "How fast."}
    assert {"figures", "readme"}.isdisjoint(benchmarks())


def test_an_unknown_benchmark_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no_such_one"]) == 2
    assert "there is no benchmark no_such_one; these exist: " in capsys.readouterr().err


@pytest.fixture
def _toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark `toy` whose goal holds and `late` whose goal does not."""
    source = "from benchmarks.figures import Figure\ndef run(_):\n    return [Figure('a', {}, goal='≤ 1')]\n"
    for name, value in (("toy", 1), ("late", 2)):
        (tmp_path / f"{name}.py").write_text(source.format(value), encoding="utf-8")
    monkeypatch.setattr("benchmarks.__path__", [str(tmp_path)])
    monkeypatch.setattr("benchmarks.__main__.RESULTS", tmp_path / "results")
    monkeypatch.setattr("benchmarks.__main__.benchmarks", lambda: benchmarks(tmp_path))


@pytest.mark.usefixtures("_toy")
@pytest.mark.parametrize(("name", "code"), [("toy", 0), ("late", 1)])
def test_the_result_is_printed_and_kept_and_a_missed_goal_is_exit_code_1(
    name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--json"]) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert set(printed) == {"name", "machine", "seconds", "figures"}
    assert printed["figures"][0]["holds"] is (code == 0)


def test_the_machine_is_described_without_saying_whose_it_is() -> None:
    assert set(machine()) == {"cpu", "cores", "python", "libraries"}


def test_a_block_is_filled_from_the_result_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    result = {
        "machine": {"cpu": "A processor", "cores": 2},
        "figures": [
            Figure("speed | ratio", 1.23456, "×", "≤ 1", "peer 2").as_json(),
            Figure("rows", 5000.0).as_json(),
        ],
    }
    (tmp_path / "toy.json").write_text(json.dumps(result))
    text = "before\n<!-- figures: toy -->\nold\n<!-- /figures -->\nafter\n"
    filled = readme.fill(text, tmp_path)
    assert filled == (
        "before\n<!-- figures: toy -->\n"
        "| figure | value | goal | compared with |\n|---|---|---|---|\n"
        "| speed \\| ratio | 1.235 × (missed) | ≤ 1 | peer 2 |\n| rows | 5,000 |  |  |\n"
        "\n`python -m benchmarks toy`, 2 cores of A processor.\n"
        "<!-- /figures -->\nafter\n"
    )
    assert readme.fill(filled, tmp_path) == filled


def test_a_block_without_a_result_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `python -m benchmarks toy`"):
        readme.fill("<!-- figures: toy -->\n<!-- /figures -->", tmp_path)


def test_check_finds_documents_that_are_behind_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    figures = [Figure("a", 1).as_json()]
    (results / "toy.json").write_text(json.dumps({"machine": {"cpu": "c", "cores": 1}, "figures": figures}))
    page = tmp_path / "docs" / "page.md"
    page.write_text("<!-- figures: toy -->\n<!-- /figures -->\n")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    assert readme.main(["--check"]) == 1
    assert "docs/page.md" in capsys.readouterr().out
    assert page.read_text() == "<!-- figures: toy -->\n<!-- /figures -->\n"
    assert readme.main([]) == 0
    assert "| a | 1 |" in page.read_text()
    assert readme.main(["--check"]) == 0
