"""Which columns and rows are read. Run: .venv/bin/python -m pytest tests/tasks/stages/test_reading.py"""

from __future__ import annotations

import numpy as np
import pytest

from storage.store import Store
from tasks.plan import Planner
from tasks.stages import STAGES
from tasks.stages.base import Job
from tasks.stages.reading import examples, picked
from tests.tasks.stages.harness import bring_up_to_date, curation

NIGHTS = {"2026-01-01": list("ab") * 4, "2026-01-02": list("abc"), "2026-01-03": list("bbc")}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The last night about to be taught: its window is all three nights."""
    made = curation(tmp_path_factory.mktemp("reading"), NIGHTS)
    bring_up_to_date(made, NIGHTS, ["ingest"])
    planner = Planner(made, Store(made.store, made.dataset))
    found = planner.job(planner.stage(STAGES["teach"], "2026-01-03"))
    assert found is not None
    return found


def test_only_the_payloads_asked_for_are_read(job: Job) -> None:
    window = examples(job, job.inputs["rows"], ["embedding"])
    assert len(window) == 14
    assert window.embedding is not None
    assert window.features is None
    bare = examples(job, job.inputs["rows"], ["nothing"], (2, 9))
    assert bare.ids.tolist() == window.ids[2:9].tolist()
    assert bare.embedding is None
    assert bare.labels.tolist() == window.labels[2:9].tolist()


def test_rows_are_picked_from_any_night_in_the_order_asked_for(job: Job) -> None:
    window = examples(job, job.inputs["rows"], ["features"])
    places = np.array([12, 0, 9, 3, 13])
    found = picked(job, job.inputs["rows"], places, ["features"])
    assert found.ids.tolist() == window.ids[places].tolist()
    assert found.features is not None
    assert window.features is not None
    assert found.features.tobytes() == window.features[places].tobytes()


def test_what_is_not_asked_for_may_even_be_broken(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.ingest import images

    monkeypatch.setattr(type(job.curation.source), "shape", property(lambda source: (2, 2, 1)))

    def refuse(*arguments: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(images, "decode", refuse)
    examples(job, job.inputs["rows"], ["embedding"], (0, 14))
    with pytest.raises(AssertionError, match="a picture was decoded"):
        examples(job, job.inputs["rows"], ["images"], (0, 14))
