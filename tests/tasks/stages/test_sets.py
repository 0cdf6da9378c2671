"""Sets of classes through every stage, on real digits: pytest tests/tasks/stages/test_sets.py"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from flows.review import export_reviews, import_reviews
from flows.story import tell
from storage import query
from storage.store import Store
from tasks.config import Curation, load
from tasks.errors import BadInput
from tests.tasks.stages.harness import bring_up_to_date, contents, run

NIGHTS = ("2026-01-01", "2026-01-02")
STAGES = ("ingest", "teach", "detect", "relabel", "report")
SHIPPED = Path(__file__).parents[3] / "curations" / "digit_facts.yaml"


def digit_facts(folder: Path, **changes: Any) -> Curation:
    """The curation that ships, with a quick student."""
    return load(SHIPPED, store=str(folder / "store"), report={"seeds": 1, "steps": 200}, **changes)


def ask(made: Curation, sql: str) -> list[tuple[Any, ...]]:
    with query.connect(Store(made.store, made.dataset), "live") as connection:
        answer: duckdb.DuckDBPyRelation = connection.sql(sql)
        return answer.fetchall()


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Curation:
    made = digit_facts(tmp_path_factory.mktemp("sets"))
    bring_up_to_date(made, NIGHTS, STAGES)
    return made


def test_sets_arrive_with_their_truth_and_the_view_names_them(curated: Curation) -> None:
    rows = ask(curated, "SELECT label, label_names, truth_names FROM rows")
    assert len(rows) == 1797
    assert {row[0] for row in rows} == {None}
    answers = sum(len(set(given) ^ set(true)) for _, given, true in rows)
    assert answers == round(0.05 * 3 * 1797)
    assert [] in [given for _, given, _ in rows]


def test_every_answer_has_a_probability_of_its_own(curated: Curation) -> None:
    soft = ask(
        curated,
        "SELECT class_names, p, given_p, tail, labels, label_names FROM soft_labels JOIN rows USING (id) "
        "WHERE teacher = 'mean'",
    )
    assert {len(p) for _, p, *_ in soft} == {3}
    assert max(sum(p) for _, p, *_ in soft) > 2
    for names, p, given_p, tail, _, given in soft[:50]:
        assert tail == 0
        assert given_p == min((p[names.index(name)] for name in given), default=0)


def test_most_wrong_sets_are_flagged_and_curation_leaves_fewer_of_them(curated: Curation) -> None:
    [(caught, wrong)] = ask(
        curated,
        "SELECT count(*) FILTER (is_issue), count(*) FROM issues JOIN rows USING (id) WHERE labels <> truths",
    )
    assert caught / wrong > 0.8
    [(before, after)] = ask(
        curated,
        "SELECT count(*) FILTER (given_labels <> truths), count(*) FILTER (labels.labels <> truths) "
        "FROM labels JOIN rows USING (id)",
    )
    assert after < before / 2


def test_a_set_is_changed_in_the_answers_that_a_detector_doubts_and_in_no_other(curated: Curation) -> None:
    fixed = ask(
        curated,
        "SELECT given_labels, labels, doubted, suggested_label FROM labels JOIN issues USING (id) "
        "WHERE action = 'fix'",
    )
    assert len(fixed) > 50
    for given, decided, doubted, suggested in fixed:
        assert sorted(set(given) ^ set(decided)) == doubted
        assert suggested in doubted
    kept = "SELECT count(*) FROM labels WHERE action <> 'fix' AND labels IS DISTINCT FROM given_labels"
    assert ask(curated, kept) == [(0,)]


def test_the_report_measures_sets_and_what_they_are_worth(curated: Curation) -> None:
    figures = dict(ask(curated, "SELECT name, value FROM metrics WHERE partition = '2026-01-02'"))
    assert figures["teacher_mean_f1_macro_truth"] > 0.9
    assert figures["teacher_mean_exact_match_truth"] > 0.8
    assert figures["teacher_mean_ece_truth"] < 0.03
    assert figures["detection_average_precision"] > 0.7
    assert figures["label_accuracy_curated"] > figures["label_accuracy_given"]
    assert 0.5 < figures["f1_given"] < figures["f1_curated"] <= 1
    assert not {"accuracy_given", "curation_loss", "class_shift", "share_not_summing_to_one"} & figures.keys()


def test_the_page_shows_sets_by_their_names(curated: Curation) -> None:
    [page] = Path(curated.store, curated.dataset, "_reports", NIGHTS[1]).glob("*.html")
    text = page.read_text()
    assert "above_four" in text
    assert "none of the classes" in text


def test_shards_of_another_size_give_the_same_bytes(curated: Curation, tmp_path: Path) -> None:
    other = digit_facts(tmp_path, runner={"shard_rows": 100})
    bring_up_to_date(other, NIGHTS, STAGES)
    assert contents(other) == contents(curated)


def test_people_get_sets_as_they_are_to_write_them_and_have_the_last_word(tmp_path: Path) -> None:
    made, night = digit_facts(tmp_path, detect=[{"kind": "confident_learning"}]), "2026-01-01"
    bring_up_to_date(made, [night], STAGES[:-1])
    store, file = Store(made.store, made.dataset), tmp_path / "reviews.csv"
    export_reviews(store, file, night)
    with file.open() as opened:
        waiting = list(csv.DictReader(opened))
    assert len(waiting) > 10
    for row in waiting:
        given, suggested = ({*row[name].split("|")} - {""} for name in ("given", "suggested"))
        assert given != suggested
        assert given | suggested <= {"even", "above_four", "loop"}
    says = ["loop | even", "|", ""]
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, [*waiting[0]])
        writer.writeheader()
        for row, said in zip(waiting, says, strict=False):
            writer.writerow({**row, "label": said, "reviewer": "ann"})
    import_reviews(store, file)
    run(made, night, "relabel")
    ids = [row["id"] for row in waiting[:3]]
    sql = "SELECT label_names, action, decided_by, confidence FROM labels WHERE id = '{}'"
    decided = [ask(made, sql.format(each))[0] for each in ids]
    assert decided == [
        (["even", "loop"], "human", "ann", 1.0),
        ([], "human", "ann", 1.0),
        (None, "human", "ann", 1.0),
    ]
    left = tmp_path / "left.csv"
    export_reviews(store, left, night)
    assert len(left.read_text().splitlines()) == len(waiting) - 3 + 1


def test_a_review_that_names_an_unknown_class_is_refused_with_the_way_out(tmp_path: Path) -> None:
    made, night = digit_facts(tmp_path), "2026-01-01"
    run(made, night, "ingest")
    [(some,)] = ask(made, "SELECT id FROM rows LIMIT 1")
    file = tmp_path / "reviews.csv"
    file.write_text(f"id,label,reviewer\n{some},even|odd,ann\n")
    with pytest.raises(
        BadInput, match=r"is given 'even\|odd', which holds an unknown class; join some of even"
    ):
        import_reviews(Store(made.store, made.dataset), file)


def test_a_rows_story_is_told_in_sets(curated: Curation, capsys: pytest.CaptureFixture[str]) -> None:
    [(some,)] = ask(
        curated, "SELECT id FROM labels WHERE action = 'fix' AND len(labels) = 2 ORDER BY id LIMIT 1"
    )
    tell(Store(curated.store, curated.dataset), some)
    told = capsys.readouterr().out
    assert "becomes" in told
    assert "given label" in told


def points(folder: Path, nights: dict[str, int], **changes: Any) -> Curation:
    """Nights of points with two facts each; `late` holds of none before the night whose number is given."""
    folder.mkdir(parents=True)
    for number, (night, late_from) in enumerate(nights.items()):
        random = np.random.default_rng(number)
        x = random.normal(size=(60, 4)).astype(np.float32)
        facts = {"early": x[:, 0] > 0, "late": (x[:, 1] > 0) & (number >= late_from)}
        np.savez(
            folder / f"{night}.npz", x=x, **{name: holds.astype(np.int8) for name, holds in facts.items()}
        )
    source = {"kind": "numpy", "path": str(folder / "{partition}.npz"), "features": "x", "feature_length": 4}
    return Curation.model_validate(
        {
            "dataset": "points",
            "store": str(folder / "store"),
            "task": "multi_label",
            "source": {**source, "labels": ["early", "late"]},
            "ingest": {"encoder": {"kind": "features"}},
            "teach": {"teachers": [{"kind": "linear"}], "folds": 3, "refit": {"growth": 1.0}},
            "detect": [{"kind": "confident_learning"}],
            "relabel": {"kind": "threshold"},
            **changes,
        }
    )


def test_a_class_that_first_applies_later_calls_for_teachers_that_know_it(tmp_path: Path) -> None:
    nights = dict.fromkeys(("2026-01-01", "2026-01-02", "2026-01-03"), 2)
    made = points(tmp_path / "in", nights)
    fitted = bring_up_to_date(made, nights, STAGES[:-1])
    assert fitted["2026-01-02"] != ["models"], "the data set has doubled"
    assert fitted["2026-01-03"] != ["models"], "it has not doubled again, but here is a new class"
    found = ask(
        made,
        "SELECT avg(p[list_position(class_names, 'late')]) FROM soft_labels JOIN rows USING (id, partition) "
        "WHERE list_contains(label_names, 'late')",
    )
    assert found[0][0] > 0.1
    before = ask(
        made,
        "SELECT max(p[list_position(class_names, 'late')]) FROM soft_labels WHERE partition = '2026-01-01'",
    )
    assert before[0][0] < 1e-3


def test_two_teachers_weighed_by_the_stack_are_an_opinion_too(tmp_path: Path) -> None:
    teach = {
        "teachers": [{"kind": "linear", "c": 0.1}],
        "folds": 2,
        "ensemble": "stacked",
    }
    made = digit_facts(tmp_path, teach=teach)
    bring_up_to_date(made, NIGHTS[:1], STAGES[:3])
    p = np.array(ask(made, "SELECT p FROM soft_labels WHERE teacher = 'stacked'"))
    assert p.shape == (899, 1, 3) or p.shape == (898, 1, 3)


def test_fewer_probabilities_than_classes_are_refused_where_teach_begins(tmp_path: Path) -> None:
    made = digit_facts(tmp_path, teach={"teachers": [{"kind": "linear"}], "top_k": 2})
    run(made, NIGHTS[0], "ingest")
    with pytest.raises(BadInput, match=r"teach.top_k is 2, .* write top_k: 3 or more"):
        run(made, NIGHTS[0], "teach")
