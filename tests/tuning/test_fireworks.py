"""Fireworks: jobs that cannot be bought twice, their figures as events, and deployments that are gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Price
from luthier.engine.inspection import check_endpoint
from luthier.errors import BudgetReached, EndpointError, SpecError
from luthier.tuning.checkpoints import checkpoint_specs
from luthier.tuning.hosting import Host
from luthier.tuning.preflight import check_hyperparameters
from luthier.tuning.timing import Timing
from luthier.tuning.tuners import tuner_for
from luthier.tuning.tuners.fireworks import FireworksTuner
from luthier.tuning.tuners.fireworks_records import job_events, status_of
from luthier.tuning.tuners.tuner import PAUSED, JobNotFound, OutcomeUnknown, ServiceUnavailable, Submission
from tests.conftest import reviews
from tests.tuning.conftest import Time
from tests.tuning.fireworks_stand_in import (
    ACCOUNT,
    BASE,
    FIXED,
    INFERENCE_KEY,
    KEY,
    FireworksStandIn,
    Trouble,
)

TOKEN = "0123456789abcdef-1"
JOB = f"luthier-{TOKEN}"
MODEL = f"{ACCOUNT}/models/{JOB}"
LINES = b'{"messages": []}\n' * 20
FILE = "luthier-0123456789.jsonl"


@pytest.fixture
def fireworks(monkeypatch: pytest.MonkeyPatch) -> Iterator[FireworksStandIn]:
    monkeypatch.setenv("STARS_KEY", KEY)
    monkeypatch.delenv("FIREWORKS_ACCOUNT_ID", raising=False)
    with FireworksStandIn() as running:
        yield running


@pytest.fixture
def endpoint(fireworks: FireworksStandIn) -> Endpoint:
    price = Price(input_usd_per_million=0, output_usd_per_million=0, training_usd_per_million=10)
    return Endpoint(
        provider="fireworks",
        base_url=f"{fireworks.url}/inference/v1",
        model=BASE,
        api_key_env="STARS_KEY",
        price=price,
    )


@pytest.fixture
def tuner(endpoint: Endpoint, time: Time) -> FireworksTuner:
    return FireworksTuner(endpoint, wait=time.wait, clock=time.clock)


@pytest.fixture
def recipe(task: lt.Task, endpoint: Endpoint) -> lt.FineTune:
    tuning = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-4, "lora_rank": 16, "suffix": "stars"}
    return lt.FineTune(
        task, "Stars for: {{ text }}", name="tuned-stars", answer="score", endpoint=endpoint, tuning=tuning
    )


def submission(tuner: FireworksTuner, **settings: Any) -> Submission:
    file = tuner.upload(FILE, LINES)
    given = {"epochs": 2, "batch_size": 8, "learning_rate_multiplier": "auto"} | settings
    return Submission(BASE, file, None, given, seed=7, suffix="Stars", token=TOKEN)


def submitted(tuner: FireworksTuner, fireworks: FireworksStandIn, *states: str) -> None:
    """Buys a job that goes through these states, one a look."""
    fireworks.run = states or fireworks.run
    tuner.submit(submission(tuner))


def test_fireworks_is_found_by_its_provider_and_needs_deployments(endpoint: Endpoint) -> None:
    found = tuner_for(endpoint)
    assert isinstance(found, FireworksTuner)
    assert isinstance(found, Host)


# Datasets


def test_a_file_is_a_dataset_of_its_digest_and_is_sent_once(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    assert tuner.upload(FILE, LINES) == tuner.upload(FILE, LINES) == "luthier-0123456789"
    (made,) = fireworks.sent("POST", "/datasets")
    assert made.json["dataset"] == {"userUploaded": {}, "exampleCount": "20", "displayName": "luthier-0123456789"}
    (sent,) = fireworks.sent("POST", ":upload")
    assert LINES in sent.body and b'filename="luthier-0123456789.jsonl"' in sent.body


def test_a_dataset_that_was_left_without_its_file_gets_it(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    fireworks.troubles = [Trouble("POST", ":upload", 503)]
    with pytest.raises(ServiceUnavailable):
        tuner.upload(FILE, LINES)
    assert tuner.upload(FILE, LINES) == "luthier-0123456789"
    assert fireworks.datasets["luthier-0123456789"]["state"] == "READY"


def test_a_refused_file_says_why(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    fireworks.dataset_status = {"code": "INVALID_ARGUMENT", "message": "line 3 has no assistant turn"}
    with pytest.raises(EndpointError, match="refused the training lines.*line 3 has no assistant turn"):
        tuner.upload(FILE, LINES)


def test_a_file_that_is_never_ready_is_waited_for_an_hour(
    tuner: FireworksTuner, fireworks: FireworksStandIn, time: Time
) -> None:
    fireworks.looks_until_usable, begun = 10_000, time.now
    with pytest.raises(ServiceUnavailable, match="has not finished checking"):
        tuner.upload(FILE, LINES)
    assert 3600 < time.now - begun < 3700


# Submitting


def test_a_job_has_its_token_for_an_id_and_is_sent_by_the_names_of_the_service(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    validation = tuner.upload("luthier-9876543210.jsonl", LINES)
    order = submission(tuner, learning_rate=2e-4, lora_rank=16, weight_decay=0.0)
    state = tuner.submit(replace(order, validation_file=validation))
    assert (state.id, state.token, state.base_model) == (JOB, TOKEN, BASE)
    (sent,) = fireworks.sent("POST", "/supervisedFineTuningJobs")
    assert sent.query == {"supervisedFineTuningJobId": JOB}
    assert sent.json == {
        "baseModel": BASE,
        "dataset": f"{ACCOUNT}/datasets/luthier-0123456789",
        "evaluationDataset": f"{ACCOUNT}/datasets/luthier-9876543210",
        "displayName": f"Stars-{TOKEN}",
        "epochs": 2,
        "batchSizeSamples": 8,
        "learningRate": 2e-4,
        "loraRank": 16,
        "optimizerWeightDecay": 0.0,
    }


def test_settings_that_the_service_is_told_in_steps_follow_from_rows_epochs_and_batch_size(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    # Twenty rows in batches of eight are three steps an epoch.
    tuner.submit(submission(tuner, epochs=4, warmup_ratio=0.25, saved_checkpoints=3))
    (sent,) = fireworks.sent("POST", "/supervisedFineTuningJobs")
    assert sent.json["learningRateWarmupSteps"] == 3
    assert sent.json["samplerCheckpointSaveIntervalSteps"] == 4


def test_settings_in_steps_are_refused_where_their_number_is_not_known(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    with pytest.raises(EndpointError, match=r"warmup_ratio of `tuning:`.*tuning\.epochs and tuning\.batch_size"):
        tuner.submit(submission(tuner, batch_size="auto", warmup_ratio=0.1))
    assert fireworks.jobs == {}


def test_a_second_submission_with_one_token_is_the_job_of_the_first(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    order = submission(tuner)
    assert tuner.submit(order).id == tuner.submit(order).id
    assert list(fireworks.jobs) == [JOB]
    assert len(fireworks.sent("POST", "/supervisedFineTuningJobs")) == 2


def test_an_id_that_another_job_has_is_not_taken_for_ours(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    order = submission(tuner)
    tuner.submit(order)
    other = tuner.upload("luthier-of-another-table.jsonl", LINES)
    with pytest.raises(EndpointError, match="--again"):
        tuner.submit(replace(order, training_file=other))


def test_a_job_whose_answer_was_lost_is_found_by_one_request(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    order = submission(tuner)
    fireworks.troubles = [Trouble("POST", "supervisedFineTuningJobs", after=True)]
    with pytest.raises(OutcomeUnknown):
        tuner.submit(order)
    fireworks.asked.clear()
    assert [job.id for job in tuner.find(TOKEN)] == [JOB]
    assert [(one.method, one.path) for one in fireworks.asked] == [
        ("GET", f"/v1/{ACCOUNT}/supervisedFineTuningJobs/{JOB}")
    ]


def test_a_token_that_was_never_submitted_has_no_job(tuner: FireworksTuner) -> None:
    assert tuner.find(TOKEN) == []


def test_a_submission_over_the_rate_limit_bought_nothing_and_may_be_repeated(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    order = submission(tuner)
    fireworks.troubles = [Trouble("POST", "supervisedFineTuningJobs", 429)]
    with pytest.raises(ServiceUnavailable) as raised:
        tuner.submit(order)
    assert not isinstance(raised.value, OutcomeUnknown)
    assert fireworks.jobs == {}
    assert tuner.submit(order).id == JOB


# States


@pytest.mark.parametrize(
    ("state", "status", "ended"),
    [
        ("COMPLETED", "succeeded", True),
        ("EARLY_STOPPED", "succeeded", True),
        ("FAILED", "failed", True),
        ("EXPIRED", "failed", True),
        ("DELETED", "failed", True),
        ("CANCELLED", "cancelled", True),
        ("PAUSED", PAUSED, False),
        ("PENDING", "queued", False),
        ("VALIDATING", "validating_files", False),
        ("RE_QUEUEING", "queued", False),
        ("WRITING_RESULTS", "writing_results", False),
        ("DELETING_CLEANING_UP", "deleting_cleaning_up", False),
        ("A_NEW_WORD", "a_new_word", False),
    ],
)
def test_states_are_read_as_those_of_any_service_and_an_unknown_one_is_alive(
    state: str, status: str, ended: bool, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    submitted(tuner, fireworks, state)
    now = tuner.poll(JOB)
    assert (now.status, now.ended) == (status, ended)
    assert (now.tuned_model == MODEL) == (status == "succeeded")


def test_a_job_without_a_state_is_alive() -> None:
    assert status_of(None) == "unspecified"


def test_a_job_tells_its_settings_and_the_price_the_service_names(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    fireworks.estimated_cost = {"currencyCode": "USD", "units": "1", "nanos": 750_000_000}
    tuner.submit(submission(tuner, learning_rate=2e-4))
    now = tuner.poll(JOB)
    assert now.hyperparameters == {"epochs": 2, "batch_size": 8, "learning_rate": 2e-4}
    assert now.quoted_usd == pytest.approx(1.75)
    assert now.files == ("luthier-0123456789",)
    assert now.created == pytest.approx(pd.Timestamp("2026-11-28T20:00:00.123456Z").timestamp())


@pytest.mark.parametrize("cost", [None, {"currencyCode": "USD"}, {"currencyCode": "EUR", "units": "3"}])
def test_a_price_that_is_not_named_in_dollars_is_unknown_and_not_0(
    cost: dict[str, Any] | None, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    fireworks.estimated_cost = cost
    submitted(tuner, fireworks)
    assert tuner.poll(JOB).quoted_usd is None


def test_a_job_paused_by_a_spending_limit_says_so_and_goes_on_when_it_is_resumed(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    submitted(tuner, fireworks, "PAUSED")
    assert "spending limit" in str(tuner.poll(JOB).error)
    assert tuner.resume(JOB).status == "running"
    assert tuner.poll(JOB).status == "succeeded"


def test_jobs_are_not_paused_on_request(tuner: FireworksTuner) -> None:
    assert not tuner.rules(BASE).pauses
    with pytest.raises(EndpointError, match="does not pause jobs"):
        tuner.pause(JOB)


def test_a_failed_job_says_why(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    submitted(tuner, fireworks, "RUNNING", "FAILED")
    fireworks.job_status = {"code": "INTERNAL", "message": "loss is NaN"}
    assert tuner.poll(JOB).error == "loss is NaN"
    assert [event.message for event in tuner.events(JOB) if event.level == "error"] == ["Job is failed: loss is NaN"]


def test_a_cancel_is_confirmed_only_when_the_service_says_cancelled(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    submitted(tuner, fireworks, "RUNNING")
    fireworks.looks_cancelling = 2
    assert [tuner.cancel(JOB).status, *(tuner.poll(JOB).status for _ in range(3))] == [
        *("cancelling", "cancelling", "cancelled", "cancelled")
    ]


def test_cancelling_a_job_that_has_ended_returns_it_as_it_is(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    submitted(tuner, fireworks, "COMPLETED")
    assert tuner.cancel(JOB).status == "succeeded"


def test_a_cancel_whose_answer_is_lost_may_be_asked_again(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    submitted(tuner, fireworks, "RUNNING")
    fireworks.troubles = [Trouble("POST", ":cancel", after=True)]
    with pytest.raises(ServiceUnavailable) as raised:
        tuner.cancel(JOB)
    assert not isinstance(raised.value, OutcomeUnknown)
    assert tuner.cancel(JOB).status == "cancelling"


def test_a_job_of_another_account_is_not_found(tuner: FireworksTuner) -> None:
    for job in ("luthier-elsewhere", "../models?x"):
        with pytest.raises(JobNotFound, match="luthier tune list"):
            tuner.poll(job)


def test_every_job_is_listed_from_all_pages_newest_first(tuner: FireworksTuner) -> None:
    order = submission(tuner)
    for attempt in range(1, 6):
        tuner.submit(replace(order, token=f"0123456789abcdef-{attempt}"))
    assert [job.token for job in tuner.listed()] == [f"0123456789abcdef-{attempt}" for attempt in (5, 4, 3, 2, 1)]


# Events

TRAINED = '{"step": 1, "timestamp": "2026-11-28T20:10:00Z", "data": {"train/loss": 1.5, "train/lr": 0.0001}}'
VALIDATED = '{"step": 2, "timestamp": "2026-11-28T20:11:00Z", "data": {"eval/loss": 1.25, "train/loss": NaN}}'
FLAT = '{"step": 3, "timestamp": 1795896000, "train/loss": 0.75, "eval_loss": 1.125}'


def test_events_are_made_of_the_state_until_there_is_a_metrics_file_and_then_of_its_lines(
    tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    fireworks.metrics = [TRAINED, VALIDATED]
    submitted(tuner, fireworks, "PENDING", "PENDING", "RUNNING", "COMPLETED")
    heard: list[str] = []
    told = []
    for _ in range(3):
        new = tuner.events(JOB, heard)
        heard += [event.id for event in new]
        told.append([(event.step, dict(event.metrics)) for event in new])
    assert told == [
        [(None, {})],
        [(None, {}), (1, {"train_loss": 1.5, "train_lr": 1e-4})],
        [(None, {}), (2, {"valid_loss": 1.25})],
    ]
    assert len(heard) == len(set(heard))


def test_steps_of_a_job_are_counted_from_its_rows(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    fireworks.metrics = [TRAINED]
    submitted(tuner, fireworks, "RUNNING", "COMPLETED")
    assert [event.total_steps for event in tuner.events(JOB) if event.step] == [6]


def test_flat_lines_are_read_too_and_a_line_that_is_not_whole_is_read_later() -> None:
    job = {"name": f"{ACCOUNT}/supervisedFineTuningJobs/{JOB}", "state": "JOB_STATE_RUNNING"}
    half, whole = FLAT[:30].encode(), FLAT.encode()
    assert [event.step for event in job_events(job, half, None)] == [None]
    (event,) = (event for event in job_events(job, whole, None) if event.step is not None)
    assert dict(event.metrics) == {"train_loss": 0.75, "valid_loss": 1.125}
    assert event.created == 1795896000


def test_a_look_asks_for_the_job_once_and_a_later_one_anew(
    tuner: FireworksTuner, fireworks: FireworksStandIn, time: Time
) -> None:
    fireworks.metrics = [TRAINED]
    submitted(tuner, fireworks, "RUNNING", "RUNNING", "COMPLETED")
    tuner.poll(JOB)
    assert [event.step for event in tuner.events(JOB)] == [None, 1]
    assert len(fireworks.sent("GET", f"supervisedFineTuningJobs/{JOB}")) == 1
    tuner.poll(JOB)
    time.wait(60)
    assert "state-JOB_STATE_COMPLETED" in [event.id for event in tuner.events(JOB)]


def test_storage_is_asked_without_the_key(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    fireworks.metrics = [TRAINED]
    submitted(tuner, fireworks, "COMPLETED")
    tuner.events(JOB)
    asked = [one for one in fireworks.asked if one.path.startswith("/storage/")]
    assert asked and all("authorization" not in one.headers for one in asked)


# Whether an account may


def test_a_model_that_is_trained_is_admitted_without_cost(tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    tuner.admit(BASE)
    assert {one.method for one in fireworks.asked} == {"GET"}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (FIXED, "does not fine-tune accounts/fireworks/models/fixed-base"),
        ("accounts/fireworks/models/gone", "has no model accounts/fireworks/models/gone"),
        ("tunable-base", "model: accounts/fireworks/models/tunable-base"),
    ],
)
def test_a_model_that_is_not_trained_is_refused_with_what_to_write(
    model: str, said: str, tuner: FireworksTuner
) -> None:
    with pytest.raises(EndpointError, match=said):
        tuner.admit(model)


def test_a_key_for_inference_alone_is_refused_before_any_upload(
    tuner: FireworksTuner, fireworks: FireworksStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_KEY", INFERENCE_KEY)
    with pytest.raises(EndpointError, match="STARS_KEY"):
        tuner.admit(BASE)


def test_of_several_accounts_one_has_to_be_named(
    tuner: FireworksTuner, fireworks: FireworksStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    fireworks.accounts = ["accounts/others", ACCOUNT]
    with pytest.raises(EndpointError, match=r"several accounts \(others, stars-team\).*export FIREWORKS_ACCOUNT_ID"):
        tuner.listed()
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", "stars-team")
    assert tuner.listed() == []


def test_the_longest_line_is_that_of_the_model_and_unknown_without_a_key(
    tuner: FireworksTuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tuner.rules(BASE).most_tokens_a_line == 8192
    assert tuner.rules(FIXED).most_tokens_a_line is None
    monkeypatch.delenv("STARS_KEY")
    assert tuner.rules(BASE).most_tokens_a_line is None


def test_settings_are_held_to_the_service_s_bounds(recipe: lt.FineTune, tuner: FireworksTuner) -> None:
    check_hyperparameters(recipe, tuner)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"lora_rank": 12}, "allowed: 4, 8, 16, 32, 64"),
        ({"learning_rate": 0.1}, "allowed: 1e-05 to 0.0005"),
        ({"learning_rate_multiplier": 2.0}, "no such setting"),
        ({"early_stopping_patience": 2}, "no such setting"),
    ]
    for settings, said in refused:
        wrong = recipe.model_copy(update={"tuning": recipe.tuning.model_copy(update=settings)})
        with pytest.raises(SpecError, match=said):
            check_hyperparameters(wrong, tuner)


# Deployments


@pytest.fixture
def model(fireworks: FireworksStandIn) -> str:
    """A tuned model, as a job leaves it behind."""
    fireworks.models[MODEL] = {"name": MODEL, "state": "READY", "kind": "HF_PEFT_ADDON"}
    return MODEL


def test_a_deployment_is_ready_when_it_answers_and_costs_nothing_when_nobody_asks(
    model: str, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    place = tuner.deploy(model, "stars")
    assert place.model == f"{ACCOUNT}/deployments/stars"
    (sent,) = fireworks.sent("POST", "/deployments")
    assert sent.query == {"deploymentId": "stars"}
    assert sent.json == {
        "baseModel": model,
        "deploymentShape": "default",
        "minReplicaCount": 0,
        "maxReplicaCount": 1,
        "autoscalingPolicy": {"scaleToZeroWindow": "300s"},
    }
    assert fireworks.deployments["stars"]["cold"] == 0


def test_a_deployment_is_made_once_also_where_the_answer_is_lost_or_the_service_is_busy(
    model: str, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    fireworks.troubles = [
        Trouble("POST", "deployments$", 429),
        Trouble("POST", "deployments$", after=True),
        Trouble("GET", "deployments/stars", 503),
    ]
    tuner.deploy(model, "stars")
    assert list(fireworks.deployments) == ["stars"]
    tuner.deploy(model, "stars")
    assert len(fireworks.sent("POST", "/deployments")) == 2


def test_a_deployment_that_fails_says_why(model: str, tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    fireworks.made_as = "FAILED"
    with pytest.raises(EndpointError, match=r"deployment stars .* has failed \(no H100 is free\)"):
        tuner.deploy(model, "stars")
    assert tuner.is_deployed("stars")


def test_a_deployment_that_never_answers_is_given_up_and_named(
    model: str, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    fireworks.cold_answers = 10_000
    with pytest.raises(ServiceUnavailable, match="does not answer after an hour.*luthier tune undeploy"):
        tuner.deploy(model, "stars")


def test_a_name_that_answers_with_another_model_is_not_taken_over(
    model: str, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    tuner.deploy(BASE, "stars")
    with pytest.raises(SpecError, match="answers with accounts/fireworks/models/tunable-base"):
        tuner.deploy(model, "stars")


def test_a_name_the_service_does_not_take_is_refused_with_one_it_does(model: str, tuner: FireworksTuner) -> None:
    with pytest.raises(SpecError, match="--name tuned-stars"):
        tuner.check_name("Tuned_Stars", model)


def test_a_deleted_deployment_is_confirmed_gone(model: str, tuner: FireworksTuner, fireworks: FireworksStandIn) -> None:
    tuner.deploy(model, "stars")
    tuner.undeploy("stars")
    assert fireworks.deployments == {}
    assert not tuner.is_deployed("stars")
    (sent,) = fireworks.sent("DELETE", "/deployments/stars")
    assert sent.query == {"hard": "true", "ignoreChecks": "true"}
    tuner.undeploy("stars")


def test_a_deleted_deployment_is_gone_when_its_last_replica_is(
    model: str, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    tuner.deploy(model, "stars")
    fireworks.deployments["stars"] |= {"state": "DELETED", "replicaCount": 1}
    assert tuner.is_deployed("stars")
    fireworks.deployments["stars"]["replicaCount"] = 0
    assert not tuner.is_deployed("stars")


def test_a_name_that_is_being_deleted_is_free_again_afterwards(
    model: str, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    tuner.deploy(model, "stars")
    fireworks.deployments["stars"] |= {"state": "DELETING", "looks": 3}
    tuner.deploy(model, "stars")
    assert fireworks.deployments["stars"]["state"] == "READY"


@pytest.fixture
def kept(tuner: FireworksTuner, fireworks: FireworksStandIn) -> list[str]:
    """Names of checkpoints of a job: after the second step, and one that cannot become a model."""
    fireworks.metrics = [TRAINED, VALIDATED]
    submitted(tuner, fireworks, "COMPLETED")
    names = [f"{ACCOUNT}/supervisedFineTuningJobs/{JOB}/checkpoints/{name}" for name in ("step-4", "dcp-2", "step-2")]
    fireworks.checkpoints = [{"name": name, "promotable": "dcp" not in name} for name in names]
    return names


def test_checkpoints_that_can_become_models_are_listed_by_step_with_their_figures(
    kept: list[str], tuner: FireworksTuner
) -> None:
    found = tuner.checkpoints(JOB)
    assert [(one.step, one.model) for one in found] == [(2, kept[2]), (4, kept[0])]
    assert dict(found[0].metrics) == {"valid_loss": 1.25}


def test_a_checkpoint_is_made_a_model_when_it_is_deployed_and_only_once(
    kept: list[str], tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    tuner.deploy(kept[2], "early")
    made = f"{ACCOUNT}/models/{JOB}-step-2"
    assert fireworks.deployments["early"]["baseModel"] == made
    (sent,) = fireworks.sent("POST", ":promote")
    assert sent.json == {"output_model": made, "base_model": BASE, "async_promotion": True}
    tuner.undeploy("early")
    tuner.deploy(kept[2], "early")
    assert len(fireworks.sent("POST", ":promote")) == 1


def test_a_tuned_model_that_is_asked_without_a_deployment_says_what_to_type(
    model: str, tuner: FireworksTuner, fireworks: FireworksStandIn
) -> None:
    (finding,) = [one for one in check_endpoint(tuner.endpoint(model), wants_logprobs=False) if one.ok is False]
    assert "luthier tune deploy JOB" in finding.cure


# The whole way


@pytest.mark.slow
def test_a_job_is_bought_once_watched_measured_and_nothing_is_left(
    store: str,
    recipe: lt.FineTune,
    train: pd.DataFrame,
    tuner: FireworksTuner,
    fireworks: FireworksStandIn,
    timing: Timing,
) -> None:
    fireworks.metrics = [TRAINED, VALIDATED]
    fireworks.estimated_cost = {"currencyCode": "USD", "nanos": 250_000_000}
    fireworks.troubles = [Trouble("POST", "supervisedFineTuningJobs$", after=True), Trouble("GET", JOB, 503)]
    job = lt.tune(recipe, train, reviews(20, seed=9), tuner=tuner, timing=timing)
    again = lt.tune(recipe, train, reviews(20, seed=9), tuner=tuner, timing=timing)
    assert list(fireworks.jobs) == [job.id] == [again.id]
    assert len(fireworks.sent("POST", "/supervisedFineTuningJobs")) == 1
    assert job.cost_usd == pytest.approx(0.25)
    with job.hosted([job.spec]) as asked:
        board = lt.compare(asked, reviews(6, seed=10))
    assert board.leaderboard.rows_evaluated == 6
    assert fireworks.deployments == {}


@pytest.mark.slow
def test_labels_beyond_the_five_likeliest_tokens_have_at_most_the_fifth(
    endpoint: Endpoint, tuner: FireworksTuner, fireworks: FireworksStandIn, model: str
) -> None:
    place = tuner.deploy(model, "stars")
    seven = lt.Task("sevens", type="rating", label="sevens", labels=[1, 2, 3, 4, 5, 6, 7])
    prompt = lt.Prompt(seven, "From 1 to 7: {{ text }}", answer="score", endpoint=place)
    rows = reviews(4, seed=10).rename(columns={"stars": "sevens"})
    board = lt.compare([prompt], rows)
    asked = [one.json for one in fireworks.sent("POST", "/chat/completions") if "top_logprobs" in one.json]
    assert {one["top_logprobs"] for one in asked} == {5}
    (entry,) = board.leaderboard.entries
    assert entry.metrics["censored_rate"].value == 1.0


def test_a_job_that_costs_more_than_its_budget_by_the_service_s_own_word_is_cancelled(
    store: str,
    recipe: lt.FineTune,
    train: pd.DataFrame,
    tuner: FireworksTuner,
    fireworks: FireworksStandIn,
    timing: Timing,
) -> None:
    fireworks.estimated_cost = {"currencyCode": "USD", "units": "12"}
    fireworks.run = ("PENDING",)
    with pytest.raises(BudgetReached, match=r"\$12\.00, more than the budget of \$5\.00"):
        lt.tune(recipe, train, tuner=tuner, timing=timing, budget_usd=5.0)
    assert [job["state"] for job in fireworks.jobs.values()] == ["JOB_STATE_CANCELLED"]


@pytest.mark.slow
def test_checkpoints_are_measured_on_deployments_that_are_gone_afterwards(
    store: str,
    recipe: lt.FineTune,
    train: pd.DataFrame,
    tuner: FireworksTuner,
    fireworks: FireworksStandIn,
    timing: Timing,
) -> None:
    fireworks.metrics = [TRAINED, VALIDATED]
    job = lt.tune(recipe, train, tuner=tuner, timing=timing)
    fireworks.checkpoints = [
        {"name": f"{ACCOUNT}/supervisedFineTuningJobs/{job.id}/checkpoints/step-1", "promotable": True}
    ]
    with job.hosted(checkpoint_specs(job)) as asked:
        assert len(fireworks.deployments) == len(asked) == 2
        board = lt.compare(asked, reviews(6, seed=10))
    assert len(board.leaderboard.entries) == 2
    assert fireworks.deployments == {}
