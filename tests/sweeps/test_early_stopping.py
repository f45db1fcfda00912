"""Early stopping: what jobs report that differ in epochs and batch sizes, and which trials are stopped or paused."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from pydantic import ValidationError

from luthier.errors import SpecError
from luthier.sweeps.early_stopping import EarlyStopping, EarlyStoppingSettings
from luthier.sweeps.trial import SweepObjective
from luthier.tuning.tuners.tuner import Checkpoint, JobEvent, JobState, Rules

F1 = SweepObjective("weighted_f1", "maximize")
MSE = SweepObjective("mse", "minimize")
JOB = JobState("ftjob-1", "running", "base")
MEDIAN = EarlyStoppingSettings()


def event(step: int, **metrics: float) -> JobEvent:
    return JobEvent(f"e{step}", 100.0 + step, f"step {step}", step, metrics)


def study_of(*curves: Mapping[int, float], running: Mapping[int, float]) -> optuna.Study:
    """Completed trials with these curves, and last a running one."""
    study = optuna.create_study(direction="maximize")
    for curve in curves:
        study.add_trial(create_trial(value=max(curve.values(), default=0.0), intermediate_values=dict(curve)))
    study.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values=dict(running)))
    return study


def rising(best: float) -> dict[int, float]:
    """A curve that rises to a value at its end, at every step of the grid."""
    return {step: best * step / 100 for step in range(5, 101, 5)}


def until(step: int, curve: Mapping[int, float]) -> dict[int, float]:
    return {when: value for when, value in curve.items() if when <= step}


def test_jobs_of_other_epochs_and_batch_sizes_report_at_the_same_parts_of_their_training() -> None:
    stopping = EarlyStopping(MEDIAN, F1)
    short, long = JobState("ftjob-1", "running", "base"), JobState("ftjob-2", "running", "base")
    of_short = stopping.reports(short, [event(n, valid_loss=1.0) for n in range(1, 31)], steps=60)
    of_long = stopping.reports(long, [event(n, valid_loss=1.0) for n in range(1, 2001)], steps=4000)
    assert [step for step, _ in of_short] == [step for step, _ in of_long] == list(range(5, 51, 5))


def test_a_step_is_reported_once_however_the_events_come() -> None:
    events = [event(n, valid_loss=2 - n / 100) for n in range(1, 101)]
    whole = EarlyStopping(MEDIAN, F1).reports(JOB, events, steps=100)
    one_by_one = EarlyStopping(MEDIAN, F1)
    assert [report for each in events for report in one_by_one.reports(JOB, [each], steps=100)] == whole
    assert len(whole) == 20


def test_a_loss_that_rises_again_does_not_take_back_what_was_reached() -> None:
    losses = {20: 1.0, 40: 0.6, 60: 0.9, 80: 1.5}
    events = [event(step, full_valid_loss=loss) for step, loss in losses.items()]
    reports = dict(EarlyStopping(MEDIAN, MSE).reports(JOB, events, steps=100))
    assert reports == {step: 1.0 if step < 40 else 0.6 for step in range(20, 81, 5)}


def test_losses_of_a_few_rows_count_by_their_mean_over_the_second_half() -> None:
    events = [event(step, valid_loss=loss) for step, loss in enumerate([5.0, 5.0, 5.0, 5.0, 1.0, 3.0, 1.0, 3.0], 1)]
    reports = dict(EarlyStopping(MEDIAN, MSE).reports(JOB, events, steps=10))
    assert reports[40] == 5.0
    # After eight steps: the mean of steps 5 to 8.
    assert reports[80] == 2.0


def test_values_go_in_the_direction_of_the_objective() -> None:
    events = [event(10, full_valid_loss=0.5)]
    assert EarlyStopping(MEDIAN, F1).reports(JOB, events, steps=100)[-1] == (10, -0.5)
    assert EarlyStopping(MEDIAN, MSE).reports(JOB, events, steps=100)[-1] == (10, 0.5)


@pytest.mark.parametrize(
    ("settings", "objective", "steps"),
    [
        (MEDIAN, F1, None),
        (MEDIAN, SweepObjective("cost_usd", "minimize"), 100),
        (EarlyStoppingSettings(pruner="none"), F1, 100),
        (EarlyStoppingSettings(watch="checkpoints"), F1, 100),
    ],
)
def test_nothing_is_reported_where_a_loss_tells_nothing(
    settings: EarlyStoppingSettings, objective: SweepObjective, steps: int | None
) -> None:
    assert EarlyStopping(settings, objective).reports(JOB, [event(50, valid_loss=1.0)], steps) == []


def test_a_trial_below_the_median_is_stopped_once_three_have_completed() -> None:
    curves = [rising(best) for best in (0.5, 0.7, 0.9)]
    stopping = EarlyStopping(MEDIAN, F1)
    poor, good = until(20, rising(0.6)), until(20, rising(0.75))
    assert stopping.verdict(study_of(*curves, running=poor), 3) == "stop"
    assert stopping.verdict(study_of(*curves, running=good), 3) == "go"
    assert stopping.verdict(study_of(*curves[1:], running=poor), 2) == "go"


@pytest.mark.parametrize("step", [15, 80, 95])
def test_a_trial_is_stopped_neither_in_the_warmup_nor_when_it_is_nearly_trained(step: int) -> None:
    stopping = EarlyStopping(EarlyStoppingSettings(warmup=0.2), F1)
    assert stopping.verdict(study_of(*[rising(0.9)] * 5, running=until(step, rising(0.1))), 5) == "go"
    assert stopping.verdict(study_of(*[rising(0.9)] * 5, running=until(20, rising(0.1))), 5) == "stop"


def test_what_early_stopping_says_of_a_trial_names_both_values() -> None:
    study = study_of(*[rising(-0.5)] * 5, running=until(20, rising(-0.9)))
    said = EarlyStopping(MEDIAN, F1).reason(study, 5)
    assert said == "median: after 20 % of the training its best validation loss was 0.18; the best of 6 trials had 0.1"


@pytest.mark.parametrize(("watch", "verdict"), [("valid_loss", "go"), ("checkpoints", "stop")])
def test_losses_of_other_base_models_are_not_compared_and_measured_objectives_are(watch: str, verdict: str) -> None:
    models = CategoricalDistribution(["small", "large"])
    rates = FloatDistribution(0.1, 1.0)
    study = optuna.create_study(direction="maximize")
    for number in range(6):
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if number < 5 else TrialState.RUNNING,
                value=0.9 if number < 5 else None,
                params={
                    "endpoint.model": "small" if number < 5 else "large",
                    "tuning.learning_rate": 0.1 * (number + 1),
                },
                distributions={"endpoint.model": models, "tuning.learning_rate": rates},
                intermediate_values=rising(0.9) if number < 5 else until(20, rising(0.1)),
            )
        )
    stopping = EarlyStopping(EarlyStoppingSettings.model_validate({"watch": watch}), F1)
    assert stopping.verdict(study, 5) == verdict


def test_a_front_is_not_pruned() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values={20: 0.1}))
    assert EarlyStopping(MEDIAN, F1).verdict(study, 0) == "go"


def test_halving_lets_the_best_third_pass_and_judges_a_trial_once_a_rung() -> None:
    others = [rising(best) for best in (0.5, 0.6, 0.7, 0.8, 0.9)]
    stopping = EarlyStopping(EarlyStoppingSettings(pruner="halving"), F1)
    assert stopping.verdict(study_of(*others, running=until(10, rising(0.95))), 5) == "go"
    better = [rising(best) for best in (0.96, 0.97, 0.98, 0.99, 1.0)]
    # It has passed the rung at 10 %, and the next is at 30 %.
    assert stopping.verdict(study_of(*better, running=until(25, rising(0.95))), 5) == "go"
    assert stopping.verdict(study_of(*better, running=until(30, rising(0.95))), 5) == "stop"


def test_halving_pauses_a_trial_and_resumes_it_when_it_belongs_to_the_best() -> None:
    stopping = EarlyStopping(EarlyStoppingSettings(pruner="halving", pause=True), F1)
    study = study_of(running=until(10, rising(0.8)))
    assert stopping.verdict(study, 0) == "pause"
    assert stopping.resumable(study, {0}) == []
    for best in (0.5, 0.6):
        study.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values=until(10, rising(best))))
    assert stopping.resumable(study, {0, 1, 2}) == [0]
    assert stopping.verdict(study, 0) == "go"


def test_hyperband_stops_most_trials_and_none_before_there_are_enough() -> None:
    stopping = EarlyStopping(EarlyStoppingSettings(pruner="hyperband"), F1)
    study = optuna.create_study(study_name="stars", direction="maximize")
    stopped = []
    for number in range(40):
        best = (number * 7 % 40) / 40
        trial = study.ask()
        for step, value in rising(best).items():
            trial.report(value, step)
            if stopping.verdict(study, number) == "stop":
                stopped.append(number)
                break
    assert min(stopped) >= MEDIAN.startup_trials
    assert 15 <= len(stopped) < 35
    # The best of all is trained to its end.
    assert 17 not in stopped


def test_the_newest_checkpoint_is_measured_while_its_value_may_stop_the_trial() -> None:
    stopping = EarlyStopping(EarlyStoppingSettings(watch="checkpoints", warmup=0.1), F1)
    kept = [Checkpoint(step, f"model-{step}") for step in (3, 40, 60, 90)]
    assert stopping.checkpoint_to_measure(kept[:1], 100) is None
    assert stopping.checkpoint_to_measure(kept, 100) == kept[2]
    assert stopping.checkpoint_to_measure(kept, 100, measured=60) is None
    assert EarlyStopping(MEDIAN, F1).checkpoint_to_measure(kept, 100) is None


def test_a_measured_checkpoint_stands_for_the_steps_until_the_next() -> None:
    stopping = EarlyStopping(EarlyStoppingSettings(watch="checkpoints"), F1)
    # A third of three epochs is 33 %: it is compared at 35.
    assert stopping.measured(JOB, Checkpoint(10, "a"), 30, 0.4) == [(35, 0.4)]
    assert stopping.measured(JOB, Checkpoint(15, "b"), 30, 0.3) == [(40, 0.4), (45, 0.4), (50, 0.4)]
    assert stopping.measured(JOB, Checkpoint(20, "c"), 30, 0.6)[-1] == (70, 0.6)


def test_what_cannot_work_is_refused_with_what_to_choose_instead() -> None:
    with pytest.raises(ValidationError, match="pause: true goes with pruner: halving, not with median"):
        EarlyStoppingSettings(pause=True)
    paused = EarlyStoppingSettings(pruner="halving", pause=True)
    with pytest.raises(SpecError, match="cannot pause jobs"):
        paused.check(["tuning.epochs"], Rules(pauses=False))
    paused.check(["tuning.epochs"], Rules(pauses=True))
    hyperband = EarlyStoppingSettings(pruner="hyperband")
    hyperband.check(["tuning.epochs", "decoding.temperature"])
    with pytest.raises(SpecError, match=r"endpoint\.model cannot be compared.*median or halving"):
        hyperband.check(["tuning.epochs", "endpoint.model"])


def test_settings_are_written_short() -> None:
    assert EarlyStoppingSettings.model_validate("none").is_on is False
    assert EarlyStoppingSettings.model_validate("halving") == EarlyStoppingSettings(pruner="halving")
