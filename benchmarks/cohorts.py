"""Cohort finder: how often noise is reported as harm, and how often harm is found.

    python benchmarks/cohorts.py [--repeats 200] [--rows 1000] [--only null|planted|ratings|copies|seeds]

Tables of 1,000 rows with 11 text-like counts, a number, a boolean, a date and two columns of categories. `null`:
what is wrong has nothing to do with the columns. `planted`: a cohort of 8% of the rows is right 25 points less often
than the rest. It counts as found when a confirmed cohort shares with it at least half of the rows of both (Jaccard
index). The interval of the worst confirmed cohort is compared with the difference that was planted in its rows.
`copies`: 100 texts, each 10 times, whose errors have nothing to do with the columns. `seeds`: how often two seeds agree
on the worst cohort of a table, or on there being none.

Next to it stands a finder as people write it first: a decision tree of depth 3 grown on all rows, whose worst leaf is
reported where Fisher's exact test on the same rows is below .05.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

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


def null(repeats: int, rows: int, accuracies: Sequence[float]) -> None:
    for accuracy in accuracies:
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


def planted(repeats: int, rows: int, accuracies: Sequence[float]) -> None:
    for accuracy in accuracies:
        for name, plant in PLANTS.items():
            found = reported = mostly = elsewhere = theirs = covered = 0
            over: list[float] = []
            for seed in range(repeats):
                generator = np.random.default_rng(seed)
                data = table(generator, rows)
                truth = plant(data, generator)
                chance = 1 - accuracy + POINTS * truth
                wrong = generator.random(rows) > 1 - chance
                confirmed = find_cohorts(data, wrong, seed=seed).confirmed
                masks = [meets(data, one.filters) for one in confirmed]
                planted_in = [float(chance[mask].mean() - chance[~mask].mean()) for mask in masks]
                found += any(jaccard(truth, mask) >= 0.5 for mask in masks)
                elsewhere += any(points < POINTS / 10 for points in planted_in)
                if confirmed:
                    worst = confirmed[0].difference
                    reported += 1
                    mostly += truth[masks[0]].mean() >= 0.5
                    over.append(worst.value - planted_in[0])
                    covered += (worst.low or 0.0) <= planted_in[0] <= (worst.high or 1.0)
                p, leaf = naive(data, wrong)
                theirs += p < 0.05 and jaccard(truth, leaf) >= 0.5
            print(
                f"{name:<14} accuracy {accuracy:.2f}  found {found}/{repeats} (any reported {reported}, the worst is "
                f"mostly planted {mostly}, one that is no worse as well {elsewhere}); difference of the worst too "
                f"large by {100 * np.mean(over):.1f} points, interval holds it {covered}/{reported}; worst leaf "
                f"{theirs}/{repeats}",
                flush=True,
            )


def copies(repeats: int, rows: int) -> None:
    with_texts = without = 0
    for seed in range(repeats):
        generator = np.random.default_rng(seed)
        data = table(generator, rows // 10)
        wrong = generator.random(rows // 10) > 0.75
        again = np.repeat(np.arange(rows // 10), 10)
        copied, losses, texts = data.iloc[again], wrong[again], [f"text {k}" for k in again]
        with_texts += bool(find_cohorts(copied, losses, texts=texts, seed=seed).confirmed)
        without += bool(find_cohorts(copied, losses, seed=seed).confirmed)
    print(f"copies         reports harm: {with_texts}/{repeats}; without texts {without}/{repeats}", flush=True)


def seeds(repeats: int, rows: int) -> None:
    agree = 0
    for number in range(repeats):
        generator = np.random.default_rng(number)
        data = table(generator, rows)
        wrong = generator.random(rows) > 0.75 - POINTS * by_threshold(data, generator)
        worst = [find_cohorts(data, wrong, seed=seed).confirmed[:1] for seed in (1, 2)]
        first, second = ([meets(data, one.filters) for one in cohort] for cohort in worst)
        agree += jaccard(first[0], second[0]) >= 0.5 if first and second else not first and not second
    print(f"seeds          two seeds agree {agree}/{repeats}", flush=True)


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
    parser.add_argument("--only", choices=["null", "planted", "ratings", "copies", "seeds"])
    parser.add_argument("--accuracy", type=float, nargs="+", default=[0.75, 0.8, 0.9])
    given = parser.parse_args()
    began = time.perf_counter()
    for name, by_accuracy in (("null", null), ("planted", planted)):
        if given.only in (None, name):
            by_accuracy(given.repeats, given.rows, given.accuracy)
    for name, part in (("ratings", ratings), ("copies", copies), ("seeds", seeds)):
        if given.only in (None, name):
            part(given.repeats, given.rows)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
