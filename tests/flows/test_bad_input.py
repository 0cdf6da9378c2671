"""Bad input of every kind, through the command line: one table of cases, one sentence each.

Run: pytest tests/flows/test_bad_input.py -m "not slow"; without -m also disks that are full or read-only.

A case makes its input in a folder of its own, beside a store that holds one good night, and says how
the command must end. Whatever it is, that night must read the same before and after.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.cli import run_command
from storage.store import Store
from tests.conftest import Finished

DISK_BYTES = 2**22
FIRST, NIGHT = "2026-01-01", "2026-01-02"
CLASSES = ["cat", "dog", "owl"]
FEATURES = {
    "kind": "csv",
    "path": "incoming/{partition}.csv",
    "id": "id",
    "label": "label",
    "features": ["a", "b"],
}
LISTS = {**FEATURES, "kind": "parquet", "path": "{partition}.parquet", "features": "x", "feature_length": 2}
LINES = {**LISTS, "kind": "jsonl", "path": "{partition}.jsonl"}
PICTURES = {
    "kind": "parquet",
    "path": "{partition}.parquet",
    "id": "id",
    "image": "image",
    "image_shape": [4, 4, 1],
}
PRECOMPUTED = {"kind": "precomputed", "path": "probabilities.parquet", "teachers": ["large"]}
TEACH = {"teachers": [{"kind": "linear"}], "folds": 2}
CHAIN: dict[str, Any] = {
    "ingest": {"encoder": {"kind": "features"}},
    "teach": TEACH,
    "detect": [{"kind": "confident_learning"}],
    "relabel": {"kind": "threshold"},
    "distill": {"kind": "herding", "per_class": 1},
    "report": {"kind": "student", "seeds": 1, "steps": 20},
}
SMALL: dict[str, Any] = {"dataset": "pets", "store": "./store", "classes": CLASSES, "source": FEATURES}
"""Ingest and report only: what row-level cases need."""


def table_of(count: int, kinds: Sequence[str] = CLASSES, prefix: str = "n") -> str:
    """A good CSV: rows whose features say which class they are of."""
    lines = [
        f"{prefix}{i},{kinds[i % len(kinds)]},{CLASSES.index(kinds[i % len(kinds)])}.{i},{i % 5}"
        for i in range(count)
    ]
    return "\n".join(["id,label,a,b", *lines, ""])


def picture(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG of one grey colour, or one that merely claims that size where `body` is given."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = body or zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@dataclass(frozen=True)
class World:
    """A case's folder: `reader.yaml` reads the good night, `pets.yaml` is the case's own."""

    folder: Path
    after: ExitStack = field(default_factory=ExitStack)

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def curation(self, **changes: Any) -> str:
        """SMALL with top-level keys replaced, or left out where None."""
        keys = {key: value for key, value in {**SMALL, **changes}.items() if value is not None}
        return str(self.write("pets.yaml", yaml.safe_dump(keys, sort_keys=False)))

    def parquet(self, name: str, columns: dict[str, Any]) -> Path:
        file = self.folder / name
        pq.write_table(pa.table(columns), file)
        return file

    @property
    def store(self) -> Store:
        return Store(str(self.folder / "store"), "pets")


Given = Callable[[World], list[str]]


@dataclass(frozen=True)
class Case:
    """What is given, and how it must end.

    says: a regular expression on the sentence of standard error, or on standard output where the code
    is 0. kept, rejected: the rows and the reasons that the night must hold afterwards; None: nothing
    of it. payload: what the first reject must still hold of its input. times: how often the command
    is given; it must end the same each time. shell: whether it gets a process of its own.
    """

    name: str
    given: Given
    code: int
    says: str
    kept: int | None = None
    rejected: dict[str, int] = field(default_factory=dict)
    payload: bytes | None = None
    times: int = 1
    shell: bool = False


# What is given


def text(content: str) -> Given:
    """This text as the curation."""
    return lambda world: ["plan", str(world.write("pets.yaml", content))]


def config(**changes: Any) -> Given:
    """A curation with these keys, to be planned."""
    return lambda world: ["plan", world.curation(**changes)]


def chain(**changes: Any) -> Given:
    """A curation of the whole chain with these keys, to be planned."""
    return lambda world: ["plan", world.curation(**{**CHAIN, **changes})]


def night(content: str | bytes, name: str = f"incoming/{NIGHT}.csv", **changes: Any) -> Given:
    """A file that arrived, to be curated."""

    def given(world: World) -> list[str]:
        world.write(name, content)
        return ["run", world.curation(**changes), "--partition", NIGHT]

    return given


def columns(found: dict[str, Any], **changes: Any) -> Given:
    """A Parquet file that arrived, to be curated."""

    def given(world: World) -> list[str]:
        world.parquet(f"{NIGHT}.parquet", found)
        return ["run", world.curation(**changes), "--partition", NIGHT]

    return given


def whole(content: str, **changes: Any) -> Given:
    """A CSV that arrived, to go through the whole chain, learning from its own rows only."""
    return night(content, **{**CHAIN, "window": "partition", **changes})


def judged(probabilities: dict[str, Any] | None) -> Given:
    """A night whose teacher is a file of probabilities."""

    def given(world: World) -> list[str]:
        if probabilities is not None:
            world.parquet("probabilities.parquet", probabilities)
        teach = {"teachers": [PRECOMPUTED]}
        return whole(table_of(6), teach=teach, distill=None)(world)

    return given


def pictures(*bad: bytes) -> Given:
    """A good picture and these."""
    images = [picture(4, 4), *bad]
    ids = [f"p{i}" for i in range(len(images))]
    return columns({"id": ids, "image": pa.array(images, pa.binary())}, source=PICTURES)


def truncated(world: World) -> list[str]:
    file = world.parquet(f"{NIGHT}.parquet", {"id": ["n0"], "label": ["cat"], "x": [[1.0, 2.0]]})
    file.write_bytes(file.read_bytes()[:-20])
    return ["run", world.curation(source=LISTS), "--partition", NIGHT]


def linked(world: World) -> list[str]:
    """A night whose folder in the store is a link to somewhere else."""
    (world.folder / "outside").mkdir()
    (world.folder / f"store/pets/rows/partition={NIGHT}").symlink_to(world.folder / "outside")
    return night(table_of(3))(world)


def mounted(world: World) -> Path:
    """The store moved to a disk of its own, which is gone after the test. Needs root."""
    store, aside = world.folder / "store", world.folder / "aside"
    store.rename(aside)
    store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(store)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root, outside a confined container, can mount a disk")
    world.after.callback(subprocess.run, ["umount", "--lazy", str(store)], check=True)
    shutil.copytree(aside, store, dirs_exist_ok=True)
    return store


def full(free: int) -> Given:
    """A store on a disk with so many bytes left."""

    def given(world: World) -> list[str]:
        store = mounted(world)
        left = shutil.disk_usage(store).free
        (store / "filler").write_bytes(bytes(left - free))
        return night(table_of(4000), **CHAIN)(world)

    return given


def read_only(world: World) -> list[str]:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted(world))], check=True)
    return night(GOOD)(world)


def sql(query: str, *options: str) -> Given:
    return lambda world: ["sql", str(world.folder / "reader.yaml"), query, *options]


def decisions(content: str) -> Given:
    """A review file to be imported."""
    return lambda world: [
        *("review", "import", str(world.folder / "reader.yaml")),
        str(world.write("decided.csv", content)),
    ]


def listed(world: World) -> list[str]:
    """A review file whose ids are lists."""
    columns = {"id": [["g1"]], "label": ["cat"], "reviewer": ["ada"]}
    file = world.parquet("decided.parquet", columns)
    return ["review", "import", str(world.folder / "reader.yaml"), str(file)]


def verb(name: str, *arguments: str) -> Given:
    return lambda world: [name, str(world.folder / "reader.yaml"), *arguments]


ONLY_SELECT = r"^winnow: \w+ statements are refused; a query can only SELECT$"
NO_FUNCTION = r"^winnow: the table function \w+ is refused; read the tables of the store by name$"

CONFIG = [
    Case("a null character in yaml", text("dataset: \0"), 2, r"pets\.yaml: is not valid YAML \(.+\)$"),
    Case(
        "a null character in a path",
        config(source={**FEATURES, "path": "in\0/{partition}.csv"}),
        2,
        r"pets\.yaml: 'in\\x00/\{partition\}\.csv' holds a null character, .*; remove it$",
    ),
    Case(
        "a bound that is no number",
        config(gates=[{"metric": "share_rejected", "at_most": [1]}]),
        2,
        r"pets\.yaml: gates\[0\]\.at_most is \[1\]: input should be a valid number",
    ),
    Case(
        "malformed yaml", text("dataset: [pets\nstore: x"), 2, r"pets\.yaml: line 2 is not valid YAML \(.+\)"
    ),
    Case("tabs", text("dataset: pets\nsource:\n\tkind: csv"), 2, r"pets\.yaml: line 3 is not valid YAML"),
    Case("empty yaml", text(""), 2, r"pets\.yaml: must hold keys such as dataset, store and source"),
    Case("a yaml list", text("- dataset: pets"), 2, r"must hold keys such as dataset, .* not list$"),
    Case("duplicate keys", text("dataset: a\ndataset: b"), 2, r"line 2 .*the key dataset is given twice"),
    Case("unknown key", config(sorce={}), 2, r"pets\.yaml: sorce is not a key .*did you mean source\?"),
    Case(
        "unknown nested key",
        chain(relabel={"kind": "threshold", "fix_att": 0.9}),
        2,
        r"relabel\.fix_att is not a key that winnow knows; did you mean fix_at\?",
    ),
    Case(
        "wrong type", chain(teach={**TEACH, "folds": "many"}), 2, r"teach\.folds is 'many': .*valid integer"
    ),
    Case(
        "out of bounds",
        chain(relabel={"kind": "threshold", "fix_at": 1.4}),
        2,
        r"relabel\.fix_at is 1\.4, must be at most 1(\.0)?$",
    ),
    Case(
        "unknown kind",
        chain(detect=[{"kind": "oracle"}]),
        2,
        r"detect\[0\]\.kind is 'oracle', must be .*'confident_learning'",
    ),
    Case("no source", config(source=None), 2, r"pets\.yaml: source is missing"),
    Case(
        "no path", config(source={"kind": "csv", "partition": "x"}), 2, r"pets\.yaml: source\.path is missing"
    ),
    Case(
        "unset environment variable",
        config(store="${WINNOW_UNSET}"),
        2,
        r"the environment variable WINNOW_UNSET is not set; set it or write \$\{WINNOW_UNSET:-default\}",
    ),
    Case(
        "detect without teach",
        config(detect=CHAIN["detect"]),
        2,
        r"detect needs teach, .*add it or leave out detect",
    ),
    Case(
        "convnet on features",
        chain(teach={"teachers": [{"kind": "convnet"}]}),
        2,
        r"teach\.teachers\[0\] convnet reads images, but the source gives features",
    ),
    Case(
        "pixels of features",
        chain(ingest={"encoder": {"kind": "pixels"}}),
        2,
        r"ingest\.encoder pixels reads images, but the source gives features",
    ),
    Case(
        "reinforce without a teacher to ask",
        chain(
            source=PICTURES,
            ingest={"encoder": {"kind": "pixels"}},
            teach={"teachers": [PRECOMPUTED]},
            reinforce={"kind": "crops"},
        ),
        2,
        r"reinforce needs a teacher that can be asked about views; precomputed ones cannot",
    ),
    Case(
        "image without image_shape",
        config(source={k: v for k, v in PICTURES.items() if k != "image_shape"}),
        2,
        r"source: image and image_shape go together, such as image_shape: \[28, 28, 1\]",
    ),
    Case(
        "thresholds in the wrong order",
        chain(relabel={"kind": "threshold", "fix_at": 0.6, "review_at": 0.9}),
        2,
        r"relabel: .*review_at 0\.9 and fix_at 0\.6 must not fall: set drop_at <= review_at <= fix_at",
    ),
    Case(
        "two teachers of one name",
        chain(teach={"teachers": [{"kind": "linear"}, {"kind": "linear", "c": 2.0}]}),
        2,
        r"teach: two opinions are called linear; give one of the teachers another `name`",
    ),
    Case(
        "the same detector twice",
        chain(detect=[{"kind": "confident_learning"}] * 2),
        2,
        r"detect: a detector occurs twice; give each kind once",
    ),
    Case(
        "a third party's kind that is not there",
        chain(detect=[{"kind": "nowhere.at:All"}]),
        2,
        r"nowhere\.at:All is code that nobody let in; name its package in WINNOW_PLUGINS",
    ),
    Case(
        "a third party's kind that is no detector",
        chain(detect=[{"kind": "json:JSONDecoder"}]),
        2,
        r"json:JSONDecoder is code that nobody let in",
    ),
    Case(
        "a store with ..",
        config(store="file:///tmp/../x"),
        2,
        r"pets\.yaml: store file:///tmp/\.\./x contains '\.\.'; give the path it leads to",
    ),
    Case(
        "a relative file:// store",
        config(store="file://store"),
        2,
        r"pets\.yaml: store file://store: only file:/// and s3:// addresses",
    ),
    Case(
        "a store of another kind",
        config(store="gs://bucket/store"),
        2,
        r"pets\.yaml: store gs://bucket/store: only file:/// and s3:// addresses",
    ),
    Case(
        "a path where nothing is",
        config(source={**FEATURES, "path": "nowhere/{partition}.csv"}),
        2,
        r"nowhere/\{partition\}\.csv: nothing has arrived there; check path",
    ),
]

USAGE = [
    Case(
        "unknown partition",
        verb("run", "--partition", "2030-01-01"),
        2,
        r"pets has no partition 2030-01-01; the source holds 2026-01-01",
    ),
    Case(
        "a partition outside the store",
        verb("run", "--partition", "../x"),
        2,
        r"pets has no partition \.\./x; the source holds",
    ),
    Case("why of no row", verb("why", "nobody"), 2, r"pets has no row nobody; `winnow sql"),
    Case("rollback to no release", verb("rollback", "99"), 2, r"pets has no release 99; they are 1 to 1"),
    Case(
        "a release that is no number",
        sql("SELECT 1", "--release", "last"),
        2,
        r"Invalid value for '--release': .*valid integer.*; see `winnow sql --help`",
    ),
    Case(
        "sql of no release", sql("SELECT 1", "--release", "99"), 2, r"pets has no release 99; they are 1 to 1"
    ),
    Case("insert", sql("INSERT INTO rows SELECT * FROM rows"), 2, ONLY_SELECT),
    Case("create", sql("CREATE TABLE mine AS SELECT 1"), 2, ONLY_SELECT),
    Case("copy to", sql("COPY rows TO '/tmp/winnow-stolen.csv'"), 2, ONLY_SELECT),
    Case("attach", sql("ATTACH '/tmp/winnow-other.db'"), 2, ONLY_SELECT),
    Case("install", sql("INSTALL httpfs"), 2, ONLY_SELECT),
    Case("pragma", sql("PRAGMA database_size"), 2, r"refused|can only SELECT"),
    Case("set", sql("SET enable_external_access = true"), 2, ONLY_SELECT),
    Case("read_text", sql("SELECT * FROM read_text('/etc/passwd')"), 2, NO_FUNCTION),
    Case("read_csv", sql("SELECT * FROM read_csv('/etc/passwd')"), 2, NO_FUNCTION),
    Case("read_parquet", sql("SELECT * FROM read_parquet('/etc/passwd')"), 2, NO_FUNCTION),
    Case("glob", sql("SELECT * FROM glob('/etc/*')"), 2, NO_FUNCTION),
    Case(
        "a file as a table",
        sql("SELECT * FROM '/etc/passwd'"),
        2,
        r"passwd.*does not exist|no other file; name a table",
    ),
    Case(
        "two statements",
        sql("SELECT 1; SELECT 2"),
        2,
        r"^winnow: this is 2 statements; give exactly one SELECT$",
    ),
    Case("empty sql", sql(""), 2, r"give exactly one SELECT"),
    Case("unknown table", sql("SELECT * FROM cats"), 2, r"Table with name cats does not exist"),
    Case(
        "review of an unknown label",
        decisions("id,label,reviewer\ng1,cow,ada\n"),
        2,
        r"decided\.csv: 1 problem .*: id 'g1' is given the unknown class 'cow'; use one of cat, dog, owl",
    ),
    Case(
        "review of an unknown row",
        decisions("id,label,reviewer\nnobody,cat,ada\n"),
        2,
        r"decided\.csv: 1 problem .*id 'nobody' is no row of pets",
    ),
    Case(
        "review without reviewers",
        decisions("id,label\ng1,cat\n"),
        2,
        r"decided\.csv: .*no column reviewer; it needs id, label, reviewer",
    ),
    Case(
        "a review of lists", listed, 2, r"decided\.parquet: column id is List\(.+\), must be text; write it"
    ),
    Case(
        "conflicting decisions",
        decisions("id,label,reviewer,decided_at\ng1,cat,ada,2026-01-03\ng1,dog,bob,2026-01-03\n"),
        2,
        r"decided\.csv: 2 problems .*id 'g1' has different decisions of the same moment in rows 1, 2",
    ),
]

FILES = [
    Case("empty csv", night(""), 2, rf"{NIGHT}\.csv: is empty; a CSV file has at least a header line"),
    Case(
        "a missing column",
        night("id,label,a\nn0,cat,1\n"),
        2,
        rf"{NIGHT}\.csv: has no column b; it has id, label, a",
    ),
    Case(
        "empty parquet",
        night(b"", f"{NIGHT}.parquet", source=LISTS),
        2,
        rf"{NIGHT}\.parquet: cannot be read as Parquet \(.+\); replace or mend the file",
    ),
    Case(
        "no parquet at all",
        night("id,label\n" * 9, f"{NIGHT}.parquet", source=LISTS),
        2,
        rf"{NIGHT}\.parquet: cannot be read as Parquet \(.+\)",
    ),
    Case(
        "truncated parquet",
        truncated,
        2,
        rf"{NIGHT}\.parquet: cannot be read as Parquet \(.+\); replace or mend",
    ),
    Case(
        "header-only csv", night("id,label,a,b\n"), 1, rf"ingest of {NIGHT} kept no row: .*none", 0, times=2
    ),
    Case(
        "parquet without rows",
        columns(
            {
                "id": pa.array([], pa.string()),
                "label": pa.array([], pa.string()),
                "x": pa.array([], pa.list_(pa.float32())),
            },
            source=LISTS,
        ),
        1,
        rf"ingest of {NIGHT} kept no row: .*none",
        0,
    ),
    Case(
        "no valid row",
        night("id,label,a,b\nn0,cow,1,2\nn1,cat,1\n"),
        1,
        rf"ingest of {NIGHT} kept no row: all 2 inputs were rejected; `winnow sql` on rejects",
        0,
        {"unknown_label": 1, "broken_line": 1},
        times=2,
    ),
    Case(
        "a link that leaves the store",
        linked,
        1,
        r"store/pets/rows.* is a link that leads out of the store, to .+; remove the link",
    ),
]

DONE = rf"pets {NIGHT} is in release 2"
GOOD = table_of(3)
UNLABELLED = "id,label,a,b\nn0,,1,2\nn1,,2,3\nn2,,3,4\n"
ROWS = [
    Case("a broken quote", night(GOOD + 'n9,"cat,1,2\n'), 0, DONE, 3, {"broken_line": 1}, b'n9,"cat,1,2'),
    Case("a ragged line", night(GOOD + "n9,cat,1,2,3\n"), 0, DONE, 3, {"broken_line": 1}, b"n9,cat,1,2,3"),
    Case(
        "a broken json line",
        night('{"id": "n0", "label": "cat", "x": [1, 2]}\n{"id": \n', f"{NIGHT}.jsonl", source=LINES),
        *(0, DONE, 1, {"broken_line": 1}, b'{"id": '),
    ),
    Case("a picture bomb", pictures(picture(50_000, 50_000, b"x")), 0, DONE, 1, {"too_large": 1}, b"\x89PNG"),
    Case("an undecodable picture", pictures(picture(4, 4, b"x")), 0, DONE, 1, {"undecodable": 1}, b"\x89PNG"),
    Case("a picture of wrong length", pictures(bytes(15)), 0, DONE, 1, {"wrong_length": 1}, bytes(15)),
    Case("an unknown label", night(GOOD + "n9,cow,1,2\n"), 0, DONE, 3, {"unknown_label": 1}, b"[1.0, 2.0]"),
    Case(
        "a label of the wrong type",
        night(
            '{"id": "n0", "label": "cat", "x": [1, 2]}\n{"id": "n1", "label": {"is": "cat"}, "x": [3, 4]}\n',
            f"{NIGHT}.jsonl",
            source=LINES,
        ),
        *(0, DONE, 1, {"wrong_type": 1}, b"[3.0, 4.0]"),
    ),
    Case(
        "a feature that is no number",
        night(GOOD + "n9,cat,much,2\n"),
        0,
        DONE,
        3,
        {"wrong_type": 1},
        b"[null, 2.0]",
    ),
    Case("a nan feature", night(GOOD + "n9,cat,nan,2\n"), 0, DONE, 3, {"nan_features": 1}, b"[NaN, 2.0]"),
    Case(
        "an infinite feature", night(GOOD + "n9,cat,inf,2\n"), 0, DONE, 3, {"nan_features": 1}, b"[inf, 2.0]"
    ),
    Case("an empty feature", night(GOOD + "n9,cat,,2\n"), 0, DONE, 3, {"nan_features": 1}, b"[null, 2.0]"),
    Case(
        "features of wrong length",
        columns({"id": ["n0", "n1"], "label": ["cat", "dog"], "x": [[1.0, 2.0], [3.0]]}, source=LISTS),
        *(0, DONE, 1, {"wrong_length": 1}, b"[3.0]"),
    ),
    Case("a missing id", night(GOOD + ",cat,1,2\n"), 0, DONE, 3, {"missing_id": 1}, b"[1.0, 2.0]"),
    Case(
        "an id twice in a night", night(GOOD + "n0,dog,1,2\n"), 0, DONE, 3, {"duplicate_id": 1}, b"[1.0, 2.0]"
    ),
    Case(
        "an id of an earlier night",
        night(GOOD + "g0,cat,1,2\n"),
        0,
        DONE,
        3,
        {"duplicate_id": 1},
        b"[1.0, 2.0]",
    ),
]

CHAINS = [
    Case("one class only", whole(table_of(12, ["cat"])), 0, DONE, 12),
    Case("a class that is absent for a night", whole(table_of(12, ["cat", "dog"])), 0, DONE, 12),
    Case("fewer rows than folds", whole(table_of(3), teach={**TEACH, "folds": 20}), 0, DONE, 3),
    Case(
        "no label at all",
        whole(UNLABELLED),
        1,
        rf"teach of {NIGHT}: no labelled training row .*; map the source's label, or leave out teach",
        3,
    ),
    Case(
        "precomputed probabilities missing",
        judged(None),
        1,
        r"probabilities\.parquet is not there; export it or correct precomputed\.path",
        6,
    ),
    Case(
        "precomputed probabilities without a row",
        judged({"id": ["n0"], "large": [[1.0, 0.0, 0.0]]}),
        *(1, r"probabilities\.parquet: 5 of 6 rows have no row, such as n1; export the file again", 6),
    ),
    Case(
        "precomputed probabilities that do not sum to one",
        judged({"id": [f"n{i}" for i in range(6)], "large": [[0.5, 0.2, 0.1]] * 6}),
        *(1, r"probabilities\.parquet: 6 of 6 rows have probabilities in large that do not sum to 1", 6),
    ),
]

NO_SPACE = r"store/.+: the disk is full; free some space and run again, finished shards are kept$"
SLOW = [
    Case("from a shell, a truncated file", truncated, 2, r"cannot be read as Parquet", shell=True),
    Case("from a shell, no label", whole(UNLABELLED), 1, r"no labelled training row", 3, shell=True),
    Case("a full disk", full(0), 1, NO_SPACE),
    Case("a disk that fills up in ingest", full(2**17), 1, NO_SPACE),
    Case("a disk that fills up in teach", full(2**18), 1, NO_SPACE, 4000),
    Case(
        "a store that cannot be written",
        read_only,
        1,
        r"store/.+ cannot be written; give this user write access, or choose another store$",
    ),
]

CASES: list[Any] = [*CONFIG, *USAGE, *FILES, *ROWS]
CASES += [pytest.param(case, marks=pytest.mark.slow) for case in [*CHAINS, *SLOW]]


# How it must end


@pytest.fixture(scope="module")
def good_night(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Path:
    """A folder with one night through the whole chain, to be copied."""
    world = World(tmp_path_factory.mktemp("good"))
    world.write(f"incoming/{FIRST}.csv", table_of(24, prefix="g"))
    reader = world.write("reader.yaml", yaml.safe_dump({**SMALL, **CHAIN}))
    assert run_command(["run", str(reader), "--partition", FIRST]) == 0
    return world.folder


@pytest.fixture(scope="module")
def before(good_night: Path) -> str:
    told = story(good_night)
    assert len(json.loads(told)) == 24
    return told


@pytest.fixture
def world(good_night: Path, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as after:
        yield World(shutil.copytree(good_night, tmp_path / "case"), after)


def story(folder: Path) -> str:
    """All that a reader sees of the good night."""
    query = f"SELECT * FROM story WHERE partition = '{FIRST}' ORDER BY id"
    file = folder / "story.json"
    assert run_command(["sql", str(folder / "reader.yaml"), query, "--output", str(file)]) == 0
    return file.read_text()


def check_sentence(err: str, says: str) -> None:
    assert err.endswith("\n"), err
    assert err.startswith("winnow: "), err
    assert err.count("\n") == 1, err
    assert re.search(says, err.rstrip()), err


def check_night(store: Store, case: Case) -> None:
    """Every input of the night is a row or a reject, which says why and still holds what came."""
    rows, rejects = (store.ref(table, NIGHT) for table in ("rows", "rejects"))
    if case.kept is None:
        assert (rows, rejects) == (None, None)
        return
    assert rows is not None
    assert rejects is not None
    found = store.read([rejects]).to_pylist()
    assert rows.rows == case.kept
    assert Counter(reject["reason"] for reject in found) == case.rejected
    assert all(reject["source"] and reject["detail"] for reject in found)
    positions = [row["position"] for row in [*found, *store.read([rows], ["position"]).to_pylist()]]
    assert sorted(positions) == list(range(case.kept + len(found)))
    if case.payload is not None:
        assert case.payload in found[0]["payload"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_told_in_one_sentence_and_nothing_is_lost(
    case: Case,
    world: World,
    before: str,
    winnow: Callable[..., Finished],
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = case.given(world)
    for _ in range(case.times):
        code, out, err = winnow(*arguments) if case.shell else (run_command(arguments), *capfd.readouterr())
        assert code == case.code, out + err
        assert "Traceback" not in out + err
        if code:
            check_sentence(err, case.says)
        else:
            assert err == ""
            assert re.search(case.says, out), out
    if case.name != "a link that leaves the store":
        check_night(world.store, case)
    assert story(world.folder) == before
