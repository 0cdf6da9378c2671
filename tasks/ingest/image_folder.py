"""A folder of pictures: every picture a row, labelled by the name of its folder or by a labels file.

Without `labels`, the layout is that of torchvision's ImageFolder: `path/label/anything.png`; with
`folders: [split, label]` also `path/split/label/anything.png`. A picture above the label folders has no
label. With `labels`, folders mean nothing and that file says what each picture is: one that it leaves out
has no label, one that it lists twice is two rows, and a line that leads to no picture is a reject.

Pictures come in the order of their names; under `days` in that of their names' hashes instead, so that
every date has every class. Cost: one read a picture; none is decoded here. Reading from a row on lists the
folder and reads the labels file, but no picture before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, PositiveInt, model_validator

from tasks.ingest import Payload
from tasks.ingest.files import WILDCARD, File, FileSource
from tasks.ingest.labels_file import FORMS, labelled
from tasks.ingest.picture_files import ENTRY, with_images


class ImageFolder(FileSource):
    """Pictures in folders that are named by their labels, or with a file of labels."""

    kind: Literal["image_folder"] = "image_folder"
    revision: ClassVar[int] = 1
    form: ClassVar[str] = "picture"
    suffixes: ClassVar[tuple[str, ...]] = (
        *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    )

    image_shape: tuple[PositiveInt, PositiveInt, Literal[1, 3]] = Field(
        description="[height, width, channels] that pictures are brought to"
    )
    folders: tuple[Literal["split", "label"], ...] = Field(
        default=("label",),
        min_length=1,
        max_length=2,
        description="what the folders below path name, in order",
    )
    labels: str | None = Field(
        default=None,
        description="a .csv, .jsonl or .parquet file, relative to the pictures' folder, with columns file "
        "and label, and perhaps split and truth; folders then name nothing",
    )

    @model_validator(mode="after")
    def _check_folders(self) -> ImageFolder:
        if "**" in self.path:
            raise ValueError(
                "path of an image_folder may not hold **, which hides where the label folders begin"
            )
        if len(set(self.folders)) < len(self.folders):
            raise ValueError(f"folders names {self.folders[0]} twice; give split and label once each")
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> ImageFolder:
        if self.labels is None:
            return self
        if Path(self.labels).suffix.lower() not in FORMS or Path(self.labels).is_absolute():
            raise ValueError(
                f"labels is {self.labels}, must end in {', '.join(FORMS)} and be relative to the folder"
            )
        if "folders" in self.model_fields_set:
            raise ValueError("a labels file stands in for folders; give only one of labels and folders")
        if WILDCARD.search(self.path.replace("{partition}", "")):
            raise ValueError(
                f"path {self.path} with labels must lead to one folder a partition; leave wildcards out"
            )
        return self

    @property
    def payload(self) -> Payload:
        return "image"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.image_shape

    def _inputs(self, partition: str) -> list[File]:
        files = self._files(partition)
        # A labels file that is late changes the fingerprint when it comes; only reading fails without it.
        labels = [self._labels_file(files)] if self.labels else []
        return files + [file for file in labels if file.path.is_file()]

    def _frames(self, files: list[File], start: int = 0) -> Iterator[pl.DataFrame]:
        for entries in self._entries(files).slice(start).iter_slices(self.batch_rows):
            yield with_images(entries)

    def _count(self, files: list[File]) -> int:
        return self._entries(files).height

    def _entries(self, files: list[File]) -> pl.DataFrame:
        """What each row is but for its picture, in order; `path` is null where there is no picture."""
        entries = self._by_labels(files) if self.labels else self._by_folders(files)
        if not self.days:
            return entries
        digests = [hashlib.sha256(name.encode()).digest() for name in entries["source"]]
        return entries.sort(pl.Series(digests, dtype=pl.Binary), maintain_order=True)

    def _by_folders(self, files: list[File]) -> pl.DataFrame:
        folders = [self._below(file)[:-1] for file in files]
        columns: dict[str, list[str | None]] = {
            what: [parts[level] if level < len(parts) else None for parts in folders]
            for level, what in enumerate(self.folders)
        }
        columns["source"] = [file.name for file in files]
        columns["path"] = [str(file.path) for file in files]
        return pl.DataFrame({name: columns.get(name, [None] * len(files)) for name in ENTRY}, schema=ENTRY)

    def _by_labels(self, files: list[File]) -> pl.DataFrame:
        names = ["/".join(self._below(file)) for file in files]
        pictures = pl.DataFrame({"file": names, "path": [str(file.path) for file in files]})
        return labelled(self._labels_file(files), pictures, files[0].name.removesuffix(names[0]))

    def _labels_file(self, files: list[File]) -> File:
        """The labels file of these pictures, whether it is there or not."""
        first, depth = files[0], len(Path(self.path).parts)
        name = first.name.removesuffix("/".join(self._below(first))) + str(self.labels)
        return File(Path(*first.path.parts[:depth], str(self.labels)), name)

    def _below(self, file: File) -> tuple[str, ...]:
        """The parts of the picture's path below the folder that `path` names."""
        return file.path.parts[len(Path(self.path).parts) :]

    def _map(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col("split").fill_null("train"))
