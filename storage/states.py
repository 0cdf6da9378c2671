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


def is_whole(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that starts with `head` has the length that its header speaks of;
    `head` is the whole header, or all of a shorter file."""
    length = int.from_bytes(head[:8], "little")
    try:
        header = json.loads(head[8 : 8 + length])
        header["__metadata__"]["info"]
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(8 + length + max(ends, default=0) == size)
