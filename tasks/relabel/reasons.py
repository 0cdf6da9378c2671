"""Sentences about decisions, built by columns: about three seconds for a million rows."""

from __future__ import annotations

import numpy as np
import polars as pl


def opinions(
    given: np.ndarray,
    p_given: np.ndarray,
    other: np.ndarray,
    p_other: np.ndarray,
    doubted: np.ndarray,
    ending: np.ndarray,
    class_names: tuple[str, ...],
) -> np.ndarray:
    """What the teachers say of each row, then its ending: (n,) object str.

    given, other: (n,) int class, -1 for none. p_given, p_other: (n,) float in 0..1. doubted: (n,)
    bool, whether `other` is to be named. ending: (n,) str.
    """
    named_given = pl.format("'{}' {}", "given", "p_given")
    named_other = pl.format("'{}' {}", "other", "p_other")
    frame = pl.DataFrame(
        {
            "given": class_name(given, class_names),
            "other": class_name(other, class_names),
            "p_given": decimals(p_given),
            "p_other": decimals(p_other),
            "doubted": doubted,
            "ending": pl.Series(ending.astype(object), dtype=pl.String),
        }
    )
    opinion = (
        pl.when(pl.col("given").is_null())
        .then(pl.format("no label was given and teachers give {}", named_other))
        .when("doubted")
        .then(pl.format("teachers give {} and the given {}", named_other, named_given))
        .otherwise(pl.format("teachers give the given {}", named_given))
    )
    return frame.select(pl.concat_str(opinion, "ending")).to_series().to_numpy()


def answers_doubted(
    least: np.ndarray,
    surest: np.ndarray,
    number: np.ndarray,
    worst: np.ndarray,
    p_worst: np.ndarray,
    was_given: np.ndarray,
    ending: np.ndarray,
    class_names: tuple[str, ...],
) -> np.ndarray:
    """What the teachers say of each row's set of classes, then its ending: (n,) object str.

    least: (n,) float, the least probability of a given answer, NaN where none was given; surest: that of
    the likelier answers. number: (n,) int, how many answers are doubted; of the one most in doubt worst: (n,)
    int class, p_worst: (n,) float, its probability, and was_given: (n,) bool. ending: (n,) str.
    """
    frame = pl.DataFrame(
        {
            "none": np.isnan(least),
            "least": decimals(np.nan_to_num(least)),
            "surest": decimals(surest),
            "more": number.astype(np.int64) - 1,
            "class": class_name(np.where(number > 0, worst, -1), class_names),
            "p": decimals(p_worst),
            "was": pl.Series(np.where(was_given, "given", "not given").astype(object), dtype=pl.String),
            "ending": pl.Series(ending.astype(object), dtype=pl.String),
        }
    )
    more = pl.when(pl.col("more") > 0).then(pl.format(", and doubt {} more", "more")).otherwise(pl.lit(""))
    opinion = (
        pl.when("none")
        .then(pl.format("no labels were given and teachers give each likelier answer {} or more", "surest"))
        .when(pl.col("class").is_not_null())
        .then(pl.format("teachers give '{}' {}, which was {}{}", "class", "p", "was", more))
        .otherwise(pl.format("teachers give each given answer {} or more", "least"))
    )
    return frame.select(pl.concat_str(opinion, "ending")).to_series().to_numpy()


def class_name(classes: np.ndarray, class_names: tuple[str, ...]) -> pl.Series:
    """Names of classes, null for -1."""
    index = pl.Series(classes, dtype=pl.Int64)
    return pl.Series(class_names, dtype=pl.String).gather(index.set(index < 0, None))


def decimals(p: np.ndarray) -> pl.Series:
    """Probabilities with three decimals, "0.981"."""
    thousandths = pl.Series(np.rint(p.astype(np.float64) * 1000).astype(np.int64))
    whole, rest = thousandths // 1000, thousandths % 1000
    return whole.cast(pl.String) + "." + rest.cast(pl.String).str.zfill(3)
