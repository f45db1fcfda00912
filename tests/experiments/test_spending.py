"""A real comparison and a real scoring stay within their plan, and say what they cost; the server is the witness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Report
from luthier.plans import PlannedSpec, plan_rows
from luthier_local import LocalServer
from tests.conftest import reviews
from tests.experiments.test_bounds import SPECS, assert_within

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

TRAIN = reviews(60, seed=1)


def generated(server: LocalServer) -> int:
    """Calls that a service would bill."""
    return sum(n for path, n in server.received.by_path.items() if path.endswith("completions"))


def planned(spec: lt.Spec, rows: pd.DataFrame) -> PlannedSpec:
    (plan,) = lt.plan([spec], rows, train=TRAIN).specs
    return plan


@pytest.mark.parametrize("kind", ["text", "first token", "labels of several tokens", "several tokens, calibrated"])
def test_a_comparison_is_billed_within_its_plan_and_says_what_it_spent(
    kind: str, task: lt.Task, endpoint: Endpoint, server: LocalServer
) -> None:
    """Twice with overlapping rows: the second plan knows what the first has paid."""
    spec = SPECS[kind](task, endpoint, endpoint)
    for rows in (reviews(12, seed=2), pd.concat([reviews(12, seed=2), reviews(9, seed=3)], ignore_index=True)):
        plan, before = planned(spec, rows), generated(server)
        board = lt.compare(spec, rows, train=TRAIN)
        assert plan.calls.low <= generated(server) - before <= plan.calls.high
        assert_within(plan, board.report)
        assert board.report.sent == generated(server) - before
        assert board.spent_usd == pytest.approx(board.report.input_tokens / 1e6 + board.report.output_tokens * 2 / 1e6)
        assert board.report.spending in board._repr_html_()
    assert board.report.from_journal > 0
    nothing = lt.compare(spec, rows, train=TRAIN)
    assert (nothing.spent_usd, generated(server) - before) == (0, board.report.sent)
    assert "spent now: $0.00 for 0 new answers; all answers used, with those of the journal, cost $0.0" in (
        nothing.report.spending
    )


@pytest.mark.parametrize("kind", ["text", "several tokens, calibrated"])
def test_fitting_and_scoring_are_billed_within_their_plans(
    kind: str, task: lt.Task, endpoint: Endpoint, server: LocalServer, tmp_path: Path
) -> None:
    spec = SPECS[kind](task, endpoint, endpoint)
    fitted = lt.fit(spec, TRAIN)
    assert isinstance(fitted.report, Report)
    assert fitted.report.sent == generated(server)
    assert (fitted.spent_usd or 0) == fitted.report.spent_usd
    model = lt.log(fitted)
    rows = reviews(15, seed=5)
    (plan,) = (plan_rows(spec, task.rows(rows), None, fitted=fitted),)
    before = generated(server)
    scored: Any = lt.score(model, rows)
    assert len(scored) == 15
    assert plan.calls.low <= generated(server) - before <= plan.calls.high
    assert_within(plan, model.report)
    assert model.spent_usd == model.report.spent_usd > 0
    # Equal answers from the journal cost nothing: the figure stands still.
    spent = model.spent_usd
    rows.to_csv(tmp_path / "rows.csv", index=False)
    model.score_file(tmp_path / "rows.csv", tmp_path / "scored.csv")
    assert (model.spent_usd, model.report.from_journal) == (spent, model.report.fetched)


def test_a_price_that_is_not_known_is_not_zero(task: lt.Task, endpoint: Endpoint, server: LocalServer) -> None:
    spec = SPECS["text"](task, endpoint.model_copy(update={"price": None}), endpoint)
    board = lt.compare(spec, reviews(6, seed=2), train=TRAIN)
    assert board.spent_usd is None
    assert "6 calls of unknown price" in board.report.spending
