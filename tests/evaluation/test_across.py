"""Several tables: what is robust across them, and what only one of them shows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from luthier.errors import DataError
from luthier.evaluation.across import across_tables
from luthier.evaluation.leaderboard import Candidate, Leaderboard
from luthier.evaluation.measures import METRICS
from luthier.evaluation.ranking import build_leaderboard
from luthier.evaluation.statistics import all_differences, letters, paired_difference
from luthier.reporting.across_report import across_sentences
from luthier.reporting.board_sentences import sentences
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task

MOOD = Task("mood", label="mood", labels=["bad", "good"])


def board(accuracies: dict[str, float], rows: int = 200, seed: int = 1, resamples: int = 500) -> Leaderboard:
    generator = np.random.default_rng(seed)
    truth = [MOOD.labels[int(t)] for t in generator.integers(0, 2, rows)]
    table = Rows(tuple({"text": f"{seed} {i}", "mood": label} for i, label in enumerate(truth)), tuple(truth), "text")
    other = {"bad": "good", "good": "bad"}
    candidates = [
        Candidate(
            name,
            "prompt",
            "model",
            "spec",
            "fitted",
            tuple(Prediction(t if u < accuracy else other[t], "ok") for t, u in zip(truth, draws, strict=True)),
        )
        for name, accuracy in accuracies.items()
        for draws in [generator.permutation(np.arange(rows) / rows)]
    ]
    return build_leaderboard(MOOD, table, candidates, rank_by="accuracy", resamples=resamples)


@pytest.fixture(scope="module")
def boards() -> dict[str, Leaderboard]:
    return {
        "a": board({"steady": 0.85, "moody": 0.95, "weak": 0.6}, rows=100),
        "b": board({"steady": 0.9, "moody": 0.5, "weak": 0.7}, rows=400, seed=2),
    }


def test_each_table_weighs_the_same_however_many_rows_it_has(boards: dict[str, Leaderboard]) -> None:
    entry = across_tables(boards).best
    assert entry.name == "steady"
    assert entry.mean.value == pytest.approx((0.85 + 0.9) / 2)


def test_the_interval_is_that_of_independent_tables(boards: dict[str, Leaderboard]) -> None:
    twin = {"a": board({"x": 0.7, "y": 0.5}, seed=3), "b": board({"x": 0.7, "y": 0.5}, seed=4)}
    mean = next(entry for entry in across_tables(twin).entries if entry.name == "x").mean
    assert mean.low is not None
    assert mean.high is not None
    assert (mean.high - mean.low) / 2 == pytest.approx(1.96 * np.sqrt(0.7 * 0.3 / 400), rel=0.15)


def test_worst_table_and_mean_rank_are_told(boards: dict[str, Leaderboard]) -> None:
    moody = next(entry for entry in across_tables(boards).entries if entry.name == "moody")
    assert moody.worst_table(METRICS["accuracy"]) == "b"
    assert moody.mean_rank == 2.0
    assert moody.leads == ("a",)


def test_a_spec_that_leads_one_table_and_loses_another_is_named(boards: dict[str, Leaderboard]) -> None:
    assert "moody is best on a and last on b." in across_sentences(across_tables(boards))


def test_a_spec_among_the_best_on_every_table_is_named() -> None:
    steady = {
        "a": board({"x": 0.9, "y": 0.5}),
        "b": board({"x": 0.8, "y": 0.5}, seed=2),
        "c": board({"x": 0.9, "y": 0.4}, seed=5),
    }
    assert "x is among the best on all 3 tables." in across_sentences(across_tables(steady))


def test_means_that_differ_have_no_letter_in_common(boards: dict[str, Leaderboard]) -> None:
    entries = {entry.name: entry.group for entry in across_tables(boards).entries}
    assert not set(entries["steady"]) & set(entries["weak"])


def test_the_document_is_plain_json(boards: dict[str, Leaderboard]) -> None:
    document = json.loads(json.dumps(across_tables(boards).to_document(), allow_nan=False))
    assert document["tables"] == ["a", "b"]
    assert len(document["pairs"]) == 3


def test_boards_of_other_specs_are_refused(boards: dict[str, Leaderboard]) -> None:
    with pytest.raises(DataError, match="other specs"):
        across_tables({"a": boards["a"], "b": board({"x": 0.5})})
    with pytest.raises(DataError, match="no bootstrap samples"):
        across_tables({"a": Leaderboard.from_document(boards["a"].to_document())})


def test_all_pairs_at_once_are_the_pairs_one_by_one() -> None:
    generator = np.random.default_rng(5)
    draws = np.vstack([generator.normal(m, 0.1, 300) for m in (0.9, 0.5, 0.5, 0.1)] + [np.full(300, 0.3)] * 2)
    values = draws.mean(axis=1)
    found = all_differences(values, draws)
    alone = [paired_difference(values[i], values[j], draws[i], draws[j]) for i in range(6) for j in range(i + 1, 6)]
    for one, other in zip(found, alone, strict=True):
        assert (one.p, one.standard_error) == pytest.approx((other.p, other.standard_error))
        assert (one.interval.low, one.interval.high) == pytest.approx((other.interval.low, other.interval.high))


def test_letters_of_very_many_specs_are_given_at_once_and_never_shared_by_two_that_differ() -> None:
    generator = np.random.default_rng(2)
    different = {(i, j): bool((j - i) * generator.random() > 4) for i in range(300) for j in range(i + 1, 300)}
    shown = letters(300, different)
    assert all(shown)
    for (i, j), differ in different.items():
        assert not (differ and shown[i] == shown[j])


def test_a_spec_that_lacks_the_metric_is_named_and_beaten_by_nobody() -> None:
    truth = ["bad", "good"] * 10
    given = Rows(tuple({"text": str(i), "mood": label} for i, label in enumerate(truth)), tuple(truth), "text")
    sure = tuple(Prediction(t, "ok", (0.9, 0.1) if t == "bad" else (0.1, 0.9)) for t in truth)
    silent = tuple(Prediction(t, "ok") for t in truth)
    candidates = [Candidate(n, "prompt", "m", "s", "f", p) for n, p in (("sure", sure), ("silent", silent))]
    one = build_leaderboard(MOOD, given, candidates, rank_by="log_loss", resamples=50)
    assert not any("better than every other" in line for line in sentences(one))
    assert any(line.startswith("No other spec has log loss") for line in sentences(one))
    said = across_sentences(across_tables({"a": one, "b": one}))
    assert said[-1] == "No mean, because log loss is missing on some table: silent."
