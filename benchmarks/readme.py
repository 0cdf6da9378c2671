"""`python -m benchmarks.readme [--check]` writes measured figures into the documents.

A block `<!-- figures: NAME -->…<!-- /figures -->` of README.md or docs/*.md is filled from
benchmarks/results/NAME.json, so no figure is ever typed; `figures: NAME goals` takes only the figures
that have a goal, `figures: NAME like TEXT` those whose name holds a text. A figure `… (std)` stands with
the one before it, of which it is the standard deviation. `--check` changes nothing and exits 1 where a
document is behind its results.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from benchmarks.figures import shown

ROOT = Path(__file__).parent.parent
SPREAD = " (std)"
BLOCK = re.compile(
    r"(<!-- figures: (?P<name>\w+)(?P<goals> goals)?(?: like (?P<like>[^>]+?))? -->\n)"
    r".*?(?P<end><!-- /figures -->)",
    re.DOTALL,
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description="Fill in the figures.")
    parser.add_argument("--check", action="store_true", help="only say which documents are behind")
    check = parser.parse_args(arguments).check
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    behind = []
    for path in filter(Path.exists, documents):
        text = path.read_text(encoding="utf-8")
        try:
            filled = fill(text, ROOT / "benchmarks" / "results")
        except FileNotFoundError as error:
            print(f"{path.relative_to(ROOT)}: {error}", file=sys.stderr)
            return 2
        if filled != text:
            behind.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(filled, encoding="utf-8")
    if behind:
        print(f"{'behind' if check else 'filled in'}: {', '.join(behind)}")
    return 1 if check and behind else 0


def fill(text: str, results: Path) -> str:
    """The text with every block filled in. Raises FileNotFoundError where a result is missing."""

    def filled(block: re.Match[str]) -> str:
        path = results / f"{block['name']}.json"
        return block[1] + table(path, bool(block["goals"]), block["like"] or "") + block["end"]

    return BLOCK.sub(filled, text)


def table(path: Path, goals_only: bool, like: str = "") -> str:
    """A result as a Markdown table, with the command that measures it again."""
    if not path.exists():
        raise FileNotFoundError(f"no result for {path.stem}; run `python -m benchmarks {path.stem}`")
    result = json.loads(path.read_text(encoding="utf-8"))
    lines = ["| figure | value | goal | compared with |", "|---|---|---|---|"]
    spreads = {f["name"].removesuffix(SPREAD): f["value"] for f in result["figures"] if SPREAD in f["name"]}
    for figure in result["figures"]:
        name = figure["name"]
        if (goals_only and figure["goal"] is None) or like not in name or name.endswith(SPREAD):
            continue
        value = shown(figure["value"], figure["unit"]) + ("" if figure["holds"] else " (missed)")
        cells = (
            name,
            f"{value} ± {shown(spreads[name])}" if name in spreads else value,
            figure["goal"] or "",
            figure["peer"] or "",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    machine = result["machine"]
    lines += ["", f"`python -m benchmarks {path.stem}`, {machine['cores']} cores of {machine['cpu']}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
