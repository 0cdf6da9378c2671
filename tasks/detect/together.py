"""A curation's detectors on the same rows: those that look at rows first, then those that weigh them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window


def judges(detectors: Sequence[Detector]) -> list[int]:
    """The numbers of the detectors that look at rows."""
    return [number for number, detector in enumerate(detectors) if not detector.combines]


def weighers(detectors: Sequence[Detector]) -> list[int]:
    """The numbers of those that look at what the others found."""
    return [number for number, detector in enumerate(detectors) if detector.combines]


def decisive(detectors: Sequence[Detector]) -> list[int]:
    """The numbers of those that labels are judged by: who weighs the others, or else all."""
    return weighers(detectors) or judges(detectors)


def with_findings(
    detectors: Sequence[Detector], states: Sequence[State], windows: Sequence[Window], shard: Labelled
) -> Labelled:
    """The shard with what the judges find on it; `states` and `windows` are theirs, by number."""
    numbers = judges(detectors)
    found = [detectors[number].apply(shard, states[number], windows[number]) for number in numbers]
    return replace(shard, findings=tuple(found))


def find(
    detectors: Sequence[Detector], states: Sequence[State], windows: Sequence[Window], shard: Labelled
) -> list[Issues]:
    """Every detector's findings on a shard, in their order."""
    shard = with_findings(detectors, states, windows, shard)
    found = dict(zip(judges(detectors), shard.findings, strict=True))
    for number in weighers(detectors):
        found[number] = detectors[number].apply(shard, states[number], windows[number])
    return [found[number] for number in range(len(detectors))]


def fit(detectors: Sequence[Detector], window: Window) -> list[State]:
    """Fit all on a window, which reads what any of them reads."""
    numbers = judges(detectors)
    states = {number: detectors[number].fit(window) for number in numbers}
    judging, known = [detectors[number] for number in numbers], list(states.values())

    def people() -> Labelled:
        return with_findings(judging, known, [window] * len(judging), window.people())

    for number in weighers(detectors):
        states[number] = detectors[number].fit(replace(window, people=people))
    return [states[number] for number in range(len(detectors))]
