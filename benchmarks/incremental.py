"""A night of 1% new rows: how much of the distilled set is made again, and how fast? Fashion-MNIST.

10,000 rows are there. A night brings 100 more, of two classes, and then another 100 of all ten. Timed is
the stage distill of the night (learnt by distribution matching, ten images a class), from the first
thing it reads to the committed table, in processor seconds of one thread; beside it the same night
with nothing kept, in a store of its own. Both tables have to hold the same. A night that changes every
class has every class to do: what is kept saves nothing there.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from rich.progress import Progress

from benchmarks._stages import UP_TO_RELABEL, carry_out, fashion
from benchmarks.figures import Figure
from storage.store import Store
from tasks.config import Curation
from tasks.teach.rowwise import one_thread

ROWS, NEW = 10_000, 100
DISTILL = {"kind": "matching", "per_class": 10, "steps": 50, "flip": True}
NIGHTS = {"of two classes": (3, 7), "of all classes": tuple(range(10))}


def run(progress: Progress) -> list[Figure]:
    import pyarrow.parquet as pq

    from benchmarks._effects import existing

    labels = pq.read_table(existing("fashion_mnist/train.parquet"), columns=["label"])["label"].to_numpy()
    later = np.arange(ROWS, len(labels))
    arriving = {what: later[np.isin(labels[later], classes)][:NEW] for what, classes in NIGHTS.items()}
    task = progress.add_task("nights, as they come and done again", total=3 * len(arriving))
    figures = []
    with tempfile.TemporaryDirectory() as name, one_thread():
        for number, (what, rows) in enumerate(arriving.items()):
            nights = {"2026-01-01": np.arange(ROWS), "2026-01-02": rows}
            kept, again = (made(Path(name) / f"{number}-{kind}", nights) for kind in ("kept", "again"))
            distilled(kept, "2026-01-01")
            progress.advance(task)
            done, seconds = distilled(kept, "2026-01-02")
            progress.advance(task)
            redone, seconds_again = distilled(again, "2026-01-02")
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
    return figures


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


def content(curation: Curation) -> str:
    ref = Store(curation.store, curation.dataset).ref("distilled", "2026-01-02")
    assert ref is not None
    return ref.content
