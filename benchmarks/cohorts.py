"""Cohort finder: how often noise is reported as harm, and how often harm is found.

    python benchmarks/cohorts.py [--repeats 200] [--rows 1000] [--only null|planted|ratings]

Tables of 1,000 rows with 11 text-like counts, a number, a boolean, a date and two columns of categories. `null`:
what is wrong has nothing to do with the columns. `planted`: a cohort of 8% of the rows is right 25 points less often
than the rest. It counts as found when a confirmed cohort shares with it at least half of the rows of both (Jaccard
index).

Next to it stands a finder as people write it first: a decision tree of depth 3 grown on all rows, whose worst leaf is
reported where Fisher's exact test on the same rows is below .05.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy
from sklearn.tree import DecisionTreeClassifier

from luthier.evaluation.cohorts import find_cohorts, meets

Mask = npt.NDArray[np.bool_]
PLANTED_SHARE = 0.08
POINTS = 0.25


def table(generator: np.random.Generator, rows: int) -> pd.DataFrame:
    """Columns as a table of reviews has them: skewed counts that go together, and the user's own."""
    characters = generator.lognormal(6.2, 0.8, rows).astype(int)
    columns: dict[str, object] = {"characters": characters, "words": characters // 5 + generator.integers(0, 9, rows)}
    for name, per_thousand in (
        ("sentences", 12.0),
        ("exclamation_marks", 2.0),
        ("question_marks", 0.4),
        ("digits", 3.0),
        ("negations", 3.0),
        ("links", 0.05),
        ("emoji", 0.3),
    ):
        columns[name] = generator.poisson(characters * per_thousand / 1000)
    columns["capitals_permille"] = (1000 * generator.beta(2, 30, rows)).astype(int)
    columns["non_ascii_permille"] = (1000 * generator.beta(0.3, 20, rows)).astype(int)
    columns["age"] = generator.integers(18, 90, rows).astype(float)
    columns["member"] = generator.random(rows) < 0.4
    columns["date"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(generator.integers(0, 300, rows), unit="D")
    columns["region"] = generator.choice(["north", "south", "east", "west"], rows, p=[0.28, 0.32, 0.25, 0.15])
    columns["product"] = generator.choice([f"p{k}" for k in range(12)], rows)
    return pd.DataFrame(columns)


def by_category(data: pd.DataFrame, generator: np.random.Generator) -> Mask:
    """A value of its own in one column: 8% of the rows become `product = p-new`."""
    chosen = np.zeros(len(data), dtype=bool)
    chosen[generator.choice(len(data), round(PLANTED_SHARE * len(data)), replace=False)] = True
    data.loc[chosen, "product"] = "p-new"
    return chosen


def by_threshold(data: pd.DataFrame, generator: np.random.Generator) -> Mask:
    """The 8% with the most of a count; ties may make it a little more or less."""
    return (data["characters"] > data["characters"].quantile(1 - PLANTED_SHARE)).to_numpy()


def by_two(data: pd.DataFrame, generator: np.random.Generator) -> Mask:
    """One region and the oldest of it: 28% of the rows and 28.6% of these."""
    region = (data["region"] == "north").to_numpy()
    edge = data["age"][region].quantile(1 - PLANTED_SHARE / region.mean())
    return region & (data["age"] > edge).to_numpy()


PLANTS: dict[str, Callable[[pd.DataFrame, np.random.Generator], Mask]] = {
    "category": by_category,
    "threshold": by_threshold,
    "two filters": by_two,
}


def naive(data: pd.DataFrame, wrong: Mask) -> tuple[float, Mask]:
    """Fisher's p-value and the rows of the worst leaf of a decision tree, found and tested on the same rows."""
    plain = pd.get_dummies(data.assign(date=data["date"].astype("int64")), dtype=float)
    tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=40, random_state=0).fit(plain, wrong)
    leaves = tree.apply(plain)
    worst = max(np.unique(leaves), key=lambda leaf: wrong[leaves == leaf].mean())
    rows = leaves == worst
    p = float(scipy.stats.hypergeom.sf(wrong[rows].sum() - 1, len(wrong), wrong.sum(), rows.sum()))
    return p, rows


def jaccard(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def null(repeats: int, rows: int) -> None:
    for accuracy in (0.6, 0.75, 0.9):
        ours = theirs = 0
        for seed in range(repeats):
            generator = np.random.default_rng(seed)
            data = table(generator, rows)
            wrong = generator.random(rows) > accuracy
            ours += bool(find_cohorts(data, wrong, seed=seed).confirmed)
            theirs += naive(data, wrong)[0] < 0.05
        print(
            f"null           accuracy {accuracy:.2f}  reports harm: find_cohorts {ours}/{repeats}, "
            f"worst leaf {theirs}/{repeats}",
            flush=True,
        )


def planted(repeats: int, rows: int) -> None:
    for name, plant in PLANTS.items():
        for accuracy in (0.6, 0.75, 0.8, 0.9):
            found = elsewhere = theirs = 0
            for seed in range(repeats):
                generator = np.random.default_rng(seed)
                data = table(generator, rows)
                truth = plant(data, generator)
                wrong = generator.random(rows) > accuracy - POINTS * truth
                confirmed = [meets(data, one.filters) for one in find_cohorts(data, wrong, seed=seed).confirmed]
                hits = [jaccard(truth, mask) >= 0.5 for mask in confirmed]
                found += any(hits)
                elsewhere += any((mask & truth).sum() / mask.sum() <= 2 * PLANTED_SHARE for mask in confirmed)
                p, leaf = naive(data, wrong)
                theirs += p < 0.05 and jaccard(truth, leaf) >= 0.5
            print(
                f"{name:<14} accuracy {accuracy:.2f}  found: find_cohorts {found}/{repeats} (a cohort that is not the "
                f"planted one as well: {elsewhere}), worst leaf {theirs}/{repeats}",
                flush=True,
            )


def ratings(repeats: int, rows: int) -> None:
    """Stars that are off by one in 35 of 100 rows; in the planted cohort as many are wrong, but by three."""
    for what in ("null", "planted"):
        by_error = by_distance = 0
        for seed in range(repeats):
            generator = np.random.default_rng(seed)
            data = table(generator, rows)
            truth = by_category(data, generator)
            far = truth if what == "planted" else np.zeros(rows, dtype=bool)
            distance = (generator.random(rows) < 0.35) * np.where(
                far, 3.0, generator.choice([1.0, 2.0], rows, p=[0.9, 0.1])
            )
            for kind, losses in (("error", distance > 0), ("distance", distance)):
                confirmed = find_cohorts(data, losses, seed=seed).confirmed
                hit = any(jaccard(truth, meets(data, one.filters)) >= 0.5 for one in confirmed)
                reported = bool(confirmed) if what == "null" else hit
                by_error += reported and kind == "error"
                by_distance += reported and kind == "distance"
        print(f"ratings {what:<8} error rate {by_error}/{repeats}, mean distance {by_distance}/{repeats}", flush=True)


def main() -> None:
    """Reads the arguments and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--only", choices=["null", "planted", "ratings"])
    given = parser.parse_args()
    began = time.perf_counter()
    for name, part in (("null", null), ("planted", planted), ("ratings", ratings)):
        if given.only in (None, name):
            part(given.repeats, given.rows)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
