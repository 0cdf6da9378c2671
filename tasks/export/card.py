"""The data card: README.md with the front matter that the Hugging Face hub and `datasets` read.

What only the owner of the data can say (its licence, what it shows, what it must not be used for) is
left to be filled in, and said so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import yaml

from tasks.config import Curation
from tasks.export.features import Column, in_card
from tasks.export.files import Split
from tasks.export.tables import Counts
from tasks.method import Method
from tasks.release import Release

OF_HUB = {
    "image": "image-classification",
    "text": "text-classification",
    "features": "tabular-classification",
}


@dataclass(frozen=True)
class Configuration:
    """One table of an export. note: a paragraph of its own."""

    name: str
    what: str
    columns: Sequence[Column]
    splits: Sequence[Split]
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """What the card tells besides its tables. figures: of the newest partition's report, by name."""

    counts: Counts
    figures: Mapping[str, float] = field(default_factory=dict)


def card(release: Release, curation: Curation, configurations: Sequence[Configuration], facts: Facts) -> str:
    """The whole README.md."""
    front = yaml.safe_dump(front_matter(release, configurations), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n# license: that of the source; fill it in before this is published\n{front}---",
        f"# {release.store.dataset}, release {release.number}",
        "A curated data set: teachers that never trained on a row gave it a soft label, detectors looked for "
        "wrong labels, and a policy and people decided on each. Made with winnow "
        f"{metadata.version('winnow')} and exported from {release}, published "
        f"{release.about.created_at:%Y-%m-%d}; partitions {release.partitions[0].name} to "
        f"{release.partitions[-1].name}."
        if release.partitions
        else "An empty release.",
        "```python\nfrom datasets import load_dataset\n\n"
        'data = load_dataset("path/of/this/folder", "curated")\n'
        'train = data["train"]  # rows whose label may be relied on\n```',
        "## Figures",
        table(("figure", "value"), figures(configurations, facts)),
        *[part for each in configurations for part in described(each)],
        "## How it was made",
        table(("stage", "method", "source"), methods(curation)),
        "This is what the curation said when it was exported; an older release may have been made with "
        "other methods.",
        *gates(release),
        "## To be filled in",
        "Licence, origin of the data, consent of the people in it, and what it must not be used for: only "
        "whoever owns the data can say.",
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(release: Release, configurations: Sequence[Configuration]) -> dict[str, Any]:
    """What a program reads of the card."""
    return {
        "pretty_name": f"{release.store.dataset}, release {release.number}",
        "task_categories": [OF_HUB[release.payload]],
        "size_categories": [size(sum(split.rows for split in configurations[0].splits))],
        "configs": [
            {
                "config_name": each.name,
                **({"default": True} if number == 0 else {}),
                "data_files": [
                    {"split": split.name, "path": f"{each.name}/{split.name}-*.parquet"}
                    for split in each.splits
                ],
            }
            for number, each in enumerate(configurations)
        ],
        "dataset_info": [
            {
                "config_name": each.name,
                "features": in_card(each.columns),
                "splits": [
                    {"name": split.name, "num_bytes": split.bytes, "num_examples": split.rows}
                    for split in each.splits
                ],
                "download_size": sum(split.bytes for split in each.splits),
                "dataset_size": sum(split.bytes for split in each.splits),
            }
            for each in configurations
        ],
    }


def size(rows: int) -> str:
    """The hub's word for a number of rows."""
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((word for bound, word in bounds if rows < bound), "n>1M" if rows > 10_000_000 else "1M<n<10M")


def figures(configurations: Sequence[Configuration], facts: Facts) -> list[tuple[str, str]]:
    """What the card says in numbers; of truth, only where it is known."""
    counts = facts.counts
    rows, kept = sum(counts.actions.values()), sum(split.rows for split in configurations[0].splits)
    found = [
        ("rows in the release", f"{rows:,}"),
        ("left out, since dropped", f"{rows - kept:,}"),
    ]
    found += [
        (f"decided: {action}", f"{n:,} ({n / rows:.1%})")
        for action, n in sorted(counts.actions.items())
        if action != "drop"
    ]
    found.append(("labels changed", f"{counts.changed:,} ({counts.changed / max(rows, 1):.2%})"))
    if counts.known:
        found.append(("given labels that are right", f"{counts.given_right / counts.known:.2%}"))
    if counts.curated_known:
        right = counts.curated_right / counts.curated_known
        found.append(("curated labels that are right, doubtful ones left out", f"{right:.2%}"))
    names = {"accuracy_given": "as given", "accuracy_curated": "curated"}
    found += [
        (f"accuracy of a small student on labels {word}", f"{facts.figures[name]:.2%}")
        for name, word in names.items()
        if name in facts.figures
    ]
    found += [(f"rows of {c.name}: {s.name}", f"{s.rows:,}") for c in configurations for s in c.splits]
    return found


def described(each: Configuration) -> list[str]:
    """A configuration and its columns."""
    columns = [(f"`{column.name}`", column.means) for column in each.columns]
    return [f"## Configuration `{each.name}`", each.what, table(("column", "meaning"), columns), each.note][
        : 4 if each.note else 3
    ]


def methods(curation: Curation) -> list[tuple[str, str, str]]:
    """The methods that the curation names, with their papers."""
    teach = curation.teach
    named: list[tuple[str, Method | None]] = [
        ("ingest", curation.ingest.encoder),
        *(("teach", teacher) for teacher in (teach.teachers if teach else ())),
        ("teach", teach.ensemble if teach else None),
        *(("detect", detector) for detector in curation.detect),
        ("relabel", curation.relabel),
        ("reinforce", curation.reinforce),
        ("distill", curation.distill),
    ]
    return [(stage, method.kind, method.paper) for stage, method in named if method is not None]


def gates(release: Release) -> list[str]:
    """The checks that the release passed, or was published in spite of."""
    rows = [
        (
            check["name"],
            f"{check['value']:.4g}" if check["value"] is not None else "",
            check["bound"],
            check["passed"],
        )
        for check in release.about.checks
    ]
    cells = [(name, value, bound, "yes" if passed else "no") for name, value, bound, passed in rows]
    return (
        ["## Checks before it was published", table(("gate", "value", "bound", "passed"), cells)]
        if cells
        else []
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; names come from somebody's data, so what would end a cell is escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines)


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def redrawing(identities: Sequence[Mapping[str, Any]]) -> str:
    """How a view is redrawn, for the configuration `views`."""
    named = ", ".join(f"`{json.dumps(identity, sort_keys=True)}`" for identity in identities)
    return (
        f"Drawn by {named}. `transform` holds, as far as the method has them: the box that is cut out and "
        "enlarged to the full size, whether it is mirrored, factors of brightness, contrast and saturation, "
        "RandAugment's operations, the box that is made black, and what is mixed in of the `partner`'s view "
        "number `partner_draw`. winnow redraws views bit for bit (`tasks.train`)."
    )
