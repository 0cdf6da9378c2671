"""The verb `export`: a release as Parquet files and a data card in a folder."""

from __future__ import annotations

from pathlib import Path

from flows import show
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.export import card, tables
from tasks.export.card import Configuration, Facts
from tasks.export.files import new_folder, write
from tasks.export.tables import Counts
from tasks.release import Release, open_release
from tasks.release.views import methods_of


def export(curation: Curation, folder: Path, number: int | None) -> None:
    """Write a release into a folder that is not there yet, or empty, and say what it holds."""
    release = open_release(curation, number)
    release.need("labels", "relabel")
    counts = Counts()
    with new_folder(folder) as made:
        configurations = [curated(release, made, counts), *views(release, curation, made)]
        configurations += distilled(release, curation, made)
        text = card.card(release, curation, configurations, Facts(counts, figures(release)))
        (made / "README.md").write_text(text, encoding="utf-8")
    rows = [
        (each.name, split.name, split.rows, split.bytes) for each in configurations for split in each.splits
    ]
    show.table(("configuration", "split", "rows", "bytes"), rows, title=f"{release} in {folder}")
    show.line(f'read it with: datasets.load_dataset("{folder}", "curated")')


def curated(release: Release, folder: Path, counts: Counts) -> Configuration:
    columns = tables.curated_columns(release)
    splits = write(folder / "curated", columns, tables.curated(release, counts))
    return Configuration(
        "curated",
        "The data set. `train` and any other split but `doubtful` hold rows whose label may be relied on. "
        "`doubtful` holds those without a label, those that wait for a person (`review`), and those of which "
        "only the soft label should teach (`soften`).",
        columns,
        splits,
    )


def views(release: Release, curation: Curation, folder: Path) -> list[Configuration]:
    """The stored views, if the release has any."""
    refs = [ref for ref in release.refs("reinforcements") if ref.rows]
    if not refs:
        return []
    methods, _ = methods_of(release, curation, refs)
    splits = write(folder / "views", tables.VIEW_COLUMNS, tables.views(release))
    what = "Views of the rows of every split of `curated`, each with what teachers say of that view."
    note = card.redrawing([method.identity() for method in methods])
    return [Configuration("views", what, tables.VIEW_COLUMNS, splits, note)]


def distilled(release: Release, curation: Curation, folder: Path) -> list[Configuration]:
    """The small set: the newest, where each night's is made from all nights up to it."""
    refs = [ref for ref in release.refs("distilled") if ref.rows]
    if curation.window != "partition":
        refs = refs[-1:]
    if not refs:
        return []
    columns = tables.distilled_columns(release)
    splits = write(folder / "distilled", columns, tables.distilled(release, refs))
    return [Configuration("distilled", "A small set that teaches nearly as much.", columns, splits)]


def figures(release: Release) -> dict[str, float]:
    """The figures of the newest partition's report."""
    newest: list[TableRef] = release.refs("metrics")[-1:]
    store: Store = release.store
    found = [row for ref in newest for row in store.read(ref, ["name", "value"]).to_pylist()]
    return {row["name"]: row["value"] for row in found if row["value"] is not None}
