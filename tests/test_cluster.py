"""docs/cluster.md and its templates, executed. Run: python -m pytest tests/test_cluster.py"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect
import pytest
import yaml
from packaging.requirements import Requirement

from storage import query
from storage.store import Store
from tasks.config import load
from tests.conftest import REPOSITORY, Finished

PAGE = (REPOSITORY / "docs" / "cluster.md").read_text(encoding="utf-8")
FOLDER = REPOSITORY / "docs" / "cluster"
POOLS = {"process": "prefect", "docker": "prefect-docker", "kubernetes": "prefect-kubernetes"}
NIGHT = "2026-01-01"


def blocks(role: str) -> list[str]:
    return re.findall(rf"^<!-- test: {role} -->\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def template(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{kind}-pool.json").read_text(encoding="utf-8"))
    return found


def known_to_prefect(kind: str) -> dict[str, Any]:
    """The template that Prefect would take by itself: which keys a worker of that type understands."""
    views = Path(prefect.__file__).parent / "server" / "api" / "collections_data" / "views"
    metadata = json.loads((views / "aggregate-worker-metadata.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = metadata[POOLS[kind]][kind]["default_base_job_configuration"]
    return found


@pytest.mark.parametrize("kind", POOLS)
def test_a_template_fills_every_blank_and_leaves_no_variable_over(kind: str) -> None:
    found = template(kind)
    blanks = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(found["job_configuration"])))
    assert blanks == set(found["variables"]["properties"])


@pytest.mark.parametrize("kind", POOLS)
def test_a_template_says_nothing_that_its_type_of_worker_does_not_know(kind: str) -> None:
    assert set(template(kind)["job_configuration"]) <= set(known_to_prefect(kind)["job_configuration"])


@pytest.mark.parametrize("kind", POOLS)
def test_defaults_have_the_type_that_they_declare(kind: str) -> None:
    types = {"string": str, "object": dict, "array": list, "boolean": bool, "integer": int}
    for name, variable in template(kind)["variables"]["properties"].items():
        if "default" in variable:
            assert type(variable["default"]) is types[variable["type"]], name
        assert variable.get("default") in variable.get("enum", [variable.get("default")]), name


def test_manifests_are_complete_and_name_the_same_things() -> None:
    worker = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")))
    (ray,) = yaml.safe_load_all((FOLDER / "raycluster.yaml").read_text(encoding="utf-8"))
    assert all({"apiVersion", "kind", "metadata"} <= manifest.keys() for manifest in [*worker, ray])
    kinds = {manifest["kind"]: manifest for manifest in worker}
    assert list(kinds) == ["Namespace", "ServiceAccount", "Role", "RoleBinding", "Deployment"]
    variables = template("kubernetes")["variables"]["properties"]
    assert variables["namespace"]["default"] == kinds["Namespace"]["metadata"]["name"]
    assert variables["service_account_name"]["default"] == kinds["ServiceAccount"]["metadata"]["name"]
    groups = [ray["spec"]["headGroupSpec"], *ray["spec"]["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    secrets = {container["envFrom"][0]["secretRef"]["name"] for container in containers}
    assert secrets == {variables["secret"]["default"]}
    assert {container["image"] for container in containers} == {variables["image"]["default"]}


def test_the_cluster_runs_a_ray_that_the_extra_takes() -> None:
    (ray,) = yaml.safe_load_all((FOLDER / "raycluster.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {found.name: found for found in map(Requirement, project["optional-dependencies"]["ray"])}
    assert wanted["ray"].specifier.contains(ray["spec"]["rayVersion"])


@pytest.mark.slow
def test_prefect_takes_the_templates(prefect_api: str) -> None:
    (commands,) = blocks("pools")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"Created work pool", done.stdout)) == 3


@pytest.mark.slow
def test_other_readers_see_what_winnow_sees(
    tmp_path: Path, prefect_api: str, digits_yaml: Callable[..., Path], winnow: Callable[..., Finished]
) -> None:
    """Polars, DataFusion and DuckDB by themselves, as the page has it, against `winnow sql`."""
    path = digits_yaml(tmp_path, reinforce=None, distill=None)
    done = winnow("run", path, "--partition", NIGHT)
    assert done.code == 0, done.err
    told = (
        "kept.sort('id').rows()",
        "likely.filter(teacher='mean').sort('id').rows()",
        "pl.DataFrame(by_datafusion).rows()",
        "by_duckdb",
    )
    report = f"import json; print(json.dumps([{', '.join(told)}]))"
    read = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks("python"), report])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert read.returncode == 0, read.stderr
    kept, likely, by_datafusion, by_duckdb = json.loads(read.stdout)
    curation = load(path)
    with query.connect(Store(curation.store, curation.dataset)) as connection:

        def rows(sql: str) -> list[list[Any]]:
            return [list(row.values()) for row in query.select(connection, sql).to_pylist()]

        expected = rows("SELECT action, count(*) FROM labels GROUP BY action ORDER BY action")
        labels = rows(
            "SELECT partition, id, label, confidence FROM labels WHERE action != 'drop' ORDER BY id"
        )
        soft = rows("SELECT id, teacher, p[1] FROM soft_labels WHERE teacher = 'mean' ORDER BY id")
    assert by_datafusion == by_duckdb == expected
    assert kept == labels
    assert [row[:2] for row in likely] == [row[:2] for row in soft]
    assert [row[2] for row in likely] == pytest.approx([row[2] for row in soft], abs=1e-6)
