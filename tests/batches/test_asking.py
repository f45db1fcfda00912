"""Asking by batch, against the embedded server over HTTP."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from luthier.batches.asking import ask_by_batch
from luthier.batches.cancelling import cancel_batch, open_batches
from luthier.batches.settings import BatchSettings
from luthier.endpoints import Endpoint, Engine, Journal, Price, RunOptions
from luthier.errors import Interrupted, UserError
from luthier_local import Fault, LocalServer, ModelCard
from tests.batches.asker import QUICK, ask, requests
from tests.conftest import KEY, priced
from tests.patience import PATIENCE_SECONDS, until

LINES = "batches/chat/completions"


def small(lines: int) -> BatchSettings:
    return BatchSettings(most_lines=lines, poll_seconds=0.3, settle_seconds=1.0)


def test_the_journal_has_what_a_live_call_would_have_brought(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    asked = requests(20)
    outcome = ask(engine, asked, endpoint)
    assert outcome.complete and (outcome.requests, outcome.answered, outcome.failed) == (20, 20, 0)
    batched = engine.run(asked, endpoint)
    assert "chat/completions" not in server.received.by_path
    live = engine.run(asked, endpoint, fresh=True)
    assert [answer.text for answer in batched] == [answer.text for answer in live]
    assert [answer.usage for answer in batched] == [answer.usage for answer in live]


def test_without_waiting_the_next_call_collects_the_answers(
    engine: Engine, endpoint: Endpoint, server: LocalServer, clean_home: Path
) -> None:
    asked = requests(12)
    begun = ask(engine, asked, endpoint, wait=False, settings=small(5))
    assert not begun.complete and len(begun.batches) == 3 and begun.answered == 0
    assert "Run the same command again" in begun.said
    ended = ask(engine, asked, endpoint, settings=small(5))
    assert ended.complete and ended.answered == 12
    assert server.received.by_path["batches"] == 3 and server.received.by_path[LINES] == 12
    # Texts stay neither here nor at the service.
    assert list((clean_home / "batches").iterdir()) == []
    assert server.received.by_path["DELETE files/{id}"] == 6


def test_what_was_collected_counts_as_spent_by_the_command_that_collected_it(
    engine: Engine, endpoint: Endpoint
) -> None:
    asked = requests(4)
    for spent in (4, 0):
        options = RunOptions(engine=engine).for_command()
        outcome = ask(engine, asked, endpoint, options=options)
        engine.run([*asked, *asked], endpoint, replace(options, journal_only=True))
        assert options.report is not None and options.report.fetched == outcome.answered == spent
        assert options.report.spent_usd == pytest.approx(outcome.spent_usd)


def test_answers_carry_the_price_of_a_batch(engine: Engine, endpoint: Endpoint) -> None:
    half = endpoint.model_copy(
        update={"price": Price(input_usd_per_million=1.0, output_usd_per_million=2.0, batch_share=0.5)}
    )
    asked = requests(4)
    outcome = ask(engine, asked, half)
    (first, *_) = engine.run(asked, half)
    tokens = first.usage
    assert first.cost_usd == pytest.approx(0.5 * (tokens.input_tokens + 2.0 * tokens.output_tokens) / 1e6)
    assert outcome.spent_usd == pytest.approx(sum(answer.cost_usd or 0.0 for answer in engine.run(asked, half)))


def test_what_waits_in_a_batch_is_not_bought_live(engine: Engine, endpoint: Endpoint, server: LocalServer) -> None:
    asked = requests(3)
    (batch,) = ask(engine, asked, endpoint, wait=False).batches
    # What a plan shows before the same command is typed again.
    assert engine.estimate(asked, endpoint).left == 0
    with pytest.raises(UserError, match=f"paid for twice.*--mode batch.*luthier batches cancel {batch.token}"):
        engine.run(asked[:1], endpoint)
    assert "chat/completions" not in server.received.by_path


def test_a_journal_in_memory_takes_no_batches(endpoint: Endpoint) -> None:
    engine = Engine(Journal.in_memory())
    with pytest.raises(UserError, match="in memory.*LUTHIER_JOURNAL"):
        ask(engine, requests(1), endpoint)
    engine.close()


def test_a_provider_without_batches_is_refused_with_what_to_type(engine: Engine) -> None:
    together = Endpoint(provider="together", model="qwen")
    with pytest.raises(UserError, match="no Batch API.*--mode live"):
        ask(engine, requests(1), together, options=RunOptions(engine=engine), settings=QUICK)


@pytest.mark.slow
def test_50001_requests_are_two_batches(engine: Engine, endpoint: Endpoint, server: LocalServer) -> None:
    server.faults.add(Fault("slow", path="chat/completions", delay_seconds=600))
    options = RunOptions(engine=engine)
    asked = ((request, endpoint) for request in requests(50_001))
    outcome = ask_by_batch(lambda: asked, options, wait=False, purpose="much")
    assert [batch.lines for batch in outcome.batches] == [50_000, 1]
    assert server.received.by_path["batches"] == 2 and not outcome.complete


def test_a_signal_ends_the_wait_and_the_batch_is_collected_later(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    server.faults.add(Fault("slow", path="chat/completions", delay_seconds=60))

    def signal_once_it_waits() -> None:
        until(lambda: server.received.by_path.get("GET batches/{id}"))
        engine.stop(interrupted=True)

    signalled = threading.Thread(target=signal_once_it_waits)
    signalled.start()
    with pytest.raises(Interrupted, match="run the same again"):
        ask(engine, requests(5), endpoint)
    signalled.join()
    engine.resume()
    server.faults.clear()
    (batch,) = open_batches(engine)
    cancel_batch(batch.token, engine)
    assert ask(engine, requests(5), endpoint).answered == 5


@pytest.mark.slow
def test_a_service_may_be_away_while_its_batches_are_waited_for(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    models, folder = [ModelCard("stars-model")], tmp_path / "service"
    slow = Fault("slow", path="chat/completions", delay_seconds=60)
    first = LocalServer(models=models, api_key=KEY, folder=folder, faults=[slow]).start()
    port, endpoint = first.port, priced(first)
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(ask, engine, requests(5), endpoint)
        until(lambda: first.received.by_path.get("GET batches/{id}"))
        first.stop()
        time.sleep(1.0)
        with LocalServer(models=models, api_key=KEY, folder=folder, port=port):
            assert asking.result(PATIENCE_SECONDS).answered == 5
