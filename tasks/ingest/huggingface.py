"""A Hugging Face data set on disk, as `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote it.

Its Arrow files are read as such, memory-mapped, batch by batch; the `datasets` package is not needed.
What its features say is understood: a ClassLabel becomes its name (-1 is no label, as there), in lists
too, an Image its bytes, and the splits of a DatasetDict become the rows' split. Only shards that
`state.json` lists are read, so that left-overs of an earlier save do no harm. Cost: one pass over the
mapped columns; of batches before the row that reading starts at, only the headers are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
import pyarrow as pa

from tasks.ingest import BadSource
from tasks.ingest.cells import as_list
from tasks.ingest.files import File, reading
from tasks.ingest.mapping import DEFECT, DETAIL, OWN, SOURCE, ColumnSource

_SPLIT = OWN + "split"


class HuggingFace(ColumnSource):
    """Rows of a data set that `save_to_disk` wrote."""

    kind: Literal["huggingface"] = "huggingface"
    revision: ClassVar[int] = 1
    form: ClassVar[str] = "Hugging Face data set"
    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".json")

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The label's names; those of the data set that has most, where there are several."""
        column = self.label or (self.labels if isinstance(self.labels, str) else None)
        if column is None:
            return super().classes
        files = self._files(None)
        names = [_class_names(self._json(folder, "dataset_info.json")) for folder in self._folders(files)]
        return max((tuple(found[column]) for found in names if column in found), key=len, default=None)

    def _folders(self, files: list[File]) -> list[File]:
        """The folders that hold one data set each, in name order."""
        folders = [
            File(f.path.parent, str(Path(f.name).parent)) for f in files if f.path.name == "state.json"
        ]
        if not folders:
            raise BadSource(f"{self.path}: holds no state.json; write the data set with save_to_disk")
        return folders

    def _json(self, folder: File, name: str) -> dict[str, Any]:
        with reading(f"{folder.name}/{name}", self.form):
            return dict(json.loads((folder.path / name).read_text()))

    def _frames(self, files: list[File], start: int = 0) -> Iterator[pl.DataFrame]:
        for folder in self._folders(files):
            classes = _class_names(self._json(folder, "dataset_info.json"))
            is_split = (folder.path.parent / "dataset_dict.json").is_file()
            for shard in self._json(folder, "state.json").get("_data_files", []):
                file = Path(str(shard["filename"])).name
                name = (Path(folder.name) / file).as_posix()
                for batch in self._batches(folder.path / file, name):
                    if start < batch.num_rows:
                        yield _named(pl.DataFrame(batch.slice(start)), classes).with_columns(
                            pl.lit(folder.path.name if is_split else None, pl.String).alias(_SPLIT),
                            pl.lit(name).alias(SOURCE),
                        )
                    start = max(start - batch.num_rows, 0)

    def _batches(self, path: Path, name: str) -> Iterator[pa.RecordBatch]:
        with (
            reading(name, self.form),
            pa.memory_map(str(path)) as mapped,
            pa.ipc.open_stream(mapped) as stream,
        ):
            self.check_columns(stream.schema.names, name)
            for batch in stream:
                for start in range(0, batch.num_rows, self.batch_rows):
                    yield batch.select(self.columns).slice(start, self.batch_rows)

    def _map(self, frame: pl.DataFrame) -> pl.DataFrame:
        rows = super()._map(frame)
        if self.split:
            return rows
        return rows.with_columns(split=frame[_SPLIT].fill_null("train"))


def _class_names(info: dict[str, Any]) -> dict[str, list[str]]:
    """The columns of ClassLabel, or of lists of it, and their names."""
    entries = {column: _entry(feature) for column, feature in (info.get("features") or {}).items()}
    return {
        column: entry["names"]
        for column, entry in entries.items()
        if isinstance(entry, dict) and entry.get("_type") == "ClassLabel"
    }


def _entry(feature: Any) -> Any:
    """What a list holds, in any of the ways in which `datasets` has written lists; else the feature."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    is_list = isinstance(feature, dict) and feature.get("_type") in ("List", "LargeList", "Sequence")
    return feature.get("feature") if is_list else feature


def _named(frame: pl.DataFrame, classes: dict[str, list[str]]) -> pl.DataFrame:
    """Class indices to names; an index beyond the names is a defect."""
    here = {column: names for column, names in classes.items() if column in frame.columns}
    lists = {
        column: as_list(frame.schema[column], column) for column in here if frame.schema[column].is_nested()
    }
    largest = {column: lists[column].list.max() if column in lists else pl.col(column) for column in here}
    beyond = [
        pl.when(largest[column] >= len(names)).then(
            pl.format(f"{column} is {{}}, of {len(names)} classes", largest[column])
        )
        for column, names in here.items()
    ]
    detail = pl.coalesce(*beyond, pl.lit(None, pl.String))
    return frame.with_columns(
        *(
            lists[column].list.eval(_name(pl.element(), names))
            if column in lists
            else _name(pl.col(column), names)
            for column, names in here.items()
        ),
        pl.when(detail.is_not_null()).then(pl.lit("wrong_type")).alias(DEFECT),
        detail.alias(DETAIL),
    )


def _name(index: pl.Expr, names: list[str]) -> pl.Expr:
    return index.replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String)
