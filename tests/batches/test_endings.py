"""How batches end: expired, cancelled, refused, with lines that cannot be read, with a full queue before them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from luthier.batches.cancelling import cancel_batch, open_batches
from luthier.batches.service import ENDED
from luthier.batches.settings import BatchSettings
from luthier.endpoints import Budget, Endpoint, Engine, RunOptions
from luthier.errors import BudgetReached, EndpointError, QuotaError, UserError
from luthier_local import Fault, LocalServer, ModelCard
from tests.batches.asker import QUICK, ask, requests
from tests.conftest import KEY, priced
from tests.patience import PATIENCE_SECONDS, until

LINES = "batches/chat/completions"


def sizes(server: LocalServer) -> list[int]:
    """Requests of each batch that the service was given, oldest first."""
    client = openai.OpenAI(base_url=server.base_url, api_key=KEY)
    batches = list(client.batches.list())
    return [batch.request_counts.total for batch in reversed(batches) if batch.request_counts is not None]


def until_ended(server: LocalServer) -> None:
    client = openai.OpenAI(base_url=server.base_url, api_key=KEY)
    until(lambda: all(batch.status in ENDED for batch in client.batches.list()))


def test_of_a_batch_that_expired_only_what_is_missing_is_sent_again(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    server.faults.add(Fault("slow", contains="pasta", delay_seconds=60))
    asked = [*requests(8), *requests(8, "pasta")]
    ask(engine, asked, endpoint, wait=False)
    # Eight are asked at a time: the last is asked once all that are not slow have been answered.
    until(lambda: server.received.by_path.get(LINES, 0) == 16)
    server.expire_batches()
    until_ended(server)
    server.faults.clear()
    outcome = ask(engine, asked, endpoint)
    assert outcome.complete and outcome.answered == 16 and outcome.failed == 0
    assert sizes(server) == [16, 8]


@pytest.mark.slow
def test_a_request_is_in_three_batches_at_most_for_one_command(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    server.faults.add(Fault("slow", contains="pasta", delay_seconds=300))
    asked = [*requests(8), *requests(8, "pasta")]
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(ask, engine, asked, endpoint)
        for number in range(1, 4):
            until(lambda: server.received.by_path.get(LINES, 0) == 8 + 8 * number)  # noqa: B023 - called at once
            server.expire_batches()
        outcome = asking.result(PATIENCE_SECONDS)
    assert outcome.complete and (outcome.answered, outcome.failed) == (8, 8)
    assert sizes(server) == [16, 8, 8]
    assert {entry.failure for entry in engine.entries(asked[8:], endpoint) if entry} == {"transient"}
    server.faults.clear()
    assert ask(engine, asked, endpoint).answered == 8


def test_what_a_cancelled_batch_answered_is_kept(engine: Engine, endpoint: Endpoint, server: LocalServer) -> None:
    server.faults.add(Fault("slow", contains="pasta", delay_seconds=30))
    asked = [*requests(8), *requests(8, "pasta")]
    (batch,) = ask(engine, asked, endpoint, wait=False).batches
    until(lambda: server.received.by_path.get(LINES, 0) == 16)
    cancelled = cancel_batch(batch.token, engine)
    assert not cancelled.is_open and cancelled.answered == 8 and open_batches(engine) == []
    server.faults.clear()
    answers = engine.run(asked, endpoint)
    assert sum(answer.from_journal for answer in answers) == 8 and all(not answer.failure for answer in answers)


def test_a_batch_that_is_not_there_cannot_be_cancelled(engine: Engine, endpoint: Endpoint) -> None:
    with pytest.raises(UserError, match="no open batch 'batch_9'; open are: none"):
        cancel_batch("batch_9", engine)


def test_a_batch_refused_as_a_whole_frees_its_requests(engine: Engine, endpoint: Endpoint, server: LocalServer) -> None:
    gone = endpoint.model_copy(update={"model": "gone"})
    with pytest.raises(
        EndpointError, match=r"refused a batch of 3 requests \(.*`gone` does not exist.*Nothing was bought"
    ):
        ask(engine, requests(3), gone)
    assert open_batches(engine) == [] and LINES not in server.received.by_path


def test_a_failure_that_all_lines_have_in_common_is_not_kept_as_theirs(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    server.faults.add(Fault("quota", path="chat/completions"))
    with pytest.raises(QuotaError, match="nothing left to spend"):
        ask(engine, requests(3), endpoint)
    server.faults.clear()
    assert ask(engine, requests(3), endpoint).answered == 3


def test_a_refused_line_is_its_rows_own_failure(engine: Engine, endpoint: Endpoint, server: LocalServer) -> None:
    server.faults.add(Fault("poison", contains="pasta"))
    asked = [*requests(3), *requests(1, "pasta")]
    outcome = ask(engine, asked, endpoint)
    assert outcome.complete and (outcome.answered, outcome.failed) == (3, 1)
    *_, refused = engine.run(asked, endpoint)
    assert refused.failure == "content" and refused.from_journal and sizes(server) == [4]


def test_lines_that_cannot_be_read_are_asked_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY, folder=tmp_path / "service") as server:
        ask(engine, requests(6), priced(server), wait=False)
        until_ended(server)
        (output,) = (tmp_path / "service" / "files").glob("*ou")
        first, second, third, *others = output.read_text().splitlines(keepends=True)
        output.write_text("".join([first[:50] + "\n", second.replace("choices", "chances"), "[]\n", *others]))
        assert third not in others
        outcome = ask(engine, requests(6), priced(server))
        assert outcome.complete and outcome.answered == 6 and sizes(server) == [6, 3]


def test_a_lost_answer_to_an_order_buys_no_second_batch(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    server.faults.add(Fault("done_reset", path="files", method="POST", times=1))
    server.faults.add(Fault("done_reset", path="batches", method="POST", times=1))
    assert ask(engine, requests(5), endpoint).answered == 5
    assert sizes(server) == [5] and server.received.by_path["files"] == 1


@pytest.mark.slow
def test_no_more_tokens_wait_at_the_service_than_it_takes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model")], api_key=KEY, batch_queue_tokens=1_000) as server:
        outcome = ask(engine, requests(40), priced(server))
        assert outcome.complete and outcome.answered == 40
        assert server.received.by_path[LINES] == 40


def test_a_known_limit_of_the_queue_is_held(engine: Engine, endpoint: Endpoint, server: LocalServer) -> None:
    settings = BatchSettings(enqueued_tokens=100, poll_seconds=0.3)
    first = ask(engine, requests(40), endpoint, wait=False, settings=settings)
    assert sum(batch.tokens for batch in first.batches) <= 100
    assert "wait until the service takes more" in first.said
    assert ask(engine, requests(40), endpoint, settings=settings).answered == 40


def test_no_batch_may_cost_more_than_the_budget_has_left(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    asked = requests(50)
    whole = sum(engine.pricing.most_usd(one, endpoint, engine.pricing.size(one, endpoint)[0]) or 0.0 for one in asked)
    options = RunOptions(engine=engine, budget=Budget(whole / 4))
    outcome = ask(engine, asked, endpoint, wait=False, options=options)
    assert sum(batch.most_usd or 0.0 for batch in outcome.batches) <= whole / 4
    assert "more than the budget allows" in outcome.said
    with pytest.raises(BudgetReached, match=r"the budget of .* is reached"):
        ask(engine, asked, endpoint, options=RunOptions(engine=engine, budget=Budget(0.0)))


def test_fresh_answers_replace_those_of_the_journal_once(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    asked = requests(4)
    engine.run(asked, endpoint)
    assert ask(engine, asked, endpoint).requests == 0
    options = RunOptions(engine=engine, fresh=True).for_command()
    assert ask(engine, asked, endpoint, options=options).answered == 4
    assert sizes(server) == [4]


def test_embeddings_come_by_batch_too(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from luthier.endpoints import Request

    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model", embeddings=True)], api_key=KEY) as server:
        endpoint = priced(server)
        asked = [Request("embedding", {"input": text}) for text in ("good", "bad")]
        assert ask(engine, asked, endpoint, settings=QUICK).answered == 2
        batched = engine.run(asked, endpoint)
        live = engine.run(asked, endpoint, fresh=True)
        assert [answer.embedding for answer in batched] == [answer.embedding for answer in live]


def test_a_batch_whose_key_is_gone_says_so_and_can_be_forgotten(
    engine: Engine, endpoint: Endpoint, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.add(Fault("slow", path="chat/completions", delay_seconds=60))
    (batch,) = ask(engine, requests(2), endpoint, wait=False).batches
    monkeypatch.delenv("STARS_KEY")
    with pytest.raises(EndpointError, match="STARS_KEY.*is not set"):
        ask(engine, requests(2), endpoint, wait=False)
    assert cancel_batch(batch.token, engine, forget=True).state == "closed"
    monkeypatch.setenv("STARS_KEY", KEY)
    server.faults.clear()
    assert all(answer.failure is None for answer in engine.run(requests(2), endpoint))


def test_a_batch_the_service_does_not_know_is_not_bought_again_on_a_guess(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    (batch,) = ask(engine, requests(2), endpoint, wait=False).batches
    server.faults.add(Fault("status", path=f"batches/{batch.batch_id}", status=404, message="No such batch"))
    with pytest.raises(EndpointError, match=rf"another account's.*luthier batches cancel {batch.token}"):
        ask(engine, requests(2), endpoint)
    assert len(sizes(server)) == 1 and [one.token for one in open_batches(engine)] == [batch.token]


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 429])
def test_an_order_refused_for_a_full_queue_is_made_smaller(
    status: int, engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    said = "Enqueued token limit reached for stars. Limit: 200 enqueued tokens. Please try again later."
    full = Fault("status", path="batches", method="POST", status=status, message=said, code="token_limit_exceeded")
    full.times = 1
    server.faults.add(full)
    outcome = ask(engine, requests(30), endpoint)
    assert outcome.complete and outcome.answered == 30 and len(sizes(server)) > 1
    assert all(batch.tokens <= 200 for batch in outcome.batches)


@pytest.mark.slow
def test_a_batch_that_was_not_ordered_yet_is_made_smaller_for_a_smaller_budget(
    engine: Engine, endpoint: Endpoint, server: LocalServer
) -> None:
    server.faults.add(Fault("status", path="files", method="POST", status=503))
    asked = requests(20)
    with pytest.raises(EndpointError, match="not able to answer just now"):
        ask(engine, asked, endpoint, wait=False)
    server.faults.clear()
    (written,) = open_batches(engine)
    assert written.state == "written" and written.most_usd is not None
    options = RunOptions(engine=engine, budget=Budget(written.most_usd / 2))
    (batch,) = ask(engine, asked, endpoint, wait=False, options=options).batches
    assert batch.lines == 10
