"""A service with a limit on requests and one on tokens, both of which change halfway."""

from __future__ import annotations

import math
import random

import pytest

from tests.engine.throttled import Account, Row, Service, Time, ask

HALF, END = 300, 600


class SizedRow:
    """Rows whose lengths vary; the client reserves `over` times the tokens of the prompt that the service counts."""

    def __init__(self, over: float) -> None:
        self.over = over

    def __call__(self, chance: random.Random) -> Row:
        prompt = 150 * math.exp(chance.gauss(0, 0.5))
        return Row(self.over * prompt + 50, prompt + 50, prompt + 50 * chance.random())


def share_used(account: Account, until: float) -> float:
    """Share that is used, from now on, of the limit that leaves less room."""
    service = account.service
    limits = (service.requests, service.tokens)
    before = [limit.so_far(account.time.now) for limit in limits]
    ask(account, until=until)
    after = [limit.so_far(until) for limit in limits]
    return max((a.given - b.given) / (a.allowed - b.allowed) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("refunds", [True, False], ids=["refunds", "keeps"])
@pytest.mark.parametrize(
    ("requests", "tokens"),
    [((10, 20), (10_000, 2500)), ((40, 10), (2500, 5000)), ((10, 20), (2500, 5000)), ((20, 10), (5000, 2500))],
    ids=["requests-then-tokens", "tokens-then-requests", "both-raised", "both-lowered"],
)
@pytest.mark.parametrize(("says_limits", "over"), [(True, 3.0), (False, 1.0)], ids=["told", "untold"])
def test_both_limits_are_used_and_kept_though_they_change_halfway(
    says_limits: bool, over: float, requests: tuple[float, float], tokens: tuple[float, float], refunds: bool
) -> None:
    service = Service(
        requests[0],
        changes=[(HALF, requests[1])],
        tokens_per_second=tokens[0],
        token_changes=[(HALF, tokens[1])],
        burst_tokens=5000,
        refunds=refunds,
        says_limits=says_limits,
        says_which=not says_limits,
    )
    account = Account(1_000_000, service, Time(), lambda wait: wait, size=SizedRow(over))
    assert (share_used(account, HALF) + share_used(account, END)) / 2 >= 0.95
    assert account.outcome.share_refused < 0.01
