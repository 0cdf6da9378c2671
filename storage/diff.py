"""What changed between two releases, by class.

Files that both releases list hold the same rows, so only the others are read: comparing two nights
costs what the nights changed, not what the data set holds.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from storage import classes, scan
from storage.releases import Release
from storage.store import Store
from storage.task import ONE_CLASS, task_of

EXAMPLES = 5

CHANGES = f"""
WITH
old_rows AS (SELECT partition, id, label FROM ({{old_rows}})),
new_rows AS (SELECT partition, id, label FROM ({{new_rows}})),
old_labels AS (SELECT partition, id, label, labels, target FROM ({{old_labels}})),
new_labels AS (SELECT partition, id, label, labels, target FROM ({{new_labels}})),
changed AS (
    SELECT 'added' AS change, NULL::INTEGER AS before, label AS after, partition, id
    FROM new_rows ANTI JOIN old_rows USING (partition, id)
    UNION ALL
    SELECT 'removed', label, NULL, partition, id
    FROM old_rows ANTI JOIN new_rows USING (partition, id)
    UNION ALL
    SELECT 'label', old_labels.label, new_labels.label, partition, id
    FROM old_labels JOIN new_labels USING (partition, id)
    WHERE old_labels.label IS DISTINCT FROM new_labels.label
        OR old_labels.labels IS DISTINCT FROM new_labels.labels
        OR old_labels.target IS DISTINCT FROM new_labels.target
)
SELECT change, $names[before + 1] AS before, $names[after + 1] AS after, count(*) AS rows,
    list(id ORDER BY partition, id)[:{EXAMPLES}] AS examples
FROM changed GROUP BY change, changed.before, changed.after
ORDER BY change, changed.before, changed.after
"""


def changes(store: Store, a: Release, b: Release) -> pa.Table:
    """Columns: change ("added", "removed" or "label"), before and after (class names, null for none),
    rows (how many) and examples (up to five ids).

    Added and removed rows are counted by their given label, changed ones by the decided label; where a row
    has a set of classes or a number, before and after are null, and rows are counted together.
    """
    queries = {}
    of_task = task_of(store) != ONE_CLASS
    for table in ("rows", "labels"):
        old, new = _files(store, table, a), _files(store, table, b)
        queries[f"old_{table}"] = scan.query(table, _without(old, new), of_task)
        queries[f"new_{table}"] = scan.query(table, _without(new, old), of_task)
    with duckdb.connect() as connection:
        names = list(classes.vocabulary(store))
        return connection.sql(CHANGES.format(**queries), params={"names": names}).to_arrow_table()


def _files(store: Store, table: str, release: Release) -> list[str]:
    """A release's files of a table; none where the release does not have the table."""
    return store.file_uris(table, release.versions[table]) if table in release.versions else []


def _without(files: list[str], others: list[str]) -> list[str]:
    known = set(others)
    return [path for path in files if path not in known]
