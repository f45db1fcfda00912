"""Batches of the embedded server, through the real client."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch

from luthier_local import Fault, LocalServer, ModelCard
from tests.luthier_local.tuning import BASE, chat, served, submit, upload, wait
from tests.patience import until

CARDS = [ModelCard("stars", embeddings=True), ModelCard("small", context_tokens=64), BASE]


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(models=CARDS, requests_per_minute=600) as running:
        yield running


def line(number: int, text: str = "", **body: Any) -> dict[str, Any]:
    body = {"model": "stars", "temperature": 0, **chat(text or f"good food {number}"), **body}
    return {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def start(client: openai.OpenAI, lines: Sequence[Any] | bytes, **given: Any) -> Batch:
    file = upload(client, lines, "batch")
    chosen: Any = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **given}
    return client.batches.create(input_file_id=file, **chosen)


def finish(client: openai.OpenAI, batch: Batch) -> Batch:
    until(lambda: client.batches.retrieve(batch.id).status in ("completed", "failed", "expired", "cancelled"))
    return client.batches.retrieve(batch.id)


def read(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    return [json.loads(row) for row in client.files.content(file).text.splitlines()] if file else []


def counts(batch: Batch) -> tuple[int, int, int]:
    assert batch.request_counts is not None
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


def test_a_batch_answers_what_a_direct_request_answers(server: LocalServer, client: openai.OpenAI) -> None:
    lines = [line(number, logprobs=True, top_logprobs=5) for number in range(30)]
    done = finish(client, start(client, lines, metadata={"token": "abc"}))
    assert done.status == "completed" and counts(done) == (30, 30, 0) and done.error_file_id is None
    assert done.metadata == {"token": "abc"} and done.model == "stars"
    output = read(client, done.output_file_id)
    assert [row["custom_id"] for row in output] == [row["custom_id"] for row in lines]
    # A batch is not charged to the rate limits.
    assert server.received.by_path["batches/chat/completions"] == 30
    for row, asked in zip(output[:3], lines, strict=False):
        direct = client.chat.completions.create(**asked["body"]).to_dict()
        assert row["response"]["status_code"] == 200 and row["error"] is None
        assert row["response"]["body"]["choices"] == json.loads(json.dumps(direct["choices"]))
    assert done.usage and done.usage.input_tokens == sum(
        row["response"]["body"]["usage"]["prompt_tokens"] for row in output
    )


def test_a_tuned_model_answers_batches(client: openai.OpenAI) -> None:
    model = str(wait(client, submit(client, held_out=0)).fine_tuned_model)
    done = finish(client, start(client, [line(1, "great wonderful", model=model)]))
    answer = read(client, done.output_file_id)[0]["response"]["body"]
    assert answer["model"] == model and answer["choices"][0]["message"]["content"] in list("12345")


def test_embeddings_can_be_asked_for_in_a_batch(client: openai.OpenAI) -> None:
    body = {"model": "stars", "input": ["good", "bad"]}
    lines = [{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}]
    done = finish(client, start(client, lines, endpoint="/v1/embeddings"))
    direct = client.embeddings.create(model="stars", input=["good", "bad"], encoding_format="float")
    found = read(client, done.output_file_id)[0]["response"]["body"]["data"]
    assert [item["embedding"] for item in found] == [item.embedding for item in direct.data]


def test_refused_lines_are_in_the_error_file_with_their_answers(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("poison", contains="forbidden"))
    lines = [line(1), line(2, "forbidden words"), line(3, top_logprobs=99, logprobs=True)]
    done = finish(client, start(client, lines))
    assert done.status == "completed" and counts(done) == (3, 1, 2)
    errors = read(client, done.error_file_id)
    assert [(row["custom_id"], row["response"]["status_code"]) for row in errors] == [("row-2", 400), ("row-3", 400)]
    assert errors[0]["response"]["body"]["error"]["code"] == "content_policy_violation"


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        (b"{nonsense", "invalid_json_line", 1),
        (b"\n\n", "empty_file", None),
        ([line(1), {**line(2), "custom_id": "row-1"}], "duplicate_custom_id", 2),
        ([line(1), line(2, model="small")], "mismatched_model", 2),
        ([line(1), {**line(2), "url": "/v1/embeddings"}], "mismatched_url", 2),
        ([{**line(1), "method": "GET"}], "invalid_method", 1),
        ([{"custom_id": "x", "method": "POST", "url": "/v1/chat/completions"}], "missing_required_parameter", 1),
        ([line(1, stream=True)], "invalid_value", 1),
        ([line(1, model="gone")], "model_not_found", 1),
    ],
)
def test_a_wrong_input_file_fails_the_batch_with_its_line(
    server: LocalServer, client: openai.OpenAI, lines: Any, code: str, number: int | None
) -> None:
    done = finish(client, start(client, lines))
    assert done.status == "failed" and done.failed_at and done.output_file_id is None
    assert done.errors and done.errors.data
    assert (done.errors.data[0].code, done.errors.data[0].line) == (code, number)
    assert "batches/chat/completions" not in server.received.by_path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"endpoint": "/v1/images/generations"}, "is not one of /v1/chat/completions"),
        ({"completion_window": "1h"}, "expected '24h'"),
        ({"input_file_id": "file-none"}, "no file 'file-none' was uploaded"),
        ({"metadata": {"k": "x" * 513}}, "at most 512 characters"),
    ],
)
def test_a_wrong_order_makes_no_batch(client: openai.OpenAI, given: Any, message: str) -> None:
    order = {
        "input_file_id": upload(client, [line(1)], "batch"),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    with pytest.raises(openai.BadRequestError, match=message):
        client.batches.create(**{**order, **given})
    assert list(client.batches.list()) == []


def test_a_cancelled_batch_keeps_what_was_answered(server: LocalServer, client: openai.OpenAI) -> None:
    server.faults.add(Fault("slow", contains="never", delay_seconds=300))
    batch = start(client, [line(1), line(2, "never"), line(3)])
    until(lambda: counts(client.batches.retrieve(batch.id)) == (3, 2, 0))
    assert client.batches.retrieve(batch.id).status == "in_progress"
    assert client.batches.cancel(batch.id).status == "cancelling"
    done = finish(client, batch)
    assert done.status == "cancelled" and done.cancelled_at and done.cancelling_at
    assert [row["custom_id"] for row in read(client, done.output_file_id)] == ["row-1", "row-3"]
    with pytest.raises(openai.ConflictError, match="is cancelled: it cannot be cancelled"):
        client.batches.cancel(batch.id)


def test_an_expired_batch_names_the_rows_that_were_not_answered() -> None:
    faults = [Fault("slow", contains="never", delay_seconds=300)]
    with served(models=CARDS, faults=faults) as (server, client):
        batch = start(client, [line(1), line(2, "never")])
        until(lambda: counts(client.batches.retrieve(batch.id)) == (2, 1, 0))
        server.expire_batches()
        done = finish(client, batch)
        assert done.status == "expired" and done.expired_at
        assert [row["custom_id"] for row in read(client, done.output_file_id)] == ["row-1"]
        late = read(client, done.error_file_id)
        assert [(row["custom_id"], row["error"]["code"]) for row in late] == [("row-2", "batch_expired")]


def test_a_later_server_answers_only_what_is_left(tmp_path: Path) -> None:
    faults = [Fault("slow", contains="never", delay_seconds=300)]
    with LocalServer(models=CARDS, folder=tmp_path / "state", faults=faults) as first:
        with openai.OpenAI(base_url=first.base_url, api_key=first.api_key) as client:
            batch = start(client, [line(1), line(2, "never"), line(3), line(4)])
            until(lambda: counts(client.batches.retrieve(batch.id)) == (4, 3, 0))
    with LocalServer(models=CARDS, folder=tmp_path / "state") as second:
        with openai.OpenAI(base_url=second.base_url, api_key=second.api_key) as client:
            done = finish(client, batch)
            assert done.status == "completed" and counts(done) == (4, 4, 0)
            assert len(read(client, done.output_file_id)) == 4
            assert second.received.by_path["batches/chat/completions"] == 1


def test_batches_are_listed_newest_first(client: openai.OpenAI) -> None:
    made = [start(client, [line(1)]).id for _ in range(3)]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    with pytest.raises(openai.NotFoundError, match="No such batch"):
        client.batches.retrieve("batch_none")


def test_the_server_goes_on_answering_while_a_batch_is_worked_off(client: openai.OpenAI) -> None:
    batch = start(client, [line(number) for number in range(400)])
    seen = 0
    while client.batches.retrieve(batch.id).status in ("validating", "in_progress"):
        seen += 1
    # A request that had to wait for the whole batch would be the only one.
    assert seen > 3


def test_a_line_with_half_a_surrogate_pair_spoils_no_other(client: openai.OpenAI) -> None:
    question = {"type": "choice", "instructions": "?", "choices": [{"value": "\ud800"}, {"value": "bad"}]}
    decision = {"model": "stars", "input": "text", "questions": [question]}
    row = {"custom_id": "row", "method": "POST", "url": "/v1/decisions", "body": decision}
    done = finish(client, start(client, [row], endpoint="/v1/decisions"))
    assert done.status == "completed" and counts(done) == (1, 1, 0)
    refused = finish(client, start(client, [{**row, "custom_id": "\ud800"}], endpoint="/v1/decisions"))
    assert refused.errors and refused.errors.data and refused.errors.data[0].param == "custom_id"


def test_a_batch_can_be_cancelled_at_another_server_of_the_folder(tmp_path: Path) -> None:
    slow = Fault("slow", path="chat/completions", delay_seconds=60)
    with (
        LocalServer(models=CARDS, folder=tmp_path, faults=[slow]) as one,
        openai.OpenAI(base_url=one.base_url, api_key=one.api_key) as client,
    ):
        batch = start(client, [line(number) for number in range(20)])
        until(lambda: client.batches.retrieve(batch.id).status == "in_progress")
        with (
            LocalServer(models=CARDS, folder=tmp_path) as two,
            openai.OpenAI(base_url=two.base_url, api_key=two.api_key) as other,
        ):
            other.batches.cancel(batch.id)
            assert finish(client, batch).status == "cancelled"


def test_a_batch_whose_file_was_taken_away_fails_and_the_next_is_answered(tmp_path: Path) -> None:
    with (
        LocalServer(
            models=CARDS, folder=tmp_path, faults=[Fault("slow", path="chat/completions", times=8, delay_seconds=60)]
        ) as server,
        openai.OpenAI(base_url=server.base_url, api_key=server.api_key) as client,
    ):
        first = start(client, [line(number) for number in range(8)])
        until(lambda: client.batches.retrieve(first.id).status == "in_progress")
        second, third = (start(client, [line(0)]) for _ in range(2))
        shutil.rmtree(tmp_path / "work" / second.id)
        client.batches.cancel(first.id)
        failed = finish(client, second)
        assert failed.errors and failed.errors.data and failed.errors.data[0].code == "file_not_found"
        assert finish(client, third).status == "completed"


def test_a_batch_beyond_the_queue_is_refused_as_openai_refuses_it() -> None:
    faults = [Fault("slow", contains="never", delay_seconds=300)]
    with served(models=CARDS, faults=faults, batch_queue_tokens=150) as (_, client):
        first = start(client, [line(1), line(2, "never")])
        refused = start(client, [line(3), line(4)])
        assert first.status == "validating" and refused.status == "failed"
        assert refused.errors and refused.errors.data
        fault = refused.errors.data[0]
        assert fault.code == "token_limit_exceeded" and "Limit: 150 enqueued tokens" in str(fault.message)
