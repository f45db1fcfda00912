from __future__ import annotations

import io
import time

from luthier.endpoints import Answer, TerminalProgress
from luthier.engine.progress import ProgressForecast


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def landings(progress: TerminalProgress) -> None:
    progress.expect(4)
    progress.completed(Answer(text="5", cost_usd=0.5))
    progress.completed(Answer(text="5", cost_usd=0.5, from_journal=True))
    progress.retried(1.0)
    progress.completed(Answer(failure="permanent"))


def test_the_line_says_all() -> None:
    with TerminalProgress("scoring", stream=io.StringIO()) as progress:
        landings(progress)
        line = progress.line()
    assert "3/4" in line
    assert "$0.50," in line, "what the journal had is not paid again"
    assert "1 retries" in line
    assert "1 without answer" in line
    assert "left" in line


def test_short_runs_say_nothing() -> None:
    stream = io.StringIO()
    with TerminalProgress(stream=stream) as progress:
        landings(progress)
    assert stream.getvalue() == ""


def test_a_plain_line_now_and_then() -> None:
    stream = io.StringIO()
    with TerminalProgress("scoring", stream=stream, quiet_seconds=0) as progress:
        landings(progress)
    assert stream.getvalue().startswith("scoring: 1/4")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    with TerminalProgress("scoring", stream=stream, quiet_seconds=0) as progress:
        landings(progress)
        time.sleep(0.01)
    assert "3/4" in stream.getvalue()


def test_silence() -> None:
    stream = Terminal()
    with TerminalProgress("scoring", stream=stream, silent=True, quiet_seconds=0) as progress:
        landings(progress)
    assert stream.getvalue() == ""


def test_work_without_requests_has_a_line_of_its_own() -> None:
    stream = io.StringIO()
    with TerminalProgress("fitting", stream=stream, quiet_seconds=0) as progress:
        progress.working("AutoML", 1, 60, "")
        progress.working("AutoML", 15, 60, "best .47 by lgbm [7 leaves]")
        assert "25%" in progress.line()
        assert "left" in progress.line()
        assert progress.line().endswith("best .47 by lgbm [7 leaves]")
        progress.expect(4)
        assert progress.line().startswith("0/4")
    assert stream.getvalue().splitlines() == ["AutoML: 2%"]


def test_work_whose_end_nobody_knows_says_how_long_it_took() -> None:
    with TerminalProgress(stream=io.StringIO()) as progress:
        progress.working("racing", 3, None, "12 samples left")
        assert progress.line() == "0:00 so far, 12 samples left"


def test_work_is_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    with TerminalProgress("fitting", stream=stream, quiet_seconds=0) as progress:
        landings(progress)
        progress.working("racing", 3, None, "[7 samples left]")
        progress.working("AutoML", 15, 60, "[lgbm]")
    assert "AutoML" in stream.getvalue()
    assert "25%" in stream.getvalue()
    assert "[lgbm]" in stream.getvalue()


def test_one_who_knows_the_whole_passes_work_on() -> None:
    with TerminalProgress(stream=io.StringIO()) as progress:
        ProgressForecast(progress, 10).working("AutoML", 1, 4, "")
        assert progress.line() == "25%"


def choice(follow: bool) -> Answer:
    """An answer with choices, which says whether one more token is asked for."""
    return Answer(text="more" if follow else "", choices=(((" ", -0.1),),))


def follow_ups(answer: Answer) -> int:
    return int(answer.text == "more")


def whole(progress: TerminalProgress) -> str:
    return progress.line().split(" calls")[0]


def test_follow_ups_are_foreseen_from_the_first_answers() -> None:
    with TerminalProgress(stream=io.StringIO()) as progress:
        ahead = ProgressForecast(progress, 100, fitting=20, follow_ups=follow_ups)
        ahead.expect(20)
        assert whole(progress) == "0/120"
        for place in range(20):
            ahead.completed(choice(place % 2 == 0))
        assert whole(progress) == "20/180", "every second answer is followed up, so will be those to the rows"
        ahead.expect(10)
        for _ in range(10):
            ahead.completed(choice(False))
        assert whole(progress) == "30/180", "an answer to a follow-up teaches nothing"
        ahead.answer_rows()
        ahead.expect(100)
        assert whole(progress) == "30/180"
        for _ in range(100):
            ahead.completed(choice(False))
        ahead.expect(3)
        assert whole(progress) == "130/133", "with the second round all is known"


def test_what_fitting_did_not_have_to_ask_is_taken_off() -> None:
    with TerminalProgress(stream=io.StringIO()) as progress:
        ahead = ProgressForecast(progress, 50, fitting=20)
        ahead.expect(5)
        assert whole(progress) == "0/70"
        ahead.answer_rows()
        ahead.expect(50)
        assert whole(progress) == "0/55"


def test_a_search_that_drops_candidates_shortens_the_whole() -> None:
    with TerminalProgress(stream=io.StringIO()) as progress:
        ahead = ProgressForecast(progress, 50, fitting=1000)
        ahead.working("examples", 0, 100, "10 left")
        ahead.expect(200)
        assert whole(progress) == "0/1,050"
        ahead.working("examples", 20, 100, "4 left")
        ahead.expect(80)
        assert whole(progress) == "0/1,050", "10 calls for each of 80 more rows, as far as is known"
        ahead.working("examples", 40, 100, "4 left")
        ahead.expect(80)
        assert whole(progress) == "0/570", "4 calls for each of 60 more rows"
        ahead.answer_rows()
        ahead.expect(50)
        assert whole(progress) == "0/410"


def test_time_left_is_judged_by_what_was_fetched_not_by_what_the_journal_had() -> None:
    with TerminalProgress(stream=io.StringIO()) as progress:
        progress.expect(100)
        for _ in range(90):
            progress.completed(Answer(text="5", cost_usd=0.0, from_journal=True))
        assert "left" not in progress.line()
        progress.completed(Answer(text="5", cost_usd=0.0))
        assert "left" in progress.line()
