"""The leaderboard as plain JSON values, and back: the artifact a run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from luthier.errors import DataError
from luthier.evaluation.entries import Candidate, Comparison, Entry
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.planning import Plan
from luthier.evaluation.resampling import Interval
from luthier.evaluation.tables import CalibrationBin
from luthier.tasks.prediction import STATES, CallRecord, Prediction
from luthier.tasks.task import Task

__all__ = ["SCHEMA", "leaderboard_document", "read_leaderboard"]

SCHEMA = 1
"""Version of the document; every later Luthier reads it."""

PAIR_FIGURES = (
    "p",
    "corrected",
    "accuracy_p",
    "accuracy_corrected",
    "error_p",
    "error_corrected",
    "disagreement",
)

PAIR_DIGITS = 4
"""Significant digits of a pair's figures; 2,000 resamples are not sure of more than two."""


def leaderboard_document(board: Leaderboard, *, predictions: bool = False) -> dict[str, Any]:
    """Plain JSON values, none of them NaN.

    Args:
        board: what to write.
        predictions: whether every spec's predictions are in it too. They are large and hold the raw answers.
    """
    return {
        "schema": SCHEMA,
        "task": board.task.document(),
        "test_digest": board.test_digest,
        "rows_evaluated": board.rows_evaluated,
        "rows_empty": board.rows_empty,
        "ranked_by": board.ranked_by,
        "alpha": board.alpha,
        "partial": board.partial,
        "entries": [_entry_document(entry, predictions) for entry in board.entries],
        "majority": _entry_document(board.majority, predictions),
        "ceiling": None if board.ceiling is None else _entry_document(board.ceiling, predictions),
        "pairs": _pair_columns(board),
        "plan": None if board.plan is None else _plain(board.plan),
    }


def read_leaderboard(document: Mapping[str, Any]) -> Leaderboard:
    """The leaderboard a document describes.

    Raises:
        DataError: the document is no leaderboard, or of a later Luthier.
    """
    if document.get("schema") != SCHEMA:
        raise DataError(
            f"this leaderboard is of schema {document.get('schema')!r}, and this Luthier reads schema {SCHEMA}; "
            "use the Luthier that wrote it, or a later one."
        )
    try:
        entries = tuple(_read_entry(entry) for entry in document["entries"])
        return Leaderboard(
            task=Task(**document["task"]),
            test_digest=document["test_digest"],
            rows_evaluated=document["rows_evaluated"],
            rows_empty=document["rows_empty"],
            ranked_by=document["ranked_by"],
            entries=entries,
            pairs=_read_pairs(document["pairs"], [entry.name for entry in entries], document["ranked_by"]),
            majority=_read_entry(document["majority"]),
            ceiling=None if document["ceiling"] is None else _read_entry(document["ceiling"]),
            partial=document["partial"],
            plan=None if document["plan"] is None else Plan(**document["plan"]),
            alpha=document["alpha"],
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"this document is not a leaderboard: {type(error).__name__} {error}.") from error


def _pair_columns(board: Leaderboard) -> dict[str, list[Any]]:
    """The pairs by column, as 500 specs make 124,750 of them; specs by their place among the entries, from 0."""
    places = {entry.name: place for place, entry in enumerate(board.entries)}
    columns: dict[str, list[Any]] = {
        "first": [places[pair.first] for pair in board.pairs],
        "second": [places[pair.second] for pair in board.pairs],
        "difference": [_short(pair.difference.value) for pair in board.pairs],
        "low": [_short(pair.difference.low) for pair in board.pairs],
        "high": [_short(pair.difference.high) for pair in board.pairs],
    }
    return columns | {name: [_short(getattr(pair, name)) for pair in board.pairs] for name in PAIR_FIGURES}


def _read_pairs(given: Any, names: Sequence[str], metric: str) -> tuple[Comparison, ...]:
    if isinstance(given, list):
        # As the first version wrote them: a record each.
        return tuple(Comparison(**{**pair, "difference": Interval(*pair["difference"])}) for pair in given)
    lines = zip(*(given[name] for name in ("first", "second", "difference", "low", "high")), strict=True)
    figures = zip(*(given[name] for name in PAIR_FIGURES), strict=True)
    return tuple(
        Comparison(
            first=names[first],
            second=names[second],
            metric=metric,
            difference=Interval(value, low, high),
            **dict(zip(PAIR_FIGURES, found, strict=True)),
        )
        for (first, second, value, low, high), found in zip(lines, figures, strict=True)
    )


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{PAIR_DIGITS}g}")


def _plain(record: Any) -> dict[str, Any]:
    return {item.name: getattr(record, item.name) for item in fields(record)}


def _bounds(interval: Interval) -> list[float | None]:
    return [interval.value, interval.low, interval.high]


def _entry_document(entry: Entry, predictions: bool) -> dict[str, Any]:
    who = entry.candidate
    answers = [_prediction_document(p) for p in who.predictions]
    return {
        "candidate": _plain(who) | {"notes": list(who.notes), "predictions": answers if predictions else []},
        "metrics": {name: _bounds(interval) for name, interval in entry.metrics.items()},
        "states": dict(entry.states),
        "from_journal_share": entry.from_journal_share,
        "rank": entry.rank,
        "group": entry.group,
        "above_majority": entry.above_majority,
        "confusion": [list(line) for line in entry.confusion],
        "calibration": [_plain(part) for part in entry.calibration],
    }


def _prediction_document(prediction: Prediction) -> dict[str, Any]:
    """One level, as the first version wrote it."""
    scores = prediction.scores and list(prediction.scores)
    facts = {"label": prediction.value, "state": prediction.state, "probabilities": scores, "error": prediction.error}
    return facts | _plain(prediction.call)


def _read_prediction(document: Mapping[str, Any]) -> Prediction:
    facts = dict(document)
    value, state, scores, error = (facts.pop(name) for name in ("label", "state", "probabilities", "error"))
    return Prediction(value, state, None if scores is None else tuple(scores), error, CallRecord(**facts))


def _read_entry(document: Mapping[str, Any]) -> Entry:
    who = document["candidate"]
    predictions = tuple(map(_read_prediction, who["predictions"]))
    return Entry(
        candidate=Candidate(**{**who, "notes": tuple(who["notes"]), "predictions": predictions}),
        metrics={name: Interval(*bounds) for name, bounds in document["metrics"].items()},
        states={state: document["states"][state] for state in STATES if state in document["states"]},
        from_journal_share=document["from_journal_share"],
        rank=document["rank"],
        group=document["group"],
        above_majority=document["above_majority"],
        confusion=tuple(tuple(line) for line in document["confusion"]),
        calibration=tuple(CalibrationBin(**part) for part in document["calibration"]),
    )
