"""`winnow demo`: two nights of real digits, and what curating did to their labels."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from flows import show
from flows.run import curate_partition
from storage import query
from storage.store import Store
from tasks.config import load
from tasks.errors import BadInput
from tasks.report.page import formatted

NIGHTS = 2
AN_EXAMPLE = "SELECT id FROM story WHERE is_issue ORDER BY action = 'fix' DESC, p_error DESC, id LIMIT 1"
"""A row worth asking about: a label that was fixed, else the one most likely wrong."""


def show_demo(folder: Path, verbose: bool) -> None:
    """Write the digits' curation to `folder`, curate its first nights there, and sum up."""
    path = folder / "digits.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(files("curations").joinpath("digits.yaml").read_text("utf-8"), "utf-8")
    except OSError as error:
        raise BadInput(f"{folder} cannot be written ({error.strerror}); choose another --folder") from None
    curation = load(path)
    store = Store(curation.store, curation.dataset)
    nights = curation.source.partitions()[:NIGHTS]
    show.line("Handwritten digits, 8% of them with a wrong label: curating two nights\n")
    for night in nights:
        curate_partition(curation, store, night, force=False, verbose=verbose)
        show.line("")
    sum_up(store, nights[-1], path)


def sum_up(store: Store, night: str, path: Path) -> None:
    """The figures that the demo is about, and what to try next."""
    ref = store.ref("metrics", night)
    found = store.read([ref]).to_pylist() if ref else []
    value = {row["name"]: formatted(row["value"], row["unit"]) for row in found if row["value"] is not None}
    rows = [
        (what, value[f"{name}_given"], value[f"{name}_curated"])
        for what, name in (
            ("labels that are right", "label_accuracy"),
            ("accuracy of a student trained on them", "accuracy"),
        )
        if f"{name}_given" in value and f"{name}_curated" in value
    ]
    show.table((night, "as given", "curated"), rows)
    with query.connect(store) as connection:
        example = query.select(connection, AN_EXAMPLE)["id"].to_pylist()
    if page := store.report_path(night):
        show.line(f"report: {store.address(page)}")
    winnow = "winnow" if shutil.which("winnow") else os.path.relpath(sys.argv[0])
    for row in example:
        show.line(f"try: {winnow} why {path} {row}")
    show.line(f'try: {winnow} sql {path} "SELECT action, count(*) FROM labels GROUP BY action"')
