"""A fitted scikit-learn model as bytes, without pickle and the same bytes for the same model.

skops (https://skops.readthedocs.io/en/stable/persistence.html) writes a zip of arrays and a JSON schema
of types, and builds on loading only the types it is told to trust: here those of scikit-learn,
NumPy and SciPy. Its zip holds the clock (entry times) and memory addresses (object ids), so the
container is written again with numbers in order of appearance and no time.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import PurePosixPath
from typing import Any

TRUSTED = ("sklearn.", "numpy.", "scipy.")
"""Packages whose types may be built. The dot counts: `sklearn_evil.X` is not of `sklearn`."""


def dumps(model: Any) -> bytes:
    """Equal models, equal bytes. Raises TypeError if it holds types from other packages."""
    import skops.io

    data = _canonical(skops.io.dumps(model))
    _trusted(data)
    return data


def loads(data: bytes) -> Any:
    """The model back. Raises TypeError, building nothing, if it holds types from other packages."""
    import skops.io

    return skops.io.loads(data, trusted=_trusted(data))


def _trusted(data: bytes) -> list[str]:
    import skops.io

    types: list[str] = skops.io.get_untrusted_types(data=data)
    foreign = sorted(name for name in types if not name.startswith(TRUSTED))
    if foreign:
        raise TypeError(f"it holds {', '.join(foreign)}, which is not of scikit-learn, NumPy or SciPy")
    return types


def _canonical(data: bytes) -> bytes:
    numbers: dict[str, str] = {}

    def number(address: str) -> str:
        return numbers.setdefault(address, str(len(numbers)))

    def renamed(name: str) -> str:
        path = PurePosixPath(name)
        return f"{number(path.stem)}{path.suffix}"

    def visit(node: Any) -> Any:
        if isinstance(node, list):
            return [visit(item) for item in node]
        if not isinstance(node, dict):
            return node
        visited: dict[str, Any] = {}
        for key, value in node.items():
            if key == "__id__":
                visited[key] = int(number(str(value)))
            elif key == "file" and isinstance(value, str):
                visited[key] = renamed(value)
            else:
                visited[key] = visit(value)
        return visited

    with zipfile.ZipFile(io.BytesIO(data)) as source:
        schema = visit(json.loads(source.read("schema.json")))
        files = {renamed(name): source.read(name) for name in source.namelist() if name != "schema.json"}
    files["schema.json"] = json.dumps(schema).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name])
    return target.getvalue()
