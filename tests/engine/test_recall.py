from __future__ import annotations

from collections.abc import Generator, Sequence

from luthier.endpoints import Answer, Endpoint, Engine, Request
from luthier.engine.ask_options import AskOptions
from luthier.errors import Partial
from luthier_local import LocalServer
from tests.questions import question, questions

Talk = Generator[Sequence[Request], Sequence[Answer], str]


def two_rounds() -> Talk:
    """Asks five rows, one of them twice; then once more, which needs all five."""
    first = yield [*questions(5), *questions(1)]
    if any(answer.failure for answer in first):
        raise Partial("not all rows have an answer")
    (last,) = yield [question("and in all?")]
    return last.text or f"none ({last.failure})"


def asked(requests: Sequence[Request]) -> list[str]:
    return [request.body["messages"][0]["content"] for request in requests]


def test_recall_sends_nothing_and_tells_each_missing_request_once(
    server: LocalServer, engine: Engine, endpoint: Endpoint
) -> None:
    engine.run(questions(5)[1:3], endpoint)
    sent = server.received.total
    recalled = engine.recall(two_rounds(), endpoint)
    assert asked(recalled.missing) == asked([questions(5)[n] for n in (0, 3, 4)])
    assert not recalled.complete
    assert server.received.total == sent


def test_answers_to_what_was_missing_bring_the_next_recall_further(engine: Engine, endpoint: Endpoint) -> None:
    seen = []
    while not (recalled := engine.recall(two_rounds(), endpoint)).complete:
        seen.append(len(recalled.missing))
        engine.run(recalled.missing, endpoint)
    assert seen == [5, 1]
    assert recalled.result == engine.drive(two_rounds(), endpoint)


def test_what_would_be_asked_again_is_missing(engine: Engine, endpoint: Endpoint) -> None:
    engine.drive(two_rounds(), endpoint)
    assert engine.recall(two_rounds(), endpoint).complete
    assert len(engine.recall(two_rounds(), endpoint, fresh=True).missing) == 5


def test_what_cannot_be_written_as_json_is_never_missing(engine: Engine, endpoint: Endpoint) -> None:
    def unwritable() -> Talk:
        (answer,) = yield [question("soup", temperature=float("nan"))]
        return answer.failure or ""

    assert engine.recall(unwritable(), endpoint).complete
    assert engine.recall(unwritable(), endpoint, fresh=True).complete


def test_what_is_asked_of_the_journal_alone_is_never_sent(
    server: LocalServer, engine: Engine, endpoint: Endpoint
) -> None:
    engine.run(questions(5)[1:3], endpoint)
    sent = server.received.total
    answers = engine.run(questions(5), endpoint, AskOptions(journal_only=True))
    assert [answer.failure for answer in answers] == ["transient", None, None, "transient", "transient"]
    assert answers[1].from_journal
    assert "nothing was to be sent" in (answers[0].error or "")
    assert server.received.total == sent
