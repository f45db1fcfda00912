"""Together: jobs over HTTP against a stand-in that is as strict as the types and as slow as the service."""

from __future__ import annotations

import math
from collections.abc import Iterator

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Price
from luthier.errors import BudgetReached, EndpointError, Partial, QuotaError, SpecError
from luthier.techniques.finetune import Tuning
from luthier.tuning.checkpoints import checkpoint_specs
from luthier.tuning.preflight import check_hyperparameters
from luthier.tuning.submission import submit
from luthier.tuning.timing import Timing
from luthier.tuning.tuners import tuner_for
from luthier.tuning.tuners.together import TogetherTuner
from luthier.tuning.tuners.tuner import (
    JobNotFound,
    JobState,
    OutcomeUnknown,
    Quotes,
    ServiceUnavailable,
    Submission,
)
from luthier.tuning.tuning_plan import plan_tuning
from tests.conftest import reviews
from tests.tuning.conftest import Time
from tests.tuning.together_stand_in import BASE, LIMITS, NANODOLLARS_A_TOKEN, TOKENS_A_LINE, Fault, TogetherStandIn

KEY = "tgp_v1_hunter22-hunter22"
TOKEN = "0123456789abcdef-1"
LINES = b'{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "5"}]}\n' * 10


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStandIn]:
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    with TogetherStandIn(KEY) as running:
        yield running


@pytest.fixture
def endpoint(together: TogetherStandIn) -> Endpoint:
    price = Price(input_usd_per_million=1, output_usd_per_million=2, hosting_usd_per_hour=3.36)
    return Endpoint(provider="together", base_url=f"{together.url}/v1", model=BASE, price=price)


@pytest.fixture
def tuner(endpoint: Endpoint, time: Time) -> TogetherTuner:
    return TogetherTuner(endpoint, wait=time.wait, clock=time.clock)


@pytest.fixture
def recipe(task: lt.Task, endpoint: Endpoint) -> lt.FineTune:
    tuning = {"epochs": 2, "learning_rate": 2e-5, "lora_rank": 8, "suffix": "stars"}
    return lt.FineTune(task, "Stars for: {{ text }}", name="stars", answer="score", endpoint=endpoint, tuning=tuning)


def submission(tuner: TogetherTuner, *, validated: bool = False, **settings: object) -> Submission:
    """What buys a job on ten lines."""
    file = tuner.upload("luthier-a.jsonl", LINES)
    chosen = Tuning.model_validate(settings).hyperparameters
    return Submission(BASE, file, file if validated else None, chosen, 7, "stars", TOKEN)


def ended(tuner: TogetherTuner, job: str) -> JobState:
    """The job at its end, looked at until then."""
    for _ in range(30):
        if (now := tuner.poll(job)).ended:
            return now
    raise AssertionError("it never ends")


SOUPS = {"good": "5", "awful": "1"}


# Files.


def test_a_file_is_sent_where_together_says_without_the_key_and_waited_for_until_it_is_valid(
    together: TogetherStandIn, tuner: TogetherTuner, time: Time
) -> None:
    begun = time.now
    assert tuner.upload("luthier-a.jsonl", LINES) == "file-1"
    assert together.files["file-1"].content == LINES
    assert time.now > begun


def test_a_file_that_together_has_is_not_sent_again(together: TogetherStandIn, tuner: TogetherTuner) -> None:
    first = tuner.upload("luthier-a.jsonl", LINES)
    assert tuner.upload("luthier-a.jsonl", LINES) == first
    assert [how for how, _, _ in together.asked].count("PUT") == 1


def test_an_upload_that_broke_off_is_taken_up_again(together: TogetherStandIn, tuner: TogetherTuner) -> None:
    together.faults = [Fault("PUT", "/storage/", 503)]
    with pytest.raises(ServiceUnavailable):
        tuner.upload("luthier-a.jsonl", LINES)
    assert together.files[tuner.upload("luthier-a.jsonl", LINES)].content == LINES


def test_refused_lines_are_quoted_as_together_reports_them(together: TogetherStandIn, tuner: TogetherTuner) -> None:
    together.invalid = "line 3: roles must alternate"
    with pytest.raises(EndpointError, match=r"luthier-a\.jsonl.*line 3: roles must alternate"):
        tuner.upload("luthier-a.jsonl", LINES)


def test_a_file_that_is_never_validated_is_given_up(tuner: TogetherTuner, together: TogetherStandIn) -> None:
    together.looks_until_valid = 1_000_000
    with pytest.raises(EndpointError, match="half an hour.*file-1"):
        tuner.upload("luthier-a.jsonl", LINES)


def test_a_key_refused_at_the_upload_may_mean_spent_trial_credit(
    together: TogetherStandIn, tuner: TogetherTuner
) -> None:
    together.faults = [Fault("POST", "/v1/files$", 401, "not authorised")]
    with pytest.raises(EndpointError, match="TOGETHER_API_KEY.*trial"):
        tuner.upload("luthier-a.jsonl", LINES)


# What can be set.


def test_bounds_are_those_the_service_names_for_the_model(tuner: TogetherTuner) -> None:
    known = {one.name: one for one in tuner.hyperparameters(BASE)}
    assert (known["epochs"].high, known["batch_size"].low, known["batch_size"].high) == (20, 8, 64)
    assert (known["learning_rate"].low, known["learning_rate"].high) == (1e-8, 0.01)
    assert (known["lora_rank"].high, known["lora_rank"].default) == (64, 16)
    assert (known["evaluations"].high, known["saved_checkpoints"].high) == (100, 10)
    assert known["lr_scheduler"].options == ("cosine", "linear", "constant")
    assert tuner.rules(BASE).most_tokens_a_line == LIMITS["max_seq_length_sft"]


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        ({"lora_rank": 128}, "lora_rank: 128.*1 to 64"),
        ({"epochs": 21}, "epochs: 21.*1 to 20"),
        ({"learning_rate": 0.5}, r"learning_rate: 0\.5.*0\.01"),
        ({"learning_rate_multiplier": 2.0}, "learning_rate_multiplier.*no such setting.*learning_rate"),
    ],
)
def test_a_setting_out_of_bounds_is_refused_before_anything_is_sent(
    tuning: dict[str, object], said: str, recipe: lt.FineTune, tuner: TogetherTuner, together: TogetherStandIn
) -> None:
    changed = recipe.model_copy(update={"tuning": Tuning.model_validate(tuning)})
    with pytest.raises(SpecError, match=said):
        check_hyperparameters(changed, tuner)
    assert {how for how, _, _ in together.asked} == {"GET"}


def test_the_largest_and_smallest_settings_are_within_bounds(recipe: lt.FineTune, tuner: TogetherTuner) -> None:
    edges = {"warmup_ratio": 0.0, "weight_decay": 0.0, "lora_dropout": 0.0, "evaluations": 0, "lora_rank": 64}
    check_hyperparameters(recipe.model_copy(update={"tuning": Tuning.model_validate(edges)}), tuner)


def test_without_a_key_a_plan_can_still_be_made(
    recipe: lt.FineTune, tuner: TogetherTuner, monkeypatch: pytest.MonkeyPatch, together: TogetherStandIn
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")
    check_hyperparameters(recipe, tuner)
    assert together.asked == []


def test_a_model_that_is_not_offered_is_told_before_any_upload(tuner: TogetherTuner) -> None:
    tuner.admit(BASE)
    with pytest.raises(EndpointError, match="other/model.*Nothing was uploaded"):
        tuner.admit("other/model")


def test_every_setting_reaches_the_job_under_its_name_there(together: TogetherStandIn, tuner: TogetherTuner) -> None:
    given = {
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "lr_scheduler": "linear",
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "lora_rank": 32,
        "lora_alpha": 48,
        "lora_dropout": 0.05,
        "evaluations": 6,
        "saved_checkpoints": 3,
        "early_stopping_patience": 4,
    }
    job = tuner.submit(submission(tuner, validated=True, **given))
    (sent,) = together.sent("POST", "/v1/fine-tunes")
    assert sent == {
        "model": BASE,
        "training_file": "file-1",
        "validation_file": "file-1",
        "n_epochs": 3,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "lr_scheduler": {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 0.0}},
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "training_type": {
            "type": "Lora",
            "lora_r": 32,
            "lora_alpha": 48,
            "lora_dropout": 0.05,
            "lora_trainable_modules": "all-linear",
        },
        "training_method": {"method": "sft", "train_on_inputs": "auto"},
        "n_evals": 6,
        "n_checkpoints": 3,
        "early_stopping_enabled": True,
        "early_stopping_patience": 4,
        "early_stopping_min_delta": 0.0,
        "early_stopping_warmup_evals": 0,
        "random_seed": 7,
        "suffix": f"stars-{TOKEN}",
    }
    assert job.hyperparameters == {name: given[name] for name in given if name != "early_stopping_patience"}


def test_unset_settings_are_the_services_own(together: TogetherStandIn, tuner: TogetherTuner) -> None:
    job = tuner.submit(submission(tuner))
    (sent,) = together.sent("POST", "/v1/fine-tunes")
    assert (sent["n_epochs"], sent["batch_size"], sent["training_type"]["lora_r"]) == (1, "max", 16)
    assert not {"learning_rate", "lr_scheduler", "n_evals", "early_stopping_enabled"} & set(sent)
    assert job.hyperparameters["batch_size"] == "auto"


def test_a_constant_rate_is_a_linear_one_that_does_not_fall(together: TogetherStandIn, tuner: TogetherTuner) -> None:
    job = tuner.submit(submission(tuner, lr_scheduler="constant"))
    (sent,) = together.sent("POST", "/v1/fine-tunes")
    assert sent["lr_scheduler"] == {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 1.0}}
    assert job.hyperparameters["lr_scheduler"] == "constant"


@pytest.mark.parametrize(("tuning", "evaluations"), [({"epochs": 3}, 3), ({"early_stopping_patience": 4}, 5)])
def test_validation_rows_are_measured_once_an_epoch_and_as_often_as_early_stopping_needs(
    tuning: dict[str, object], evaluations: int, together: TogetherStandIn, tuner: TogetherTuner
) -> None:
    tuner.submit(submission(tuner, validated=True, **tuning))
    (sent,) = together.sent("POST", "/v1/fine-tunes")
    assert sent["n_evals"] == evaluations


def test_early_stopping_without_validation_rows_is_refused_before_anything_is_sent(
    recipe: lt.FineTune, tuner: TogetherTuner, train: pd.DataFrame
) -> None:
    changed = recipe.model_copy(update={"tuning": Tuning(early_stopping_patience=2)})
    with pytest.raises(SpecError, match="early_stopping_patience.*--validation"):
        plan_tuning(changed, train, tuner=tuner)


# Price.


def test_together_names_the_price_of_uploaded_files_evaluations_included(tuner: TogetherTuner) -> None:
    assert isinstance(tuner, Quotes)
    wanted = submission(tuner, validated=True, epochs=3)
    tokens = TOKENS_A_LINE * (10 * 3 + 10 * 3)
    assert tuner.quote(wanted) == pytest.approx(tokens * NANODOLLARS_A_TOKEN * 1e-9)


def test_a_price_that_together_cannot_name_is_unknown_and_not_zero(
    tuner: TogetherTuner, together: TogetherStandIn
) -> None:
    wanted = submission(tuner)
    together.quote = {"estimation_available": False, "unavailable_reason": "train_file_not_validated"}
    assert tuner.quote(wanted) is None


def test_an_account_that_may_not_spend_so_much_is_told_so(tuner: TogetherTuner, together: TogetherStandIn) -> None:
    wanted = submission(tuner)
    together.quote = {"allowed_to_proceed": False, "estimated_total_price": 80.0}
    with pytest.raises(QuotaError, match=r"\$80\.00.*limit \$50\.00.*Nothing was bought"):
        tuner.quote(wanted)


@pytest.mark.usefixtures("store")
def test_a_job_above_the_budget_is_not_bought(
    recipe: lt.FineTune, train: pd.DataFrame, tuner: TogetherTuner, together: TogetherStandIn, timing: Timing
) -> None:
    together.quote = {"estimated_total_price": 12.0}
    plan = plan_tuning(recipe, train, tuner=tuner)
    with pytest.raises(BudgetReached, match=r"\$12\.00"):
        submit(plan, budget_usd=10.0, timing=timing)
    assert together.jobs == {}


# One job, bought once.


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("fault", [Fault("POST", "/v1/fine-tunes$"), Fault("POST", "/v1/fine-tunes$", 429)])
def test_a_lost_or_refused_submission_ends_in_one_job(
    fault: Fault,
    recipe: lt.FineTune,
    train: pd.DataFrame,
    tuner: TogetherTuner,
    together: TogetherStandIn,
    timing: Timing,
) -> None:
    together.faults = [fault]
    job = lt.tune(recipe, train, tuner=tuner, detach=True, timing=timing)
    assert list(together.jobs) == [job.id]


def test_whether_a_submission_without_answer_was_taken_is_unknown_and_the_list_tells(
    tuner: TogetherTuner, together: TogetherStandIn
) -> None:
    wanted = submission(tuner)
    together.faults = [Fault("POST", "/v1/fine-tunes$")]
    with pytest.raises(OutcomeUnknown):
        tuner.submit(wanted)
    (found,) = tuner.find(TOKEN)
    assert (found.id, found.token, found.seed) == ("ft-1", TOKEN, 7)
    assert tuner.find("fedcba9876543210-1") == []


def test_jobs_are_listed_newest_first(tuner: TogetherTuner) -> None:
    for _ in range(3):
        tuner.submit(submission(tuner))
    assert [job.id for job in tuner.listed()] == ["ft-3", "ft-2", "ft-1"]


def test_a_job_that_together_does_not_know_is_named(tuner: TogetherTuner) -> None:
    with pytest.raises(JobNotFound, match="ft-9"):
        tuner.poll("ft-9")


# Watching.


def test_states_are_read_and_the_end_has_tokens_price_and_what_to_deploy(tuner: TogetherTuner) -> None:
    job = tuner.submit(submission(tuner, epochs=2)).id
    seen = []
    while not (now := tuner.poll(job)).ended:
        seen.append(now.status)
        assert (now.trained_tokens, now.billed_usd, now.tuned_model) == (None, None, None)
    assert seen == ["queued", "running", "running", "running", "running", "compressing", "uploading"]
    assert (now.status, now.tuned_model, now.trained_tokens) == ("succeeded", "ml_ft-1", 400)
    assert now.billed_usd == pytest.approx(400 * NANODOLLARS_A_TOKEN * 1e-9)


def test_seconds_left_are_counted_from_now_while_it_trains(tuner: TogetherTuner, time: Time) -> None:
    job = tuner.submit(submission(tuner)).id
    assert tuner.poll(job).estimated_finish is None
    assert tuner.poll(job).estimated_finish == time.now + 90


def test_metrics_come_as_events_by_step_and_a_loss_that_is_no_number_is_said(tuner: TogetherTuner) -> None:
    job = tuner.submit(submission(tuner, validated=True, epochs=2)).id
    ended(tuner, job)
    heard = [event for event in tuner.events(job) if event.metrics]
    first = next(event for event in heard if event.step == 1)
    assert first.metrics == {"train_learning_rate": 1e-5, "train_grad_norm": 0.5}
    assert (first.level, "train_loss is no number" in first.message) == ("warn", True)
    assert next(event.metrics["train_loss"] for event in heard if "train_loss" in event.metrics) == 1.0
    assert {event.step: event.metrics["valid_loss"] for event in heard if "valid_loss" in event.metrics} == {
        2: 1.25,
        4: 0.625,
        6: pytest.approx(2.5 / 6),
        8: 0.3125,
    }


def test_each_event_is_given_once_and_only_new_metrics_are_asked_for(
    tuner: TogetherTuner, together: TogetherStandIn
) -> None:
    job = tuner.submit(submission(tuner, validated=True, epochs=2)).id
    known: set[str] = set()
    steps: list[int] = []
    while not tuner.poll(job).ended:
        new = tuner.events(job, known)
        assert not known & {event.id for event in new}
        known |= {event.id for event in new}
        steps += [event.step for event in new if event.step is not None and "train_grad_norm" in event.metrics]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    assert tuner.events(job, known | {event.id for event in tuner.events(job, known)}) == []
    assert together.asked[-1][1].endswith("global_step_from=8")


def test_a_failed_job_says_why(tuner: TogetherTuner, together: TogetherStandIn) -> None:
    together.ends_as = "error"
    job = tuner.submit(submission(tuner)).id
    now = ended(tuner, job)
    assert (now.status, now.error) == ("failed", "CUDA out of memory on 8 GPUs")


def test_checkpoints_have_the_losses_of_their_step(tuner: TogetherTuner) -> None:
    job = tuner.submit(submission(tuner, validated=True, epochs=2)).id
    ended(tuner, job)
    kept = tuner.checkpoints(job)
    assert [(one.step, one.model) for one in kept] == [(step, f"ml_ft-1-step-{step}") for step in (2, 4, 6, 8)]
    assert (kept[0].metrics["train_loss"], kept[0].metrics["valid_loss"]) == (1.0, 1.25)


def test_a_job_that_together_stops_early_has_succeeded_and_costs_less(tuner: TogetherTuner) -> None:
    wanted = submission(tuner, validated=True, epochs=4, early_stopping_patience=2)
    quoted = tuner.quote(wanted)
    job = tuner.submit(wanted)
    assert quoted is not None
    now = ended(tuner, job.id)
    assert (now.status, now.tuned_model, now.trained_tokens) == ("succeeded", "ml_ft-1", 800)
    assert now.billed_usd == pytest.approx(quoted / 2)


def test_a_cancelled_job_is_cancelled_when_together_says_so_and_its_steps_are_billed(tuner: TogetherTuner) -> None:
    job = tuner.submit(submission(tuner, epochs=2)).id
    for _ in range(4):
        tuner.poll(job)
    assert tuner.cancel(job).status == "cancel_requested"
    assert not tuner.poll(job).ended
    assert tuner.cancel(job).status == "cancel_requested"
    now = ended(tuner, job)
    assert (now.status, now.trained_tokens, now.tuned_model) == ("cancelled", 300, None)
    assert tuner.cancel(job).status == "cancelled"


def test_a_job_cannot_be_paused(tuner: TogetherTuner) -> None:
    assert not tuner.rules(BASE).pauses
    with pytest.raises(EndpointError, match="luthier tune cancel ft-1"):
        tuner.pause("ft-1")


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_job_is_tuned_watched_and_written_down(
    recipe: lt.FineTune, train: pd.DataFrame, tuner: TogetherTuner, timing: Timing
) -> None:
    job = lt.tune(recipe, train, reviews(20, seed=9), tuner=tuner, timing=timing)
    run = mlflow.get_run(job.run_id)
    assert run.data.metrics["cost_usd"] == run.data.metrics["quoted_usd"] == pytest.approx(job.cost_usd or 0)
    assert run.data.metrics["valid_loss"] == 0.3125
    assert run.data.params["resolved.lora_rank"] == "8"
    assert job.spec.tuned is not None
    assert job.spec.tuned.model == "ml_ft-1"


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_cancelled_job_ends_its_run_as_killed(
    recipe: lt.FineTune, train: pd.DataFrame, tuner: TogetherTuner, together: TogetherStandIn, timing: Timing
) -> None:
    job = lt.tune(recipe, train, tuner=tuner, detach=True, timing=timing)
    together.faults = [Fault("POST", "/cancel$", 503)]
    job.cancel(timing=timing)
    assert together.jobs[job.id].document["status"] == "cancelled"
    assert mlflow.get_run(job.run_id).info.status == "KILLED"
    with pytest.raises(Partial):
        job.watch(timing=timing)


# Deployments.


def test_a_deployment_is_used_when_it_is_routed_and_answers_and_runs_on_the_cheapest_hardware(
    tuner: TogetherTuner, together: TogetherStandIn
) -> None:
    there = tuner.deploy("ml_ft-1", "stars")
    assert there.model == "stars-team/stars"
    assert there.price is not None
    assert (there.price.input_usd_per_million, there.price.hosting_usd_per_hour) == (0.0, 3.36)
    (made,) = together.endpoints.values()
    (deployment,) = made["deployments"]
    assert deployment["config"] == "projects/proj_public/configs/cr_small"
    assert deployment["model"] == "projects/proj_1/models/ml_ft-1/revisions/rv_1"
    assert made["trafficSplit"] == [{"deploymentId": deployment["id"], "weight": 1}]
    assert made["calls_left"] < 0


def test_a_deployment_that_exists_is_used_again(tuner: TogetherTuner, together: TogetherStandIn) -> None:
    tuner.deploy("ml_ft-1", "other")
    first = tuner.deploy("ml_ft-1", "stars")
    assert tuner.deploy("ml_ft-1", "stars") == first
    assert len(together.endpoints) == 2


@pytest.mark.parametrize("path", ["/endpoints$", "/deployments$"])
def test_a_lost_answer_makes_no_second_deployment(path: str, tuner: TogetherTuner, together: TogetherStandIn) -> None:
    together.faults = [Fault("POST", path), Fault("PATCH", "/endpoints/", 503)]
    tuner.deploy("ml_ft-1", "stars")
    (made,) = together.endpoints.values()
    assert len(made["deployments"]) == 1


def test_a_deployment_that_fails_says_why(tuner: TogetherTuner, together: TogetherStandIn) -> None:
    together.deployments_end_as = "DEPLOYMENT_STATE_FAILED"
    with pytest.raises(EndpointError, match="stars.*no capacity for 1x H100"):
        tuner.deploy("ml_ft-1", "stars")
    assert tuner.is_deployed("stars")
    together.deployments_end_as = "DEPLOYMENT_STATE_READY"
    assert tuner.deploy("ml_ft-1", "stars").model == "stars-team/stars"


def test_a_name_that_answers_with_another_model_is_not_taken_over(tuner: TogetherTuner) -> None:
    tuner.deploy("ml_ft-1", "stars")
    with pytest.raises(SpecError, match="ml_ft-1.*ml_ft-2.*--name"):
        tuner.deploy("ml_ft-2", "stars")
    with pytest.raises(SpecError):
        tuner.check_name("stars", "ml_ft-2")
    tuner.check_name("another", "ml_ft-2")


def test_an_undeployed_model_is_stopped_first_and_leaves_nothing(
    tuner: TogetherTuner, together: TogetherStandIn
) -> None:
    tuner.deploy("ml_ft-1", "stars")
    together.faults = [Fault("DELETE", "/deployments/", 503), Fault("DELETE", "/endpoints/ep_[0-9]+$", 429)]
    tuner.undeploy("stars")
    assert together.endpoints == {}
    assert not tuner.is_deployed("stars")
    tuner.undeploy("stars")


def test_a_key_of_no_project_says_which_variable_names_one(
    tuner: TogetherTuner, together: TogetherStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    together.has_project = False
    with pytest.raises(EndpointError, match="export TOGETHER_PROJECT_ID"):
        tuner.deploy("ml_ft-1", "stars")
    monkeypatch.setenv("TOGETHER_PROJECT_ID", "proj_1")
    assert tuner.deploy("ml_ft-1", "stars").model == "stars-team/stars"


def test_a_deployment_that_was_stopped_is_started_again(tuner: TogetherTuner, together: TogetherStandIn) -> None:
    tuner.deploy("ml_ft-1", "stars")
    (made,) = together.endpoints.values()
    made["deployments"][0]["state"] = "DEPLOYMENT_STATE_STOPPED"
    tuner.deploy("ml_ft-1", "stars")
    assert made["deployments"][0]["state"] == "DEPLOYMENT_STATE_READY"


def test_a_deployment_that_never_gets_ready_is_given_up_and_said_to_be_billed(
    tuner: TogetherTuner, together: TogetherStandIn
) -> None:
    together.deployments_end_as = "DEPLOYMENT_STATE_PROVISIONING"
    with pytest.raises(ServiceUnavailable, match="not ready after an hour.*luthier tune undeploy"):
        tuner.deploy("ml_ft-1", "stars")


@pytest.mark.slow
@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("one_block", [False, True])
def test_a_tuned_model_is_asked_for_log_probabilities_as_together_has_them_and_its_deployment_is_gone_afterwards(
    one_block: bool,
    recipe: lt.FineTune,
    train: pd.DataFrame,
    tuner: TogetherTuner,
    together: TogetherStandIn,
    timing: Timing,
) -> None:
    together.one_block_of_logprobs = one_block
    job = lt.tune(recipe, train, tuner=tuner, timing=timing)
    with job.hosted([job.spec]) as (asked,):
        assert len(together.endpoints) == 1
        rows = [{"text": f"{word} soup {n}", "stars": label} for n in range(5) for word, label in SOUPS.items()]
        board = lt.compare([asked], pd.DataFrame(rows))
    (entry,) = board.leaderboard.entries
    assert entry.metrics["accuracy"].value == 1.0
    # Hours are billed, which the run of the job counts, and not tokens.
    assert entry.metrics["cost_per_1000_rows_usd"].value == 0.0
    assert mlflow.get_run(job.run_id).data.metrics["hosting_hours"] > 0
    # Each answer had a probability of .7.
    assert entry.metrics["log_loss"].value == pytest.approx(-math.log(0.7), abs=1e-4)
    assert together.endpoints == {}


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_checkpoints_are_deployed_one_by_one_and_all_are_gone_afterwards(
    recipe: lt.FineTune, train: pd.DataFrame, tuner: TogetherTuner, together: TogetherStandIn, timing: Timing
) -> None:
    job = lt.tune(recipe, train, tuner=tuner, timing=timing)
    with job.hosted(checkpoint_specs(job)[:2]) as specs:
        names = {str(spec.endpoint.model) for spec in specs if spec.endpoint is not None}
        assert names == {one["name"] for one in together.endpoints.values()}
    assert together.endpoints == {}


# Around it.


def test_together_is_found_by_its_provider_and_keys_are_never_shown(
    endpoint: Endpoint, together: TogetherStandIn
) -> None:
    tuner = tuner_for(endpoint)
    assert isinstance(tuner, TogetherTuner)
    together.faults = [Fault("GET", "/v1/fine-tunes$", 400, f"what is {KEY}?")]
    with pytest.raises(EndpointError) as raised:
        tuner.listed()
    assert KEY not in str(raised.value)


def test_the_preset_is_an_endpoint_of_together() -> None:
    import yaml

    from tests.conftest import REPOSITORY

    preset = yaml.safe_load((REPOSITORY / "models" / "endpoints" / "together.yaml").read_text())
    assert Endpoint(**preset["endpoint"]).key_variable == "TOGETHER_API_KEY"
