"""Hostile input of every kind, for tests/flows/test_hostile.py and `python -m benchmarks hostile`.

Everything here is made on the spot; a picture or a file that claims to be huge is small on disk.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pickle
import sqlite3
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import REPOSITORY, free_port, wait_for_server

# YAML: what a curation's file holds, and what the sentence says that refuses it.

GOOD = "dataset: pets\nstore: ./store\nsource: {kind: csv, path: 'in/{partition}.csv', features: [a]}\n"


def laughs(levels: int, merge: bool = False) -> str:
    """Nine aliases to nine aliases to … : nine to the power of `levels`."""
    lines = ["a0: &a0 {x: ha}" if merge else "a0: &a0 [ha]"]
    for n in range(1, levels):
        aliases = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} {{<<: [{aliases}]}}" if merge else f"a{n}: &a{n} [{aliases}]")
    return GOOD + "\n".join(lines)


def chained(levels: int) -> str:
    """Aliases of aliases, one in each: no breadth, only depth."""
    return GOOD + "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, levels))])


YAML: list[tuple[str, str | bytes, str]] = [
    ("a billion laughs", laughs(10), "holds more than 20,000 values"),
    ("a billion laughs by merge keys", laughs(10, merge=True), "holds more than 20,000 values"),
    ("a chain of aliases", chained(5_000), "40 deep"),
    ("a list in itself", GOOD + "a: &a [*a]", "a value contains itself"),
    ("a mapping in itself", GOOD + "a: &a {b: *a}", "a value contains itself"),
    ("brackets 100,000 deep", GOOD + "a: " + "[" * 100_000, "40 deep"),
    ("mappings 60 deep", GOOD + "a: " + "{b: " * 60 + "1" + "}" * 60, "40 deep"),
    ("two megabytes", GOOD + "# " + "x" * 2**21, "larger than 262,144 bytes"),
    ("a list of 30,000", GOOD + "a: [" + "1, " * 30_000 + "]", "holds more than 20,000 values"),
    ("a number of 5,000 digits", GOOD + "a: " + "9" * 5_000, "a number has 5,000 digits"),
    ("a number in base 60", GOOD + "a: 1" + ":1" * 100_000, "a number has 200,001 digits"),
    ("a date that is none", GOOD + "a: 2026-99-99", "month must be in 1..12"),
    ("a tag that its value is not", GOOD + "a: !!bool maybe", "is not valid YAML"),
    ("a timestamp that is none", GOOD + "a: !!timestamp never", "is not valid YAML"),
    (
        "python: os.system",
        GOOD + "a: !!python/object/apply:os.system ['touch {canary}']",
        "python/object/apply",
    ),
    ("python: a name", GOOD + "a: !!python/name:os.system", "python/name"),
    ("python: a module", GOOD + "a: !!python/module:antigravity", "python/module"),
    ("python: new", GOOD + "a: !!python/object/new:os.system ['touch {canary}']", "python/object/new"),
    ("python: a tuple", GOOD + "a: !!python/tuple [1]", "python/tuple"),
    ("a tag of its own", GOOD + "a: !exec 'touch {canary}'", "could not determine a constructor"),
    ("a key twice", GOOD + "dataset: dogs", "the key dataset is given twice"),
    ("a merge key that is none", GOOD + "<<: 7", "expected a mapping"),
    ("a key that is a list", GOOD + "? [a, b]\n: 1", "unhashable|unacceptable|not valid YAML"),
    ("two documents", GOOD + "---\n" + GOOD, "another document"),
    ("a null character", GOOD + "a: \0", "is not valid YAML"),
    ("bytes that are no text", GOOD.encode() + b"a: \xff\xfe", "cannot be read"),
    ("utf-16", GOOD.encode("utf-16"), "cannot be read"),
    ("infinity", GOOD + "gates: [{metric: accuracy, at_least: .inf}]", "gates"),
    ("1e999", GOOD + "gates: [{metric: accuracy, at_least: 1.0e+999}]", "gates"),
    ("not a number", GOOD + "gates: [{metric: accuracy, at_least: .nan}]", "gates"),
    (
        "a data set above its store",
        GOOD.replace("dataset: pets", "dataset: ../../etc"),
        "dataset is '../../etc'",
    ),
    ("a data set that is a path", GOOD.replace("dataset: pets", "dataset: /etc"), "dataset is '/etc'"),
    ("a data set named ..", GOOD.replace("dataset: pets", "dataset: .."), r"dataset is '\.\.'"),
    ("a data set that hides", GOOD.replace("dataset: pets", "dataset: .git"), r"dataset is '\.git'"),
    ("a data set with a newline", GOOD.replace("dataset: pets", 'dataset: "pets\\n"'), "dataset is 'pets"),
    ("a data set with a null", GOOD.replace("dataset: pets", 'dataset: "pets\\0"'), "null character"),
    ("a data set in full-width dots", GOOD.replace("dataset: pets", "dataset: ．．／etc"), "dataset is"),
    ("a data set in Cyrillic", GOOD.replace("dataset: pets", "dataset: реts"), "dataset is"),
    ("a data set right to left", GOOD.replace("dataset: pets", 'dataset: "pets\\u202Egnp"'), "dataset is"),
    ("a data set of 300 letters", GOOD.replace("dataset: pets", "dataset: " + "a" * 300), "dataset is"),
    ("a store with ..", GOOD.replace("./store", "file:///tmp/../etc"), r"contains '\.\.'"),
    ("a store of another kind", GOOD.replace("./store", "gopher://host/x"), "store"),
    ("a store with a password", GOOD.replace("./store", "s3://me:sesame@bucket/x"), "store holds a password"),
    (
        "a path with a password",
        GOOD.replace("in/", "https://me:sesame@host/"),
        "source.path holds a password",
    ),
    (
        "os as a method",
        GOOD.replace("kind: csv", "kind: 'os:system'"),
        "os:system is code that nobody let in",
    ),
    (
        "a module that acts",
        GOOD + "detect: [{kind: 'antigravity:X'}]",
        "antigravity:X is code that nobody let in",
    ),
    ("a module by a trick", GOOD + "detect: [{kind: 'tasks.detect..os:X'}]", "nobody let in"),
    (
        "an estimator of others",
        GOOD.replace("features: [a]", "features: [a]") + "ingest: {encoder: {kind: features}}\n"
        "teach: {teachers: [{kind: sklearn, estimator: os.system}]}",
        "estimator",
    ),
    (
        "SQL in a filter",
        GOOD
        + "ingest: {filters: [{kind: where, deny: \"(SELECT count(*) FROM read_text('/etc/passwd')) > 0\"}]}",
        "where|subquery|filters",
    ),
    (
        "a filter that loads",
        GOOD + "ingest: {filters: [{kind: where, deny: 'true) FROM rows; INSTALL httpfs; --'}]}",
        "filters",
    ),
    ("a thousand references", GOOD + "classes: ['" + "${HOME}" * 2_000 + "']", "has more than 1,000"),
]

# SQL: statements that write, reach out or run, and ones that take everything. {new}: a file that must
# not come to be; {other}: a Parquet file that no release lists; {secret}: a file that nobody may read.

SQL = [
    *("COPY rows TO '{new}'", "COPY (SELECT 1) TO '{new}' (FORMAT csv)", "COPY rows FROM '{secret}'"),
    *("EXPORT DATABASE '{new}'", "IMPORT DATABASE '{new}'", "COPY FROM DATABASE memory TO other"),
    *(
        "ATTACH '{new}'",
        "ATTACH '{other}' AS x (READ_ONLY)",
        "ATTACH ':memory:' AS x",
        "DETACH memory",
        "USE memory",
    ),
    *("INSTALL httpfs", "FORCE INSTALL httpfs FROM 'http://127.0.0.1:9'", "LOAD httpfs", "LOAD '{new}'"),
    *("UPDATE EXTENSIONS", "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')", "DROP SECRET s"),
    *(
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET ALL",
        "SET threads = 1000",
    ),
    *("SET memory_limit = '1TB'", "SET temp_directory = '/'", "SET allowed_paths = ['{secret}']"),
    *(
        "PRAGMA database_list",
        "PRAGMA enable_profiling",
        "PRAGMA profiling_output = '{new}'",
        "CALL enable_logging()",
    ),
    *(
        "CALL pragma_version()",
        "CHECKPOINT",
        "FORCE CHECKPOINT",
        "VACUUM",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "PREPARE x AS SELECT 1",
    ),
    *("CREATE TABLE t AS SELECT 1", "CREATE VIEW v AS SELECT 1", "CREATE OR REPLACE VIEW rows AS SELECT 1"),
    *(
        "CREATE MACRO f(a) AS a",
        "CREATE FUNCTION f() AS TABLE FROM read_text('{secret}')",
        "CREATE TYPE t AS INT",
    ),
    *("CREATE SEQUENCE s", "CREATE SCHEMA s", "CREATE INDEX i ON rows (id)", "COMMENT ON VIEW rows IS 'x'"),
    *("DROP VIEW rows", "ALTER VIEW rows RENAME TO x", "TRUNCATE rows", "INSERT INTO rows VALUES (1)"),
    *(
        "UPDATE rows SET id = 'x'",
        "DELETE FROM rows",
        "MERGE INTO rows USING labels ON true WHEN MATCHED THEN DELETE",
    ),
    *(
        "WITH x AS (INSERT INTO rows VALUES (1) RETURNING *) FROM x",
        "WITH x AS (DELETE FROM rows RETURNING *) FROM x",
    ),
    *(
        "WITH x AS (UPDATE rows SET id = 'x' RETURNING *) FROM x",
        "WITH x AS (COPY (SELECT 1) TO '{new}') FROM x",
    ),
    *("SELECT 1; DROP VIEW rows", "SELECT 1; COPY rows TO '{new}'", "SELECT ''; DROP VIEW rows --'"),
    *(
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM READ_TEXT('{secret}')",
        "FROM \"read_text\"('{secret}')",
    ),
    *(
        "FROM read_blob('{secret}')",
        "FROM read_csv('{secret}')",
        "FROM read_csv_auto('{secret}')",
        "FROM sniff_csv('{secret}')",
    ),
    *("FROM read_json('{secret}')", "FROM read_ndjson('{secret}')", "FROM read_json_objects('{secret}')"),
    *("FROM read_parquet('{other}')", "FROM parquet_scan('{other}')", "FROM parquet_metadata('{other}')"),
    *(
        "FROM parquet_schema('{other}')",
        "FROM parquet_kv_metadata('{other}')",
        "FROM glob('/**')",
        "FROM read_duckdb('{other}')",
    ),
    *(
        "FROM '{secret}'",
        "FROM '{other}'",
        "TABLE '{other}'",
        "DESCRIBE '{other}'",
        "SUMMARIZE '{other}'",
        "FROM 'file://{other}'",
    ),
    *(
        "FROM 'https://127.0.0.1:9/x.parquet'",
        "FROM 's3://bucket/x.parquet'",
        "FROM read_text('http://127.0.0.1:9/')",
    ),
    *(
        "FROM/**/read_text/**/('{secret}')",
        "FROM\u00a0read_text('{secret}')",
        "FROM\u2003read_text\u3000('{secret}')",
    ),
    *(
        "FROM--\nread_text('{secret}')",
        "FROM system.main.read_text('{secret}')",
        "FROM main.read_text('{secret}')",
    ),
    *(
        "SELECT (SELECT max(content) FROM read_text('{secret}'))",
        "SELECT 1 LIMIT (SELECT size FROM read_text('{secret}'))",
    ),
    *(
        "SELECT 1 ORDER BY (SELECT 1 FROM read_text('{secret}'))",
        "SELECT [x FOR x IN (FROM read_text('{secret}'))]",
    ),
    *(
        "WITH x AS MATERIALIZED (FROM read_text('{secret}')) FROM x",
        "VALUES ((SELECT content FROM read_text('{secret}')))",
    ),
    "WITH RECURSIVE x AS (FROM read_text('{secret}') UNION ALL FROM x) FROM x",
    *(
        "SELECT id FROM rows UNION ALL SELECT content FROM read_text('{secret}')",
        "FROM rows, LATERAL (FROM read_blob('{secret}'))",
    ),
    *("FROM (PIVOT (FROM read_text('{secret}')) ON content)", "EXPLAIN ANALYZE FROM read_text('{secret}')"),
    *(
        "EXPLAIN ANALYZE COPY rows TO '{new}'",
        "EXPLAIN (ANALYZE, FORMAT json) DROP VIEW rows",
        "/* EXPLAIN */ DROP VIEW rows",
    ),
    *(
        "FROM query('FROM read_text(''{secret}'')')",
        "FROM query_table('rows')",
        "FROM query_table(['{other}'])",
    ),
    *(
        "FROM json_execute_serialized_sql('x')",
        "FROM duckdb_secrets()",
        "FROM duckdb_settings()",
        "FROM duckdb_logs()",
    ),
    *(
        "FROM arrow_scan(1::POINTER, 2::POINTER, 3::POINTER)",
        "FROM pandas_scan(1)",
        "FROM python_map_function()",
    ),
    *("FROM checkpoint()", "FROM force_checkpoint('memory')", "FROM seq_scan('rows')", "FROM secret_frame"),
    *(
        "SELECT getenv('WINNOW_PLANTED')",
        "SELECT system('id')",
        "SELECT read_text('{secret}')",
        "SELECT $1",
        "SELECT ?",
    ),
    *("SELECT " + "(" * 5_000 + "1" + ")" * 5_000, "SELECT 1;\0DROP VIEW rows", "", ";", "-- nothing"),
]

EXHAUSTING_SQL = [
    "WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM x) SELECT max(a) FROM x",
    "WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a FROM x, range(2)) SELECT count(*) FROM x",
    "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 8",
    "SELECT a.range FROM range(100000000) a, range(100000000) b ORDER BY hash(a.range * b.range)",
    "SELECT string_agg(repeat('x', 1000000), '') FROM range(1000000)",
    "SELECT list(a.range) FROM range(1000000000000) a",
    "SELECT * FROM range(1000000000000)",
    "SELECT repeat('x', 100000) FROM range(1000000000)",
    "SELECT sleep_ms(100000)",
]
"""Statements that only read, and never end or never fit."""


# Pictures: payloads of which none is a picture that can be used.


def png(width: int, height: int, body: bytes, bits: int = 8, extra: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever its `body` holds."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(n: int) -> bytes:
    """`n` zeros, deflated without ever being held."""
    packer = zlib.compressobj(1)
    block = bytes(2**20)
    whole = b"".join(packer.compress(block) for _ in range(n >> 20))
    return whole + packer.compress(bytes(n & 0xFFFFF)) + packer.flush()


def pictures() -> dict[str, bytes]:
    """Bad pictures by name."""
    small = png(4, 4, zlib.compress(bytes(20)))
    text = png_chunk(b"zTXt", b"comment\0\0" + zeros(2**26))
    return {
        "a decompression bomb": png(12_000, 12_000, zeros(12_001 * 12_000)),
        "a bomb of text": png(4, 4, zlib.compress(bytes(20)), extra=text),
        "a size that is claimed": png(2**31 - 1, 2**31 - 1, b""),
        "a width of nothing": png(0, 4, zlib.compress(b"")),
        "pixels that are missing": png(64, 64, zlib.compress(bytes(9))),
        "cut short": png(64, 64, zlib.compress(bytes(65 * 64), 0))[:2000],
        "its beginning only": small[:20],
        "a broken checksum": small[:40] + b"\xff" + small[41:],
        "65535 x 65535 of GIF": b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0"
        b"\xff\xff\xff\xff\0\x02\x02\x04\0;",
        "a BMP of -1": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, -1, -1, 1, 24, 0, 0, 0, 0, 0, 0),
        "a BMP of 2,000,000,000": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2 * 10**9, 1, 1, 24, 0, 0, 0, 0, 0, 0),
        "a TIFF whose directory is itself": b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 256, 4, 1, 1, 8),
        "a JPEG without a picture": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xd9",
        "a RIFF without a picture": b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff",
        "an SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "a PDF": b"%PDF-1.7 1 0 obj << /OpenAction << /S /JavaScript >> >>",
        "an EPS, which Pillow gives to a program": b"%!PS-Adobe-3.0 EPSF-3.0\n"
        b"%%BoundingBox: 0 0 9 9\n(id) run",
        "an empty file": b"",
        "a pickle": poison(Path("unused")),
    }


# Files: a night that arrives as one hostile file, for a source of the kind.


@dataclass(frozen=True)
class HostileFile:
    """A file of a source, and how reading it must end: in a sentence that says `says`, or with `bad` rows
    that are rejects and no others."""

    name: str
    source: dict[str, Any]
    write: Callable[[Path], None]
    says: str | None = None
    bad: int = 0


LISTED = {"id": "id", "label": "label", "features": "x", "feature_length": 2}
TEXT = {"id": "id", "text": "text"}


def dictionary_bomb(rows: int, length: int) -> Callable[[Path], None]:
    """A Parquet file of `rows` rows that are all one text of `length` letters."""

    def write(path: Path) -> None:
        indices = pa.array(np.zeros(10**6, np.int32))
        texts = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * length]))
        ids = pa.DictionaryArray.from_arrays(indices, pa.array(["a"]))
        table = pa.table({"id": ids, "text": texts})
        with pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False) as writer:
            for start in range(0, rows, 10**6):
                writer.write_table(table.slice(0, min(10**6, rows - start)))

    return write


def raw(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def parquet(
    table: dict[str, Any], damage: Callable[[bytes], bytes] = lambda data: data
) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        buffer = io.BytesIO()
        pq.write_table(pa.table(table), buffer)
        path.write_bytes(damage(buffer.getvalue()))

    return write


def npy(header: str, data: bytes = b"") -> bytes:
    """A .npy file with this header."""
    padded = header.encode() + b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + data


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def deep(levels: int) -> pa.Array:
    """One value, `levels` lists deep."""
    array = pa.array([1.0])
    for _ in range(levels):
        array = pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)
    return array


GOOD_TABLE = {"id": ["a", "b"], "label": ["cat", "dog"], "x": [[1.0, 2.0], [3.0, 4.0]]}
CSV = {"kind": "csv", "id": "id", "text": "text"}
JSONL = {"kind": "jsonl", "id": "id", "text": "text"}
NUMPY = {"kind": "numpy", "features": "x", "feature_length": 2}


def files() -> list[HostileFile]:
    parquet_text, parquet_list = {"kind": "parquet", **TEXT}, {"kind": "parquet", **LISTED}
    by_column = {"kind": "parquet", "text": "text", "partition_column": "day"}
    lies = {"text": ["a", "b", "c"], "day": ["../../etc", "x/../../y", "a\0b"]}
    line_bomb = gzip.compress(b"id,text\na," + bytes([97]) * 2**25)
    rows = b"id,text\n" + (b"a," + b"b" * 10_000 + b"\n") * 30_000
    row_bomb = pa.Codec("zstd", 9).compress(rows, asbytes=True)
    return [
        HostileFile(
            "2 million rows in 20 kB.parquet",
            parquet_text,
            dictionary_bomb(2 * 10**6, 10**6),
            "claims 2,000,000 rows",
        ),
        HostileFile(
            "700 GB in 2 kB.parquet", parquet_text, dictionary_bomb(700_000, 10**6), "unpacks to more than"
        ),
        HostileFile(
            "60 million numbers.parquet", parquet_list, list_bomb, "claims [0-9,]+ values of one column"
        ),
        HostileFile("one value of 128 MB.parquet", parquet_text, giant, "unpacks to"),
        HostileFile(
            "not Parquet.parquet", parquet_list, raw(b"PAR1" + os.urandom(64)), "cannot be read as Parquet"
        ),
        HostileFile(
            "cut short.parquet",
            parquet_list,
            parquet(GOOD_TABLE, lambda data: data[:-30]),
            "cannot be read as Parquet",
        ),
        HostileFile(
            "another magic.parquet",
            parquet_list,
            parquet(GOOD_TABLE, lambda data: b"PKxx" + data[4:-4] + b"PKxx"),
            "cannot be read as Parquet",
        ),
        HostileFile(
            "a footer of 2 GB.parquet",
            parquet_list,
            parquet(GOOD_TABLE, lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"),
            "cannot be read as Parquet",
        ),
        HostileFile(
            "broken pages.parquet",
            parquet_list,
            parquet(GOOD_TABLE, lambda data: data[:8] + bytes(60) + data[68:]),
            "cannot be read as Parquet",
        ),
        HostileFile(
            "lists 90 deep.parquet",
            parquet_list,
            parquet({"id": ["a"], "label": ["cat"], "x": deep(90)}),
            "x is|cannot be read|must be",
        ),
        HostileFile("partitions that lead out.parquet", by_column, parquet(lies), None, 3),
        HostileFile("null characters.csv", CSV, raw(b"id,text\na\0b,c\0d\n"), None, 0),
        HostileFile("a field of 32 MB.csv", CSV, raw(b"id,text\na," + b"x" * 2**25), "a line is longer than"),
        HostileFile(
            "a quote that never closes.csv",
            {**CSV, "newlines_in_values": True},
            raw(b"id,text\n" + b'a,"b\n' + b"c,d\n" * 10**5),
            "never closed|longer than",
        ),
        HostileFile(
            "100,000 columns.csv",
            CSV,
            raw(b"id,text" + b"".join(b",c%d" % n for n in range(100_000)) + b"\na,b\n"),
            None,
            1,
        ),
        HostileFile("a line of 32 MB in 32 kB.csv.gz", CSV, raw(line_bomb), "a line is longer than"),
        HostileFile("300 MB in 30 kB.csv.zst", CSV, raw(row_bomb), "unpacks to more than"),
        HostileFile(
            "no text at all.csv", CSV, raw(bytes(range(256)) * 64), "has no column|cannot be read|two columns"
        ),
        HostileFile(
            "10,000 deep.jsonl",
            JSONL,
            raw(b'{"id": "a", "text": ' + b"[" * 10_000 + b"]" * 10_000 + b"}\n"),
            None,
            1,
        ),
        HostileFile(
            "objects 10,000 deep.jsonl", JSONL, raw(b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n"), None, 1
        ),
        HostileFile(
            "a number of a million digits.jsonl",
            JSONL,
            raw(b'{"id": "a", "text": ' + b"9" * 10**6 + b"}\n"),
            None,
            0,
        ),
        HostileFile(
            "a key a thousand times.jsonl",
            JSONL,
            raw(b"{" + b'"text": "x", ' * 1_000 + b'"id": "a"}\n'),
            None,
            0,
        ),
        HostileFile(
            "objects.npz",
            NUMPY,
            raw(
                zipped(
                    x=npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", poison(Path("unused")))
                )
            ),
            "Python objects",
        ),
        HostileFile(
            "a trillion rows.npz",
            NUMPY,
            raw(zipped(x=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 2), }"))),
            "more than the file holds",
        ),
        HostileFile(
            "rows of a trillion.npz",
            NUMPY,
            raw(
                zipped(
                    x=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4611686018427387904, 2), }")
                )
            ),
            "more than the file holds",
        ),
        HostileFile("300 MB in 300 kB.npz", NUMPY, big_npz, "unpacks to more than"),
        HostileFile(
            "a header that calls.npz",
            NUMPY,
            raw(zipped(x=npy("__import__('os').system('true')"))),
            "cannot be read as NumPy",
        ),
        HostileFile("no archive.npz", NUMPY, raw(b"PK\x03\x04" + bytes(90)), "cannot be read as NumPy"),
    ]


def list_bomb(path: Path) -> None:
    """Rows of a million zeros each."""
    n = 10**6
    lists = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), pa.array(np.zeros(n, np.float32)))
    table = pa.table({"id": ["a"], "label": ["cat"], "x": lists})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        writer.write_table(pa.concat_tables([table] * 60))


def giant(path: Path) -> None:
    """A value of 2**27 letters that zstd packs well."""
    table = pa.table(
        {"id": ["a"], "text": [b"x" * 2**27]}, schema=pa.schema([("id", pa.string()), ("text", pa.binary())])
    )
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)


def big_npz(path: Path) -> None:
    shape = (38 * 2**20, 2)
    header = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}")
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(header)
        for _ in range(304):
            file.write(bytes(2**20))


# Poison: a pickle that leaves a file behind when it is loaded.


class Poison:
    """Unpickling it creates the file that it names."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.canary), "w")


def poison(canary: Path) -> bytes:
    return pickle.dumps(Poison(canary))


# Secrets: what was planted, and where it came out.

SECRETS = {
    "DB_PASSWORD": "hunter2-sesame/open+9",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED0123456789",
    "AWS_SECRET_ACCESS_KEY": "aws/planted+secret//4711",
    "AWS_SESSION_TOKEN": "session-token-planted-0815",
    "LEAKY_TOKEN": "token of a method, planted",
    "WINNOW_WEBHOOK": "http://127.0.0.1:9/hooks/planted-path",
    "WINNOW_WEBHOOK_SECRET": "planted-signing-secret",
}


def spilled(folder: Path, secrets: dict[str, str]) -> list[str]:
    """The files below `folder` that hold a secret, in whatever spelling, as `file: NAME`."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = contents(path)
            found += [
                f"{path.relative_to(folder)}: {name}"
                for name, secret in secrets.items()
                if any(form in text for form in forms(secret))
            ]
    return found


def forms(secret: str) -> set[bytes]:
    plain = secret.encode()
    return {
        plain,
        json.dumps(secret)[1:-1].encode(),
        os.path.normpath(secret).encode(),
        quote(secret).encode(),
        quote(secret, safe="").encode(),
        base64.b64encode(plain).rstrip(b"=")[:-1],
        base64.urlsafe_b64encode(plain).rstrip(b"=")[:-1],
    }


def contents(path: Path) -> bytes:
    """A file's bytes, and beside them what it holds packed or in pages: Parquet's and SQLite's values."""
    data = path.read_bytes()
    if data.startswith(b"PAR1"):
        table = pq.read_table(path)
        data += repr(table.to_pylist()).encode() + repr(pq.read_metadata(path).metadata).encode()
    if data.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as database:
            data += "\n".join(database.iterdump()).encode(errors="replace")
    return data


LEAKY = """
from tasks.ingest.csv import Csv


class Leaky(Csv):
    kind: str
    token: str
    fails: str

    def read(self, partition, start=0):
        if self.fails == "io":
            raise OSError(13, f"refused {self.token}", f"/data/{self.token}")
        if self.fails == "value":
            try:
                raise KeyError(self.token)
            except KeyError as error:
                raise ValueError(f"cannot log in with {self.token}") from error
        return super().read(partition, start)
"""
"""A third party's source that fails as it is told, with its token in the error."""

CURATION = """\
dataset: pets
store: ./store
source:
  {kind: "leaky:Leaky", path: "in/${DB_PASSWORD}/{partition}.csv", token: "${LEAKY_TOKEN}", fails: "no",
   id: id, label: label, features: [a, b]}
ingest: {encoder: {kind: features}}
teach: {teachers: [{kind: linear}], folds: 2}
detect: [{kind: confident_learning}]
relabel: {kind: threshold}
distill: {kind: herding, per_class: 1}
report: {kind: student, seeds: 1, steps: 20}
gates: [{metric: share_rejected, at_most: 1}]
alerts: {webhook: "${WINNOW_WEBHOOK}", secret: "${WINNOW_WEBHOOK_SECRET}", on: [failed, held, empty, late]}
"""


@dataclass(frozen=True)
class SecretRun:
    """A night of CURATION with `old` replaced by `new`, and the exit code that it must end with."""

    name: str
    code: int
    old: str = ""
    new: str = ""


RUNS = [
    SecretRun("good", 0),
    SecretRun("held", 1, "at_most: 1", "at_most: 0"),
    SecretRun("method", 1, 'fails: "no"', "fails: value"),
    SecretRun("disk", 1, 'fails: "no"', "fails: io"),
    SecretRun(
        "probabilities",
        1,
        "[{kind: linear}]",
        '[{kind: precomputed, path: "${DB_PASSWORD}.pq", teachers: [a]}]',
    ),
    SecretRun("nothing", 2, "in/${DB_PASSWORD}", "out/${DB_PASSWORD}"),
    SecretRun("configuration", 2, "folds: 2", 'folds: "${DB_PASSWORD}"'),
    SecretRun("webhook", 2, '"${WINNOW_WEBHOOK}"', '"${LEAKY_TOKEN}"'),
]


def run_with_secrets(folder: Path) -> dict[str, tuple[int, str]]:
    """Curate a night in every way of RUNS, on a Prefect server of its own, as talkative as can be.

    All that comes of it is below `folder`: stores, logs, the server's database and log. What is handed
    in is not: the folder whose name is a secret, and the environment. The exit codes and the output.
    """
    ended = {}
    with TemporaryDirectory() as name, prefect_server(folder) as environment:
        home = Path(name)
        inputs = home / "in" / SECRETS["DB_PASSWORD"]
        inputs.mkdir(parents=True)
        lines = [f"n{i},{'cat' if i % 2 else 'dog'},{i % 2}.{i},{i % 5}" for i in range(24)]
        (inputs / "2026-01-01.csv").write_text("\n".join(["id,label,a,b", *lines, "broken", ""]))
        (home / "leaky.py").write_text(LEAKY)
        path = f"{home}:{REPOSITORY}"
        environment |= {**SECRETS, "WINNOW_PLUGINS": "leaky", "PYTHONPATH": path}
        for run in RUNS:
            file = home / f"{run.name}.yaml"
            file.write_text(CURATION.replace(run.old, run.new) if run.old else CURATION)
            command = [sys.executable, "-c", "from flows.cli import main; main()", "--verbose", "run"]
            done = subprocess.run(
                [*command, str(file), "--partition", "2026-01-01"],
                env={**environment, "WINNOW_STORE": str(folder / run.name)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
            )
            (folder / f"{run.name}.log").write_text(done.stdout)
            ended[run.name] = (done.returncode, done.stdout)
    return ended


@contextmanager
def prefect_server(folder: Path) -> Iterator[dict[str, str]]:
    """A server whose database and log are in `folder`; the environment in which runs use it."""
    port = free_port()
    url, log = f"http://127.0.0.1:{port}/api", folder / "server.log"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "true",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "httpx",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_server(url, server, log)
        yield {**environment, "PREFECT_API_URL": url}
        time.sleep(3)  # what runs sent last is written a little later
    finally:
        server.terminate()
        server.wait(30)
