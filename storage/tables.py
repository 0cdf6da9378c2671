"""The ten tables of a data set, as Arrow schemas.

A field that may be null is nullable; every other one must be there in every row. Delta knows no
unsigned integers, no float16 and no fixed-size lists, so a probability is an int16 (of 32767) and
a vector a plain list.
"""

from __future__ import annotations

import pyarrow as pa

from storage.errors import StoreError

_LATER = [
    ("op_1", pa.int16()),
    ("magnitude_1", pa.float32()),
    ("op_2", pa.int16()),
    ("magnitude_2", pa.float32()),
    ("erase_top", pa.int16()),
    ("erase_left", pa.int16()),
    ("erase_height", pa.int16()),
    ("erase_width", pa.int16()),
    ("partner_draw", pa.int16()),
    ("own_weight", pa.int16()),
    ("paste_top", pa.int16()),
    ("paste_left", pa.int16()),
    ("paste_height", pa.int16()),
    ("paste_width", pa.int16()),
]
"""Numbers that the first files of `reinforcements` do not have."""

TRANSFORM = pa.struct(
    [
        ("top", pa.int16()),
        ("left", pa.int16()),
        ("height", pa.int16()),
        ("width", pa.int16()),
        ("flip", pa.bool_()),
        ("brightness", pa.float32()),
        ("contrast", pa.float32()),
        ("saturation", pa.float32()),
        ("noise_seed", pa.int64()),
        ("noise_scale", pa.float32()),
        *_LATER,
    ]
)
"""What redraws a view: the union of what reinforcers store, null where one has no such number."""

ANNOTATIONS = pa.list_(pa.struct([("annotator", pa.string()), ("label", pa.int32())]))
CHECKS = pa.list_(
    pa.struct(
        [("name", pa.string()), ("value", pa.float64()), ("bound", pa.string()), ("passed", pa.bool_())]
    )
)
KEPT = pa.list_(pa.struct([("table", pa.string()), ("partition", pa.string()), ("version", pa.int64())]))
CLASSES = pa.list_(pa.int32())
WEIGHTS = pa.list_(pa.int16())
FLOATS = pa.list_(pa.float32())
STRINGS = pa.list_(pa.string())


def _schema(**columns: pa.DataType | tuple[pa.DataType]) -> pa.Schema:
    """`partition`, `id` and the columns given; a type in a one-tuple may be null."""
    fields = [pa.field("partition", pa.string(), False), pa.field("id", pa.string(), False)]
    for name, kind in columns.items():
        optional = isinstance(kind, tuple)
        fields.append(pa.field(name, kind[0] if optional else kind, optional))
    return pa.schema(fields)


TABLES: dict[str, pa.Schema] = {
    "rows": _schema(
        source=pa.string(),
        position=pa.int64(),
        content_hash=pa.string(),
        split=pa.string(),
        label=(pa.int32(),),
        labels=(CLASSES,),
        target=(pa.float64(),),
        annotations=(ANNOTATIONS,),
        image=(pa.binary(),),
        text=(pa.string(),),
        features=(FLOATS,),
        embedding=(FLOATS,),
        duplicate_of=(pa.string(),),
        tags=(STRINGS,),
        truth=(pa.int32(),),
    ),
    "rejects": _schema(
        source=pa.string(),
        position=pa.int64(),
        reason=pa.string(),
        detail=(pa.string(),),
        payload=(pa.binary(),),
    ),
    "soft_labels": _schema(
        teacher=pa.string(),
        fold=pa.int16(),
        classes=CLASSES,
        weights=WEIGHTS,
        given_weight=pa.int16(),
        tail=pa.int16(),
    ),
    "issues": _schema(
        detector=pa.string(),
        score=pa.float32(),
        is_issue=pa.bool_(),
        suggested_label=(pa.int32(),),
        p_error=(pa.float32(),),
    ),
    "labels": _schema(
        given=(pa.int32(),),
        label=(pa.int32(),),
        action=pa.string(),
        confidence=pa.float32(),
        reason=pa.string(),
        decided_by=pa.string(),
    ),
    "reviews": _schema(
        label=(pa.int32(),),
        reviewer=pa.string(),
        decided_at=pa.timestamp("us", "UTC"),
        note=(pa.string(),),
    ),
    "reinforcements": _schema(
        draw=pa.int16(),
        transform=TRANSFORM,
        partner=(pa.string(),),
        classes=CLASSES,
        weights=WEIGHTS,
        tail=pa.int16(),
        region=(pa.string(),),
    ),
    "distilled": _schema(
        distiller=pa.string(),
        label=pa.int32(),
        image=(pa.binary(),),
        text=(pa.string(),),
        features=(FLOATS,),
        classes=(CLASSES,),
        weights=(WEIGHTS,),
        origins=STRINGS,
        tiles=(pa.int16(),),
    ),
    "metrics": _schema(
        stage=pa.string(),
        name=pa.string(),
        value=(pa.float64(),),
        unit=pa.string(),
    ),
    "releases": _schema(
        release=pa.int64(),
        created_at=pa.timestamp("us", "UTC"),
        flow_run=(pa.string(),),
        checks=CHECKS,
        status=pa.string(),
        versions=pa.map_(pa.string(), pa.int64()),
        note=(pa.string(),),
        kept=(KEPT,),
    ),
}
"""Every table of a store, by name; a table that nothing was written to does not exist on disk."""

GROWN: dict[str, frozenset[str]] = {
    "releases": frozenset(),
    "distilled": frozenset({"tiles"}),
    "reinforcements": frozenset({"region", *(f"transform.{name}" for name, _ in _LATER)}),
}
"""Tables that once had fewer columns, or fewer fields in a struct: what their older files lack reads as
nulls. Those named here leave no trace in a content hash where they hold nothing, so that the hash of an
older file stays what it was; `releases` names none, since its hashes are never taken again."""


def schema_of(name: str) -> pa.Schema:
    """The schema of the table `name`, with `partition`. Raises StoreError for a table we do not have."""
    if name not in TABLES:
        raise StoreError(f"{name!r} is no table of a store; the tables are {', '.join(TABLES)}")
    return TABLES[name]


def file_schema(name: str) -> pa.Schema:
    """The schema inside the data files of the table `name`: `partition` is the folder's name."""
    return pa.schema([field for field in schema_of(name) if field.name != "partition"])


def conform(table: pa.Table, name: str) -> pa.Table:
    """`table` as the data files of the table `name` hold it: same columns, order and types.

    A missing column that may be null is added as nulls; a `partition` column is left out. Raises
    StoreError on an unknown column, a missing one that must not be null, and a value that does not
    fit its type.
    """
    schema = file_schema(name)
    unknown = sorted(set(table.column_names) - set(schema.names) - {"partition"})
    if unknown:
        raise StoreError(
            f"{name} has no column {', '.join(unknown)}; its columns are {', '.join(schema.names)}"
        )
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(_cast(table[field.name], field, name))
        elif field.nullable:
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            raise StoreError(f"{name}.{field.name} is missing, and must be there in every row")
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field, name: str) -> pa.ChunkedArray:
    """`column` as `field` wants it, or a StoreError that names the column."""
    if column.null_count and not field.nullable:
        raise StoreError(f"{name}.{field.name} has {column.null_count} nulls, and must be there in every row")
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StoreError(
            f"{name}.{field.name} must be {field.type}, not {column.type} ({str(error).splitlines()[0]})"
        ) from error
