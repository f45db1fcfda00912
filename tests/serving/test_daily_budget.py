"""A budget for each day, shared by the servers of one model."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from pathlib import Path

import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.errors import UserError
from luthier.serving.daily_budget import DailyBudget
from luthier.serving.models import open_model
from luthier.serving.refusals import Refusal
from luthier.serving.served_model import ScoringRequest
from luthier.serving.settings import ServerSettings
from luthier.spec import Fitted
from tests.conftest import stars
from tests.patience import PATIENCE_SECONDS
from tests.serving.test_luthier_served import answered, served

NOON = 1_764_331_200.0
"""2025-11-28, 12:00 UTC."""


def test_two_servers_with_one_file_keep_the_cap_together(tmp_path: Path) -> None:
    old, new = (DailyBudget(1.0, tmp_path / "spending.db", "stars", now=lambda: NOON) for _ in range(2))
    other = DailyBudget(1.0, tmp_path / "spending.db", "others", now=lambda: NOON)
    assert old.reserve(0.6)
    assert not new.reserve(0.6)
    old.settle(0.6, 0.1)
    assert new.left_usd == pytest.approx(0.9)
    assert new.reserve(0.6)
    assert other.left_usd == 1.0
    assert stat.S_IMODE((tmp_path / "spending.db").stat().st_mode) == 0o600


def test_a_new_day_has_a_new_budget(tmp_path: Path) -> None:
    now = [NOON]
    budget = DailyBudget(1.0, tmp_path / "spending.db", "stars", now=lambda: now[0])
    budget.spend(1.0)
    assert budget.is_spent
    assert budget.opens_again.isoformat() == "2025-11-29T00:00:00+00:00"
    now[0] += budget.seconds_until_open
    assert budget.left_usd == 1.0
    budget.settle(0.5, 0.0)
    assert budget.left_usd == 1.0


def test_what_is_left_and_pays_no_request_counts_as_spent(tmp_path: Path) -> None:
    budget = DailyBudget(1.0, tmp_path / "spending.db", "stars", now=lambda: NOON)
    budget.spend(0.95)
    assert not budget.reserve(5.0)
    assert not budget.is_spent
    assert not budget.reserve(0.1)
    assert budget.is_spent
    assert budget.reserve(0.02)
    budget.settle(0.02, 0.0)
    assert not budget.is_spent


def spend_and_die(file: Path) -> None:
    budget = DailyBudget(1.0, file, "stars", now=lambda: NOON)
    budget.spend(0.25)
    budget.reserve(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_what_a_killed_server_spent_or_had_in_flight_stays_spent(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=spend_and_die, args=(tmp_path / "spending.db",))
    child.start()
    child.join(PATIENCE_SECONDS)
    assert child.exitcode == -signal.SIGKILL
    assert DailyBudget(1.0, tmp_path / "spending.db", "stars", now=lambda: NOON).left_usd == 0.25


def test_a_server_whose_budget_is_spent_says_when_it_opens_again(endpoint: Endpoint, tmp_path: Path) -> None:
    fitted = Fitted(lt.Prompt(stars(), "Stars for: {{ text }}", endpoint=endpoint))
    budget = DailyBudget(0.0, tmp_path / "spending.db", "stars", now=lambda: NOON)
    model = served(fitted, budget=budget)
    (refused,) = answered(model, ScoringRequest("inputs", ["soup"]))
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.retry_after_seconds) == (402, 43_200.0)
    assert "2025-11-29 00:00 UTC" in refused.message


def test_spending_is_counted_and_paid_from_the_budget(endpoint: Endpoint, tmp_path: Path) -> None:
    fitted = Fitted(lt.Prompt(stars(), "Stars for: {{ text }}", endpoint=endpoint))
    file = tmp_path / "spending.db"
    model = served(fitted, budget=DailyBudget(1.0, file, "stars", now=lambda: NOON))
    answered(model, *[ScoringRequest("inputs", ["soup"])] * 2)
    assert model.paid().usd > 0
    left = DailyBudget(1.0, file, "stars", now=lambda: NOON).left_usd
    assert left == pytest.approx(1.0 - model.paid().usd)


def test_a_budget_needs_a_price(packaged: Path, model: lt.Model) -> None:
    settings = ServerSettings(port=0, without_key=True, budget_usd_per_day=1.0)
    with pytest.raises(UserError, match="price"):
        open_model("models:/stars@champion", settings, endpoint={"price": None, "model": "unheard-of"})
    assert open_model("models:/stars@champion", settings).facts.name == "stars"
