"""The shape of the product, held by tests. Run: python -m pytest tests/test_architecture.py"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PRODUCT = ("flows", "tasks", "storage")
MODULES = sorted(path for folder in PRODUCT for path in (REPOSITORY / folder).rglob("*.py"))
STAGES = ("ingest", "teach", "detect", "relabel", "reinforce", "distill", "report")
METHOD_FILES = [path for path in MODULES if path.parent.name in STAGES and path.parent.parent.name == "tasks"]

UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
RUNNERS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "torch.load"}
RUNNERS |= {
    "torch.jit.load",
    "torch.hub.load",
    "np.lib.format.read_array",
    "yaml.unsafe_load",
    "yaml.full_load",
}
SAFE_LOADERS = {"yaml.SafeLoader", "BoundedLoader"}
HEAVY = ("torch", "sklearn", "prefect", "cleanlab", "matplotlib", "scipy", "skops", "datasets", "PIL")
"""Not pandas: pyarrow imports it by itself where it is installed, and cleanlab installs it."""


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> set[str]:
    return set(imported(ast.parse(path.read_text(encoding="utf-8"))))


def packages(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imports(path)}


def unpickles(source: str) -> list[str]:
    """What in a file could run somebody else's code on loading, as `line: what`."""
    found = []
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            hit = {module.partition(".")[0] for module in imported(node)} & UNPICKLERS
            found += [f"{node.lineno}: imports {module}" for module in hit]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in RUNNERS or called.endswith(".read_pickle"):
                found.append(f"{node.lineno}: calls {called}")
            words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called in {"yaml.load", "yaml.load_all"} and words.get("Loader") not in SAFE_LOADERS:
                found.append(f"{node.lineno}: {called} with a loader that may run code")
            if words.get("shell", "False") != "False" or words.get("trust_remote_code", "False") != "False":
                found.append(f"{node.lineno}: {called} runs what a text says")
            allow = [keyword.value for keyword in node.keywords if keyword.arg == "allow_pickle"]
            if any(not (isinstance(value, ast.Constant) and value.value is False) for value in allow):
                found.append(f"{node.lineno}: {called} may unpickle")
    return found


def test_there_are_files_to_look_at() -> None:
    assert len(MODULES) > 60
    assert len(METHOD_FILES) > 30


@pytest.mark.parametrize(("lower", "above"), [("storage", {"tasks", "flows"}), ("tasks", {"flows"})])
def test_imports_run_one_way(lower: str, above: set[str]) -> None:
    wrong = {
        name_of(path): packages(path) & above for path in MODULES if name_of(path).startswith(f"{lower}/")
    }
    assert not {path: found for path, found in wrong.items() if found}


def test_import_linter_agrees() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", METHOD_FILES, ids=name_of)
def test_a_method_knows_neither_prefect_nor_storage_nor_flows(path: Path) -> None:
    assert not packages(path) & {"prefect", "storage", "flows"}


def test_prefect_appears_only_in_flows_and_in_the_one_way_a_stage_runs() -> None:
    users = {name_of(path) for path in MODULES if "prefect" in packages(path)}
    assert {user for user in users if not user.startswith("flows/")} == {"tasks/stage.py"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_ever_unpickled(path: Path) -> None:
    assert unpickles(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import dill",
        "torch.load(file)",
        "np.load(file, allow_pickle=True)",
        "np.load(file, allow_pickle=trusted)",
        "polars.read_pickle(file)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "load_dataset(name, trust_remote_code=True)",
    ],
)
def test_the_search_for_unpickling_finds_it(source: str) -> None:
    assert unpickles(source)


def under_prefect(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The functions of a file that are flows or tasks, with the names of their decorators."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
            if {"flow", "task", "prefect.flow", "prefect.task"} & set(names):
                yield f"{name_of(path)}: {node.name}", names


def test_what_flows_and_tasks_raise_is_redacted_before_prefect_keeps_it() -> None:
    found = dict(pair for path in MODULES for pair in under_prefect(path))
    assert len(found) > 8
    assert [name for name, decorators in found.items() if decorators[-1] != "discreet"] == []


@pytest.mark.parametrize(
    "module", ["tasks.config", "tasks.plan", "tasks.catalog", "flows.cli", "storage.query"]
)
def test_deciding_what_to_do_imports_nothing_heavy(module: str) -> None:
    script = f"import json, sys, {module}; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_no_file_of_the_product_names_a_place_on_somebodys_machine() -> None:
    home = re.compile(r"(?<![\w.:/])/(?:root|home|Users|work|mnt|opt|srv)/\w|[A-Z]:\\\\Users")
    suffixes = {".py", ".yaml", ".toml", ".md", ".html", ".css", ".txt", ".csv", ""}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("this copy is no git checkout, so what belongs to it is not known")
    files = [REPOSITORY / line for line in listed.stdout.splitlines()]
    texts = [path for path in files if path.suffix in suffixes and path.is_file() and path != Path(__file__)]
    assert len(texts) > 80
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:100]}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if home.search(line)
    ]
    assert found == []


def test_the_lock_has_exact_versions_and_no_addresses() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 100
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==\d[A-Za-z0-9.]*", line)] == []


def test_the_lock_satisfies_what_the_package_asks_for() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)
    }
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(r) for r in project["dependencies"] + project["optional-dependencies"]["dev"]]
    missing = [r.name for r in wanted if canonicalize_name(r.name) not in locked]
    assert missing == []
    assert [str(r) for r in wanted if not r.specifier.contains(locked[canonicalize_name(r.name)])] == []
