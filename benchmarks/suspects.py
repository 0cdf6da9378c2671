"""Fashion-MNIST as it is, nothing planted: the fifty rows most likely wrong, as a picture in the documents.

The curation is `curations/fashion_mnist.yaml` without its noise, as one night, with every detector that
pictures allow and without anybody's decisions. Nobody knows the truth of this data set, so there is no
figure to hold it to: docs/detect.md says how many of the fifty seem wrong to a person who looked.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import yaml
from PIL import Image, ImageDraw
from rich.progress import Progress

from benchmarks._chain import CURATIONS, REPOSITORY, run_chain
from benchmarks._data import DATA
from benchmarks.figures import Figure
from storage.store import Store
from tasks.data import ints_or_minus_one

SHOWN, A_ROW, SCALE, CAPTION = 50, 10, 3, 26
NAMES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
PICTURE = REPOSITORY / "docs" / "images" / "fashion_mnist_suspects.png"


def run(progress: Progress) -> list[Figure]:
    raw = yaml.safe_load(
        (CURATIONS / "fashion_mnist.yaml").read_text().replace("../../shared/data", str(DATA))
    )
    for key in ("planted_noise", "days", "start"):
        del raw["source"][key]
    raw["source"]["partition"] = "train"
    raw["detect"] = [{"kind": "confident_learning"}, {"kind": "training_dynamics"}, {"kind": "combined"}]
    for stage in ("reinforce", "distill", "gates"):
        del raw[stage]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fashion_mnist.yaml"
        path.write_text(yaml.safe_dump(raw))
        chain = run_chain(path, ["train"], Path(folder) / "store", progress)
        store = Store(str(Path(folder) / "store"), raw["dataset"])
        rows = store.read(store.refs("rows"), ["label", "image"])
        issues = store.read(store.refs("issues"))
    combined = issues.filter(pc.equal(issues["detector"], "combined"))
    p_error = combined["p_error"].to_numpy()
    worst = np.argsort(-p_error, kind="stable")[:SHOWN]
    given = ints_or_minus_one(rows["label"])[worst]
    suggested = ints_or_minus_one(combined["suggested_label"])[worst]
    draw(rows["image"].take(worst).to_pylist(), given, suggested)
    flagged = combined["is_issue"].to_numpy(zero_copy_only=False)
    return [
        Figure("rows", len(p_error), "rows", "= 60000"),
        Figure("share flagged", float(flagged.mean())),
        Figure("P(error) of the fiftieth", float(p_error[worst[-1]])),
        Figure(
            "of the fifty, shirts called something else, or the other way round",
            int(np.sum((given == 6) | (suggested == 6))),
        ),
        Figure("minutes", chain.seconds / 60, "minutes"),
    ]


def draw(pictures: list[bytes], given: np.ndarray, suggested: np.ndarray) -> None:
    """A sheet of pictures, the given label above the suggested one below each."""
    side = 28 * SCALE
    cell = side + CAPTION
    rows = -(-len(pictures) // A_ROW)
    sheet = Image.new("L", (A_ROW * (side + 8), rows * (cell + 8)), 255)
    pen = ImageDraw.Draw(sheet)
    for number, (encoded, label, better) in enumerate(zip(pictures, given, suggested, strict=True)):
        x, y = number % A_ROW * (side + 8) + 4, number // A_ROW * (cell + 8) + 4
        picture = Image.open(io.BytesIO(encoded)).convert("L").resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(picture, (x, y))
        pen.text((x, y + side), NAMES[label], fill=0)
        pen.text((x, y + side + 12), f"or {NAMES[better]}?", fill=96)
    sheet.save(PICTURE, optimize=True)
