"""The task of a data set: what its rows are given. It is settled once, and holds for good.

A file says so, put where none was before the first row is; data sets of one class a row have none, as
from before there were other tasks. Readers go by it: the columns of other tasks (`tables.OF_TASK`) are
looked for only in data sets that have such a task.
"""

from __future__ import annotations

from storage import files
from storage.errors import StoreError
from storage.store import Store

ONE_CLASS = "single_label"


def task_of(store: Store) -> str:
    """The data set's task."""
    try:
        return store.disk.read(_file(store)).decode()
    except FileNotFoundError:
        return ONE_CLASS


def settle(store: Store, task: str) -> None:
    """Makes `task` the data set's. Raises StoreError where it has another one."""
    if task != ONE_CLASS and store.version("rows") is None:
        store.disk.put_if_absent(_file(store), files.writer(task.encode()))
    known = task_of(store)
    if known != task:
        raise StoreError(
            f"{store.dataset} is a data set of {known}, and keeps that task; "
            f"give the one of {task} another name under dataset"
        )


def _file(store: Store) -> str:
    return store.inside("_classes/task")
