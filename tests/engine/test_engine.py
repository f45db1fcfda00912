from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from luthier.endpoints import Answer, Endpoint, Engine, Journal, Limits, Report, Request
from luthier.engine.shared_journal import MOST_UNCOMMITTED
from luthier.errors import EndpointError, SpecError
from luthier_local import Fault, LocalServer, ModelCard
from tests.patience import PATIENCE_SECONDS, until
from tests.questions import question, questions


def test_answers_come_in_order_with_all_there_is_to_know(engine: Engine, endpoint: Endpoint) -> None:
    asked = [question(f"{word} food, stars 1 to 5:", logprobs=True, top_logprobs=5) for word in ("awful", "great")]
    bad, good = engine.run(asked, endpoint)
    assert int(bad.text) < int(good.text)
    assert bad.failure is None
    assert not bad.from_journal
    assert 2 <= len(bad.choices[0]) <= 6
    assert bad.choices[0][0][0] == bad.text
    assert bad.usage.input_tokens > 5
    assert bad.cost_usd == pytest.approx((bad.usage.input_tokens + 2 * bad.usage.output_tokens) / 1e6)
    assert bad.latency_seconds is not None
    assert bad.model == "stars-model"


def test_completions_too(engine: Engine, endpoint: Endpoint) -> None:
    answer = engine.run(
        [Request("completion", {"prompt": "great food\nStars:", "max_tokens": 1, "logprobs": 5})], endpoint
    )[0]
    assert answer.failure is None
    assert len(answer.choices[0]) >= 5


def test_the_second_run_costs_nothing(server: LocalServer, endpoint: Endpoint, tmp_path: Path) -> None:
    asked = questions(30)
    engine = Engine(Journal(tmp_path / "j.db"))
    first = engine.run(asked, endpoint)
    engine.close()
    engine = Engine(Journal(tmp_path / "j.db"))
    second = engine.run(asked, endpoint)
    assert server.received.total == 30
    assert [answer.text for answer in first] == [answer.text for answer in second]
    assert all(answer.from_journal for answer in second)
    assert second[3].cost_usd == first[3].cost_usd
    assert second[3].latency_seconds == first[3].latency_seconds
    summary = engine.report.summary()
    assert (summary["from_journal"], summary["sent"], summary["spent_usd"]) == (30, 0, 0.0)
    assert summary["saved_usd"] > 0
    engine.close()


def test_a_damaged_answer_is_asked_again_and_told(
    server: LocalServer, endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    first = engine.run(questions(8), endpoint)
    engine.close()
    connection = sqlite3.connect(tmp_path / "j.db")
    connection.execute("UPDATE answers SET body = replace(body, 'choices', 'choicez') WHERE rowid <= 3")
    connection.commit()
    connection.close()
    engine = Engine(Journal(tmp_path / "j.db"))
    assert engine.estimate(questions(8), endpoint).in_journal == 5
    report = Report()
    second = engine.run(questions(8), endpoint, report=report)
    assert [answer.text for answer in second] == [answer.text for answer in first]
    assert (server.received.total, report.from_journal, report.damaged) == (11, 5, 3)
    told = "3 answers in the journal were damaged (the checksum does not fit) and asked again."
    assert report.notes == [told]
    assert told in caplog.text
    assert all(answer.from_journal for answer in engine.run(questions(8), endpoint))
    engine.close()


def test_what_is_in_the_journal_needs_no_key(
    engine: Engine, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.run(questions(3), endpoint)
    monkeypatch.delenv("STARS_KEY")
    assert all(answer.from_journal for answer in engine.run(questions(3), endpoint))
    with pytest.raises(EndpointError, match="STARS_KEY"):
        engine.run(questions(4), endpoint)


def test_fresh_asks_again_each_distinct_question_once(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    engine.run(questions(5), endpoint)
    answers = engine.run(questions(5) * 100, endpoint, fresh=True)
    assert server.received.total == 10
    assert sum(not answer.from_journal for answer in answers) == 5


def test_fresh_asks_once_for_all_calls_that_share_what_was_asked(
    server: LocalServer, engine: Engine, endpoint: Endpoint
) -> None:
    engine.run(questions(6), endpoint)
    asked: set[bytes] = set()
    first = engine.run(questions(4), endpoint, fresh=True, asked=asked)
    second = engine.run(questions(6), endpoint, fresh=True, asked=asked)
    assert [answer.from_journal for answer in second] == [True] * 4 + [False] * 2
    assert [answer.text for answer in second[:4]] == [answer.text for answer in first]
    assert server.received.total == 12


def test_what_is_asked_is_remembered_only_where_it_could_be_asked_again(engine: Engine, endpoint: Endpoint) -> None:
    asked: set[bytes] = set()
    engine.run(questions(4), endpoint, asked=asked)
    assert not asked, "a table of a million rows would fill the memory with keys"
    engine.run(questions(4), endpoint, asked=asked, fresh=True)
    assert len(asked) == 4


def test_equal_questions_are_sent_once_and_paid_once(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    report = Report()
    answers = engine.run(questions(4) * 25, endpoint, report=report)
    assert server.received.total == 4
    assert {answer.text for answer in answers} <= {"1", "2", "3", "4", "5"}
    assert sum(not answer.from_journal for answer in answers) == 4
    paid = sum(answer.cost_usd or 0 for answer in answers if not answer.from_journal)
    assert report.spent_usd == pytest.approx(paid)


async def test_runs_that_overlap_share_what_is_in_flight(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", latency_seconds=0.2) as server:
        endpoint = Endpoint(provider="compatible", model="deterministic", base_url=server.base_url, api_key_env="K")
        runs = await asyncio.gather(*(engine.arun(questions(20), endpoint) for _ in range(5)))
        assert server.received.total == 20
        assert all([a.text for a in run] == [a.text for a in runs[0]] for run in runs)


async def test_runs_of_different_rows_do_not_take_each_others_answers(
    server: LocalServer, endpoint: Endpoint, tmp_path: Path
) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    asked = [question(f"run {run}, row {row}") for run in range(12) for row in range(20)]
    runs = await asyncio.gather(*(engine.arun(asked[i : i + 20], endpoint) for i in range(0, len(asked), 20)))
    assert server.received.total == len(asked)
    again = await engine.arun(asked, endpoint)
    assert [answer.text for answer in again] == [answer.text for run in runs for answer in run]
    engine.close()


async def test_it_runs_inside_a_running_loop_and_from_threads(endpoint: Endpoint, engine: Engine) -> None:
    here = engine.run(questions(3), endpoint)
    found: list[list[Answer]] = []
    threads = [threading.Thread(target=lambda: found.append(engine.run(questions(10), endpoint))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert len(here) == 3
    assert [len(answers) for answers in found] == [10] * 4


async def test_a_journal_that_cannot_commit_stops_the_sending_after_a_bounded_number_of_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("K", "sk-1")
    limits = Limits(concurrency=8)
    with LocalServer(api_key="sk-1", latency_seconds=0.02) as server:
        endpoint = Endpoint(
            provider="compatible", model="deterministic", base_url=server.base_url, api_key_env="K", limits=limits
        )
        engine = Engine(Journal(tmp_path / "j.db"))
        server.faults.add(Fault("held", nth=range(20, 1_000)))
        asking = asyncio.create_task(engine.arun(questions(250), endpoint))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while server.received.total < 20:
                await asyncio.sleep(0.005)
            other = sqlite3.connect(tmp_path / "j.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            committed = other.execute("SELECT count(*) FROM answers").fetchone()[0]
            most = committed + limits.concurrency + MOST_UNCOMMITTED
            server.faults.clear()
            try:
                while server.received.total < most:
                    await asyncio.sleep(0.005)
                done, _ = await asyncio.wait([asking], timeout=0.3)
                assert not done, "no answer is handed out before it is committed"
                assert server.received.total == most
            finally:
                other.execute("ROLLBACK")
                other.close()
        assert all(answer.failure is None for answer in await asking)
        assert server.received.total == 250
        engine.close()


def test_nothing_to_ask(engine: Engine, endpoint: Endpoint) -> None:
    assert engine.run([], endpoint) == []


@pytest.mark.slow
def test_many_requests_do_not_become_many_tasks(engine: Engine, server: LocalServer, endpoint: Endpoint) -> None:
    most = 0

    class Watch:
        def expect(self, requests: int) -> None: ...

        def completed(self, answer: Answer) -> None:
            nonlocal most
            most = max(most, len(asyncio.all_tasks()))

        def retried(self, wait_seconds: float) -> None: ...

        def working(self, what: str, done: float, total: float | None, said: str) -> None: ...

    engine.run(questions(1500), endpoint, progress=Watch())
    assert 0 < most < 300, "in flight and being connected, not one per request"
    assert server.received.most_in_flight <= 64


def test_a_broken_progress_display_costs_no_answer(
    engine: Engine, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def expect(self, requests: int) -> None: ...

        def completed(self, answer: Answer) -> None:
            raise OSError("the terminal is gone")

        def retried(self, wait_seconds: float) -> None: ...

        def working(self, what: str, done: float, total: float | None, said: str) -> None: ...

    answers = engine.run(questions(20), endpoint, progress=Broken())
    assert all(answer.failure is None for answer in answers)
    assert [record.name for record in caplog.records] == ["luthier.engine"]


@pytest.mark.slow
def test_a_short_run_is_not_held_up_by_a_long_one(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("K", "sk-1")
    came: list[str] = []

    class Noting:
        def __init__(self, run: str) -> None:
            self.run, self.expects = run, threading.Event()

        def expect(self, requests: int) -> None:
            self.expects.set()

        def completed(self, answer: Answer) -> None:
            came.append(self.run)

        def retried(self, wait_seconds: float) -> None: ...
        def working(self, what: str, done: float, total: float | None, said: str) -> None: ...

    with LocalServer(api_key="sk-1", requests_per_minute=6000, latency_seconds=0.01) as server:
        endpoint = Endpoint(
            provider="compatible",
            model="deterministic",
            base_url=server.base_url,
            api_key_env="K",
            limits={"requests_per_minute": 6000},
        )
        # Neither is answered before both have asked.
        server.faults.add(Fault("held"))
        long, short = Noting("long"), Noting("short")
        with ThreadPoolExecutor(2) as threads:
            threads.submit(engine.run, questions(120), endpoint, progress=long)
            until(lambda: server.received.total)
            threads.submit(engine.run, questions(10, start=1000), endpoint, progress=short)
            assert short.expects.wait(PATIENCE_SECONDS)
            server.faults.clear()
    assert came.count("short") == 10
    assert "long" in came[130 - came[::-1].index("short") :], "ten questions had to wait for all the others"


def conversation(words: Sequence[str]) -> Generator[Sequence[Request], Sequence[Answer], str]:
    answers = yield [question(f"{word}: stars 1 to 5:") for word in words]
    nothing = yield []
    assert nothing == []
    again = yield [question("once more: great, stars 1 to 5:")]
    return "".join(answer.text for answer in [*answers, *again])


async def test_conversations_are_driven_to_their_result(engine: Engine, endpoint: Endpoint) -> None:
    low, high, last = tuple(engine.drive(conversation(["awful", "great"]), endpoint))
    assert low < high
    both = await asyncio.gather(*(engine.adrive(conversation([word]), endpoint) for word in ("awful", "great")))
    assert both == [low + last, high + last]


def test_a_technique_that_asks_needs_an_endpoint(engine: Engine) -> None:
    with pytest.raises(SpecError, match="endpoint"):
        engine.drive(conversation(["awful"]), None)

    def silent() -> Generator[Sequence[Request], Sequence[Answer], int]:
        return 3
        yield []

    assert engine.drive(silent(), None) == 3


def test_an_estimate_sends_nothing(server: LocalServer, engine: Engine, endpoint: Endpoint) -> None:
    engine.run(questions(10), endpoint)
    before = server.received.total
    estimate = engine.estimate(questions(30) * 2, endpoint)
    assert server.received.total == before
    assert (estimate.requests, estimate.distinct, estimate.in_journal) == (60, 30, 10)
    assert estimate.max_output_tokens == 60
    assert estimate.cost_usd is not None
    assert estimate.cost_usd_max is not None
    assert 0 < estimate.cost_usd < estimate.cost_usd_max
    paid = engine.report.spent_usd * 2
    assert estimate.cost_usd == pytest.approx(paid, rel=0.5)


def test_estimates_that_share_what_they_counted_count_it_once(engine: Engine, endpoint: Endpoint) -> None:
    counted: set[bytes] = set()
    first = engine.estimate(questions(10), endpoint, counted=counted)
    second = engine.estimate(questions(15), endpoint, counted=counted)
    assert (first.distinct, first.shared) == (10, 0)
    assert (second.distinct, second.shared) == (15, 10)
    assert second.input_tokens < first.input_tokens
    assert engine.estimate(questions(15), endpoint, counted=counted).cost_usd == 0


def test_a_model_that_changed_behind_its_name_is_noted(
    server: LocalServer, endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    engine.run(questions(2), endpoint)
    assert engine.report.notes == []
    engine.close()
    server.put_model(ModelCard("stars-model", reports_model="stars-model-2026"))
    engine = Engine(Journal(tmp_path / "j.db"))
    report = Report()
    engine.run(questions(5, start=10), endpoint, report=report)
    engine.close()
    assert len(report.notes) == 1
    assert "stars-model-2026" in report.notes[0]
    assert "--fresh" in report.notes[0]
    assert "stars-model-2026" in caplog.text


def test_a_reasoning_model_is_asked_in_its_own_words(
    server: LocalServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put_model(ModelCard("thinker", reasoning=True))
    monkeypatch.setenv("OPENAI_API_KEY", os.environ["STARS_KEY"])
    thinker = Endpoint(provider="openai", model="thinker", base_url=server.base_url)
    asked = Request("chat", {"messages": [{"role": "user", "content": "great, stars 1 to 5:"}], "max_tokens": 2000})
    answer = engine.run([asked], thinker)[0]
    assert answer.text in ("4", "5")
    assert answer.usage.output_tokens > 16
    with pytest.raises(EndpointError, match=r"temperature: null, max_tokens: 2000"):
        engine.run([question("great")], thinker)


def test_a_deployment_is_known_by_the_model_behind_it(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", os.environ["STARS_KEY"])
    server.put_model(ModelCard("stars", reports_model="gpt-4o-mini-2024-07-18", salt="a"))
    deployment = Endpoint(provider="azure", model="stars", base_url=server.azure_url)
    journal = Journal.in_memory()

    def ask(count: int) -> list[Answer]:
        # Each engine asks anew what the deployment is, as each command does.
        return Engine(journal).run(questions(count), deployment)

    first = ask(3)
    assert server.received.total == 4, "three questions and one about the model"
    assert first[0].cost_usd is not None, "the price is that of the model behind the name"
    assert all(answer.from_journal for answer in ask(3))
    assert server.received.total == 5
    server.put_model(ModelCard("stars", reports_model="gpt-4.1-mini-2025-04-14", salt="b"))
    other = ask(3)
    assert not any(answer.from_journal for answer in other)
    assert {answer.model for answer in other} == {"gpt-4.1-mini-2025-04-14"}
    server.put_model(ModelCard("stars", reports_model="gpt-4o-mini-2024-07-18", salt="a"))
    assert [answer.text for answer in ask(3)] == [answer.text for answer in first]


def test_a_deployment_that_changes_in_mid_run_is_kept_apart(
    server: LocalServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", os.environ["STARS_KEY"])
    server.put_model(ModelCard("stars", reports_model="model-a"))
    deployment = Endpoint(provider="azure", model="stars", base_url=server.azure_url)
    engine.run(questions(2), deployment)
    server.put_model(ModelCard("stars", reports_model="model-b"))
    engine.run(questions(3), deployment)
    again = engine.run(questions(3), deployment)
    assert [answer.from_journal for answer in again] == [False, False, True]
    assert {answer.model for answer in again} == {"model-b"}


def test_a_named_identity_needs_no_question(
    server: LocalServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", os.environ["STARS_KEY"])
    named = Endpoint(provider="azure", model="stars-model", base_url=server.azure_url, identity="mine")
    engine.run(questions(3), named)
    assert server.received.total == 3


def test_a_request_json_cannot_say_is_a_failed_row(engine: Engine, endpoint: Endpoint) -> None:
    odd, good = engine.run([question("x", temperature=float("nan")), question("great, stars 1 to 5:")], endpoint)
    assert odd.failure == "permanent"
    assert odd.error is not None
    assert "JSON" in odd.error
    assert good.failure is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_after_use_asks_on_its_own(server: LocalServer, endpoint: Endpoint, tmp_path: Path) -> None:
    engine = Engine(Journal(tmp_path / "j.db"))
    engine.run(questions(2), endpoint)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            answers = engine.run(questions(4), endpoint)
            code = 0 if [answer.from_journal for answer in answers] == [True, True, False, False] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert all(answer.from_journal for answer in engine.run(questions(4), endpoint))
    assert server.received.total == 4
    engine.close()


@pytest.mark.slow
def test_the_rate_is_learned_from_the_headers_and_kept(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", requests_per_minute=3000, latency_seconds=0.05) as server:
        endpoint = Endpoint(provider="compatible", model="deterministic", base_url=server.base_url, api_key_env="K")
        engine.run(questions(100), endpoint)
        # A busy machine lets some arrive together that were sent one by one.
        assert server.received.by_status.get(429, 0) <= 50
        assert engine.report.history[endpoint.label][0].requests_per_minute == 3000


@pytest.mark.slow
def test_tokens_per_minute_are_kept(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", tokens_per_minute=60_000, burst_tokens=2000) as server:
        endpoint = Endpoint(provider="compatible", model="deterministic", base_url=server.base_url, api_key_env="K")
        asked = [question(f"{n} " + "great food " * 40) for n in range(25)]
        answers = engine.run(asked, endpoint)
        assert all(answer.failure is None for answer in answers)
        assert server.received.by_status.get(429, 0) <= 10


def test_closing_says_so_when_it_waits_for_calls_in_flight(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("luthier.engine.engine.SILENT_CLOSE_SECONDS", 0.05)
    monkeypatch.setenv("K", "sk-1")
    with LocalServer(api_key="sk-1", faults=[Fault("held")]) as server:
        endpoint = Endpoint(provider="compatible", model="deterministic", base_url=server.base_url, api_key_env="K")
        engine = Engine(Journal.in_memory())
        with ThreadPoolExecutor(2) as threads:
            threads.submit(engine.run, questions(1), endpoint)
            until(lambda: server.received.total)
            closing = threads.submit(engine.close)
            until(lambda: "waiting up to 150 s for calls in flight" in caplog.text)
            server.faults.clear()
            closing.result(PATIENCE_SECONDS)
