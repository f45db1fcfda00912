from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from luthier.errors import DataError
from luthier.evaluation.racing import (
    EARLY_LOOKS,
    FEWEST_ROWS,
    Outcome,
    block_ends,
    largest_fields,
    race,
    rehearse,
    tie_tolerance,
)
from luthier.evaluation.resampling import Floats
from luthier.evaluation.statistics import mcnemar


def right_or_wrong(seed: int, candidates: int, rows: int, spread: float) -> Floats:
    """Candidates of one family: hard rows are hard for all, and their skills differ a little."""
    generator = np.random.default_rng(seed)
    skill = generator.normal(0, spread, (candidates, 1)) / stats.norm.pdf(0) * np.sqrt(1 + 1.5**2)
    right = skill + generator.normal(0, 1.5, rows) + generator.normal(0, 1, (candidates, rows)) > 0
    return np.asarray(right, dtype=float)


def winner_set(scores: Floats) -> set[int]:
    """Candidates that the paired test over all rows cannot tell from the best of them."""
    best = int(scores.mean(axis=1).argmax())
    return {c for c in range(len(scores)) if mcnemar(scores[best] > 0.5, scores[c] > 0.5) >= 0.05}


def test_thirty_samples_reach_the_winner_set_for_half_of_the_calls() -> None:
    for seed in range(20):
        scores = right_or_wrong(seed, 30, 100, 0.05)
        outcome = rehearse(scores)
        assert outcome.winner in winner_set(scores)
        assert outcome.evaluations <= 0.5 * scores.size


def test_without_cuts_the_winner_ends_within_a_standard_error_of_the_best() -> None:
    lost = []
    for seed in range(40):
        scores = right_or_wrong(seed, 12, 80, 0.05)
        outcome = rehearse(scores, most=1)
        best = int(scores.mean(axis=1).argmax())
        error = (scores[best] - scores[outcome.winner]).std() / np.sqrt(80)
        lost.append(scores.mean(axis=1)[best] - scores.mean(axis=1)[outcome.winner] > error)
    assert np.mean(lost) <= 0.05


def test_without_tolerance_and_cuts_the_very_best_wins() -> None:
    for seed in range(20):
        scores = right_or_wrong(seed, 12, 80, 0.05)
        outcome = rehearse(scores, tolerance=0, most=1)
        assert scores.mean(axis=1)[outcome.winner] == scores.mean(axis=1).max()


def test_candidates_that_are_all_equal_are_cut_not_asked_on() -> None:
    scores = right_or_wrong(1, 30, 100, 0.0)
    free = rehearse(scores, most=1)
    kept = rehearse(scores)
    assert kept.evaluations <= 0.5 * scores.size < free.evaluations
    assert {racer.dropped_by for racer in kept.racers} >= {"cut"}


def test_a_candidate_that_is_better_on_every_row_ends_the_race_early() -> None:
    scores = np.zeros((30, 100))
    scores[17] = 1
    scores[:, ::3] = 1
    outcome = rehearse(scores)
    assert (outcome.winner, outcome.survivors) == (17, (17,))
    assert outcome.evaluations < 0.35 * scores.size


def test_two_of_which_one_leads_on_a_few_rows_are_both_asked_on() -> None:
    scores = right_or_wrong(3, 2, 100, 0.0)
    assert all(racer.rows > 40 for racer in rehearse(scores).racers)


def test_the_order_of_the_rows_decides_nothing_where_all_rows_are_asked() -> None:
    scores = right_or_wrong(2, 5, 60, 0.2)
    mixed = scores[:, np.random.default_rng(1).permutation(60)]
    assert rehearse(scores, most=1).winner == rehearse(mixed, most=1).winner


def test_a_lane_tells_where_its_candidate_dropped_out() -> None:
    scores = np.zeros((3, 100))
    scores[1] = 1
    outcome = rehearse(scores)
    assert [(racer.rows, racer.dropped_after, racer.dropped_by) for racer in outcome.racers] == [
        (20, 1, "test"),
        (20, None, None),
        (20, 1, "test"),
    ]
    assert outcome.racers[0].p < 0.001


def test_a_candidate_without_a_single_right_row_has_an_interval_all_the_same() -> None:
    scores = np.zeros((2, 100))
    scores[1] = 1
    none_right, all_right = (racer.score for racer in rehearse(scores).racers)
    assert [none_right.low, none_right.high] == pytest.approx([0, 0.161], abs=1e-3)
    assert [all_right.low, all_right.high] == pytest.approx([0.839, 1], abs=1e-3)


def test_errors_that_are_all_equal_have_no_interval() -> None:
    scores = np.full((2, 100), -1.0)
    scores[1, ::2] = -4
    assert rehearse(scores).racers[0].score.low is None


def test_one_candidate_wins_after_the_first_block() -> None:
    assert rehearse(np.ones((1, 100))).evaluations == 20


def test_the_longest_race_keeps_to_its_share() -> None:
    for candidates in (8, 15, 30, 100):
        ends = block_ends(90)
        sizes = largest_fields(candidates, 90)
        asked = sum(n * (e - s) for n, e, s in zip(sizes, ends, (0, *ends), strict=False))
        assert asked <= 0.5 * candidates * 90 + candidates


def test_scores_of_another_shape_are_refused() -> None:
    racing = race(3, 100)
    next(racing)
    with pytest.raises(DataError, match=r"\(3, 20\).*\(3, 10\)"):
        racing.send(np.zeros((3, 10)))


def test_nobody_to_race_is_refused() -> None:
    with pytest.raises(DataError, match="0 and 10"):
        next(race(0, 10))


def raced_for_a_set(scores: Floats) -> Outcome:
    ends = block_ends(scores.shape[1], EARLY_LOOKS, FEWEST_ROWS)
    return rehearse(scores, tolerance=tie_tolerance(len(scores)), most=1.0, ends=ends)


def tied_with_the_best(scores: Floats) -> set[int]:
    """Candidates that a test corrected for all pairs cannot tell from the best over all rows."""
    apart = scores[scores.mean(axis=1).argmax()] - scores
    errors = np.maximum(apart.std(axis=1), 1e-12) / np.sqrt(scores.shape[1])
    return set(np.flatnonzero(apart.mean(axis=1) / errors < -tie_tolerance(len(scores))).tolist())


def test_a_race_for_a_set_keeps_all_that_cannot_be_told_from_the_best() -> None:
    lost = 0
    for seed in range(30):
        scores = right_or_wrong(seed, 10, 400, 0.08)
        lost += not tied_with_the_best(scores) <= set(raced_for_a_set(scores).survivors)
    assert lost <= 1


def test_a_race_for_a_set_cuts_none_by_rank() -> None:
    scores = right_or_wrong(1, 12, 300, 0.0)
    outcome = raced_for_a_set(scores)
    assert {racer.dropped_by for racer in outcome.racers} <= {None, "test"}
    assert tied_with_the_best(scores) <= set(outcome.survivors)


def test_a_candidate_without_a_known_score_is_not_dropped() -> None:
    scores = right_or_wrong(2, 4, 200, 0.2)
    scores[0] = np.nan
    scores[1] = 1
    outcome = raced_for_a_set(scores)
    assert 0 in outcome.survivors
    assert outcome.winner == 1


def test_the_p_values_of_stopped_candidates_are_foreseen() -> None:
    scores = np.zeros((3, 400))
    scores[0] = 1
    scores[1, ::2] = 1
    outcome = raced_for_a_set(scores)
    assert outcome.survivors == (0,)
    assert len(outcome.foreseen) == 3
    assert max(outcome.foreseen) < 1e-6
