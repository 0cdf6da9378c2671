"""A folder of pictures: every picture a row, the name of its folder its label.

The layout of torchvision's ImageFolder: `path/label/anything.png`; with `folders: [split, label]` also
`path/split/label/anything.png`. A picture above the label folders has no label. Pictures come in the
order of their names; under `days` in that of their names' hashes instead, so that every date has every
class. Cost: one read a picture; none is decoded here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, PositiveInt, model_validator

from tasks.ingest import Payload
from tasks.ingest.files import File, FileSource


class ImageFolder(FileSource):
    """Pictures in folders that are named by their labels."""

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

    @model_validator(mode="after")
    def _check_folders(self) -> ImageFolder:
        if "**" in self.path:
            raise ValueError(
                "path of an image_folder may not hold **, which hides where the label folders begin"
            )
        if len(set(self.folders)) < len(self.folders):
            raise ValueError(f"folders names {self.folders[0]} twice; give split and label once each")
        return self

    @property
    def payload(self) -> Payload:
        return "image"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.image_shape

    def _frames(self, files: list[File]) -> Iterator[pl.DataFrame]:
        if self.days:
            files = sorted(files, key=lambda file: hashlib.sha256(file.name.encode()).digest())
        for start in range(0, len(files), self.batch_rows):
            yield self._read(files[start : start + self.batch_rows])

    def _count(self, files: list[File]) -> int:
        return len(files)

    def _read(self, files: list[File]) -> pl.DataFrame:
        depth = len(Path(self.path).parts)
        folders = [file.path.parts[depth:-1] for file in files]
        named: dict[str, list[str | None]] = {
            what: [parts[level] if level < len(parts) else None for parts in folders]
            for level, what in enumerate(self.folders)
        }
        images, details = zip(*(_bytes_of(file.path) for file in files), strict=True)
        columns: dict[str, Sequence[str | bytes | None]] = {
            "source": [file.name for file in files],
            **named,
            "image": images,
            "detail": details,
        }
        schema = {name: pl.Binary if name == "image" else pl.String for name in columns}
        return pl.DataFrame(columns, schema=schema)

    def _map(self, frame: pl.DataFrame) -> pl.DataFrame:
        split = pl.col("split").fill_null("train") if "split" in frame.columns else pl.lit("train")
        defect = pl.when(pl.col("detail").is_not_null()).then(pl.lit("missing_payload"))
        return frame.with_columns(split=split, defect=defect)


def _bytes_of(path: Path) -> tuple[bytes | None, str | None]:
    """A file's bytes, or why there are none: one bad file is one bad row."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, f"the file cannot be read ({error.strerror})"
    return (data, None) if data else (None, "the file is empty")
