"""The report's HTML, without a browser. Run: python -m pytest tests/tasks/report/test_page.py"""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tasks.report import (
    Arrival,
    Exemplars,
    Figure,
    LabelChange,
    Rejection,
    ReportData,
    StageCost,
    StudentResult,
    Suspect,
)
from tasks.report.page import (
    SHOWN,
    chance,
    dots,
    formatted,
    headline,
    matrix,
    pairs,
    percent,
    points,
    render,
    seconds,
    shortened,
    signed,
    size,
)

HOSTILE = "<script>alert(1)</script>\"' onload=x {{ 7*7 }}"
SMALL = ReportData("digits", "2026-01-02", ("cat", "dog"), Arrival(3))


class Elements(HTMLParser):
    """Collects tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def headings(self) -> list[str]:
        return [attrs["id"] or "" for tag, attrs in self.tags if tag == "h2" and "id" in attrs]


def change(k: int, confusion: np.ndarray) -> LabelChange:
    return LabelChange(confusion.sum(axis=1), confusion.sum(axis=0), confusion, {"keep": 1})


def test_the_page_of_a_real_night_tells_its_whole_story(report_data: ReportData) -> None:
    page = Elements(render(report_data))
    parts = "earlier student decisions suspects classes teachers distilled rejects stages figures"
    assert page.headings() == [f"{part}-title" for part in parts.split()]
    compared = "Compared with 2 partitions, 2025-12-31 to 2026-01-01."
    for expected in ("digits", "2026-01-02", compared, "1,797", "over the cap", "digits-0031", "left out"):
        assert expected in page.text


def test_the_same_data_give_the_same_bytes(report_data: ReportData) -> None:
    assert render(report_data) == render(report_data)


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_executed(report_data: ReportData) -> None:
    page = Elements(render(report_data))
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        for name in ("src", "href", "srcset", "data"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/png;base64,"))
        assert not [name for name in attrs if name.startswith("on")]
    assert "url(" not in render(report_data)
    assert "@import" not in render(report_data)
    policy = [a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_links_lead_to_sections_that_exist(report_data: ReportData) -> None:
    for data in (report_data, SMALL):
        page = Elements(render(data))
        ids = {attrs.get("id") for _, attrs in page.tags}
        assert {attrs["href"] for tag, attrs in page.tags if tag == "a"} <= {f"#{i}" for i in ids}


def hostile() -> ReportData:
    """A page where every text that comes from somebody's data is an attack, and long."""
    confusion = np.array([[5, 1], [2, 7]])
    return ReportData(
        HOSTILE,
        HOSTILE,
        (HOSTILE, "w" * 300),
        Arrival(3, (Rejection(HOSTILE, 1, (HOSTILE,)),)),
        notes=(HOSTILE,),
        labels=LabelChange(confusion.sum(1), confusion.sum(0), confusion, {"keep": 1}),
        suspects=(Suspect(HOSTILE, 0, 1, 0.9, "fix", HOSTILE, b"\x89PNG", HOSTILE),),
        student=StudentResult({HOSTILE: (0.5,)}, "truth", 3),
        distilled=(Exemplars(0, (b"\x89PNG",), (HOSTILE,)),),
        stages=(StageCost("teach", (HOSTILE,)),),
        earlier=(HOSTILE,),
        figures=(Figure("teach", HOSTILE, 1.0, "share"), Figure("report", "class_shift", 0.1, "effect")),
    )


def test_hostile_text_is_shown_and_never_run() -> None:
    page = Elements(render(hostile()))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 15


def test_a_stage_that_was_left_out_has_no_section() -> None:
    page = Elements(render(SMALL))
    assert page.headings() == ["stages-title"]
    assert page.text.count("left out") == 6


def test_figures_against_earlier_nights_say_what_they_are() -> None:
    figures = (Figure("report", "label_swap", 0.91, "share"), Figure("ingest", "rows", 3, "rows"))
    text = Elements(render(replace(SMALL, earlier=("2026-01-01",), figures=figures))).text
    section = re.sub(r"\s+", " ", text[text.index("Against earlier nights") : text.index("left out")])
    assert "Compared with 2026-01-01. A limit is 0 where chance alone explains the difference." in section
    assert "label_swap" in section
    assert "91.00%rows of one class that it calls one other class" in section
    assert "rows3" not in section


def test_many_classes_and_many_rows_make_a_page_of_bounded_size() -> None:
    k = 1000
    rng = np.random.Generator(np.random.PCG64(0))
    data = ReportData(
        "many",
        "p",
        tuple(f"class {c}" for c in range(k)),
        Arrival(10**9, tuple(Rejection(f"reason_{i}", 1, ("x" * 10_000,)) for i in range(100))),
        labels=change(k, rng.integers(0, 9, (k, k))),
        suspects=tuple(Suspect(f"r{i}", i % k, 0, 0.5, "drop", "y" * 10_000) for i in range(5000)),
        distilled=tuple(Exemplars(c, (b"\x89PNG",) * 50) for c in range(k)),
    )
    html = render(data)
    assert len(html) < 300_000
    text = Elements(html).text
    assert "The 30 of 1,000 classes that changed most." in text
    assert "4,976 more" in text
    assert "950 more classes" in text
    assert "Most frequent changes" in text


def test_a_matrix_up_to_fifteen_classes_and_pairs_beyond() -> None:
    assert matrix(change(15, np.eye(15, dtype=np.int64))) is not None
    assert matrix(change(16, np.eye(16, dtype=np.int64))) is None
    assert matrix(change(2, np.array([[90, 2], [4, 80]]))) == [[(90, 1.0), (2, 0.5)], [(4, 1.0), (80, 1.0)]]


def test_pairs_are_the_largest_changes_first_and_ties_by_class() -> None:
    confusion = np.array([[99, 1, 3], [3, 99, 0], [0, 7, 99]])
    assert pairs(change(3, confusion)) == [(2, 1, 7), (0, 2, 3), (1, 0, 3), (0, 1, 1)]
    assert len(pairs(change(9, np.ones((9, 9), np.int64)))) == SHOWN["pairs"]


def test_no_classes_at_all_make_a_page_too() -> None:
    none = np.zeros(0, np.int64)
    data = replace(SMALL, class_names=(), labels=LabelChange(none, none, none.reshape(0, 0), {"keep": 0}))
    assert Elements(render(data)).headings() == ["decisions-title", "stages-title"]


def test_a_row_without_a_suggestion_or_a_picture_says_so_in_words() -> None:
    data = replace(SMALL, suspects=(Suspect("r1", 1, -1, 0.7, "drop", "why", None, "a short text"),))
    text = Elements(render(data)).text
    assert "none" in text
    assert "a short text" in text


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0.0%"), (1e-6, "<0.1%"), (0.0005, "0.1%"), (0.9994, "99.9%"), (0.99999, ">99.9%"), (1, "100.0%")],
)
def test_a_share_that_is_not_all_does_not_look_like_all(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(("probability", "shown"), [(0, "<0.1%"), (0.25, "25.0%"), (1, ">99.9%")])
def test_no_estimate_looks_certain(probability: float, shown: str) -> None:
    assert chance(probability) == shown


def test_headline_compares_before_with_after_where_both_are_known() -> None:
    figures = (
        Figure("relabel", "label_accuracy_given", 0.92, "share"),
        Figure("relabel", "label_accuracy_curated", 0.9, "share"),
        Figure("report", "accuracy_given", 0.9, "share"),
    )
    tiles = headline(replace(SMALL, figures=figures))
    assert tiles == [("Rows kept", "3", "0 rejected"), ("Label accuracy", "90.0%", "−2.0 points from 92.0%")]


@pytest.mark.parametrize(
    "values", [(0.958, 0.96, 0.991), (0.5,), (1.0, 1.0), (0.0,), (0.0, 1.0), (0.995, 0.9951)]
)
def test_dots_lie_on_their_scale(values: tuple[float, ...]) -> None:
    placed = dots(StudentResult({"given": values, "curated": values}, "truth", 9))
    assert placed is not None
    positions = [p for *_, seeds in placed["arms"] for _, p in seeds] + [p for _, p in placed["ticks"]]
    assert all(-1e-6 <= p <= 100 + 1e-6 for p in positions)
    assert 2 <= len(placed["ticks"]) <= 7
    assert placed["gain"] == "0 points"


def test_a_student_that_could_not_be_measured_is_left_out() -> None:
    assert dots(StudentResult({"given": (float("nan"),), "curated": ()}, "truth", 0)) is None


def test_a_class_name_of_any_length_leaves_room_for_the_table() -> None:
    assert shortened("w" * 60) == "w" * 60
    assert shortened("w" * 61) == "w" * 59 + "…"


def test_figures_are_written_as_people_read_them() -> None:
    assert [size(n) for n in (0, 999, 1000, 999_600, 1_234_567, 5 * 10**15)] == [
        "0 B", "999 B", "1 kB", "1 MB", "1.23 MB", "5 PB",
    ]  # fmt: skip
    assert [seconds(s) for s in (0.04, 59.94, 59.96, 200, 7500)] == [
        "0.0 s", "59.9 s", "1 min 0 s", "3 min 20 s", "2 h 5 min",
    ]  # fmt: skip
    assert [signed(n) for n in (3, 0, -3)] == ["+3", "0", "−3"]
    assert [points(d) for d in (0.0321, -0.005, 0.0001)] == ["+3.2 points", "−0.5 points", "0 points"]
    assert [formatted(0.5, "share"), formatted(1e6, "rows")] == ["50.00%", "1,000,000"]
    assert [formatted(2e3, "bytes"), formatted(0.12345, "ratio")] == ["2 kB", "0.1235"]
