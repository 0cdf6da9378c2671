"""Credentials of an object store that a Prefect block holds, lent to this process.

A store knows Prefect as little as a YAML knows secrets: it takes all it needs from the environment.
Where WINNOW_S3_BLOCK names a `Secret` block, what that block holds is put there first, for this process
and those that it starts. The block is a JSON object of AWS_… names and their values, as they would
stand in the environment.
"""

from __future__ import annotations

import json
import os
from typing import Any

from tasks.errors import BadInput

BLOCK = "WINNOW_S3_BLOCK"
PREFIX = "AWS_"


def lend(store: str) -> None:
    """Put the values of the block into the environment, if `store` is in a bucket and a block is named."""
    name = os.environ.get(BLOCK)
    if name and store.startswith("s3://"):
        os.environ.update(checked(name, held_by(name)))


def held_by(name: str) -> Any:
    """What the block holds. Raises BadInput."""
    from prefect.blocks.system import Secret

    try:
        block: Any = Secret.load(name)
        return block.get()
    except Exception as error:
        # Of whatever went wrong only the kind is told: the message may quote the block.
        raise BadInput(
            f"{BLOCK}: the Prefect block secret/{name} cannot be read ({type(error).__name__}); make it with "
            "`prefect block create secret`, and check PREFECT_API_URL"
        ) from None


def checked(name: str, held: Any) -> dict[str, str]:
    """The names and values of a block. Raises BadInput, which tells none of the values."""
    try:
        values = json.loads(held) if isinstance(held, str) else held
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(
        isinstance(key, str) and key.startswith(PREFIX) and isinstance(value, str)
        for key, value in values.items()
    ):
        raise BadInput(
            f'{BLOCK}: the Prefect block secret/{name} must hold JSON such as {{"AWS_ACCESS_KEY_ID": "…", '
            f'"AWS_SECRET_ACCESS_KEY": "…"}}: names that start with {PREFIX}, and texts'
        )
    return values
