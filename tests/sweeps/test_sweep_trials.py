"""The trials of a sweep as a table of trials."""

from __future__ import annotations

from luthier.evaluation.resampling import Interval
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.sweep_trials import trial_table
from luthier.sweeps.trial import SweepObjective
from tests.sweeps.studies import complete, facts, failed, real_trials, running, state, stopped


def test_trials_keep_settings_intervals_states_and_costs() -> None:
    table = trial_table(state([complete(0, 0.5), stopped(1), failed(2), running(3)]))
    assert (table.metric, table.better, table.cost) == ("weighted_f1", "higher", "cost_usd")
    assert table.settings[:2] == ("tuning.epochs", "tuning.batch_size")
    first, *others = table.trials
    assert first.value == Interval(0.5, 0.46, 0.54)
    assert (first.figures["qwk"], first.figures["reported.valid_loss"]) == (0.6, 0.7)
    assert "weighted_f1" not in first.figures
    assert first.cost_usd == 0.82
    assert [(one.state, one.value) for one in others] == [
        ("stopped early", None),
        ("failed", None),
        ("running", None),
    ]


def test_a_setting_searched_by_its_logarithm_is_compared_by_it() -> None:
    assert trial_table(state([complete(0, 0.5)])).log_settings == ("tuning.learning_rate_multiplier",)
    space = {"a.x": {"int": [1, 900], "log": True}, "a.y": [1, 2]}
    found = trial_table(StudyState(facts(space=space), (complete(0, 0.5, settings={"a.x": 3, "a.y": 1}),)))
    assert found.log_settings == ("a.x",)


def test_trials_measured_elsewhere_are_left_out_and_said_to_be() -> None:
    elsewhere = complete(0, 0.9, source="trials.csv", settings={"old.x": 1})
    table = trial_table(state([elsewhere, complete(1, 0.6)]))
    assert [one.name for one in table.trials] == ["1"]
    assert "old.x" not in table.settings
    assert "elsewhere, 1, are left out" in table.notes[0]


def test_the_base_model_is_known_and_tokens_stand_in_for_a_cost_that_no_trial_has() -> None:
    given = facts(space={}, objectives=[SweepObjective("weighted_f1", "maximize")])
    table = trial_table(StudyState(given, tuple(real_trials())))
    assert (table.model_setting, table.cost) == ("endpoint.model", "trained_tokens")
    assert table.models == ("babbage", "ada", "curie")
    assert table.spread is not None
    assert (round(table.spread.least, 3), round(table.spread.median, 3), round(table.spread.most, 3)) == (
        0.250,
        0.426,
        0.604,
    )
