"""Trials as plain records: which count, how they are ranked, and where the best of them lie."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from luthier.evaluation.resampling import Interval
from luthier.evaluation.trials import (
    ResultSpread,
    TrialRow,
    TrialTable,
    best_cell,
    best_regions,
    best_trials,
    distinct_values,
)


def trials_of(
    values: list[float | None], better: Literal["higher", "lower"] = "higher", **settings: list[Any]
) -> TrialTable:
    """Trials numbered from 0; `...` in the list of a setting is a trial without it."""
    rows = tuple(
        TrialRow(
            str(place),
            {name: given[place] for name, given in settings.items() if given[place] is not ...},
            None if value is None else Interval(value),
        )
        for place, value in enumerate(values)
    )
    return TrialTable("a search", "accuracy", better, tuple(settings), rows)


def test_a_loss_is_ranked_from_the_lowest() -> None:
    assert [one.name for one in trials_of([0.3, 0.1, 0.2], better="lower").ranked] == ["1", "2", "0"]


def test_trials_without_a_result_or_stopped_early_are_not_ranked() -> None:
    table = trials_of([0.3, None])
    stopped = TrialRow("2", {}, Interval(0.9), state="stopped early")
    assert [one.name for one in TrialTable("", "accuracy", "higher", (), (*table.trials, stopped)).ranked] == ["0"]


def test_the_spread_has_the_median_and_the_quartiles() -> None:
    assert trials_of([1, 2, 3, 4, 5]).spread == ResultSpread(5, 1, 2, 3, 4, 5)
    assert trials_of([None]).spread is None


def test_the_best_tenth_is_rounded_up_and_never_most_of_the_trials() -> None:
    assert len(best_trials(trials_of([*range(31)]))) == 4
    assert best_trials(trials_of([1, 2, 3, 4])) == ()


def test_the_cell_of_the_best_says_how_many_of_all_trials_lie_there() -> None:
    table = trials_of([*range(60)], model=["ada"] * 40 + ["babbage"] * 20, epochs=[5, 10] * 15 + [5, 5, 10] * 10)
    found = best_cell(table)
    assert found is not None
    assert found.settings == {"model": "babbage"}
    assert (found.best, found.best_of, found.trials, found.trials_of) == (6, 6, 20, 60)
    assert (found.median, found.elsewhere) == (49.5, 19.5)


def test_a_choice_in_which_the_best_do_not_differ_from_the_others_is_not_in_the_cell() -> None:
    noise: dict[str, Any] = {f"noise_{place}": [(number >> place) % 2 for number in range(80)] for place in range(4)}
    found = best_cell(trials_of([*range(80)], model=["ada"] * 60 + ["babbage"] * 20, **noise))
    assert found is not None
    assert "model" in found.settings
    assert found.best - found.best_of * found.trials / found.trials_of >= 6


def test_two_choices_that_are_needed_together_are_both_in_the_cell() -> None:
    places = range(100)
    table = trials_of(
        [place / 1000 + (place % 2 == 1 and place % 5 == 1) for place in places],
        model=["babbage" if place % 2 else "ada" for place in places],
        epochs=[[5, 10, 15, 20, 25][place % 5] for place in places],
    )
    found = best_cell(table)
    assert found is not None
    assert (found.settings, found.best, found.trials) == ({"model": "babbage", "epochs": 10}, 10, 10)


def test_there_is_no_cell_where_the_best_share_no_more_than_chance_would_have_them() -> None:
    assert best_cell(trials_of([*range(12)], prompt=[*"aabbaabbacdb"])) is None
    assert best_cell(trials_of([*range(60)], model=["ada", "curie"] * 30, epochs=[5, 5, 10] * 20)) is None


def test_the_range_of_the_best_is_given_for_numbers_and_their_choices_for_others() -> None:
    table = trials_of([*range(40)], rate=[place / 40 for place in range(40)], model=["ada", "curie"] * 20)
    rate, model = best_regions(table)
    assert (rate.low, rate.high, rate.narrower) == (0.9, 0.975, True)
    assert (model.values, model.narrower) == ((("ada", 2), ("curie", 2)), False)


def test_a_setting_that_only_some_trials_have_can_be_varied() -> None:
    table = trials_of([1, 2, 3], rank=[8, 16, ...], seed=[1, 1, 1])
    assert [one.name for one in table.varied] == ["rank"]


def test_a_whole_number_is_one_value_however_a_table_holds_it() -> None:
    assert distinct_values([8.0, 4, 8, "8"]) == (4, 8, "8")


@pytest.mark.parametrize(("cost", "expected"), [("cost_usd", 0.5), ("elapsed_tokens", 9000.0), ("seconds", None)])
def test_what_a_trial_took_may_be_money_or_another_figure(cost: str, expected: float | None) -> None:
    trial = TrialRow("0", {}, Interval(0.5), figures={"elapsed_tokens": 9000.0}, cost_usd=0.5)
    assert TrialTable("", "accuracy", "higher", (), (trial,), cost=cost).cost_of(trial) == expected


def test_rates_drawn_by_their_logarithm_are_compared_by_it_and_shares_are_not() -> None:
    table = trials_of(
        [*range(50)],
        rate=[10 ** (-6 + place / 12) for place in range(50)],
        share=[(place + 0.5) / 50 for place in range(50)],
    )
    assert {one.name: one.is_log for one in table.varied} == {"rate": True, "share": False}
