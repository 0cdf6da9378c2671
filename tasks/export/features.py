"""Columns as Hugging Face `datasets` knows them: in a Parquet file's metadata, and in a data card.

A file's schema carries JSON under the key `huggingface`, from which `load_dataset` learns that an integer
is a class and a struct a picture; the card says the same in YAML, in another spelling. Lists are called
`Sequence`, the name that versions before 4 know and later ones still read. The package is not needed to
write either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class Column:
    """A column of an export. type: its Arrow type. classes: the names, of a column of class indices."""

    name: str
    type: pa.DataType
    means: str
    classes: tuple[str, ...] = ()


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of a file, with what its columns mean."""
    features = {column.name: feature(column.type, column.classes) for column in columns}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([pa.field(column.name, column.type) for column in columns], metadata)


def feature(kind: pa.DataType, classes: Sequence[str] = ()) -> dict[str, Any]:
    """A column's feature as a file's metadata has it."""
    if classes:
        return {"names": list(classes), "_type": "ClassLabel"}
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: feature(field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return {"feature": feature(kind.value_type), "length": length_of(kind), "_type": "Sequence"}
    return {"dtype": dtype(kind), "_type": "Value"}


def in_card(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The features as a data card's front matter lists them."""
    return [{"name": column.name, **spelled(column.type, column.classes)} for column in columns]


def spelled(kind: pa.DataType, classes: Sequence[str] = ()) -> Mapping[str, Any]:
    if classes:
        return {"dtype": {"class_label": {"names": {str(i): name for i, name in enumerate(classes)}}}}
    if kind == IMAGE:
        return {"dtype": "image"}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **spelled(field.type)} for field in kind]}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        length = {"length": length_of(kind)} if length_of(kind) >= 0 else {}
        return {"sequence": dtype(kind.value_type), **length}
    return {"dtype": dtype(kind)}


def length_of(kind: pa.DataType) -> int:
    """How long the lists of a column are; -1 where they differ."""
    return kind.list_size if pa.types.is_fixed_size_list(kind) else -1


def dtype(kind: pa.DataType) -> str:
    """An Arrow type by the name that `datasets` has for it."""
    return {pa.float32(): "float32", pa.float64(): "float64"}.get(kind, str(kind))
