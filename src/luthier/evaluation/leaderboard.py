"""The leaderboard's plain records: specs measured on the same rows, best first, and the JSON document a run keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.evaluation.crossed import Crossed
from luthier.evaluation.measures import measures_of
from luthier.evaluation.resampling import Floats, Interval, plain, record_of
from luthier.evaluation.sample_size import SamplePlan
from luthier.evaluation.spec_race import SpecRace
from luthier.tasks.prediction import STATES, CallRecord, Prediction, State
from luthier.tasks.task import Task
from luthier.tasks.types import NO_PLOTS, AnswerPart, CalibrationBin, Measure, Plots

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCHEMA", "Candidate", "Comparison", "Entry", "Leaderboard", "states_of"]

SCHEMA = 1
"""Version of the document; every later Luthier reads it."""

BOARD_FIGURES = ("test_digest", "rows_evaluated", "rows_empty", "ranked_by", "alpha", "partial")
ENTRY_FIGURES = ("from_journal_share", "rank", "group", "above_majority")
PAIR_FIGURES = (
    "p",
    "corrected",
    "accuracy_p",
    "accuracy_corrected",
    "error_p",
    "error_corrected",
    "disagreement",
)

LATER_PLOTS = ("points", "parts")
"""Left out where there are none: an earlier Luthier knows nothing of them."""

PAIR_DIGITS = 4
"""Significant digits of a pair's figures; 2,000 resamples are not sure of more than two."""


@dataclass(frozen=True)
class Candidate:
    """A spec and what it answered.

    Attributes:
        name: unique on the leaderboard.
        technique: `baseline`, `prompt`, ...
        model: the base model behind it.
        spec_digest: of the recipe.
        fitted_digest: of what the recipe became on training rows.
        predictions: one per row of the test table, in its order.
        notes: sentences a reader of the leaderboard should know about this spec.
    """

    name: str
    technique: str
    model: str = "none"
    spec_digest: str = ""
    fitted_digest: str = ""
    predictions: tuple[Prediction, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A line of the leaderboard.

    Attributes:
        candidate: the spec and what it answered.
        metrics: name to value and interval; absent where it cannot be had.
        states: rows per state, all rows of the table counted.
        from_journal_share: share of the evaluated rows that were answered from the journal.
        rank: 1 is best; `None` for the majority and the human ceiling, which do not compete.
        group: letters; entries that share one cannot be told apart. Empty where there is no rank.
        above_majority: whether it is better than always answering the most frequent label, by the ranking metric
            and after correction; `None` where that was not tested.
        plots: what a report may draw of its rows.
    """

    candidate: Candidate
    metrics: dict[str, Interval]
    states: dict[State, int]
    from_journal_share: float = 0.0
    rank: int | None = None
    group: str = ""
    above_majority: bool | None = None
    plots: Plots = NO_PLOTS

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two specs on the same rows.

    Attributes:
        first, second: names, the better ranked first.
        metric: the ranking metric.
        difference: first minus second in it, with its 95% interval (uncorrected).
        p: two-sided paired bootstrap p-value for the difference.
        corrected: the same after Holm's correction over all pairs of the leaderboard.
        accuracy_p, accuracy_corrected: McNemar's exact test on being right.
        error_p, error_corrected: sign-flip test on the distance from the true rating; `None` for unordered labels.
        disagreement: share of rows on which exactly one of them is right.
    """

    first: str
    second: str
    metric: str
    difference: Interval
    p: float
    corrected: float
    accuracy_p: float
    accuracy_corrected: float
    error_p: float | None
    error_corrected: float | None
    disagreement: float


def states_of(candidate: Candidate) -> dict[State, int]:
    """Rows per state, every state named."""
    counts = Counter(p.state for p in candidate.predictions)
    return {state: counts.get(state, 0) for state in STATES}


@dataclass(frozen=True)
class Leaderboard:
    """Specs measured on the same rows.

    Attributes:
        task: the question.
        test_digest: of the rows; equal digests mean the same labelled rows.
        rows_evaluated: rows every number is about.
        rows_empty: rows without text, left out for all.
        ranked_by: metric name.
        entries: best first.
        pairs: every two of them compared.
        majority: always answers the most frequent label; what any spec must beat.
        ceiling: how well the single people agree with the truth; `None` without `raters` in the task.
        partial: whether a row still fails for a reason that may pass.
        plan: rows needed to tell the first from the second; `None` with fewer than two specs.
        alpha: level at which two specs count as different.
        draws: spec to its ranking metric per bootstrap sample; empty on a leaderboard read from a document.
        waiting: specs that are not measured yet; until they are, no two specs are compared.
        race: which specs were stopped before the last row; `None` where all were asked about every row.
        missing: specs that could not be fitted or asked, by name, and why.
        crossed: prompts with models, where specs were asked with several.
    """

    task: Task
    test_digest: str
    rows_evaluated: int
    rows_empty: int
    ranked_by: str
    entries: tuple[Entry, ...]
    pairs: tuple[Comparison, ...]
    majority: Entry
    ceiling: Entry | None
    partial: bool
    plan: SamplePlan | None
    alpha: float
    draws: Mapping[str, Floats] = field(default_factory=dict, repr=False, compare=False)
    waiting: tuple[str, ...] = ()
    race: SpecRace | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    crossed: tuple[Crossed, ...] = ()

    @property
    def measures(self) -> dict[str, Measure]:
        """Every metric of the task by name, in the order tables show them."""
        return measures_of(self.task)

    @property
    def measure(self) -> Measure:
        """The metric it is ranked by."""
        return self.measures[self.ranked_by]

    @property
    def best(self) -> Entry:
        """The first entry."""
        return self.entries[0]

    @property
    def references(self) -> tuple[Entry, ...]:
        """What specs are held against and what does not compete: the constant answer, and the human raters if known."""
        return (self.majority, *([self.ceiling] if self.ceiling else []))

    @property
    def is_compared(self) -> bool:
        """Whether it says which specs can be told apart: all are measured, and they are several."""
        return len(self.entries) > 1 and not self.waiting

    @property
    def comparisons(self) -> int:
        """How many pairs p-values are corrected for: those of the leaderboard, and those with stopped specs."""
        return len(self.pairs) + (self.race.pairs if self.race else 0)

    def entry(self, name: str) -> Entry:
        """The entry of this name.

        Raises:
            DataError: there is none; the message has the names.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise DataError(f"no spec {name!r} on the leaderboard; there is: {', '.join(e.name for e in self.entries)}.")

    def tied_with(self, name: str) -> tuple[str, ...]:
        """Names of the specs that cannot be told from this one, best first.

        Raises:
            DataError: there is no such spec.
        """
        self.entry(name)
        pairs = [pair for pair in self.pairs if name in (pair.first, pair.second) and pair.corrected >= self.alpha]
        tied = {pair.first for pair in pairs} | {pair.second for pair in pairs}
        return tuple(entry.name for entry in self.entries if entry.name in tied and entry.name != name)

    def frame(self, *, references: bool = False) -> pd.DataFrame:
        """One row per spec: names, every metric with `_low` and `_high`, rows per state, rank and group.

        Args:
            references: whether the majority and the human ceiling are rows too (their rank is missing).
        """
        import pandas as pd

        entries = [*self.entries, *(self.references if references else ())]
        names = [name for name in self.measures if any(name in entry.metrics for entry in entries)]
        lines = []
        for entry in entries:
            who = entry.candidate
            line: dict[str, Any] = {"rank": entry.rank, "name": who.name, "technique": who.technique}
            line |= {"model": who.model, "group": entry.group}
            for name in names:
                found = entry.metrics.get(name)
                line[name] = found.value if found else None
                line[f"{name}_low"] = found.low if found else None
                line[f"{name}_high"] = found.high if found else None
            line |= {f"rows_{state}": entry.states.get(state, 0) for state in STATES}
            line |= {"from_journal_share": entry.from_journal_share}
            line |= {"spec_digest": who.spec_digest, "fitted_digest": who.fitted_digest}
            lines.append(line)
        frame = pd.DataFrame(lines)
        numbers = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
        return frame.astype({"rank": "Int64"} | dict.fromkeys(numbers, "float64"))

    def to_document(self, *, predictions: bool = False) -> dict[str, Any]:
        """Plain JSON values, none of them NaN.

        Args:
            predictions: whether every spec's predictions are in it too. They are large and hold the raw answers.
        """
        return {
            "schema": SCHEMA,
            "task": self.task.document(),
            **{name: getattr(self, name) for name in BOARD_FIGURES},
            "entries": [_entry_document(entry, predictions) for entry in self.entries],
            "majority": _entry_document(self.majority, predictions),
            "ceiling": None if self.ceiling is None else _entry_document(self.ceiling, predictions),
            "pairs": _pair_columns(self),
            "plan": plain(self.plan),
            **({} if self.race is None else {"race": plain(self.race)}),
            **({"missing": dict(self.missing)} if self.missing else {}),
            **({"crossed": plain(self.crossed)} if self.crossed else {}),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Leaderboard:
        """The leaderboard a document describes; predictions are empty where the document has none.

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
            return cls(
                task=Task(**document["task"]),
                entries=entries,
                pairs=_read_pairs(document["pairs"], [entry.name for entry in entries], document["ranked_by"]),
                majority=_read_entry(document["majority"]),
                ceiling=None if document["ceiling"] is None else _read_entry(document["ceiling"]),
                plan=None if document["plan"] is None else SamplePlan(**document["plan"]),
                race=SpecRace.from_document(document["race"]) if "race" in document else None,
                missing=document.get("missing", {}),
                crossed=tuple(record_of(Crossed, one) for one in document.get("crossed", ())),
                **{name: document[name] for name in BOARD_FIGURES},
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


def _entry_document(entry: Entry, predictions: bool) -> dict[str, Any]:
    who = entry.candidate
    document: dict[str, Any] = plain(replace(entry, candidate=replace(who, predictions=())))
    document["candidate"]["predictions"] = [_prediction_document(p) for p in who.predictions] if predictions else []
    plots = document.pop("plots")
    return document | {name: plots[name] for name in plots if name not in LATER_PLOTS or plots[name]}


def _prediction_document(prediction: Prediction) -> dict[str, Any]:
    """One level, as the first version wrote it."""
    scores = prediction.scores and list(prediction.scores)
    facts = {"label": prediction.value, "state": prediction.state, "probabilities": scores, "error": prediction.error}
    return {**facts, **plain(prediction.call)}


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
        **{name: document[name] for name in ENTRY_FIGURES},
        plots=Plots(
            confusion=tuple(tuple(line) for line in document["confusion"]),
            calibration=tuple(CalibrationBin(**part) for part in document["calibration"]),
            points=tuple((truth, answer) for truth, answer in document.get("points", ())),
            parts=tuple(AnswerPart(**part) for part in document.get("parts", ())),
        ),
    )
