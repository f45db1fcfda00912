from __future__ import annotations

import pytest

from luthier.errors import BudgetReached, UserError
from tests.sweeps.driving import claimed, joined
from tests.sweeps.studies import facts


def test_what_is_set_aside_and_spent_by_all_never_exceeds_the_budget() -> None:
    first, second = (joined(given=facts(budget_usd=2.0)) for _ in range(2))
    one, two = claimed(first), claimed(second)
    first.reserve(one, 1.2)
    with pytest.raises(BudgetReached, match=r"\$2\.00.*\$1\.20.*\$1\.00.*--budget"):
        second.reserve(two, 1.0)
    second.reserve(two, 0.8)
    assert (first.spent_usd(), first.reserved_usd()) == (0.0, 2.0)


def test_what_a_trial_cost_takes_the_place_of_what_was_set_aside() -> None:
    study = joined(given=facts(budget_usd=1.0))
    one, two = claimed(study), claimed(study)
    study.reserve(one, 1.0)
    study.settle(one, 0.25)
    assert (study.spent_usd(), study.reserved_usd()) == (0.25, 0.0)
    study.reserve(two, 0.75)
    budget = study.budget()
    assert budget is not None and budget.left_usd == 0.0


def test_a_cost_that_is_unknown_stays_set_aside() -> None:
    study = joined(given=facts(budget_usd=1.0))
    one, two = claimed(study), claimed(study)
    study.reserve(one, 0.8)
    study.settle(one, None)
    study.tell(one, "complete", [0.5])
    assert (study.spent_usd(), study.reserved_usd()) == (0.0, 0.8)
    with pytest.raises(BudgetReached):
        study.reserve(two, 0.5)


def test_money_can_be_kept_for_measuring_the_winner() -> None:
    study = joined(given=facts(budget_usd=1.0))
    claim = claimed(study)
    with pytest.raises(BudgetReached, match=r"\$0\.30 are kept for measuring the winner"):
        study.reserve(claim, 0.8, keep_usd=0.3)
    study.reserve(claim, 0.7, keep_usd=0.3)


def test_an_unknown_price_is_refused_under_a_budget_and_fine_without_one() -> None:
    study = joined(given=facts(budget_usd=1.0))
    with pytest.raises(UserError, match="training_usd_per_million"):
        study.reserve(claimed(study), None)
    free = joined(given=facts("free", budget_usd=None))
    free.reserve(claimed(free), None)
    assert free.budget() is None


def test_reserving_again_replaces_what_was_set_aside_and_counts_what_was_spent() -> None:
    study = joined(given=facts(budget_usd=2.0))
    claim = claimed(study)
    study.reserve(claim, 1.0)
    study.reserve(claim, 1.5)
    assert study.reserved_usd() == 1.5
    study.settle(claim, 0.9)
    with pytest.raises(BudgetReached):
        study.reserve(claim, 1.2)


def test_an_interrupted_trial_keeps_what_is_set_aside_for_its_job() -> None:
    study = joined(given=facts(budget_usd=1.0))
    claim = claimed(study)
    study.reserve(claim, 0.9)
    study.release(claim, "interrupted", "Ctrl-C")
    assert study.reserved_usd() == 0.9
    study.reserve(claimed(study), 0.95)
