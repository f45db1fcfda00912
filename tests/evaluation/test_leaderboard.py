from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from luthier.errors import DataError, UserError
from luthier.evaluation.leaderboard import Candidate, Leaderboard
from luthier.evaluation.measures import METRICS, rankable
from luthier.evaluation.metrics import evaluate
from luthier.evaluation.ranking import build_leaderboard
from luthier.tasks.prediction import STATES, Prediction
from luthier.tasks.task import Rows, Task
from tests.evaluation.answering import MOOD, STARS, called, candidate, lost, ok, simulated, sure, table

TRUTH = np.random.default_rng(7).integers(0, 5, 300)
TRUTHS = [STARS.labels[t] for t in TRUTH]


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    specs = [
        candidate(f"skill-{skill}", simulated(STARS, TRUTH, skill, seed=int(10 * skill))) for skill in (0.3, 1.5, 1.4)
    ]
    return build_leaderboard(STARS, table(STARS, TRUTHS), specs)


def test_the_best_comes_first_and_the_worst_has_letters_of_its_own(board: Leaderboard) -> None:
    assert [entry.rank for entry in board.entries] == [1, 2, 3]
    assert board.entries[2].name == "skill-0.3"
    assert not set(board.entries[2].group) & set(board.best.group)
    assert board.tied_with(board.best.name) == (board.entries[1].name,)
    assert board.tied_with("skill-0.3") == ()


def test_a_leaderboard_has_the_numbers_evaluate_gives(board: Leaderboard) -> None:
    for entry in board.entries:
        assert entry.metrics == evaluate(STARS, TRUTHS, entry.candidate.predictions)


def test_every_two_specs_are_compared_and_corrected_p_is_never_smaller(board: Leaderboard) -> None:
    assert len(board.pairs) == 3
    assert (board.pairs[0].first, board.pairs[0].second) == (board.entries[0].name, board.entries[1].name)
    for pair in board.pairs:
        assert pair.difference.value >= 0
        assert pair.corrected >= pair.p
        assert pair.accuracy_corrected >= pair.accuracy_p
        assert pair.error_p is not None
        assert pair.error_corrected is not None


def test_ratings_are_ranked_by_kappa_and_other_labels_by_weighted_f1(board: Leaderboard) -> None:
    assert board.ranked_by == "qwk"
    other = build_leaderboard(MOOD, table(MOOD, ["good", "bad"]), [candidate("a", ok("good", "good"))])
    assert other.ranked_by == "weighted_f1"
    assert other.pairs == ()
    assert other.plan is None


@pytest.mark.parametrize("metric", rankable(STARS))
def test_a_metric_of_which_less_is_better_ranks_the_other_way_round(metric: str) -> None:
    specs = [candidate("weak", simulated(STARS, TRUTH, 0.3, 1)), candidate("strong", simulated(STARS, TRUTH, 2.0, 2))]
    ranked = build_leaderboard(STARS, table(STARS, TRUTHS), specs, rank_by=metric, resamples=100)
    values = [entry.metrics[metric].value for entry in ranked.entries]
    assert values == sorted(values, reverse=METRICS[metric].better == "higher")
    if metric != "calibration_error":
        assert ranked.best.name == "strong"
        assert ranked.best.above_majority


def test_the_plan_is_about_the_first_two(board: Leaderboard) -> None:
    assert board.plan is not None
    assert (board.plan.first, board.plan.second) == tuple(entry.name for entry in board.entries[:2])
    assert board.plan.rows_needed is not None
    assert board.plan.rows_needed > 300


def test_the_majority_label_comes_from_training_and_brings_its_shares() -> None:
    rows = table(MOOD, ["good", "good", "bad"])
    spec = candidate("a", ok("good", "good", "bad"))
    trained = build_leaderboard(MOOD, rows, [spec], train_labels=["bad", "bad", "bad", "good", None])
    assert trained.majority.name == "always bad"
    assert trained.majority.metrics["accuracy"].value == pytest.approx(1 / 3)
    assert trained.majority.metrics["log_loss"].value == pytest.approx(-(2 * np.log(0.25) + np.log(0.75)) / 3)
    assert build_leaderboard(MOOD, rows, [spec]).majority.name == "always good"


def test_a_spec_no_better_than_the_majority_is_told() -> None:
    truths = ["good"] * 80 + ["bad"] * 20
    specs = [candidate("lazy", ok(*["good"] * 100)), candidate("perfect", ok(*truths))]
    got = build_leaderboard(MOOD, table(MOOD, truths), specs)
    assert got.entry("lazy").above_majority is False
    assert got.entry("perfect").above_majority is True


def test_a_row_without_text_leaves_for_all_specs() -> None:
    rows = table(STARS, ["1", "2", "3", "4"], ["a", "  ", "c", "d"])
    with_gap = [*ok(1), Prediction(None, "empty"), *ok(3, 4)]
    # The second spec reads another column and answers the row nevertheless; wrongly, but it does not count.
    got = build_leaderboard(STARS, rows, [candidate("a", with_gap), candidate("b", ok(1, 5, 3, 4))])
    assert (got.rows_evaluated, got.rows_empty) == (3, 1)
    assert [entry.metrics["accuracy"].value for entry in got.entries] == [1.0, 1.0]
    assert got.entry("a").metrics["empty_rate"].value == 0.25
    assert got.entry("a").states == {"ok": 3, "off_label": 0, "refused": 0, "failed": 0, "empty": 1}


def test_a_passing_failure_makes_the_board_partial_and_a_lasting_one_does_not() -> None:
    rows = table(STARS, ["1", "2"])
    lasting, passing = lost("failed"), called(lost("failed"), transient=True)
    assert not build_leaderboard(STARS, rows, [candidate("a", [*ok(1), lasting])]).partial
    assert build_leaderboard(STARS, rows, [candidate("a", [*ok(1), passing])]).partial


def test_the_share_from_the_journal_is_told() -> None:
    answers = [called(ok(1)[0], from_journal=True), *ok(2)]
    assert build_leaderboard(STARS, table(STARS, ["1", "2"]), [candidate("a", answers)]).best.from_journal_share == 0.5


def test_the_human_ceiling_is_the_mean_of_the_people() -> None:
    task = Task("stars", type="rating", label="stars", labels=[1, 2, 3, 4, 5], raters=["ann", "bob"])
    people: dict[str, list[str | None]] = {"ann": ["1", "2", "3", "4"], "bob": ["2", "3", "3", None]}
    truths = ["1", "2", "3", "4"]
    rows = Rows(
        tuple(
            {"text": f"t{i}", "stars": t, "ann": people["ann"][i], "bob": people["bob"][i]}
            for i, t in enumerate(truths)
        ),
        tuple(truths),
        "text",
    )
    ceiling = build_leaderboard(task, rows, [candidate("a", ok(1, 1, 1, 1))]).ceiling
    assert ceiling is not None
    # Ann agrees on all four rows, Bob on one of the three he saw.
    assert ceiling.metrics["accuracy"].value == pytest.approx((1 + 1 / 3) / 2)
    assert ceiling.metrics["mae"].value == pytest.approx((0 + 2 / 3) / 2)
    assert ceiling.metrics["accuracy"].low is not None
    assert "failed_rate" not in ceiling.metrics
    assert ceiling.rank is None
    assert ceiling.states == {"ok": 7}
    assert sum(map(sum, ceiling.plots.confusion)) == 7
    assert "own vote" in ceiling.candidate.notes[0]


def test_a_table_without_the_raters_columns_has_no_ceiling_and_half_of_them_is_a_mistake() -> None:
    task = Task("stars", type="rating", label="stars", labels=[1, 2], raters=["ann", "bob"])
    assert build_leaderboard(task, table(task, ["1"]), [candidate("a", ok(1))]).ceiling is None
    half = Rows(({"text": "t", "stars": "1", "ann": "1"},), ("1",), "text")
    with pytest.raises(DataError, match="no rater column 'bob'"):
        build_leaderboard(task, half, [candidate("a", ok(1))])


def test_a_spec_without_the_ranking_metric_comes_last_and_is_not_compared() -> None:
    rows = table(MOOD, ["good", "bad"])
    told = [sure(MOOD, "good", 0.6, 0.4), sure(MOOD, "bad", 0.6, 0.4)]
    got = build_leaderboard(
        MOOD, rows, [candidate("silent", ok("good", "bad")), candidate("b", told)], rank_by="log_loss"
    )
    assert [entry.name for entry in got.entries] == ["b", "silent"]
    assert (got.entries[1].group, got.pairs) == ("", ())
    with pytest.raises(UserError, match="no spec has 'log_loss'"):
        build_leaderboard(MOOD, rows, [candidate("silent", ok("good", "bad"))], rank_by="log_loss")


def test_the_frame_has_a_row_per_spec_and_every_metric_with_its_bounds(board: Leaderboard) -> None:
    frame = board.frame()
    assert frame["name"].tolist() == [entry.name for entry in board.entries]
    for name in board.best.metrics:
        assert (frame[f"{name}_low"] <= frame[name]).all()
        assert (frame[name] <= frame[f"{name}_high"]).all()
    assert {f"rows_{state}" for state in STATES} <= set(frame.columns)
    assert board.frame(references=True)["name"].tolist()[-1] == board.majority.name
    assert board.frame(references=True)["rank"].isna().sum() == 1


def test_a_document_is_plain_json_and_reads_back_as_the_same_leaderboard(board: Leaderboard) -> None:
    text = json.dumps(board.to_document(predictions=True), allow_nan=False)
    read = Leaderboard.from_document(json.loads(text))
    assert replace(read, pairs=board.pairs) == board
    for found, pair in zip(read.pairs, board.pairs, strict=True):
        assert (found.first, found.second, found.metric) == (pair.first, pair.second, pair.metric)
        assert found.difference.value == pytest.approx(pair.difference.value, rel=1e-3)
        assert (found.difference.low, found.corrected, found.error_p, found.disagreement) == pytest.approx(
            (pair.difference.low, pair.corrected, pair.error_p, pair.disagreement), rel=1e-3
        )
    assert [read.tied_with(entry.name) for entry in read.entries] == [
        board.tied_with(entry.name) for entry in board.entries
    ]
    short = Leaderboard.from_document(json.loads(json.dumps(board.to_document(), allow_nan=False)))
    assert short.best.candidate.predictions == ()
    assert short.frame().equals(board.frame())
    assert short.best.plots.confusion == board.best.plots.confusion


def test_a_pair_takes_less_than_a_hundred_characters_of_the_document(board: Leaderboard) -> None:
    assert len(json.dumps(board.to_document()["pairs"])) < 100 * len(board.pairs) + 200


def test_a_document_with_a_record_for_each_pair_is_still_read(board: Leaderboard) -> None:
    records = [
        {item.name: getattr(pair, item.name) for item in fields(pair)}
        | {"difference": [pair.difference.value, pair.difference.low, pair.difference.high]}
        for pair in board.pairs
    ]
    document = json.loads(json.dumps(board.to_document(predictions=True) | {"pairs": records}))
    assert Leaderboard.from_document(document) == board


@pytest.mark.parametrize("change", [{"schema": 2}, {"schema": 1, "entries": [{}]}, {"schema": 1, "plan": {"x": 1}}])
def test_a_document_that_is_no_leaderboard_is_refused(board: Leaderboard, change: dict[str, object]) -> None:
    with pytest.raises(DataError):
        Leaderboard.from_document(board.to_document() | change)


def test_a_name_that_is_not_there_is_answered_with_those_that_are(board: Leaderboard) -> None:
    with pytest.raises(DataError, match=r"no spec 'x'.*skill-0\.3"):
        board.entry("x")


@pytest.mark.parametrize(
    ("candidates", "error", "words"),
    [
        ([], UserError, "no spec"),
        ([candidate("a", ok(1, 2)), candidate("a", ok(1, 2))], UserError, "two specs are called a"),
        ([candidate("a", ok(1))], DataError, "1 predictions for 2 rows"),
        ([candidate("a", [Prediction(None, "empty")] * 2)], DataError, "nothing to evaluate"),
    ],
)
def test_what_cannot_be_ranked_is_said(candidates: list[Candidate], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build_leaderboard(STARS, table(STARS, ["1", "2"]), candidates)


def test_unlabelled_rows_and_unfit_metrics_are_refused() -> None:
    rows = Rows(({"text": "t", "mood": "meh"},), (None,), "text")
    with pytest.raises(DataError, match="1 test rows have no label"):
        build_leaderboard(MOOD, rows, [candidate("a", ok("good"))])
    with pytest.raises(UserError, match="needs ordered labels"):
        build_leaderboard(MOOD, table(MOOD, ["good"]), [candidate("a", ok("good"))], rank_by="qwk")
    with pytest.raises(UserError, match=r"choose one of: accuracy, .*weighted_f1"):
        build_leaderboard(MOOD, table(MOOD, ["good"]), [candidate("a", ok("good"))], rank_by="f1")


def test_two_equal_specs_are_ranked_by_name_and_no_number_of_rows_tells_them_apart() -> None:
    got = build_leaderboard(STARS, table(STARS, TRUTHS), [candidate("b", ok(*TRUTHS)), candidate("a", ok(*TRUTHS))])
    assert [entry.name for entry in got.entries] == ["a", "b"]
    assert got.plan is not None
    assert got.plan.rows_needed is None
    assert got.best.group == got.entries[1].group == "a"
