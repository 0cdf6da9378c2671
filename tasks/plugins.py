"""Whose code a curation may name: `kind: "package.module:Class"` imports the module, which runs it.

A curation is data, and may come from somebody who is not to run code where winnow runs; the standard
library alone has modules that act on being imported. So a module is imported only if the operator let
its package in, in one of two ways:

- the environment variable WINNOW_PLUGINS lists it: `WINNOW_PLUGINS=my_methods,audio.winnow`;
- an installed distribution offers it as an entry point of the group `winnow`, in its pyproject.toml:
  `[project.entry-points.winnow]`, `audio = "audio.winnow"`. Installing it was the decision.
"""

from __future__ import annotations

import os
import re
from importlib import metadata

VARIABLE, GROUP = "WINNOW_PLUGINS", "winnow"


def let_in(module: str) -> bool:
    """Whether `module`, or a package that it is in, was let in."""
    listed = re.split(r"[,\s]+", os.environ.get(VARIABLE, ""))
    if any(within(module, package) for package in listed):
        return True
    return any(within(module, point.module) for point in metadata.entry_points(group=GROUP))


def within(module: str, package: str) -> bool:
    return bool(package) and (module == package or module.startswith(f"{package}."))
