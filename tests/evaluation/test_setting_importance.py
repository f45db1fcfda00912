"""Importance of settings: what matters is found, what does not is told from chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from luthier.evaluation.resampling import Interval
from luthier.evaluation.setting_importance import importance_of
from luthier.evaluation.trials import TrialRow, TrialTable


def searched(count: int, *, effect: float, with_rank: bool = False) -> TrialTable:
    """Trials whose result follows the rate as far as `effect`, and chance; the model and the seed do not matter."""
    generator = np.random.default_rng(3)
    rows = []
    for place in range(count):
        rate = float(generator.uniform())
        settings: dict[str, Any] = {
            "rate": rate,
            "model": str(generator.choice(["ada", "babbage"])),
            "seed": int(generator.integers(1000)),
        }
        if with_rank and place % 2:
            settings["rank"] = 8 + 8 * (place % 4 > 1)
        value = effect * (rate - 0.5) + generator.normal(0, 0.1) + 0.3 * ("rank" in settings)
        rows.append(TrialRow(str(place), settings, Interval(float(value))))
    return TrialTable("a search", "accuracy", "higher", ("rate", "model", "seed", "rank"), tuple(rows))


def test_the_setting_that_results_follow_is_the_first_and_the_only_certain_one() -> None:
    found = importance_of(searched(60, effect=1.0))
    assert found is not None
    assert found.is_certain
    assert [one.setting for one in found.settings if one.is_certain] == ["rate"] == [found.settings[0].setting]
    # Without chance the rate would explain all; with it, its variance over that of the results: 0.083 of 0.093.
    assert 0.6 < found.explained.value < 0.93


def test_settings_that_do_not_matter_explain_nothing() -> None:
    found = importance_of(searched(60, effect=0.0))
    assert found is not None
    assert not found.is_certain
    assert not any(one.is_certain for one in found.settings)


def test_having_a_setting_at_all_may_matter() -> None:
    found = importance_of(searched(60, effect=0.0, with_rank=True))
    assert found is not None
    assert found.settings[0].setting == "rank"


@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_trials_tell_nothing(count: int) -> None:
    assert importance_of(searched(count, effect=1.0)) is None


def test_the_same_trials_have_the_same_importance() -> None:
    table = searched(30, effect=1.0)
    assert importance_of(table) == importance_of(table)
