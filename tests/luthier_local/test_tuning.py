"""Fine-tuning jobs of the embedded server, through the real client, method by method."""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from filelock import FileLock

from luthier.errors import EndpointError
from luthier_local import Fault, LocalServer
from tests.luthier_local.tuning import (
    BASE,
    chat,
    digest,
    jsonl,
    results,
    reviews,
    served,
    steps_of,
    submit,
    upload,
    wait,
)
from tests.patience import until


@pytest.fixture(scope="module")
def tuned() -> Iterator[tuple[openai.OpenAI, str]]:
    """A client, and the id of a job that succeeded."""
    with served(models=[BASE]) as (_, client):
        job = submit(client, count=100, suffix="stars", metadata={"token": "abc"})
        assert wait(client, job).status == "succeeded"
        yield client, job.id


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(models=[BASE]) as running:
        yield running


@pytest.fixture
def slow() -> Iterator[openai.OpenAI]:
    """A client of a server that rests for minutes after every step, unless somebody wants something."""
    with LocalServer(models=[BASE], training_step_seconds=300) as running:
        with openai.OpenAI(base_url=running.base_url, api_key=running.api_key, max_retries=0) as opened:
            yield opened


def test_a_job_that_succeeded_says_what_it_was_trained_with(tuned: tuple[openai.OpenAI, str]) -> None:
    client, identity = tuned
    job = client.fine_tuning.jobs.retrieve(identity)
    assert job.fine_tuned_model == f"ft:tiny:luthier:stars:{identity[6:14]}"
    assert job.method and job.method.supervised and job.method.supervised.hyperparameters
    assert job.method.supervised.hyperparameters.to_dict() == {
        "n_epochs": 4,
        "batch_size": 20,
        "learning_rate_multiplier": 2,
    }
    assert job.trained_tokens and job.finished_at and job.seed == 3 and job.metadata == {"token": "abc"}


def test_events_ascend_tell_every_step_once_and_come_in_pages(tuned: tuple[openai.OpenAI, str]) -> None:
    client, identity = tuned
    job = client.fine_tuning.jobs.retrieve(identity)
    events = list(client.fine_tuning.jobs.list_events(identity, limit=7))[::-1]
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert steps_of(client, job) == list(range(1, 21))
    assert events[0].message.startswith("Created fine-tuning job")
    assert events[-1].message == "The job has successfully completed"


def test_the_result_file_has_a_row_per_step_and_the_columns_of_both_services(
    tuned: tuple[openai.OpenAI, str],
) -> None:
    client, identity = tuned
    rows = results(client, client.fine_tuning.jobs.retrieve(identity))
    assert [int(row["step"]) for row in rows] == list(range(1, 21))
    assert float(rows[0]["train_loss"]) == pytest.approx(math.log(5))
    assert float(rows[-1]["train_loss"]) < 1
    assert rows[-1]["training_loss"] == rows[-1]["train_loss"]
    assert float(rows[-1]["classification/weighted_f1_score"]) > 0.8
    assert int(rows[-1]["elapsed_examples"]) == 400
    assert [row["step"] for row in rows if row["full_valid_loss"]] == ["5", "10", "15", "20"]


def test_azure_gives_the_result_file_as_it_is_openai_in_base64(tuned: tuple[openai.OpenAI, str]) -> None:
    client, identity = tuned
    file = client.fine_tuning.jobs.retrieve(identity).result_files[0]
    azure = client.with_options(base_url=str(client.base_url).replace("/v1", "/openai/v1"))
    assert azure.files.content(file).text.startswith("step,train_loss,")
    assert not client.files.content(file).text.startswith("step")


def test_the_last_three_epochs_are_kept_and_each_answers(tuned: tuple[openai.OpenAI, str]) -> None:
    client, identity = tuned
    found = list(client.fine_tuning.jobs.checkpoints.list(identity))
    assert [checkpoint.step_number for checkpoint in found] == [20, 15, 10]
    losses = [checkpoint.metrics.full_valid_loss or 9 for checkpoint in found]
    assert losses == sorted(losses)
    digests = {digest(client, checkpoint.fine_tuned_model_checkpoint) for checkpoint in found}
    assert len(digests) == 3
    for checkpoint in found:
        name = checkpoint.fine_tuned_model_checkpoint
        assert name.endswith(f":ckpt-step-{checkpoint.step_number}")
        assert client.chat.completions.create(model=name, **chat("great wonderful")).choices[0].message.content


def test_the_tuned_model_has_learned_the_words(tuned: tuple[openai.OpenAI, str]) -> None:
    client, identity = tuned
    model = str(client.fine_tuning.jobs.retrieve(identity).fine_tuned_model)
    for text, stars in (("The soup was terrible awful", "1"), ("The room was great wonderful", "5")):
        answer = client.chat.completions.create(model=model, temperature=0, **chat(text))
        assert answer.choices[0].message.content == stars
        assert answer.choices[0].finish_reason == "stop"


def test_the_probabilities_of_the_answers_sum_to_one(tuned: tuple[openai.OpenAI, str]) -> None:
    client, identity = tuned
    model = str(client.fine_tuning.jobs.retrieve(identity).fine_tuned_model)
    asked: dict[str, Any] = {"model": model, "temperature": 0, "logprobs": True, "top_logprobs": 20}
    first = client.chat.completions.create(**asked, **chat("The soup was okay average"))
    assert first.choices[0].logprobs and first.choices[0].logprobs.content
    top = first.choices[0].logprobs.content[0].top_logprobs
    assert {rival.token for rival in top} == {"1", "2", "3", "4", "5"}
    assert sum(math.exp(rival.logprob) for rival in top) == pytest.approx(1, abs=1e-6)
    again = client.chat.completions.create(**asked, **chat("The soup was okay average"))
    assert again.choices[0].logprobs == first.choices[0].logprobs


def test_a_tuned_model_decides_as_it_chats(tuned: tuple[openai.OpenAI, str]) -> None:
    client, job = tuned
    model = str(client.fine_tuning.jobs.retrieve(job).fine_tuned_model)
    text = "The soup was great wonderful"
    turns: list[Any] = chat(text, system=None)["messages"]
    answered = client.chat.completions.create(model=model, messages=turns, logprobs=True, top_logprobs=5, max_tokens=1)
    assert answered.choices[0].logprobs is not None and answered.choices[0].logprobs.content is not None
    said = {token.token: math.exp(token.logprob) for token in answered.choices[0].logprobs.content[0].top_logprobs}
    choices: list[Any] = [{"value": str(stars)} for stars in range(1, 6)]
    decided = client.decisions.create(
        model=model, input=text, questions=[{"type": "choice", "instructions": "How many stars?", "choices": choices}]
    )
    [answer] = decided.answers
    assert answer.type == "choice"
    assert {each.value: each.probability for each in answer.probabilities} == pytest.approx(said, abs=1e-6)


def test_sampled_answers_depend_on_the_seed_alone(tuned: tuple[openai.OpenAI, str]) -> None:
    client, identity = tuned
    model = str(client.fine_tuning.jobs.retrieve(identity).fine_tuned_model)

    def drawn(seed: int) -> list[str | None]:
        body: dict[str, Any] = chat("The staff was here")
        answer = client.chat.completions.create(model=model, temperature=2, n=12, seed=seed, **body)
        return [choice.message.content for choice in answer.choices]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_jobs_are_found_by_metadata_and_nothing_else_is(tuned: tuple[openai.OpenAI, str]) -> None:
    client, identity = tuned
    jobs = client.fine_tuning.jobs
    assert [job.id for job in jobs.list(metadata={"token": "abc"})] == [identity]
    assert list(jobs.list(metadata={"token": "abcd"})) == []
    assert list(jobs.list(metadata={"other": "abc"})) == []
    with pytest.raises(openai.NotFoundError, match="Could not find fine tune"):
        jobs.retrieve("ftjob-nothing")


def test_jobs_wait_for_their_turn_and_are_listed_newest_first(slow: openai.OpenAI) -> None:
    made = [submit(slow, held_out=0, metadata={"n": str(number)}) for number in range(3)]
    wait(slow, made[0], "running")
    wait(slow, made[2], "queued")
    assert [job.id for job in slow.fine_tuning.jobs.list(limit=2)] == [job.id for job in made[::-1]]
    assert slow.fine_tuning.jobs.cancel(made[1].id).status == "cancelled"
    assert slow.fine_tuning.jobs.cancel(made[0].id).status == "cancelled"
    wait(slow, made[2], "running")


def test_a_cancelled_job_stops_at_once_and_leaves_no_model(slow: openai.OpenAI) -> None:
    job = submit(slow)
    until(lambda: steps_of(slow, job) or wait(slow, job, "running"))
    assert slow.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert [model.id for model in slow.models.list()] == ["tiny"]
    assert list(slow.fine_tuning.jobs.checkpoints.list(job.id)) == []
    with pytest.raises(openai.BadRequestError, match="is cancelled: it cannot be cancelled"):
        slow.fine_tuning.jobs.cancel(job.id)
    with pytest.raises(openai.BadRequestError, match="cannot be resumed. Only a job that is paused"):
        slow.fine_tuning.jobs.resume(job.id)


def test_a_paused_job_has_a_checkpoint_waits_and_ends_as_if_it_had_not_been_paused(
    tmp_path: Path, tuned: tuple[openai.OpenAI, str]
) -> None:
    plain, identity = tuned
    with LocalServer(models=[BASE], folder=tmp_path / "state", training_step_seconds=300) as first:
        with openai.OpenAI(base_url=first.base_url, api_key=first.api_key) as client:
            job = submit(client, count=100)
            wait(client, job, "running")
            assert str(client.fine_tuning.jobs.pause(job.id).status) == "pausing"
            wait(client, job, "paused")
            kept = next(iter(client.fine_tuning.jobs.checkpoints.list(job.id)))
            answer = client.chat.completions.create(model=kept.fine_tuned_model_checkpoint, **chat("good"))
            assert answer.choices[0].message.content
            assert steps_of(client, job) == list(range(1, kept.step_number + 1))
            assert kept.step_number < 20
    with LocalServer(models=[BASE], folder=tmp_path / "state") as second:
        with openai.OpenAI(base_url=second.base_url, api_key=second.api_key) as client:
            # Only somebody who resumes it sets a paused job going.
            assert wait(client, submit(client, held_out=0)).status == "succeeded"
            assert str(client.fine_tuning.jobs.retrieve(job.id).status) == "paused"
            assert client.fine_tuning.jobs.resume(job.id).status == "queued"
            done = wait(client, job)
            reference = plain.fine_tuning.jobs.retrieve(identity)
            assert digest(client, str(done.fine_tuned_model)) == digest(plain, str(reference.fine_tuned_model))
            assert results(client, done) == results(plain, reference)


def test_a_later_server_goes_on_where_the_first_stopped(tmp_path: Path, tuned: tuple[openai.OpenAI, str]) -> None:
    plain, identity = tuned
    with LocalServer(models=[BASE], folder=tmp_path / "state", training_step_seconds=0.05) as first:
        with openai.OpenAI(base_url=first.base_url, api_key=first.api_key) as client:
            job, waiting = submit(client, count=100), submit(client, held_out=0)
            cancelled = client.fine_tuning.jobs.cancel(submit(client).id)
            until(lambda: list(client.fine_tuning.jobs.checkpoints.list(job.id)))
    with LocalServer(models=[BASE], folder=tmp_path / "state") as second:
        with openai.OpenAI(base_url=second.base_url, api_key=second.api_key) as client:
            done = wait(client, job)
            reference = plain.fine_tuning.jobs.retrieve(identity)
            assert digest(client, str(done.fine_tuned_model)) == digest(plain, str(reference.fine_tuned_model))
            assert results(client, done) == results(plain, reference)
            assert steps_of(client, job) == list(range(1, 21))
            assert wait(client, waiting).status == "succeeded"
            assert client.fine_tuning.jobs.retrieve(cancelled.id).status == "cancelled"


def test_another_seed_gives_another_model(server: LocalServer, client: openai.OpenAI) -> None:
    jobs = [wait(client, submit(client, held_out=0, seed=seed)) for seed in (1, 1, 2)]
    found = [digest(client, str(job.fine_tuned_model)) for job in jobs]
    assert found[0] == found[1] != found[2]


def test_auto_becomes_numbers_and_no_seed_becomes_one(client: openai.OpenAI) -> None:
    job = submit(client, held_out=0, seed=None, hyperparameters={"n_epochs": 1})
    chosen = wait(client, job).hyperparameters
    assert (chosen.n_epochs, chosen.batch_size, chosen.learning_rate_multiplier) == (1, 4, 0.3)
    assert isinstance(job.seed, int)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "gpt-9"}, "gpt-9 is not available for fine-tuning or does not exist. Can be tuned here: tiny"),
        ({"training_file": "file-none"}, "invalid training_file: file-none does not exist"),
        ({"hyperparameters": {"n_epochs": 51}}, r"n_epochs': expected 1 to 50, got 51"),
        ({"hyperparameters": {"batch_size": 0}}, r"batch_size': expected 1 to 256, got 0"),
        ({"hyperparameters": {"learning_rate_multiplier": 0}}, "expected more than 0, got 0"),
        ({"hyperparameters": {"lora_rank": 8}}, "lora_rank': expected one of batch_size"),
        ({"suffix": "x" * 65}, "text of 1 to 64 characters"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "at most 16 pairs; given 17"),
        ({"method": {"type": "dpo"}}, "tunes by 'supervised' only"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "none to offer"),
        ({"extra_body": {"trainingType": "Free"}}, "expected one of Standard, GlobalStandard, Developer"),
    ],
)
def test_a_wrong_order_is_refused_before_there_is_a_job(
    server: LocalServer, client: openai.OpenAI, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        submit(client, count=10, held_out=0, **given)
    assert list(client.fine_tuning.jobs.list()) == []


def test_a_file_uploaded_for_batches_is_no_training_file(client: openai.OpenAI) -> None:
    file = upload(client, reviews(10, 1), "batch")
    with pytest.raises(openai.BadRequestError, match="was uploaded for batch, not for fine-tune"):
        client.fine_tuning.jobs.create(model="tiny", training_file=file)


GOOD = jsonl(reviews(10, 1)) + b"\n"
WRONG_FILES = [
    (jsonl(reviews(9, 1)), "invalid_n_examples", "has 9 example(s), but must have at least 10"),
    (GOOD + b"not json", "invalid_file_format", "Line 11, this is not a JSON object"),
    (GOOD + b'{"prompt": "x"}', "invalid_file_format", 'Line 11, key "messages": missing'),
    (GOOD + jsonl([chat("x")]), "invalid_file_format", "at least one message from the assistant"),
    (GOOD + jsonl([chat("x", "")]), "invalid_file_format", "an answer to train on cannot be empty"),
    (GOOD + b'{"messages": [{"role": "critic", "content": "x"}]}', "invalid_file_format", "'critic' is not one of"),
    (
        GOOD + b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 2}]}',
        "invalid_file_format",
        "expected 0 or 1",
    ),
    (b"\xff\xfe" + GOOD, "invalid_file_format", "not UTF-8"),
    (
        jsonl([chat(f"text {number}", f"answer {number}") for number in range(513)]),
        "invalid_training_file",
        "513 different answers",
    ),
]


@pytest.mark.parametrize(("content", "code", "message"), WRONG_FILES, ids=[wrong[2] for wrong in WRONG_FILES])
def test_a_wrong_file_fails_the_job_with_its_line(
    tuned: tuple[openai.OpenAI, str], content: bytes, code: str, message: str
) -> None:
    client, _ = tuned
    job = wait(client, client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, content)))
    assert job.status == "failed"
    assert job.error and (job.error.code, job.error.param) == (code, "training_file")
    assert message in job.error.message


def test_a_turn_of_weight_0_is_read_but_not_trained(client: openai.OpenAI) -> None:
    examples = reviews(20, 1)
    for example in examples:
        example["messages"][1:1] = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "never said", "weight": 0},
        ]
    job = wait(client, client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, examples)))
    body: dict[str, Any] = chat("The soup was good tasty")
    answer = client.chat.completions.create(
        model=str(job.fine_tuned_model), logprobs=True, top_logprobs=20, temperature=0, **body
    )
    assert answer.choices[0].logprobs and answer.choices[0].logprobs.content
    rivals = {rival.token for rival in answer.choices[0].logprobs.content[0].top_logprobs}
    assert rivals <= set("12345")


def test_answers_of_several_tokens_are_weighed_as_wholes(client: openai.OpenAI) -> None:
    labels = ["very bad", "bad", "very good", "good", "very good indeed"]
    model = str(wait(client, submit(client, count=80, answers=labels)).fine_tuned_model)
    asked: dict[str, Any] = {"model": model, "temperature": 0, "logprobs": True, "top_logprobs": 20}
    text = "The staff was great wonderful"

    def tokens(begun: str) -> dict[str, float]:
        body = chat(text)
        if begun:
            body["messages"].append({"role": "assistant", "content": begun})
        answer = client.chat.completions.create(max_completion_tokens=1, **asked, **body)
        assert answer.choices[0].logprobs and answer.choices[0].logprobs.content
        return {rival.token: math.exp(rival.logprob) for rival in answer.choices[0].logprobs.content[0].top_logprobs}

    first, second = tokens(""), tokens("very")
    assert set(first) == {"very", "bad", "good"} and set(second) == {" bad", " good"}
    assert sum(first.values()) == pytest.approx(1) and sum(second.values()) == pytest.approx(1)
    whole = client.chat.completions.create(**asked, **chat(text)).choices[0]
    assert whole.message.content == "very good indeed"
    assert whole.logprobs and whole.logprobs.content
    assert [step.token for step in whole.logprobs.content] == ["very", " good", " indeed"]
    # "very good" may end there: the last token shares the probability with the end.
    assert {rival.token for rival in whole.logprobs.content[2].top_logprobs} == {" indeed", "<|end|>"}


def test_a_base_that_was_not_tuned_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="it is a base to tune. Make a fine-tuning job") as refused:
        client.chat.completions.create(model="tiny", **chat("x"))
    assert refused.value.code == "model_not_tuned"


def test_a_tuned_model_can_be_deleted_a_base_cannot(client: openai.OpenAI) -> None:
    model = str(wait(client, submit(client, held_out=0)).fine_tuned_model)
    assert client.models.delete(model).deleted
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model=model, **chat("x"))
    with pytest.raises(openai.PermissionDeniedError, match="base model"):
        client.models.delete("tiny")


@pytest.mark.parametrize("action", ["done_timeout", "done_reset"])
def test_a_job_whose_answer_was_lost_is_found_by_its_metadata(
    server: LocalServer, client: openai.OpenAI, action: str
) -> None:
    server.faults.add(Fault(action, path="fine_tuning/jobs", method="POST"))
    file = upload(client, reviews(10, 1))

    def order() -> None:
        with pytest.raises(openai.APIConnectionError):
            client.fine_tuning.jobs.create(model="tiny", training_file=file, metadata={"token": "t"})

    ordering = threading.Thread(target=order)
    ordering.start()
    until(lambda: len(list(client.fine_tuning.jobs.list(metadata={"token": "t"}))) == 1)
    server.stop()
    ordering.join()
    assert server.received.by_path["fine_tuning/jobs"] == 1


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault("closed", path="jobs", method="POST"), openai.PermissionDeniedError, "fine_tuning_not_available"),
        (Fault("rate_limit", path="jobs"), openai.RateLimitError, "rate_limit_exceeded"),
        (Fault("status", status=401, code="invalid_api_key"), openai.AuthenticationError, "invalid_api_key"),
        (Fault("status", status=500, path="files"), openai.InternalServerError, None),
        (Fault("timeout", path="files"), openai.APITimeoutError, None),
        (Fault("reset", path="files"), openai.APIConnectionError, None),
    ],
)
def test_scripted_faults_hit_these_routes_too(
    server: LocalServer, client: openai.OpenAI, fault: Fault, error: type[openai.APIError], code: str | None
) -> None:
    server.faults.add(fault)
    with pytest.raises(error) as raised:
        # Only a request that is never answered runs out of time, however slow the machine is.
        submit(client.with_options(timeout=0.5 if fault.action == "timeout" else 60), count=10, held_out=0)
    assert code is None or raised.value.code == code
    server.faults.clear()
    assert list(client.fine_tuning.jobs.list()) == []


def test_files_may_be_deleted_while_their_job_waits(slow: openai.OpenAI) -> None:
    first, second = submit(slow, held_out=0), submit(slow, held_out=0)
    slow.files.delete(second.training_file)
    slow.fine_tuning.jobs.cancel(first.id)
    assert wait(slow, second, "running").error is None


def test_azures_training_type_is_taken(client: openai.OpenAI) -> None:
    job = submit(client, held_out=0, extra_body={"trainingType": "GlobalStandard"})
    assert json.loads(job.to_json())["trainingType"] == "GlobalStandard"


def test_two_servers_of_one_folder_share_the_work_and_either_may_cancel(tmp_path: Path) -> None:
    with (
        LocalServer(models=[BASE], folder=tmp_path / "state", training_step_seconds=0.02) as one,
        openai.OpenAI(base_url=one.base_url, api_key=one.api_key) as first,
    ):
        job = submit(first, hyperparameters={"n_epochs": 50, "batch_size": 1})
        wait(first, job, "running")
        with (
            LocalServer(models=[BASE], folder=tmp_path / "state") as two,
            openai.OpenAI(base_url=two.base_url, api_key=two.api_key) as second,
        ):
            waiting = submit(second, held_out=0)
            assert second.fine_tuning.jobs.cancel(job.id).status == "cancelled"
            model = str(wait(first, waiting, "succeeded").fine_tuned_model)
            assert second.chat.completions.create(model=model, **chat("good")).choices[0].message.content


@pytest.mark.parametrize("key", ["back\\slash", 'q"uote', "two\nlines", "", "a.b[0]", "日本"])
def test_a_job_is_found_by_any_key_of_its_metadata(slow: openai.OpenAI, key: str) -> None:
    submit(slow, held_out=0)
    named = submit(slow, held_out=0, metadata={key: "日"})
    assert [job.id for job in slow.fine_tuning.jobs.list(metadata={key: "日"})] == [named.id]


@pytest.mark.parametrize("multiplier", [1e7, 1e300])
def test_weights_beyond_every_number_fail_the_job(client: openai.OpenAI, multiplier: float) -> None:
    job = wait(client, submit(client, hyperparameters={"n_epochs": 3, "learning_rate_multiplier": multiplier}))
    assert job.status == "failed" and job.error and job.error.code == "training_diverged"
    assert job.error.param == "learning_rate_multiplier"


def test_a_job_whose_files_were_taken_away_fails_and_the_next_is_trained(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "trainer.lock")
    lock.acquire()
    with served(models=[BASE], folder=tmp_path) as (_, client):
        lost, next_one = submit(client), submit(client)
        shutil.rmtree(tmp_path / "work" / lost.id)
        lock.release()
        found = wait(client, lost)
        assert found.error and found.error.code == "file_not_found"
        assert wait(client, next_one).status == "succeeded"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with served(models=[BASE], folder=tmp_path) as (_, client):
        job = wait(client, submit(client))
        (tmp_path / "files").rename(tmp_path / "kept")
        (tmp_path / "files").write_text("")
        with pytest.raises(openai.InternalServerError, match=r"cannot use its folder.*Not a directory"):
            upload(client, reviews(12, 1))
        [model] = (tmp_path / "models").glob(f"{job.id}-12.npz")
        model.write_bytes(b"PK\x03\x04")
        with pytest.raises(openai.InternalServerError, match="damaged; tune it again"):
            client.chat.completions.create(model=str(job.fine_tuned_model), messages=chat("good")["messages"])


def test_a_damaged_database_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database" * 100)
    with pytest.raises(EndpointError, match="not a database.*move it away"):
        LocalServer(models=[BASE], folder=tmp_path).start()


def test_an_option_gets_nothing_of_answers_that_only_begin_alike(client: openai.OpenAI) -> None:
    answers = ("good", "good enough", "goodness", "bad", "awful")
    job = wait(client, submit(client, count=100, held_out=0, answers=answers))
    model, text = str(job.fine_tuned_model), "The food was okay average, visit 3"

    def decide(*options: str) -> dict[str, float]:
        choices = [{"value": option} for option in options]
        body = {
            "model": model,
            "input": text,
            "questions": [{"type": "choice", "instructions": "?", "choices": choices}],
        }
        found: Any = client.post("/decisions", body=body, cast_to=object)
        return {one["value"]: one["probability"] for one in found["answers"][0]["probabilities"]}

    among = decide(*answers)
    assert decide("good", "bad")["good"] == pytest.approx(among["good"] / (among["good"] + among["bad"]))
    with pytest.raises(openai.BadRequestError, match="trained on other answers: 'awful', 'bad'"):
        decide("yes", "no")
