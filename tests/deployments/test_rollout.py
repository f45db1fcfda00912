"""A rollout step by step: each way it can end, with the clock in the test's hand."""

from __future__ import annotations

import pytest

from luthier.deployments.rollout import Action, CheckOutcome, Rollout, RolloutBounds, ServerSeen, Traffic
from luthier.errors import UserError

READY = ServerSeen(is_alive=True, is_ready=True)
STARTING = ServerSeen(is_alive=True, why="upstream: not asked yet")
PASSED = CheckOutcome(True, "20 of 20 recorded answers came out alike")


def answering(requests: int, errors: int = 0, p95_seconds: float = 0.1) -> ServerSeen:
    return ServerSeen(is_alive=True, is_ready=True, traffic=Traffic(requests, errors, p95_seconds))


def crashed(words: str = "MemoryError") -> ServerSeen:
    return ServerSeen(is_alive=False, why=words)


def verbs(actions: list[Action]) -> list[str]:
    return [f"{one.verb} {one.server}" for one in actions]


def reason(actions: list[Action]) -> str:
    return next(one.words for one in actions if one.verb == "back")


def sharing(old: ServerSeen = READY) -> Rollout:
    """A rollout at second 0 of its watch."""
    rollout = Rollout(0, replaces=True)
    rollout.step(0, STARTING, old)
    rollout.step(0, READY, old)
    assert verbs(rollout.step(0, READY, old, PASSED)) == ["accept new"]
    return rollout


def test_the_first_revision_answers_as_soon_as_its_answers_were_checked() -> None:
    rollout = Rollout(0, replaces=False)
    assert verbs(rollout.step(0, crashed(), None)) == ["start new"]
    assert rollout.step(1, STARTING, None) == []
    assert verbs(rollout.step(2, READY, None)) == ["check new"]
    assert rollout.step(3, READY, None) == []
    assert verbs(rollout.step(4, READY, None, PASSED)) == ["accept new", "done new"]
    assert rollout.is_over


def test_an_update_is_watched_then_answers_alone_then_the_old_server_ends() -> None:
    rollout = sharing(answering(500))
    assert rollout.step(59, answering(80), answering(600)) == []
    [paused] = rollout.step(60, answering(100), answering(620))
    assert (paused.verb, paused.server) == ("pause", "old")
    assert "60 s and 100 requests" in paused.words
    assert rollout.step(119, answering(200), answering(620)) == []
    assert verbs(rollout.step(120, answering(201), answering(620))) == ["done new", "drain old"]


def test_an_update_with_too_few_requests_is_accepted_after_its_watch_and_the_event_says_so() -> None:
    [paused] = sharing().step(60, answering(3, errors=3), READY)
    assert paused.verb == "pause"
    assert "3 requests, too few" in paused.words and "20 are needed" in paused.words


def test_answers_that_differ_never_reach_a_client() -> None:
    rollout = Rollout(0, replaces=True)
    rollout.step(0, STARTING, READY)
    rollout.step(1, READY, READY)
    actions = rollout.step(2, READY, READY, CheckOutcome(False, "7 of 20 recorded answers differ"))
    assert verbs(actions) == ["back new", "kill new"]
    assert reason(actions) == "7 of 20 recorded answers differ"


def test_a_replay_that_differs_ends_the_rollout_at_once() -> None:
    rollout = Rollout(0, replaces=True)
    rollout.step(0, STARTING, READY)
    actions = rollout.step(1, ServerSeen(True, differs="row 3: 4 was recorded, 5 came out"), READY)
    assert verbs(actions) == ["back new", "kill new"]
    assert "row 3" in reason(actions)


def test_a_server_that_never_gets_ready_is_ended_after_its_limit_with_what_it_said() -> None:
    rollout = Rollout(0, replaces=True, bounds=RolloutBounds(start_seconds=30))
    rollout.step(0, STARTING, READY)
    assert rollout.step(30, STARTING, READY) == []
    actions = rollout.step(31, STARTING, READY)
    assert verbs(actions) == ["back new", "kill new"]
    assert "30 s" in reason(actions) and "upstream: not asked yet" in reason(actions)


def test_a_server_that_ends_while_it_starts_is_not_waited_for() -> None:
    rollout = Rollout(0, replaces=False)
    rollout.step(0, crashed(), None)
    assert "MemoryError" in reason(rollout.step(1, crashed(), None))


def test_a_server_that_ends_while_it_is_checked_fails_the_rollout() -> None:
    rollout = Rollout(0, replaces=False)
    rollout.step(0, crashed(), None)
    rollout.step(1, READY, None)
    assert "MemoryError" in reason(rollout.step(2, crashed(), None))


def test_a_check_that_takes_too_long_fails_the_rollout() -> None:
    rollout = Rollout(0, replaces=False)
    rollout.step(0, crashed(), None)
    rollout.step(1, READY, None)
    assert rollout.step(301, READY, None) == []
    assert "300 s" in reason(rollout.step(302, READY, None))


def test_a_crash_during_the_watch_goes_back() -> None:
    actions = sharing().step(5, crashed(), READY)
    assert verbs(actions) == ["back new", "pause new", "drain new"]
    assert "MemoryError" in reason(actions)


def test_errors_above_those_of_the_old_revision_go_back_before_the_watch_is_over() -> None:
    actions = sharing().step(5, answering(50, errors=3), answering(50, errors=1))
    assert verbs(actions) == ["back new", "pause new", "drain new"]
    assert "3 of 50 requests" in reason(actions)


def test_errors_that_both_revisions_have_alike_do_not_go_back() -> None:
    assert sharing().step(5, answering(50, errors=25), answering(50, errors=25)) == []


def test_errors_from_before_the_watch_do_not_count_for_the_old_revision() -> None:
    rollout = sharing(answering(1_000, errors=900))
    assert verbs(rollout.step(5, answering(50, errors=5), answering(1_050, errors=900)))[0] == "back new"


def test_one_error_alone_does_not_go_back() -> None:
    assert sharing().step(5, answering(20, errors=1), answering(50)) == []


def test_latency_above_the_bound_goes_back_at_the_end_of_the_watch() -> None:
    rollout = sharing()
    assert rollout.step(30, answering(50, p95_seconds=0.3), answering(50, p95_seconds=0.1)) == []
    actions = rollout.step(60, answering(90, p95_seconds=0.3), answering(90, p95_seconds=0.1))
    assert verbs(actions) == ["back new", "pause new", "drain new"]
    assert "300 ms" in reason(actions) and "250 ms is allowed" in reason(actions)


def test_latency_within_the_bound_is_accepted() -> None:
    assert verbs(sharing().step(60, answering(90, p95_seconds=0.24), answering(90, p95_seconds=0.1))) == ["pause old"]


def test_errors_after_the_watch_bring_the_warm_server_back() -> None:
    rollout = sharing()
    rollout.step(60, answering(50), answering(50))
    actions = rollout.step(70, answering(100, errors=30), answering(50))
    assert verbs(actions) == ["back new", "accept old", "pause new", "drain new"]


def test_a_rollback_to_a_warm_server_takes_one_step() -> None:
    rollout = Rollout(0, replaces=True, is_rollback=True, is_warm=True)
    actions = rollout.step(0, answering(500), answering(20, errors=20))
    assert verbs(actions) == ["accept new", "pause old", "done new", "drain old"]


def test_a_rollback_to_a_server_that_has_ended_starts_it_first() -> None:
    rollout = Rollout(0, replaces=True, is_rollback=True)
    assert verbs(rollout.step(0, crashed(), READY)) == ["start new"]
    assert verbs(rollout.step(1, READY, READY)) == ["accept new", "pause old", "done new", "drain old"]


def test_an_update_that_is_dropped_while_it_starts_leaves_the_old_server_alone() -> None:
    rollout = Rollout(0, replaces=True)
    rollout.step(0, STARTING, READY)
    assert verbs(rollout.drop("revision 4 was asked for")) == ["back new", "kill new"]
    assert rollout.step(1, READY, READY) == []


def test_an_update_that_is_dropped_while_it_shares_answers_what_it_has_taken() -> None:
    assert verbs(sharing().drop("revision 4 was asked for")) == ["back new", "pause new", "drain new"]


def test_an_update_that_was_accepted_is_not_taken_back_by_the_next_one() -> None:
    rollout = sharing()
    rollout.step(60, answering(50), answering(50))
    assert verbs(rollout.drop("revision 4 was asked for")) == ["done new", "drain old"]


def test_a_server_that_was_started_anew_during_the_watch_counts_from_nothing() -> None:
    rollout = sharing(answering(1_000, errors=10))
    assert verbs(rollout.step(60, answering(50), answering(30))) == ["pause old"]


def test_bounds_are_set_by_their_names_and_anything_else_is_refused() -> None:
    assert RolloutBounds.of({"watch_seconds": "5", "least_requests": "3"}) == RolloutBounds(
        watch_seconds=5, least_requests=3
    )
    with pytest.raises(UserError, match="watch_second; .*watch_seconds"):
        RolloutBounds.of({"watch_second": "5"})
    for wrong in ("-1", "nan", "inf", "soon", ""):
        with pytest.raises(UserError, match="latency_factor"):
            RolloutBounds.of({"latency_factor": wrong})


def test_going_back_says_whether_the_gate_or_the_start_was_the_reason() -> None:
    start = Rollout(0, replaces=False)
    start.step(0, crashed(), None)
    [back, _] = start.step(1, crashed(), None)
    assert not back.is_gate
    assert sharing().step(5, answering(50, errors=30), answering(50))[0].is_gate
