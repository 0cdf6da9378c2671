"""A release as `datasets` reads it. Run with: python -m pytest tests/tasks/export"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
datasets = pytest.importorskip("datasets")

from flows.cli import run_command  # noqa: E402
from storage.classes import extend  # noqa: E402
from storage.store import Store  # noqa: E402
from tasks.config import load  # noqa: E402
from tasks.export import files  # noqa: E402
from tasks.export.features import IMAGE, Column, in_card, schema_of  # noqa: E402
from tasks.export.tables import split_name  # noqa: E402
from tests.tasks.release.releases import ACTIONS, DRAWS, GONE, NIGHTS, TEST, commit, released, tables_of  # noqa: E402

ROWS = 256


@pytest.fixture(scope="module")
def curation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("digits"), rows=ROWS)


@pytest.fixture(scope="module")
def exported(curation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "digits"
    assert run_command(["export", str(curation), str(folder)]) == 0
    return folder


@pytest.fixture
def data(exported: Path, tmp_path: Path) -> Any:
    return datasets.load_dataset(str(exported), "curated", cache_dir=str(tmp_path))


def expected(*actions: str) -> list[str]:
    return [
        f"{row:04d}"
        for row in range(len(NIGHTS) * ROWS)
        if ACTIONS[row % 8] in actions and row % ROWS not in (TEST, GONE)
    ]


def test_load_dataset_reads_the_folder_as_it_is(data: Any) -> None:
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": len(expected("keep", "fix", "human")),
        "doubtful": len(expected("review", "soften")),
        "test": len(NIGHTS),
    }
    features = data["train"].features
    assert features["label"] == datasets.ClassLabel(names=[str(digit) for digit in range(10)])
    assert features["image"] == datasets.Image()
    assert features["soft_label"] == datasets.List(datasets.Value("float32"), length=10)


def test_without_a_name_the_curated_rows_are_loaded(exported: Path, tmp_path: Path) -> None:
    loaded = datasets.load_dataset(str(exported), split="train", cache_dir=str(tmp_path))
    assert loaded["id"][:] == expected("keep", "fix", "human")


def test_rows_come_with_their_labels_pictures_and_where_they_are_from(data: Any, curation: Path) -> None:
    tables = tables_of(0, ROWS)
    row = next(row for row in data["train"] if row["action"] == "fix")
    place = tables["rows"]["id"].to_pylist().index(row["id"])
    truth = tables["rows"]["truth"][place].as_py()
    assert (row["label"], row["given_label"], row["action"]) == (truth, (truth + 1) % 10, "fix")
    assert (row["partition"], row["source"], row["position"]) == (NIGHTS[0], "digits", place)
    assert np.argmax(row["soft_label"]) == truth
    assert sum(row["soft_label"]) == pytest.approx(1)
    with io.BytesIO(tables["rows"]["image"][place].as_py()) as file:
        from PIL import Image

        assert (np.asarray(row["image"]) == np.asarray(Image.open(file))).all()


def test_a_model_trained_on_the_export_reads_digits_it_never_saw(data: Any) -> None:
    """Logistic regression on the curated labels: of the 1,029 digits outside of the release, 88% are right
    or more (scikit-learn's on the same rows: 90%)."""
    import torch
    from sklearn.datasets import load_digits

    train = data["train"].with_format("torch")
    batch = train[:]
    x = torch.stack([image.float() for image in batch["image"]]).reshape(len(train), -1) / 255
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        loss = torch.nn.functional.cross_entropy(model(x), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, truth = load_digits(return_X_y=True)
    unseen = torch.tensor(images[len(NIGHTS) * ROWS :] / 16, dtype=torch.float32)
    right = model(unseen).argmax(1).numpy() == truth[len(NIGHTS) * ROWS :]
    assert right.mean() > 0.88


def test_views_and_the_distilled_set_are_configurations_of_their_own(exported: Path, tmp_path: Path) -> None:
    views = datasets.load_dataset(str(exported), "views", split="train", cache_dir=str(tmp_path))
    assert len(views) == len(NIGHTS) * ROWS * 7 // 8 * DRAWS
    first = views[0]
    assert first["transform"]["noise_seed"] is None
    assert first["probabilities"] == pytest.approx([0.7, 0.2, 0.0125], abs=1e-4)
    small = datasets.load_dataset(str(exported), "distilled", split="train", cache_dir=str(tmp_path))
    assert small["label"][:] == list(range(10))
    assert set(small["partition"]) == {NIGHTS[-1]}
    assert np.argmax(small["soft_label"], axis=1).tolist() == list(range(10))


def test_it_can_be_streamed(exported: Path) -> None:
    rows = datasets.load_dataset(str(exported), "curated", split="test", streaming=True)
    assert [row["id"] for row in rows] == [f"{night * ROWS + TEST:04d}" for night in range(3)]


def test_the_card_says_what_the_files_hold_and_leaves_the_licence_open(exported: Path) -> None:
    text = (exported / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert "license" not in front
    assert "# license:" in text
    for told in front["dataset_info"]:
        own = datasets.Features._from_yaml_list(told["features"])
        file = next((exported / told["config_name"]).glob("*.parquet"))
        assert own == datasets.Features.from_arrow_schema(pq.read_schema(file))
        for split in told["splits"]:
            paths = list((exported / told["config_name"]).glob(f"{split['name']}-*.parquet"))
            assert sum(pq.read_metadata(path).num_rows for path in paths) == split["num_examples"]
    assert "| given labels that are right | 37.50% |" in text
    assert "| curated labels that are right, doubtful ones left out | 100.00% |" in text
    assert "Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023" in text


def test_an_older_release_is_exported_as_it_was(curation: Path, tmp_path: Path) -> None:
    assert run_command(["export", str(curation), str(tmp_path / "old"), "--release", "1"]) == 0
    table = pq.read_table(tmp_path / "old" / "curated" / "train-00000.parquet")
    assert set(table["partition"].to_pylist()) == {NIGHTS[0]}
    assert "digits, release 1" in (tmp_path / "old" / "README.md").read_text()


def test_a_folder_that_holds_something_is_left_alone(
    curation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run_command(["export", str(curation), str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"winnow: {tmp_path} is there already, and is not overwritten; choose another folder\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(curation: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert run_command(["export", str(curation), str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "README.md").stat().st_mode & 0o044


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with files.new_folder(tmp_path / "out") as made:
            (made / "half").write_text("…")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_release_that_is_not_there_is_named(
    curation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["export", str(curation), str(tmp_path / "out"), "--release", "9"]) == 2
    assert "digits has no release 9; the newest is 3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_release_without_soft_labels_views_or_a_small_set_is_exported_too(tmp_path: Path) -> None:
    path = released(tmp_path, nights=())
    store = Store(load(path).store, "digits").open(create=True)
    extend(store, [str(digit) for digit in range(10)])
    commit(
        store,
        NIGHTS[0],
        {name: data for name, data in tables_of(0).items() if name in ("rows", "labels")},
    )
    assert run_command(["export", str(path), str(tmp_path / "out")]) == 0
    assert sorted(place.name for place in (tmp_path / "out").iterdir()) == ["README.md", "curated"]
    assert "soft_label" not in pq.read_schema(tmp_path / "out" / "curated" / "train-00000.parquet").names


def test_large_splits_are_dealt_into_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES", 80)
    rows = pa.table({"x": np.arange(40)})
    [split] = files.write(
        tmp_path / "t",
        [Column("x", pa.int64(), "")],
        (("a b/c", rows.slice(i, 10)) for i in range(0, 40, 10)),
    )
    names = sorted(path.name for path in (tmp_path / "t").iterdir())
    assert (split.name, split.rows) == ("a_b_c", 40)
    assert names == [f"a_b_c-{number:05d}.parquet" for number in range(4)]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), IMAGE, pa.list_(pa.float32(), 3), pa.list_(pa.string()), pa.struct([("a", pa.bool_())])],
    ids=str,
)
def test_a_column_means_the_same_in_the_file_and_in_the_card(kind: pa.DataType) -> None:
    columns = [Column("x", kind, "")]
    in_file = datasets.Features.from_arrow_schema(schema_of(columns))
    assert in_file == datasets.Features._from_yaml_list(in_card(columns))
    assert in_file.arrow_schema.field("x").type == kind


def test_a_split_gets_a_name_that_datasets_takes() -> None:
    assert [split_name(name) for name in ("train", "hold-out 2", "…")] == ["train", "hold_out_2", "unnamed"]
