"""1% new rows: how much is distilled and drawn again, and how fast? Fashion-MNIST.

Distilling: 10,000 rows are there. A night brings 100 more, of two classes, and then another 100 of all ten.
Timed is the stage distill of the night (learnt by distribution matching, ten images a class). A night that
changes every class has every class to do: what is kept saves nothing there.

Drawing: a night of 5,000 rows, after one of 10,000 that teachers learned from, gets 50 late rows. Timed is
the stage reinforce (views with RandAugment, mixup and cutmix), and counted the views that teachers are
asked about: those of the new rows, and of rows that they come to be mixed into.

Both from the first thing that the stage reads to the committed table, in processor seconds of one thread;
beside each the same with nothing kept, in a store of its own. Both tables have to hold the same.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.progress import Progress

from benchmarks._data import fashion_mnist
from benchmarks._stages import UP_TO_RELABEL, carry_out, fashion
from benchmarks.figures import Figure
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.data import Examples
from tasks.stages.base import Job
from tasks.teach.rowwise import one_thread

ROWS, NEW = 10_000, 100
DISTILL = {"kind": "matching", "per_class": 10, "steps": 50, "flip": True}
NIGHTS = {"of two classes": (3, 7), "of all classes": tuple(range(10))}
FIRST, SECOND = "2026-01-01", "2026-01-02"
DRAWN, LATE, DRAWS = 5_000, 50, 4
REINFORCE = {"kind": "reinforce", "draws": DRAWS, "scale": [0.5, 1.0], "flip": True}


def run(progress: Progress) -> list[Figure]:
    labels = fashion_mnist("train").labels
    later = np.arange(ROWS, len(labels))
    arriving = {what: later[np.isin(labels[later], classes)][:NEW] for what, classes in NIGHTS.items()}
    task = progress.add_task("nights, as they come and done again", total=3 * len(arriving) + 2)
    figures = []
    with tempfile.TemporaryDirectory() as name, one_thread():
        for number, (what, rows) in enumerate(arriving.items()):
            nights = {FIRST: np.arange(ROWS), SECOND: rows}
            kept, again = (made(Path(name) / f"{number}-{kind}", nights) for kind in ("kept", "again"))
            distilled(kept, FIRST)
            progress.advance(task)
            done, seconds = distilled(kept, SECOND)
            progress.advance(task)
            redone, seconds_again = distilled(again, SECOND)
            progress.advance(task)
            differ = content(kept) != content(again)
            figures += [
                Figure(f"classes made again, 1% new rows {what}", done, "", f"= {len(NIGHTS[what])}"),
                Figure(f"classes made by a full redo, {what}", redone, "", "= 10"),
                Figure(f"distill, {what}", seconds, "s"),
                Figure(f"distill by a full redo, {what}", seconds_again, "s"),
                Figure(f"share of the full redo, {what}", seconds / seconds_again),
                Figure(f"tables that differ from the full redo, {what}", int(differ), "", "= 0"),
            ]
        kept, asked, seconds = grown(Path(name) / "drawn", True)
        progress.advance(task)
        again, asked_again, seconds_again = grown(Path(name) / "drawn-again", False)
        progress.advance(task)
        differ = content(kept, "reinforcements") != content(again, "reinforcements")
        stored = held(again, "reinforcements").rows
    return [
        *figures,
        Figure("views asked about, 1% late rows", asked, "views"),
        Figure("views asked about by a full redo", asked_again, "views", f"= {stored}"),
        Figure("reinforce, 1% late rows", seconds, "s"),
        Figure("reinforce by a full redo", seconds_again, "s"),
        Figure("share of the full redo, reinforce", seconds / seconds_again),
        Figure("tables that differ from the full redo, reinforce", int(differ), "", "= 0"),
    ]


def grown(folder: Path, before: bool) -> tuple[Curation, int, float]:
    """A night that was drawn `before` its late rows came, or not; views asked about after, and seconds."""
    from tasks.stages import reinforce

    folder.mkdir()
    nights = {FIRST: np.arange(ROWS), SECOND: np.arange(ROWS, ROWS + DRAWN)}
    teach = {"teachers": [{"kind": "linear"}], "folds": 2, "refit": {"growth": 1.0}}
    curation = fashion(folder, "fashion", nights, teach=teach, reinforce=REINFORCE)
    carry_out(curation, FIRST, UP_TO_RELABEL)
    carry_out(curation, SECOND, [*UP_TO_RELABEL, "reinforce"] if before else UP_TO_RELABEL)
    (folder / f"{SECOND}.npz").unlink()
    curation = fashion(
        folder, "fashion", {SECOND: np.arange(ROWS, ROWS + DRAWN + LATE)}, teach=teach, reinforce=REINFORCE
    )
    carry_out(curation, SECOND, UP_TO_RELABEL)
    counted: list[int] = []
    opinions = reinforce.opinions

    def counting(job: Job, views: Examples) -> np.ndarray:
        counted.append(len(views))
        return opinions(job, views)

    started = time.process_time()
    with patch.object(reinforce, "opinions", counting):
        carry_out(curation, SECOND, ["reinforce"])
    return curation, sum(counted), time.process_time() - started


def made(folder: Path, nights: dict[str, np.ndarray]) -> Curation:
    """Both nights up to relabel: what is timed is the stage alone."""
    folder.mkdir()
    curation = fashion(folder, "fashion", nights, distill=DISTILL)
    for night in nights:
        carry_out(curation, night, UP_TO_RELABEL)
    return curation


def distilled(curation: Curation, night: str) -> tuple[int, float]:
    """How many classes were made, and the processor seconds it took."""
    started = time.process_time()
    classes = carry_out(curation, night, ["distill"])
    return len(classes), time.process_time() - started


def content(curation: Curation, table: str = "distilled") -> str:
    return held(curation, table).content


def held(curation: Curation, table: str) -> TableRef:
    """What the second night has of a table."""
    ref = Store(curation.store, curation.dataset).ref(table, SECOND)
    assert ref is not None
    return ref
