"""One partition's report as one HTML file that needs nothing else.

No script, no font, no address: it opens from a disk years later, on a phone or a desktop, light or
dark. Charts are HTML and inline SVG drawn by macros, because those take their colours from the
page's theme and stay sharp; matplotlib's would need one picture a theme. Row ids, class names and
reasons come from somebody's data, so everything is escaped, and a content security policy forbids
scripts and requests even if an escape were missed. The same data give the same bytes.

Size: a page shows bounded numbers of classes, suspects and pictures whatever the partition holds.
"""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import Any

import numpy as np

from tasks.report import STAGES, Exemplars, LabelChange, ReportData, StudentResult
from tasks.report.comparison import MEANINGS

MATRIX_CLASSES = 15
"""Beyond this many classes the confusion matrix gives way to its largest entries."""

SHOWN = {"classes": 30, "pairs": 20, "suspects": 24, "rejections": 30, "exemplars": 50, "pictures": 20}
"""How many of each a page shows at most."""

NAME_LENGTH = 60


def render(data: ReportData) -> str:
    """The page, as the text of a UTF-8 HTML file."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    folder = files("tasks.report")
    environment = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "percent": percent,
        "chance": chance,
        "points": points,
        "signed": signed,
        "size": size,
        "seconds": seconds,
        "png": png,
        "bins": lambda bins: zip(bins.confidence, bins.accuracy, bins.count.tolist(), strict=True),
        "of_class": lambda label: shortened(data.class_names[label]) if label >= 0 else "none",
        "shortened": shortened,
    }
    style = Markup(folder.joinpath("page.css").read_text(encoding="utf-8"))
    return environment.get_template("page.html").render(
        data=data,
        style=style,
        shown=SHOWN,
        headline=headline(data),
        balance=balance(data.labels) if data.labels else [],
        pairs=pairs(data.labels) if data.labels else [],
        matrix=matrix(data.labels) if data.labels else None,
        dots=dots(data.student) if data.student else None,
        distilled=shortest(data.distilled),
        compared=[
            (figure.name, formatted(figure.value, figure.unit), MEANINGS[figure.name])
            for figure in data.figures
            if figure.name in MEANINGS
        ],
        costs=[next((c for c in data.stages if c.stage == stage), stage) for stage in STAGES],
        figures=[(figure, formatted(figure.value, figure.unit)) for figure in data.figures],
    )


def headline(data: ReportData) -> list[tuple[str, str, str]]:
    """The few figures that most readers came for: (what, value, in comparison)."""
    value = {figure.name: figure.value for figure in data.figures}
    rejected = sum(rejection.count for rejection in data.arrival.rejections)
    tiles = [("Rows kept", f"{data.arrival.rows:,}", f"{rejected:,} rejected")]
    if data.labels:
        moved = data.labels.moved
        if moved is None:
            moved = int(data.labels.confusion.sum() - np.trace(data.labels.confusion))
        dropped = data.labels.actions.get("drop", 0)
        queued = data.labels.actions.get("review", 0)
        tiles.append(("Labels changed", f"{moved:,}", f"{dropped:,} dropped, {queued:,} for review"))
    for what, name in (
        ("Label accuracy", "label_accuracy"),
        ("Student accuracy", "accuracy"),
        ("Student F1", "f1"),
    ):
        before, after = value.get(f"{name}_given"), value.get(f"{name}_curated")
        if before is not None and after is not None:
            tiles.append((what, percent(after), f"{points(after - before)} from {percent(before)}"))
    return tiles


def balance(labels: LabelChange) -> list[tuple[int, int, int, float, float]]:
    """Classes as (class, given, curated, bar given, bar curated), bars in 0..100.

    All of them in order, or else those that changed most.
    """
    given, curated = labels.given, labels.curated
    index = np.arange(len(given))
    if len(index) > SHOWN["classes"]:
        index = np.argsort(-np.abs(curated - given), kind="stable")[: SHOWN["classes"]]
    longest = max(int(np.max([given[index], curated[index]], initial=0)), 1)
    return [
        (int(c), int(g), int(d), 100 * int(g) / longest, 100 * int(d) / longest)
        for c, g, d in zip(index, given[index], curated[index], strict=True)
    ]


def pairs(labels: LabelChange) -> list[tuple[int, int, int]]:
    """The most frequent changes as (given, curated, rows), most first, ties by class."""
    changed = labels.confusion - np.diag(np.diag(labels.confusion))
    given, curated = np.nonzero(changed)
    counts = changed[given, curated]
    top = np.argsort(-counts, kind="stable")[: SHOWN["pairs"]]
    return [(int(given[i]), int(curated[i]), int(counts[i])) for i in top]


def matrix(labels: LabelChange) -> list[list[tuple[int, float]]] | None:
    """Each cell as (rows, tint in 0..1) relative to the largest change; None with too many classes."""
    confusion = labels.confusion
    if not 0 < len(confusion) <= MATRIX_CLASSES:
        return None
    largest = max(int((confusion - np.diag(np.diag(confusion))).max()), 1)
    return [[(int(n), min(int(n) / largest, 1.0)) for n in row] for row in confusion]


def dots(student: StudentResult) -> dict[str, Any] | None:
    """Seeds and means of each arm, placed on a scale of round numbers that fits them, in 0..100."""
    measured = {
        arm: np.asarray(v, float) for arm, v in student.arms.items() if len(v) and np.isfinite(v).all()
    }
    if not measured:
        return None
    everything = np.concatenate(list(measured.values()))
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if np.ptp(everything) <= 4 * s or s == 0.2)
    low = max(np.floor(everything.min() / step - 1e-9) * step, 0.0)
    high = min(np.ceil(everything.max() / step + 1e-9) * step, 1.0)

    def place(value: float) -> float:
        return float(100 * (value - low) / (high - low))

    ticks = np.arange(round(low / step), round(high / step) + 1) * step
    means = {arm: float(v.mean()) for arm, v in measured.items()}
    return {
        "arms": [
            (arm, means[arm], place(means[arm]), [(float(s), place(s)) for s in v])
            for arm, v in measured.items()
        ],
        "ticks": [(f"{100 * tick:.1f}".removesuffix(".0") + "%", place(tick)) for tick in ticks],
        "gain": points(means["curated"] - means["given"]) if {"given", "curated"} <= means.keys() else "",
    }


def shortest(distilled: tuple[Exemplars, ...]) -> list[Exemplars]:
    """What fits on a page of the distilled set."""
    most = SHOWN["pictures"]
    return [
        Exemplars(e.label, e.pictures[:most], e.summaries[:most]) for e in distilled[: SHOWN["exemplars"]]
    ]


def formatted(value: float, unit: str) -> str:
    """A value as its unit is read: 0.958 of unit share is 95.80%."""
    if unit == "share":
        return f"{100 * value:.2f}%"
    if unit == "bytes":
        return size(int(value))
    return f"{value:,.0f}" if unit == "rows" else f"{value:.4g}"


def shortened(name: str) -> str:
    """A class name that leaves room for the rest of a table."""
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"


def percent(share: float) -> str:
    """A share as a percentage. What only rounds to none or to all does not look like it."""
    shown = f"{100 * share:.1f}%"
    if shown == "0.0%" and share > 0:
        return "<0.1%"
    return ">99.9%" if shown == "100.0%" and share < 1 else shown


def chance(probability: float) -> str:
    """An estimated probability as a percentage: never none or all, though what stores it rounds to them."""
    return percent(min(max(probability, 1e-6), 1 - 1e-6))


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{signed(round(100 * difference, 1))} points"


def signed(difference: float) -> str:
    """With a sign as wide as a digit; nothing before 0."""
    return f"{difference:+}".replace("-", "−") if difference else "0"


def size(n: int) -> str:
    """Bytes in decimal units, three significant digits: 1,234,567 -> 1.23 MB."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    exponent = int(f"{n:.2e}".partition("e")[2])  # after rounding, so that 999,999 is 1 MB
    power = min(exponent // 3, len(units) - 1)
    return f"{n / 1000**power:.3g} {units[power]}"


def seconds(duration: float) -> str:
    """0.8 s, 12.4 s, 3 min 20 s, 2 h 5 min."""
    if duration < 59.95:
        return f"{duration:.1f} s"
    whole = round(duration)
    minutes, hours = whole // 60, whole // 3600
    return f"{minutes} min {whole % 60} s" if not hours else f"{hours} h {minutes % 60} min"


def png(picture: bytes) -> str:
    """A data URI, which needs no file beside the page."""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
