"""What a task has cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from luthier.history.spending import spending_of
from tests.history.pasts import compared, ran


def test_money_is_added_up_by_day_and_purpose() -> None:
    found = spending_of([*compared(0, "a", {"x": 0.5}), *compared(0, "b", {"x": 0.5}), ran("score", 1, spent_usd=2.0)])
    assert [(str(line.day), line.purpose, line.usd, line.runs) for line in found.lines] == [
        ("2026-11-18", "comparisons", 0.5, 2),
        ("2026-11-19", "scored tables", 2.0, 1),
    ]
    assert found.known_usd == 2.5
    assert found.purposes == ("scored tables", "comparisons")


def test_an_unknown_cost_is_counted_and_is_no_zero() -> None:
    found = spending_of([ran("tune", 0), ran("tune", 1, cost_usd=0.0), ran("score", 1)])
    assert found.unknown == {"fine-tuning": 1, "scored tables": 1}
    assert (found.lines, found.free) == ((), 1)


def test_an_audit_of_jobs_asks_models_and_one_of_a_table_does_not() -> None:
    of_jobs = replace(ran("audit", 0, spent_usd=0.75), tags={"luthier.task": "stars"})
    found = spending_of([of_jobs, ran("audit", 1)])
    assert [(line.purpose, line.usd) for line in found.lines] == [("audits", 0.75)]
    assert not found.unknown


def test_a_job_that_a_trial_bought_is_counted_once_with_all_the_trial_cost() -> None:
    trial = replace(ran("tune", 0, cost_usd=3.0, trial_cost_usd=3.5), tags={"luthier.trial": "0"})
    found = spending_of([trial, ran("sweep", 0)])
    assert [(line.purpose, line.usd) for line in found.lines] == [("sweeps", 3.5)]
    assert not found.unknown


@pytest.mark.parametrize("kind", ["candidate", "log", "audit", "sweep", "deploy"])
def test_what_asks_no_service_by_itself_is_no_spending(kind: str) -> None:
    found = spending_of([ran(kind, 0)])
    assert not found.lines
    assert not found.unknown
