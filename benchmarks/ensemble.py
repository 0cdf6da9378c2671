"""CIFAR-10N: five teachers weighed by the noisy labels, errors found and labels mended, cleanlab beside it.

The curation is `curations/cifar10n_stacked.yaml`. No constant of it was chosen on this data set's truth:

- `VOLUME` = 0.01: the largest weight on the noise matrix's volume at which the matrix stays regular; it
  was chosen on scikit-learn's digits with 30% of the labels moved to the next class, as below;
- `PRIOR` = 10 rows: what a prior commonly is worth;
- `predicted_neq_given` and `fix_at: 0`: a label is doubted where another class is likelier, and replaced by
  the likeliest; there is nothing to choose.

The same constants serve digits with 8% planted noise, whose figures stand below. Peers: cleanlab's
default flags and self-confidence on the mean of the teachers and on the best of them, which nobody knows
without the truth.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import yaml
from rich.progress import Progress

from benchmarks._chain import CURATIONS, run_chain
from benchmarks._cifar10n import TEACHERS, Curated, curated
from benchmarks.figures import Figure
from storage.store import Store
from tasks import noise_matrix
from tasks.data import SoftLabels

BEST = "swin_base_patch4_window7_224"


def run(progress: Progress) -> list[Figure]:
    task = progress.add_task("noise matrices on digits", total=2)
    with curated("cifar10n_stacked", progress) as found:
        figures = [*stacked(found), *peers(found)]
    progress.advance(task)
    figures += [*on_digits(progress), *volumes()]
    progress.advance(task)
    return figures


def stacked(found: Curated) -> list[Figure]:
    """The chain's own figures, and each teacher's weight."""
    soft, truth = found.opinion("stacked"), found.truth
    issues, decided = found.issues("confident_learning"), found.decisions()
    partition = found.store.refs("rows")[0].partition
    (place,) = [name for name in found.store.states(f"{partition}/teach-") if name.endswith("-ensemble")]
    state = found.store.load_state(*place.split("/"))
    assert state is not None
    arrays, info = state
    weights = dict(zip(info["names"], arrays["weights"], strict=True))
    accuracy = float((decided.label == truth).mean())
    return [
        Figure("argmax accuracy of stacked", float((soft.classes[:, 0] == truth).mean()), "", "≥ 0.983"),
        Figure("average precision of detection", precision(issues.score, soft, truth), "", "≥ 0.977"),
        Figure("label accuracy given", float((soft.labels == truth).mean())),
        Figure("label accuracy after relabelling", accuracy, "", "≥ 0.982"),
        *(Figure(f"weight of {name}", float(weights[name])) for name in TEACHERS),
        Figure("temperature", info["temperature"]),
        Figure(
            "mean share of labels kept, by the noise matrix", float(np.diag(arrays["noise_matrix"]).mean())
        ),
    ]


def precision(quality: np.ndarray, soft: SoftLabels, truth: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(soft.labels != truth, -quality))


def peers(found: Curated) -> list[Figure]:
    """cleanlab's defaults on the same stored probabilities."""
    import cleanlab
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    peer, truth, figures = f"cleanlab {cleanlab.__version__}", found.truth, []
    teachers = [found.opinion(name).pred_probs() for name in TEACHERS]
    for name, probs in (("the mean", np.mean(teachers, axis=0)), (BEST, teachers[TEACHERS.index(BEST)])):
        soft = found.opinion(BEST)
        flags = find_label_issues(soft.labels, probs, n_jobs=1)
        quality = get_label_quality_scores(soft.labels, probs)
        mended = np.where(flags, probs.argmax(axis=1), soft.labels)
        values = {
            "argmax accuracy": float((probs.argmax(axis=1) == truth).mean()),
            "average precision": precision(quality, soft, truth),
            "label accuracy after replacing what is flagged": float((mended == truth).mean()),
        }
        figures += [Figure(f"{name}: {what}", value, "", None, peer) for what, value in values.items()]
    return figures


def on_digits(progress: Progress) -> list[Figure]:
    """The same ensemble, flags and thresholds on digits."""
    raw = yaml.safe_load((CURATIONS / "digits.yaml").read_text())
    stacked = yaml.safe_load((CURATIONS / "cifar10n_stacked.yaml").read_text())
    raw["teach"]["ensemble"] = stacked["teach"]["ensemble"]
    raw |= {key: stacked[key] for key in ("detect", "relabel")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.yaml"
        path.write_text(yaml.safe_dump(raw))
        from tasks.config import load

        last = load(path).source.partitions()
        run_chain(path, last, Path(folder) / "store", progress)
        store = Store(str(Path(folder) / "store"), raw["dataset"])
        truth = store.read(store.refs("rows"), ["truth"])["truth"].to_numpy()
        labels = store.read(store.refs("labels"), ["given", "label"])
    given, label = (labels[name].fill_null(-1).to_numpy() for name in ("given", "label"))
    return [
        Figure("digits: label accuracy given", float((given == truth).mean())),
        Figure("digits: label accuracy after relabelling", float((label == truth).mean())),
    ]


def volumes() -> list[Figure]:
    """How far the noise matrix is from the one that was planted, by the weight of its volume: digits, 30%
    of the labels moved to the next class, out-of-fold logistic regression."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    x, truth = load_digits(return_X_y=True)
    moved = np.random.default_rng(0).random(len(truth)) < 0.3
    labels = np.where(moved, (truth + 1) % 10, truth)
    model = LogisticRegression(C=0.01, max_iter=500)
    log_probs = np.log(np.maximum(cross_val_predict(model, x, labels, cv=5, method="predict_proba"), 1e-6))
    planted = 0.7 * np.eye(10) + 0.3 * np.roll(np.eye(10), 1, axis=1)
    figures, chosen = [], noise_matrix.VOLUME
    for volume in (0.0, 1e-3, chosen, 1e-1):
        noise_matrix.VOLUME = volume
        try:
            matrix = noise_matrix.fit(log_probs[None], labels).noise_matrix
        finally:
            noise_matrix.VOLUME = chosen
        error = float(np.abs(matrix - planted).sum() / planted.sum())
        figures.append(Figure(f"digits: relative error of the noise matrix, volume {volume:g}", error))
    return figures
