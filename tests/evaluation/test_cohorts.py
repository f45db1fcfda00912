from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from luthier.errors import DataError
from luthier.evaluation.cohorts import Filter, find_cohorts, meets


def reviews(rows: int, seed: int) -> pd.DataFrame:
    """Columns that have nothing to do with what is wrong."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "words": generator.lognormal(4.5, 0.8, rows).astype(int),
            "exclamation_marks": generator.poisson(1.5, rows),
            "age": generator.integers(18, 90, rows),
            "member": generator.random(rows) < 0.4,
            "region": generator.choice(["north", "south", "east", "west"], rows, p=[0.3, 0.3, 0.25, 0.15]),
            "product": generator.choice([f"p{k}" for k in range(8)], rows),
        }
    )


@pytest.mark.slow
def test_a_cohort_that_is_right_less_often_is_found_with_its_figures() -> None:
    found = []
    for seed in range(5):
        data = reviews(1000, seed)
        generator = np.random.default_rng(100 + seed)
        data.loc[generator.choice(1000, 80, replace=False), "product"] = "p-new"
        planted = (data["product"] == "p-new").to_numpy()
        wrong = generator.random(1000) > 0.9 - 0.25 * planted
        search = find_cohorts(data, wrong, seed=seed)
        found.append(any(one.filters == (Filter("product", "=", "p-new"),) for one in search.confirmed))
        for one in search.cohorts:
            rows = meets(data, one.filters)
            assert 0 < one.rows < rows.sum() and one.confirmed == (one.corrected < 0.05) and 0 < one.p <= 1
            assert one.difference.value == pytest.approx(one.value.value - one.rest.value)
    assert sum(found) >= 4  # 99 of 100 in benchmarks/cohorts.py


@pytest.mark.slow
def test_noise_is_not_reported_as_harm() -> None:
    reported = 0
    for seed in range(20):
        wrong = np.random.default_rng(1000 + seed).random(400) < 0.25
        reported += bool(find_cohorts(reviews(400, seed), wrong, seed=seed).confirmed)
    assert reported <= 4  # of 20 at a level of 5%: more than 4 come in 1 of 390 runs


def test_rows_with_the_same_text_do_not_confirm_each_other() -> None:
    reported = reported_without_texts = 0
    for seed in range(20):
        different = np.random.default_rng(2000 + seed).random(100) < 0.25
        places = np.repeat(np.arange(100), 10)
        data, wrong, texts = reviews(100, seed).iloc[places], different[places], [f"text {k}" for k in places]
        search = find_cohorts(data, wrong, texts=texts, seed=seed)
        assert search.rows == 100 and "900 rows" in search.notes[0] and search.measure == "error rate"
        reported += bool(search.confirmed)
        reported_without_texts += bool(seed < 3 and find_cohorts(data, wrong, seed=seed).confirmed)
    assert reported <= 4 and reported_without_texts == 3


@pytest.mark.slow
def test_the_interval_of_the_worst_cohort_holds_the_difference_that_was_planted() -> None:
    held, over = [], []
    for seed in range(12):
        data = reviews(1000, seed)
        planted = (data["words"] > data["words"].quantile(0.92)).to_numpy()
        chance = 0.1 + 0.25 * planted
        search = find_cohorts(data, np.random.default_rng(300 + seed).random(1000) < chance, seed=seed)
        for one in search.confirmed[:1]:
            rows = meets(data, one.filters)
            true = chance[rows].mean() - chance[~rows].mean()
            assert one.difference.low is not None and one.difference.high is not None
            held.append(one.difference.low <= true <= one.difference.high)
            over.append(one.difference.value - true)
    assert len(held) >= 9 and np.mean(held) >= 0.8 and abs(np.mean(over)) < 0.08


def test_groups_that_only_share_rows_with_a_worse_cohort_are_not_confirmed() -> None:
    data = reviews(1000, 0)
    longest = data["words"] > data["words"].quantile(0.9)
    search = find_cohorts(data, np.random.default_rng(0).random(1000) < 0.1 + 0.5 * longest)
    [cohort] = search.confirmed
    assert cohort.filters[0].column == "words" and cohort.filters[0].relation == ">"


@pytest.mark.slow
def test_distances_show_a_cohort_that_is_far_off_where_shares_of_wrong_rows_are_equal() -> None:
    data = reviews(1000, 3)
    generator = np.random.default_rng(3)
    far = (data["region"] == "west").to_numpy()
    distances = (generator.random(1000) < 0.35) * np.where(far, 3.0, 1.0)
    search = find_cohorts(data, distances)
    assert search.measure == "mean distance" and search.confirmed[0].filters == (Filter("region", "=", "west"),)
    low = search.confirmed[0].difference.low
    assert low is not None and low > 0.25
    assert find_cohorts(data, distances > 0).confirmed == ()


def test_equal_seeds_give_equal_searches() -> None:
    data, wrong = reviews(600, 1), np.random.default_rng(1).random(600) < 0.3
    assert find_cohorts(data, wrong, seed=5) == find_cohorts(data, wrong, seed=5)


def test_tables_in_which_there_is_nothing_to_find_are_answered_with_the_reason() -> None:
    data, wrong = reviews(200, 1), np.random.default_rng(1).random(200) < 0.3
    [few] = find_cohorts(data[:10], wrong[:10]).notes
    assert "10 rows" in few and "80" in few
    for same in (True, False):
        search = find_cohorts(data, np.full(200, same))
        assert search.cohorts == () and "same loss" in search.notes[-1]
    constant = pd.DataFrame({"one": [1] * 200, "id": [f"row {k}" for k in range(200)], "none": [None] * 200})
    search = find_cohorts(constant, wrong)
    assert search.cohorts == () and search.columns == () and "one, id, none" in search.notes[0]
    assert find_cohorts(pd.DataFrame(index=range(200)), wrong).cohorts == ()
    with pytest.raises(DataError, match=r"\(199,\).*200 rows"):
        find_cohorts(data, wrong[1:])
    with pytest.raises(DataError, match=r"2 texts and 200 rows"):
        find_cohorts(data, wrong, texts=["one", "two"])


def test_missing_cells_dates_booleans_and_numbers_in_objects_are_searched() -> None:
    rows = 400
    generator = np.random.default_rng(0)
    day = [datetime.date(2026, 1, 1) + datetime.timedelta(days=int(k)) for k in generator.integers(0, 300, rows)]
    score = generator.normal(size=rows)
    data = pd.DataFrame(
        {
            "day": day,
            "stamp": pd.to_datetime(pd.Series(day)).dt.tz_localize("Europe/Berlin"),
            "score": np.where(score < -0.7, np.nan, score),
            "count": pd.Series([None if k % 4 == 0 else int(k) for k in range(rows)], dtype=object),
            "yes": generator.random(rows) < 0.5,
            "mixed": pd.Series([1, "one", None, 2.5] * (rows // 4), dtype=object),
            "many": [f"c{k}" for k in range(rows)],
        }
    )
    missing = data["score"].isna().to_numpy()
    search = find_cohorts(data, generator.random(rows) < 0.1 + 0.5 * missing)
    assert search.columns == ("day", "stamp", "score", "count", "yes", "mixed") and "many" in search.notes[0]
    assert search.confirmed[0].filters == (Filter("score", "=", "(missing)"),)
    late = meets(data, [Filter("day", ">", "2026-07-01")])
    assert late.tolist() == [one > datetime.date(2026, 7, 1) for one in day]
    assert meets(data, [Filter("yes", "=", "True"), Filter("mixed", "=", "one")]).sum() > 0
    assert not (meets(data, [Filter("score", ">", 0)]) & missing).any()
    with pytest.raises(DataError, match=r"no column 'nope'.*day, stamp"):
        meets(data, [Filter("nope", "=", "x")])


def test_a_table_of_60_columns_is_searched() -> None:
    generator = np.random.default_rng(0)
    data = pd.DataFrame({f"n{k}": generator.normal(size=1_000) for k in range(60)})
    search = find_cohorts(data, generator.random(1_000) < 0.1 + 0.5 * (data["n3"] > 1.3))
    assert search.confirmed[0].filters[0].column == "n3"


@pytest.mark.slow
def test_of_50_000_rows_a_sample_is_searched() -> None:
    generator = np.random.default_rng(0)
    numbers = {f"n{k}": generator.normal(size=50_000) for k in range(4)}
    data = pd.DataFrame(numbers | {"shop": generator.integers(0, 10_000, 50_000).astype(str), "region": "north"})
    search = find_cohorts(data, generator.random(50_000) < 0.1 + 0.1 * (data["n3"] > 1.3))
    assert search.rows == 10_000 and "10,000 of 50,000" in search.notes[0]
    assert search.confirmed[0].filters[0].column == "n3"
