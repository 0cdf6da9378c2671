"""What the documents show is what the product takes. Run: python -m pytest tests/test_docs.py"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.catalog import METHODS
from tasks.config import load
from tasks.yaml_file import BoundedLoader

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *sorted((REPOSITORY / "docs").glob("*.md")),
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
]
FENCED = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")

WHOLE: dict[str, Any] = {
    "dataset": "digits",
    "store": "./store",
    "source": {"kind": "sklearn_digits"},
    "ingest": {"encoder": {"kind": "pixels"}},
    "teach": {"teachers": [{"kind": "linear"}]},
    "detect": [{"kind": "confident_learning"}],
    "relabel": {"kind": "threshold"},
}
"""What a block marked `# fragment` is laid over."""


def snippets() -> list[Any]:
    return [
        pytest.param(block, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        if document.exists()
        for number, block in enumerate(FENCED.findall(document.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize("block", snippets())
def test_every_yaml_block_is_a_curation_that_loads(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_WEBHOOK", "https://alerts.example.com/winnow")
    monkeypatch.setenv("WINNOW_WEBHOOK_SECRET", "sixteen characters and more")
    curation = yaml.load(block, Loader=BoundedLoader)
    if block.startswith("# fragment"):
        curation = WHOLE | curation
    file = tmp_path / "curation.yaml"
    file.write_text(yaml.safe_dump(curation), encoding="utf-8")
    assert load(file).dataset


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "curations").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_example_curation_loads(path: Path) -> None:
    assert load(path).dataset


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.exists()], ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("group", "page"),
    [
        ("source", "ingest"),
        ("filter", "ingest"),
        ("encoder", "ingest"),
        ("teach", "teach"),
        ("ensemble", "teach"),
        ("audit", "report"),
        ("trial", "distill"),
        ("detect", "detect"),
        ("relabel", "relabel"),
        ("reinforce", "reinforce"),
        ("distill", "distill"),
        ("report", "report"),
    ],
)
def test_every_method_is_on_its_stages_page(group: str, page: str) -> None:
    text = (REPOSITORY / "docs" / f"{page}.md").read_text(encoding="utf-8")
    kinds = [method.model_fields["kind"].default for method in METHODS[group]]
    assert [kind for kind in kinds if f"`{kind}`" not in text and f"kind: {kind}" not in text] == []


def test_the_page_on_storage_names_every_column_of_every_table() -> None:
    from storage.tables import TABLES

    text = (REPOSITORY / "docs" / "storage.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE))
    assert set(rows) == set(TABLES)
    for name, schema in TABLES.items():
        columns = {
            column: bool(mark) for column, mark in re.findall(r"(\w+)(\?)?(?:, | or |$)", rows[name].strip())
        }
        assert columns == {f.name: f.nullable for f in schema if f.name not in ("partition", "id")}, name


def test_the_readme_shows_the_student_that_the_benchmark_of_its_demo_measured() -> None:
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "digits.json").read_text(encoding="utf-8"))
    measured = {figure["name"]: figure["value"] for figure in results["figures"]}
    shown = [f"{measured[f'student accuracy, {arm} labels']:.2%}" for arm in ("given", "curated")]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^accuracy of a student trained on them +(\S+) +(\S+)$", readme, re.M) == [
        tuple(shown)
    ]
