"""When a lane is left out, how it is tried again, and what says nothing about it; in virtual time."""

from __future__ import annotations

import pytest

from luthier.engine.lanes import LASTING, MISJUDGED, STORM, Lane
from luthier.engine.limiter import Limiter
from luthier.providers.endpoint import Limits
from luthier.replies.failures import Verdict
from tests.engine.throttled import Time

PASSING = Verdict("transient", "status 503", status=503)
REFUSED = Verdict("access", "status 401", cause="access", status=401)
ODD = Verdict("permanent", "status 403", status=403, suspected="access")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def lane(time: Time) -> Lane:
    return Lane(Limiter(Limits(), time), time, 5.0, 12.0)


def trial(lane: Lane) -> bool:
    """Sends a request by it; whether that tries a lane that was left out."""
    _, is_trial = lane.enter(10.0)
    return is_trial


def test_a_refusal_of_access_or_no_connection_leaves_it_out_at_once(lane: Lane) -> None:
    assert lane.failed(REFUSED, is_trial=trial(lane))
    assert lane.closed_seconds == 5.0


def test_a_storm_of_failures_does_and_an_answer_between_them_ends_it(lane: Lane) -> None:
    for _ in range(STORM - 1):
        assert not lane.failed(PASSING, is_trial=trial(lane))
    lane.served(is_trial=trial(lane))
    assert [lane.failed(PASSING, is_trial=trial(lane)) for _ in range(STORM)] == [False] * (STORM - 1) + [True]


def test_refusals_of_what_others_answer_do(lane: Lane) -> None:
    assert [lane.misjudged(ODD) for _ in range(MISJUDGED)] == [False] * (MISJUDGED - 1) + [True]


def test_one_request_tries_it_after_the_cooldown_and_the_others_wait_for_what_comes_of_it(
    lane: Lane, time: Time
) -> None:
    lane.failed(REFUSED, is_trial=trial(lane))
    time.now = 5.0
    assert lane.closed_seconds == 0
    assert trial(lane)
    assert lane.closed_seconds == 5.0
    lane.served(is_trial=True)
    assert lane.fault is None
    assert lane.closed_seconds == 0


def test_it_is_tried_ever_more_rarely_down_to_a_bound(lane: Lane, time: Time) -> None:
    lane.failed(PASSING, is_trial=False)
    lane.failed(REFUSED, is_trial=False)
    waits = []
    for _ in range(4):
        waits.append(lane.closed_seconds)
        time.now += lane.closed_seconds
        lane.failed(PASSING, is_trial=trial(lane))
    assert waits == [5.0, 7.5, 11.25, 12.0]


def test_what_was_sent_before_a_fault_says_nothing_about_it(lane: Lane) -> None:
    before = trial(lane)
    lane.failed(REFUSED, is_trial=False)
    lane.served(is_trial=before)
    assert lane.fault is not None
    assert not lane.failed(PASSING, is_trial=before)
    assert lane.closed_seconds == 5.0


def test_a_fault_that_outlasts_its_trials_counts_as_one_for_good(lane: Lane, time: Time) -> None:
    for _ in range(STORM):
        lane.failed(PASSING, is_trial=False)
    assert lane.fault is not None
    assert not lane.fault.is_lasting
    for _ in range(LASTING):
        time.now += lane.closed_seconds
        lane.failed(PASSING, is_trial=trial(lane))
    assert lane.fault.is_lasting
