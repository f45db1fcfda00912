from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from luthier.endpoints import Answer, Endpoint, Engine, Journal, Report, compatible
from luthier.errors import EndpointError, QuotaError
from luthier_local import Fault, LocalServer, ModelCard
from tests.patience import PATIENCE_SECONDS, until
from tests.questions import question, questions
from tests.scripted_server import serving

SENT_ON = ["500", "reset", "malformed_json", "truncated", "timeout"]


def fault_of(name: str, **rule: object) -> Fault:
    if name == "500":
        return Fault("status", status=500, **rule)  # type: ignore[arg-type]
    return Fault(name, **rule)  # type: ignore[arg-type]


def seconds_for(name: str) -> float:
    """How long an answer is waited for: not long where it never comes."""
    return 0.5 if name == "timeout" else PATIENCE_SECONDS


def told(endpoint: Endpoint, **settings: object) -> Endpoint:
    return endpoint.model_copy(update=settings)


@pytest.mark.parametrize("name", SENT_ON)
def test_what_passes_is_asked_again(name: str, server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    fault = server.faults.add(fault_of(name, every=4, times=6))
    answers = engine.run(questions(30), told(endpoint, timeout_seconds=seconds_for(name)))
    assert [answer.failure for answer in answers] == [None] * 30
    assert fault.fired == 6
    # A busy machine may answer others too late as well.
    assert engine.report.retries == 6 or (name == "timeout" and engine.report.retries > 6)
    assert server.received.total == 36 or name == "timeout"


@pytest.mark.slow
@pytest.mark.parametrize("name", SENT_ON)
def test_what_never_passes_fails_its_row_and_is_asked_again_next_time(
    name: str, server: LocalServer, endpoint: Endpoint, engine: Engine
) -> None:
    engine = Engine(Journal.in_memory(), max_attempts=3, backoff_seconds=0.01)
    server.faults.add(fault_of(name, contains="visit 7:"))
    answers = engine.run(questions(20), told(endpoint, timeout_seconds=seconds_for(name)))
    assert [n for n, answer in enumerate(answers) if answer.failure] == [7]
    assert answers[7].failure == "transient"
    assert answers[7].error
    assert server.received.total == 22 or name == "timeout"
    server.faults.clear()
    again = engine.run(questions(20), endpoint)
    assert [n for n, answer in enumerate(again) if not answer.from_journal] == [7]
    engine.close()


def test_one_poisoned_row_fails_alone_and_stays_parked(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    server.faults.add(Fault("status", status=400, message="cannot be read", contains="visit 13:"))
    answers = engine.run(questions(100), endpoint)
    assert [n for n, answer in enumerate(answers) if answer.failure] == [13]
    assert (answers[13].failure, answers[13].status) == ("permanent", 400)
    assert "cannot be read" in str(answers[13].error)
    assert server.received.total == 100, "a request that can never work is not tried again"
    server.faults.clear()
    assert engine.run(questions(100), endpoint)[13].failure == "permanent"
    assert server.received.total == 100
    assert engine.run(questions(100), endpoint, retry_failed=True)[13].failure is None
    assert server.received.total == 101


def test_what_failed_for_good_is_planned_as_it_is_asked(
    server: LocalServer, endpoint: Endpoint, engine: Engine
) -> None:
    server.faults.add(Fault("status", status=400, message="cannot be read", contains="visit 3:"))
    engine.run(questions(5), endpoint)
    kept = engine.estimate(questions(5), endpoint)
    assert (kept.in_journal, kept.cost_usd) == (5, 0)
    again = engine.estimate(questions(5), endpoint, retry_failed=True)
    assert again.in_journal == 4
    assert again.cost_usd
    assert engine.estimate(questions(5), endpoint, fresh=True).in_journal == 0


def test_what_fails_for_good_is_tried_again_once_a_command(
    server: LocalServer, endpoint: Endpoint, engine: Engine
) -> None:
    server.faults.add(Fault("status", status=400, message="cannot be read", contains="visit 3:"))
    engine.run(questions(5), endpoint)
    asked: set[bytes] = set()
    for _ in range(2):
        failed = engine.run(questions(5), endpoint, retry_failed=True, asked=asked)
        assert failed[3].failure == "permanent"
    assert server.received.total == 6


def test_a_fresh_answer_that_failed_is_not_made_up_for_by_the_old_one(
    server: LocalServer, endpoint: Endpoint, engine: Engine
) -> None:
    engine.run(questions(5), endpoint)
    server.faults.add(Fault("status", status=400, message="cannot be read", contains="visit 3:"))
    asked: set[bytes] = set()
    for _ in range(2):
        assert engine.run(questions(5), endpoint, fresh=True, asked=asked)[3].failure == "permanent"


def test_content_refusals_and_filters(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    server.faults.add(Fault("poison", contains="visit 1:"))
    server.faults.add(Fault("refusal", contains="visit 2:"))
    server.faults.add(Fault("content_filter", contains="visit 3:"))
    answers = engine.run(questions(4), endpoint)
    assert answers[1].failure == "content"
    assert answers[2].failure is None
    assert answers[2].refusal
    assert answers[3].finish_reason == "content_filter"


def test_retry_after_is_waited_for(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    server.faults.add(Fault("rate_limit", retry_after_seconds=0.7, nth=1))
    began = time.monotonic()
    answers = engine.run(questions(3), endpoint)
    assert time.monotonic() - began >= 0.7
    assert all(answer.failure is None for answer in answers)
    assert engine.report.rate_limited == 1


def test_a_429_without_retry_after_backs_off(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    server.faults.add(Fault("rate_limit", retry_after_seconds=-1, times=5))
    answers = engine.run(questions(10), endpoint)
    assert all(answer.failure is None for answer in answers)
    assert engine.report.rate_limited == 5
    assert any(moment.what.startswith("429") and moment.is_cut for moment in engine.report.history[endpoint.label])


def test_being_told_to_wait_is_no_attempt(server: LocalServer, endpoint: Endpoint) -> None:
    engine = Engine(Journal.in_memory(), backoff_seconds=0.001, longest_backoff_seconds=1.0, max_attempts=2)
    server.faults.add(Fault("rate_limit", retry_after_seconds=0, contains="visit 0:", times=4))
    answers = engine.run(questions(4), endpoint)
    engine.close()
    assert [answer.failure for answer in answers] == [None] * 4
    assert engine.report.rate_limited == 4


def test_a_service_that_answers_nothing_but_429_ends_the_run_with_a_message(
    server: LocalServer, endpoint: Endpoint
) -> None:
    engine = Engine(Journal.in_memory(), backoff_seconds=0.01, longest_backoff_seconds=0.02)
    server.faults.add(Fault("rate_limit", retry_after_seconds=0))
    with pytest.raises(QuotaError, match=r"429.*0\.4 s"):
        engine.run(questions(200), endpoint)
    engine.close()
    assert engine.journal.size().failures == 0, "it says nothing about the rows"


def test_a_row_alone_in_being_refused_is_given_up_for_now(server: LocalServer, endpoint: Endpoint) -> None:
    engine = Engine(Journal.in_memory(), backoff_seconds=0.005, longest_backoff_seconds=0.005)
    server.faults.add(Fault("rate_limit", retry_after_seconds=0, contains="visit 0:"))
    answers = engine.run(questions(20), endpoint)
    engine.close()
    assert [answer.failure for answer in answers] == ["rate_limit", *[None] * 19]


def test_a_wait_of_an_hour_stops_the_run(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    server.faults.add(Fault("rate_limit", retry_after_seconds=3600, nth=5))
    with pytest.raises(QuotaError, match="3600 s"):
        engine.run(questions(50), endpoint)


def test_other_rows_go_on_while_one_waits(server: LocalServer, endpoint: Endpoint) -> None:
    engine = Engine(Journal.in_memory(), backoff_seconds=1.0)
    server.faults.add(Fault("status", status=503, contains="visit 0:", times=1))
    told: list[Answer | None] = []

    class Order:
        def expect(self, requests: int) -> None: ...

        def completed(self, answer: Answer) -> None:
            told.append(answer)

        def retried(self, wait_seconds: float) -> None:
            told.append(None)

        def working(self, what: str, done: float, total: float | None, said: str) -> None: ...

    answers = engine.run(questions(100), endpoint, progress=Order())
    waiting = told.index(None)
    came = next(place for place, answer in enumerate(told) if answer is answers[0])
    assert came - waiting > 1, "others landed between its failure and its answer"
    engine.close()


def test_an_empty_account_stops_the_run_and_keeps_what_came(
    server: LocalServer, endpoint: Endpoint, engine: Engine
) -> None:
    server.faults.add(Fault("quota", nth=range(40, 1000)))
    with pytest.raises(QuotaError, match=r"nothing left to spend.*journal"):
        engine.run(questions(300), endpoint)
    sent = server.received.total
    assert sent < 39 + 2 * 64, "nothing new is sent once one is told"
    server.faults.clear()
    answers = engine.run(questions(300), endpoint)
    assert sum(answer.from_journal for answer in answers) == 39
    assert all(answer.failure is None for answer in answers)


def test_a_wrong_key_names_its_variable_and_not_itself(
    endpoint: Endpoint, engine: Engine, monkeypatch: pytest.MonkeyPatch, server: LocalServer
) -> None:
    monkeypatch.setenv("STARS_KEY", "sk-wrong-but-secret-1")
    with pytest.raises(EndpointError, match="STARS_KEY") as raised:
        engine.run(questions(100), endpoint)
    assert "sk-wrong" not in str(raised.value)
    assert engine.report.sent <= 8


def test_a_missing_key_stops_before_anything_is_sent(
    endpoint: Endpoint, engine: Engine, monkeypatch: pytest.MonkeyPatch, server: LocalServer
) -> None:
    monkeypatch.delenv("STARS_KEY")
    with pytest.raises(EndpointError, match="export STARS_KEY="):
        engine.run(questions(10), endpoint)
    assert server.received.total == 0


def test_an_unknown_model_lists_the_known(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    server.put_model(ModelCard("other-model"))
    with pytest.raises(EndpointError, match=r"'tsars-model'.*other-model, stars-model"):
        engine.run(questions(50), told(endpoint, model="tsars-model"))
    assert server.received.by_path["models"] == 1


def test_log_probabilities_that_are_not_offered(server: LocalServer, endpoint: Endpoint, engine: Engine) -> None:
    server.put_model(ModelCard("stars-model", logprobs=False))
    with pytest.raises(EndpointError, match=r"answer: \{method: text\}"):
        engine.run([question("great", logprobs=True, top_logprobs=5)], endpoint)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else gets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_told_before_all_is_tried(host: str, silent_port: int, engine: Engine) -> None:
    nowhere = Endpoint(provider="compatible", model="m", base_url=f"http://{host}:{silent_port}/v1")
    with pytest.raises(EndpointError, match="cannot be reached"):
        engine.run(questions(200), nowhere)
    assert engine.report.sent <= 20


@pytest.mark.slow
def test_a_server_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "sk-1")
    engine = Engine(Journal.in_memory(), backoff_seconds=0.1)
    with LocalServer(api_key="sk-1") as server:
        port = server.port
        endpoint = Endpoint(provider="compatible", model="deterministic", base_url=server.base_url, api_key_env="K")
        engine.run(questions(2), endpoint)
    back = LocalServer(api_key="sk-1", port=port)

    class ComingBack:
        def expect(self, requests: int) -> None: ...
        def completed(self, answer: Answer) -> None: ...
        def working(self, what: str, done: float, total: float | None, said: str) -> None: ...
        def retried(self, wait_seconds: float) -> None:
            with suppress(EndpointError):  # It has come back already.
                back.start()

    answers = engine.run(questions(20), endpoint, progress=ComingBack())
    assert all(answer.failure is None for answer in answers)
    back.stop()
    engine.close()


def test_a_wrong_path_says_what_a_base_url_is(endpoint: Endpoint, engine: Engine, server: LocalServer) -> None:
    with pytest.raises(EndpointError, match="/v1"):
        engine.run(questions(2), told(endpoint, base_url=server.root_url))


def test_a_huge_text_is_a_clear_failure_of_its_row(endpoint: Endpoint, engine: Engine) -> None:
    huge, good = engine.run([question("great " * 900_000), question("great, stars 1 to 5:")], endpoint)
    assert huge.failure == "permanent"
    assert "too long for the model" in str(huge.error)
    assert len(str(huge.error)) < 1000
    assert good.failure is None


def test_https_at_a_plain_port_is_told(engine: Engine, server: LocalServer, endpoint: Endpoint) -> None:
    with pytest.raises(EndpointError, match="does not speak https"):
        engine.run(questions(1), told(endpoint, base_url=server.base_url.replace("http://", "https://")))


def test_a_failing_journal_stops_the_run_and_says_why(server: LocalServer, endpoint: Endpoint, tmp_path: Path) -> None:
    from luthier.errors import UserError

    engine = Engine(Journal(tmp_path / "j.db"))
    engine.run(questions(1), endpoint)
    with engine.journal._connection() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(UserError, match="disk is full"):
        engine.run(questions(2000), endpoint)
    assert server.received.total < 1000
    engine.close()


@pytest.mark.slow
def test_stop_drains_and_resume_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", latency_seconds=0.05) as server:
        endpoint = Endpoint(provider="compatible", model="deterministic", base_url=server.base_url, api_key_env="K")
        engine = Engine(Journal(tmp_path / "j.db"))

        class StopAt:
            seen = 0

            def expect(self, requests: int) -> None: ...

            def completed(self, answer: Answer) -> None:
                self.seen += 1
                if self.seen == 100:
                    engine.stop()

            def retried(self, wait_seconds: float) -> None: ...

            def working(self, what: str, done: float, total: float | None, said: str) -> None: ...

        report = Report()
        answers = engine.run(questions(1000), endpoint, progress=StopAt(), report=report)
        stopped = [answer for answer in answers if answer.failure == "stopped"]
        sent = server.received.total
        assert sent < 300
        assert len(stopped) == 1000 - sent, "all that was sent is answered"
        assert report.failed == {"stopped": len(stopped)}
        assert all(answer.failure == "stopped" for answer in engine.run(questions(5, start=5000), endpoint))
        engine.resume()
        again = engine.run(questions(1000), endpoint)
        assert all(answer.failure is None for answer in again)
        assert server.received.total == 1000
        engine.close()


@pytest.mark.slow
async def test_a_caller_who_leaves_loses_no_answer(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    import asyncio

    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", faults=[Fault("held")]) as server:
        endpoint = Endpoint(provider="compatible", model="deterministic", base_url=server.base_url, api_key_env="K")
        leaving = asyncio.create_task(engine.arun(questions(200), endpoint))
        staying = asyncio.create_task(engine.arun(questions(10, start=190), endpoint))
        await asyncio.to_thread(until, lambda: server.received.total)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        server.faults.clear()
        assert all(answer.failure is None for answer in await staying), "joined requests go on for who stayed"
        await asyncio.to_thread(until, lambda: engine.journal.size().answers == server.received.total)
        assert server.received.total < 50


def test_a_message_with_half_a_surrogate_pair_fails_its_row_alone(endpoint: Endpoint, tmp_path: Path) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    with serving(400, r'{"error": {"message": "cannot take \ud83d here"}}') as url:
        answer = engine.run(questions(1), told(endpoint, base_url=url))[0]
    engine.close()
    assert (answer.failure, answer.error) == ("permanent", "status 400: cannot take ? here")


def test_an_answer_with_half_a_surrogate_pair_is_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    with serving(200, r'{"model": "m\ud83d", "choices": [{"message": {"content": "5\ud83d"}}]}') as url:
        engine.run(questions(1), told(endpoint, base_url=url))
        again = engine.run(questions(1), told(endpoint, base_url=url))[0]
    engine.close()
    assert (again.text, again.model, again.from_journal) == ("5?", "m?", True)


def test_an_outage_at_first_contact_goes_on_with_what_the_journal_has(server: LocalServer, endpoint: Endpoint) -> None:
    journal = Journal.in_memory()
    Engine(journal).run(questions(600)[::2], endpoint)
    away = told(endpoint, base_url="http://127.0.0.1:9/v1", identity=endpoint.address)
    engine = Engine(journal, backoff_seconds=0.01)
    answers = engine.run(questions(600), away)
    assert [answer.failure is None for answer in answers] == [n % 2 == 0 for n in range(600)]
    assert {answer.failure for answer in answers[1::2]} <= {"transient", "stopped"}, "asked again by the next run"
    assert "cannot be reached" in engine.report.notes[0]
    assert {answer.failure for answer in engine.run(questions(600)[::2], away)} == {None}
    engine.close()


def test_a_deployment_that_is_away_is_taken_for_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name tells nothing of the model behind it, and away it cannot be asked."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-1")
    journal = Journal.in_memory()
    with LocalServer(api_key="sk-1") as server:
        server.put_model(ModelCard("stars", reports_model="gpt-4o-mini-2024-07-18"))
        deployment = Endpoint(provider="azure", model="stars", base_url=server.azure_url)
        Engine(journal).run(questions(3), deployment)
    answers = Engine(journal, backoff_seconds=0.01).run(questions(5), deployment)
    assert [answer.from_journal for answer in answers] == [True] * 3 + [False] * 2
    with pytest.raises(EndpointError, match="cannot be reached"):
        Engine(Journal.in_memory(), backoff_seconds=0.01).run(questions(3), deployment)


def test_an_answer_the_service_broke_off_is_asked_again_and_on_the_next_run(tmp_path: Path) -> None:
    well = threading.Event()

    def answer(asked: bytes) -> str:
        if well.is_set():
            return json.dumps({"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]})
        choice = {"message": {"content": "At first"}, "finish_reason": "error", "error": {"message": "gone"}}
        return json.dumps({"choices": [choice]})

    with serving(200, answer) as url:
        engine = Engine(Journal.in_memory(), max_attempts=2, backoff_seconds=0.01)
        (broken,) = engine.run(questions(1), compatible("m", url))
        assert (broken.failure, broken.text) == ("transient", "")
        assert "gone" in str(broken.error)
        assert engine.report.sent == 2
        well.set()
        (whole,) = engine.run(questions(1), compatible("m", url))
        assert (whole.failure, whole.text) == (None, "4")
        engine.close()
