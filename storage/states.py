"""States on disk: named arrays and JSON-able facts in one safetensors file, never a pickle."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from storage.errors import StoreError


def to_bytes(arrays: dict[str, np.ndarray], info: dict[str, Any]) -> bytes:
    """The file's bytes. Raises StoreError for an array that safetensors cannot hold."""
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise StoreError(f"state array {name!r} is {array.dtype}; states hold numbers and booleans only")
    packed = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    return bytes(save(packed, metadata={"info": json.dumps(info, sort_keys=True)}))


def from_bytes(data: bytes, path: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and info of a file's bytes; `path` is for the error of a damaged file."""
    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return arrays, json.loads(header["__metadata__"]["info"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it and run the partition again") from error
