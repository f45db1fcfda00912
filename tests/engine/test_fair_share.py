from __future__ import annotations

from luthier.engine.fair_share import SMALLEST, FairShare
from luthier.engine.pacing import Ticket
from tests.engine.throttled import Time

RATE, MOST = 20.0, 60.0


def told(share: FairShare, time: Time, seconds: int, left: float, own: float, number: int = 0) -> int:
    """Twenty replies a second, a tenth of a second after their requests, while `own` of the rate is sent from here."""
    for _ in range(20 * seconds):
        time.now += 0.05
        number += 1
        share.told(RATE, Ticket(number, time.now - 0.1), own * number, left, MOST)
    return number


def test_who_is_alone_uses_all_of_the_rate_though_little_is_left() -> None:
    share = FairShare(time := Time())
    told(share, time, 60, left=0, own=1.0)
    assert share.part == 1.0


def test_the_part_falls_while_others_leave_little_and_grows_when_more_is_left() -> None:
    share = FairShare(time := Time())
    number = told(share, time, 20, left=2, own=0.5)
    assert SMALLEST < share.part < 0.3
    fallen = share.part
    told(share, time, 10, left=40, own=0.5, number=number)
    assert share.part > fallen + 0.15


def test_parts_that_differ_become_equal_under_the_same_news() -> None:
    time = Time()
    large, small = FairShare(time), FairShare(time)
    small.part = 0.1
    for number in range(1, 20 * 60):
        time.now += 0.05
        for share in (large, small):
            share.told(RATE, Ticket(number, time.now - 0.1), 0.3 * number, left=12, most=MOST)
    assert abs(large.part - small.part) < 0.02


def test_others_that_leave_are_noticed() -> None:
    share = FairShare(time := Time())
    number = told(share, time, 20, left=2, own=0.5)
    told(share, time, 60, left=40, own=1.0, number=number)
    assert share.part == 1.0
