"""Libraries that are compared with and that winnow does not need, in an environment of their own.

It is made once, under the user's temporary folder, from the package index that pip is set up for. What
runs in it is a function's source, so that the process has nothing of winnow's and no other library's
threads: it gets a folder of arrays, and prints JSON.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON")}


def environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment with these packages. Exits where they cannot be installed."""
    folder = Path(tempfile.gettempdir()) / f"winnow-{name}-{os.getuid()}"
    python, done = folder / "bin" / "python", folder / "installed.txt"
    if not done.exists() or done.read_text() != " ".join(packages):
        venv.create(folder, with_pip=True, clear=True)
        found = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            capture_output=True,
            text=True,
        )
        if found.returncode:
            raise SystemExit(f"pip could not install {', '.join(packages)}:\n{found.stderr}")
        done.write_text(" ".join(packages))
    return python


def call(python: Path | str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives when another Python runs it with one thread; JSON in and out.

    The function may use nothing but what it imports itself.
    """
    source = inspect.getsource(function)
    answer = f"print(json.dumps({function.__name__}(*json.loads(sys.argv[1]))))"
    code = f"from __future__ import annotations\nimport json, sys\n{source}\n{answer}"
    found = subprocess.run(
        [python, "-c", code, json.dumps(arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    if found.returncode:
        raise SystemExit(f"{function.__name__} failed in {python}:\n{found.stderr[-2000:]}")
    return json.loads(found.stdout.splitlines()[-1])


HERE = sys.executable
"""Winnow's own Python, for a `call` that is measured the same way."""
