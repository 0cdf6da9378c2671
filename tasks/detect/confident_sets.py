"""Confident learning's fit and apply where rows have sets of classes: `per_class` on tables' shards.

The state has a row of cuts a class, and of the window's rows only those that are equal at one and flagged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import Issues, Labelled, SoftLabels, State
from tasks.detect import Window, dense
from tasks.detect.blocks import spans
from tasks.detect.confident_learning import TIED, is_in
from tasks.detect.cuts import NO_ROWS, PRUNING, Cuts
from tasks.detect.per_class import Answered, SetCuts, doubted, find_sets, qualities, score_of

if TYPE_CHECKING:
    from tasks.detect.confident_learning import ConfidentLearning


def fit(detector: ConfidentLearning, window: Window) -> State:
    """The window's cuts, class by class; see `SetCuts.arrays`. In `info`: `tied`, for each of "margin",
    "given" and "score" the ids of rows that are equal at a cut and flagged, by class (of "score", whose cut
    is one for all, under the key "rows"); `rows` (labelled), `refusals` (one a class) and `notes`."""
    n, counts = 0, np.zeros(window.n_classes, dtype=np.int64)
    for given, _ in answered(window):
        n, counts = n + len(given), counts + given.sum(axis=0, dtype=np.int64)
    cuts = find_sets(
        lambda: answered(window),
        n,
        window.n_classes,
        detector.filter_by,
        detector.frac_noise,
        detector.min_examples_per_class,
    )
    refusals = [of_class.refusal for of_class in cuts.classes]
    info = {"tied": tied_ids(cuts, window), "rows": n, "refusals": refusals}
    return State(cuts.arrays(), info | {"notes": notes(detector, counts, n)})


def notes(detector: ConfidentLearning, counts: np.ndarray, n: int) -> list[str]:
    """Sentences on classes that cannot be judged. counts: (k,) of the n labelled rows have each class."""
    if not n:
        return [f"no label was flagged among the window's 0 labelled rows: {NO_ROWS}"]
    fewer = np.minimum(counts, n - counts)
    few = max(detector.min_examples_per_class, 1) if detector.filter_by in PRUNING else 0
    rare = np.flatnonzero(fewer <= few)
    if not len(rare):
        return []
    return [f"too few labelled rows have, or lack, class {', '.join(map(str, rare))} to flag any for it"]


def tied_ids(cuts: SetCuts, window: Window) -> dict[str, dict[str, list[str]]]:
    """What `info["tied"]` holds; one more reading of the window where there is any."""
    places = [(name, str(j), found) for j, of in enumerate(cuts.classes) for name, found in tied_of(of)]
    places.append(("score", "rows", cuts.tied_score))
    wanted = np.unique(np.concatenate([found for _, _, found in places]))
    ids = dense.ids_at(window, wanted)
    tied: dict[str, dict[str, list[str]]] = {name: {} for name in TIED}
    for name, key, found in places:
        if len(found):
            tied[name][key] = ids[np.searchsorted(wanted, np.sort(found))].tolist()
    return tied


def tied_of(cuts: Cuts) -> Iterator[tuple[str, np.ndarray]]:
    return zip(TIED, cuts.tied, strict=True)


def apply(detector: ConfidentLearning, shard: Labelled, state: State) -> Issues:
    """Scores (n,), low is bad; the suggestion is the flagged class whose given answer is the least probable,
    to be added where it was not given and taken away where it was; p_error = 1 - p(that answer given)."""
    n = len(shard)
    score, p_error = np.ones(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
    is_issue, suggested = np.zeros(n, dtype=bool), np.full(n, -1, dtype=np.int32)
    doubts = doubted_by(detector, shard, state)
    for span in spans(n, 2 * max(shard.soft.n_classes, 1)):
        known = np.flatnonzero(shard.labels[span] >= 0) + span.start
        given, weights = of_rows(shard, known)
        confidence = qualities(given, weights)
        score[known] = score_of(qualities(given, weights, detector.score))
        p_error[known] = np.clip(1 - confidence.min(axis=1), 0, 1)
        worst = np.where(doubts[known], confidence, np.inf).argmin(axis=1)
        is_issue[known] = some = doubts[known].any(axis=1)
        suggested[known[some]] = worst[some]
    return Issues(shard.ids, score, is_issue, suggested, p_error, doubts)


def doubted_by(detector: ConfidentLearning, shard: Labelled, state: State) -> np.ndarray:
    """Which answers are flagged, (n, k) bool; none of a row without labels."""
    found = np.zeros((len(shard), shard.soft.n_classes), dtype=bool)
    cuts = SetCuts.from_arrays(state.arrays, detector.filter_by, state.info["refusals"])
    known, tied = np.flatnonzero(shard.labels >= 0), state.info["tied"]
    ids = shard.ids[known]
    by_class = {
        int(key): np.stack([is_in(ids, tied[name].get(key, [])) for name in TIED])
        for key in sorted({key for name in TIED for key in tied[name]} - {"rows"})
    }
    tied_score = is_in(ids, tied["score"].get("rows", []))
    if len(known):
        found[known] = doubted(cuts, *of_rows(shard, known), by_class, tied_score)
    return found


def answered(window: Window) -> Iterator[Answered]:
    """The window's labelled rows."""
    for shard in window:
        known = np.flatnonzero(shard.labels >= 0)
        if len(known):
            yield of_rows(shard, known)


def of_rows(shard: Labelled, rows: np.ndarray) -> Answered:
    """Given answers and stored weights of some rows, class by class in the vocabulary's order."""
    assert shard.given is not None
    return shard.given[rows], weights(shard.soft.take(rows))


def weights(soft: SoftLabels) -> np.ndarray:
    """(n, k) int16, as stored but in the order of the classes."""
    ordered = np.zeros((len(soft), soft.n_classes), dtype=np.int16)
    np.put_along_axis(ordered, soft.classes, soft.weights, axis=1)
    return ordered
