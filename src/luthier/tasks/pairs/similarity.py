"""Similarity: two texts of a row, and a number on a scale that says how close they are in meaning."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, model_validator

from luthier.errors import DataError
from luthier.tasks.json_objects import MOST_READ, NoObject, alternatives, is_whole, values_under
from luthier.tasks.pairs.score_reading import ScoreReader
from luthier.tasks.prediction import Prediction
from luthier.tasks.quoting import short
from luthier.tasks.spellings import missing, number_of
from luthier.tasks.thoughts import spoken
from luthier.tasks.types import (
    AnswerRead,
    Floats,
    GuessedSettings,
    Judged,
    Measure,
    Plots,
    StartingSpec,
    TaskType,
    TypeSettings,
)

if TYPE_CHECKING:
    from luthier.tasks.pairs.similarity_metrics import ScoreArrays

__all__ = ["Similarity", "SimilaritySettings"]

Scale = tuple[float, float]

SCALES: tuple[Scale, ...] = ((0, 1), (1, 5), (0, 4), (0, 5), (1, 7), (0, 10), (0, 100), (-1, 1))
"""Scales that people use; the narrowest that holds all scores of a table is taken for its scale."""

STRATA = 5
"""Parts of the scale that a split into tables keeps in equal shares."""


def _scale(given: Any) -> Any:
    """Both ends as numbers, whole ones as integers, so that files show `[0, 5]`.

    Raises:
        ValueError: these are no two numbers, the lower first.
    """
    ends = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)]
    if len(ends) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise ValueError(
            f"it is {short(str(given))}; give the lowest and the highest score, lowest first, as in scale: [0, 5]"
        )
    return tuple(plain_number(number) for number in numbers)


class SimilaritySettings(TypeSettings):
    """Settings of a task of type `similarity`."""

    other: str
    """Column of the second text; `text` is the first. A row needs both."""
    scale: Annotated[tuple[int | float, int | float], BeforeValidator(_scale)]
    """The lowest and the highest score, as in `[0, 5]`."""

    @model_validator(mode="before")
    @classmethod
    def _are_there(cls, given: Any) -> Any:
        wanted = {
            "other": "the column of the second text, as in other: other",
            "scale": "the lowest and the highest score, as in scale: [0, 5]",
        }
        lacking = [name for name in wanted if isinstance(given, Mapping) and name not in given]
        if lacking:
            raise ValueError("; ".join(f"{name} is missing: {wanted[name]}" for name in lacking))
        return given


class Similarity(TaskType):
    """Pairs of texts with a score.

    Examples:
        >>> pairs = Similarity.of((), SimilaritySettings(other="question2", scale=(0, 5)))
        >>> pairs.read("Score: 3.5 out of 5").value, pairs.read_json('{"score": 4}').value
        (3.5, 4.0)
        >>> pairs.read("7").why
        "the score 7 is outside the scale from 0 to 5: '7'"
    """

    Settings: ClassVar[type[TypeSettings]] = SimilaritySettings
    settings: SimilaritySettings
    value_name: ClassVar[str] = "score"
    graded = True
    counted_once = True
    headline = ("spearman", "pearson", "mae")
    constant_note: ClassVar[str] = "The mean score"

    metrics: ClassVar[Mapping[str, Measure]] = {
        "spearman": Measure(
            "Spearman",
            "higher",
            "share",
            "Correlation of the ranks of answers and truths: 1 where every pair is in its place, 0 for a constant.",
        ),
        "pearson": Measure(
            "Pearson",
            "higher",
            "share",
            "Correlation of answers and truths: 1 where they lie on a rising line, 0 for a constant.",
        ),
        "mse": Measure("MSE", "lower", "number", "Mean squared distance from the true score, in squared points."),
        "mae": Measure("MAE", "lower", "number", "Mean distance from the true score, in points of the scale."),
    }

    @property
    def further_columns(self) -> tuple[str, ...]:
        """The column of the second text."""
        return (self.settings.other,)

    @property
    def low(self) -> float:
        """The lowest score."""
        return self.settings.scale[0]

    @property
    def high(self) -> float:
        """The highest score."""
        return self.settings.scale[1]

    @property
    def span(self) -> float:
        """How far the ends of the scale are apart."""
        return self.high - self.low

    @property
    def _ends(self) -> str:
        return f"{written_number(self.low)} to {written_number(self.high)}"

    def farthest(self, truth: float) -> float:
        """The end of the scale that is farther from a true score; the lower one where both are equally far."""
        return self.high if self.high - truth > truth - self.low else self.low

    def within(self, score: float) -> float:
        """The score, or the end of the scale beyond which it lies."""
        return min(max(score, self.low), self.high)

    def read_truth(self, cell: object) -> float | None:
        """The score in a cell, if it is a number within the scale."""
        number = None if missing(cell) or isinstance(cell, bool) else number_of(str(cell))
        return number if number is not None and self.low <= number <= self.high else None

    def allowed(self, cells: Sequence[object]) -> str:
        """The scale, and what to do about cells that hold no number of it."""
        beyond = all(number_of(str(cell)) is not None for cell in cells)
        cure = "or write the scale of the table as `scale:` into the task" if beyond else "or leave them out"
        return f"A score is a number from {self._ends}. Correct the rows, {cure}."

    def strata(self, truths: Sequence[Any]) -> Sequence[int]:
        """The fifth of the scale each score lies in."""
        return [min(STRATA - 1, int((truth - self.low) / self.span * STRATA)) for truth in truths]

    @cached_property
    def counted(self) -> Sequence[str]:
        """Fifths of the scale, as in `1 to 2`."""
        step = self.span / STRATA
        bounds = [written_number(round(self.low + part * step, 9)) for part in range(STRATA + 1)]
        return [f"{low} to {high}" for low, high in pairwise(bounds)]

    def counted_in(self, value: Any) -> Sequence[str]:
        """The fifth of the scale that a score lies in."""
        return [self.counted[place] for place in self.strata([value])]

    @cached_property
    def _reader(self) -> ScoreReader:
        return ScoreReader(self.low, self.high)

    def read(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The score a free answer states, in words or in JSON."""
        said = spoken(text)
        found = self._in_json(said, cut) if "{" in said[-MOST_READ:] else None
        return found or self._reader.read(said, cut=cut)

    def read_json(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The score in an answer of method `json`; a text there is read as a free answer is."""
        said = spoken(text)
        why = f"the answer is not the JSON that was asked for: {short(said)}"
        return self._in_json(said, cut) or AnswerRead(None, why)

    def _in_json(self, said: str, cut: bool) -> AnswerRead | None:
        """What the objects of an answer state; `None` where it has none."""
        try:
            given = values_under(self.value_name, said[-MOST_READ:])
        except NoObject:
            return None
        if cut and not is_whole(said):
            return AnswerRead(None, f"the answer was cut: {short(said)}")
        plain = [one for value in given for one in alternatives(value)]
        if not plain or any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in plain):
            return AnswerRead(None, f"the JSON has no number as its {self.value_name}: {short(said)}")
        read = [self._reader.read(str(one)) for one in plain]
        if len({one.value for one in read}) > 1:
            return AnswerRead(None, f"the JSON states several numbers: {short(said)}")
        return read[0]

    def unfinished(self, text: str) -> bool:
        """Whether a digit could have followed: a cut `4` may have become `4.5`."""
        return spoken(text).rstrip()[-1:].isdigit()

    def schema(self, words: Sequence[str]) -> dict[str, Any]:
        """A number. The scale is in its description: Azure and fine-tuned models of OpenAI refuse bounds."""
        return {"type": "number", "description": f"A number from {self._ends}"}

    def written(self, value: Any) -> str:
        """The number without zeros that say nothing."""
        return written_number(value)

    def as_answer(self, value: Any, *, as_json: bool) -> str:
        """A score with as many digits as a rater would give: means of several raters have many."""
        said = self._rounded(value)
        return json.dumps({self.value_name: said}) if as_json else written_number(said)

    def _rounded(self, score: float) -> int | float:
        """The score to about a hundredth of the scale."""
        return plain_number(self.within(round(score, max(0, 2 - math.floor(math.log10(self.span))))))

    def question(self) -> str:
        """How close the two texts are in meaning, on the scale."""
        return (
            "How similar are the two texts in meaning? Answer with a number from "
            f"{written_number(self.low)} (unrelated) to {written_number(self.high)} (the same meaning)."
        )

    def starting_specs(self) -> tuple[StartingSpec, ...]:
        """Words in common, vectors by their cosine and by a regression, and prompts."""
        return (
            StartingSpec("baseline", "Words the two texts have in common; calls no model.", {"technique": "baseline"}),
            StartingSpec(
                "cosine",
                "The cosine of two vectors, each text embedded once.",
                {"technique": "embedding", "head": "cosine"},
            ),
            StartingSpec(
                "embedding",
                "A regression on the two vectors, fitted on the training rows.",
                {"technique": "embedding", "head": "regression"},
            ),
            *super().starting_specs(),
        )

    @classmethod
    def guess(cls, table: Mapping[str, Sequence[Any]], text: str, label: str) -> GuessedSettings:
        """The other column of texts, and the narrowest usual scale that holds the scores.

        Raises:
            ValueError: there is no other column of texts, or the label column holds no numbers.
        """
        scores = [number_of(str(cell)) for cell in table[label] if not missing(cell)]
        numbers = [score for score in scores if score is not None]
        if not numbers or len(numbers) < len(scores):
            words = next((cell for cell in table[label] if not missing(cell) and number_of(str(cell)) is None), None)
            raise ValueError(
                f"the scores of pairs are numbers, and it holds {short(str(words))}; name another column with --label"
            )
        lengths = {name: _mean_length(cells) for name, cells in table.items() if name not in (text, label)}
        texts = {name: length for name, length in lengths.items() if length > 0}
        if not texts:
            raise ValueError(
                f"a pair needs two columns of texts, and beside {text!r} and {label!r} the table has none: "
                f"{', '.join(table)}"
            )
        first = _mean_length(table[text])
        # The column whose texts are most like the first's in length: a note or a source is shorter or longer.
        other = min(texts, key=lambda name: abs(math.log(texts[name] / max(first, 1))))
        low, high = min(numbers), max(numbers)
        known = [scale for scale in SCALES if scale[0] <= low and high <= scale[1]]
        scale = min(
            known,
            key=lambda ends: ends[1] - ends[0],
            default=(math.floor(low), max(math.ceil(high), math.floor(low) + 1)),
        )
        settings = SimilaritySettings(other=other, scale=scale)
        kind = cls.of((), settings)
        held = Counter(part for number in numbers for part in kind.counted_in(number))
        ends = [written_number(end) for end in scale]
        said = f"scores lie between {written_number(low)} and {written_number(high)}"
        said = said if low < high else f"all scores are {written_number(low)}, from which nothing can be learned"
        return GuessedSettings(
            {"other": other, "scale": list(settings.scale)},
            (f"the second text is {other!r}", f"{said}, so the scale is {ends[0]} to {ends[1]}"),
            {part: held[part] for part in kind.counted},
        )

    def arrays(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> ScoreArrays:
        """Truths and predictions as arrays.

        Raises:
            DataError: a truth is no score of the scale.
        """
        from luthier.tasks.pairs.similarity_metrics import ScoreArrays

        for truth in truths:
            if self.read_truth(truth) is None:
                raise DataError(f"true score {truth!r} is no number from {self._ends}.")
        said = [
            self.farthest(truth) if prediction.state != "ok" or prediction.value is None else prediction.value
            for truth, prediction in zip(truths, predictions, strict=True)
        ]
        return ScoreArrays.of(truths, said, self.low, self.high)

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        """Holds predictions against the true scores; a row without one counts as the farthest end of the scale.

        Raises:
            DataError: a truth is no score of the scale.
        """
        found = self.arrays(truths, predictions)
        return Judged(distances=found.distances, sums=found.sums())

    def from_sums(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """The metrics; see `similarity_metrics.py`."""
        from luthier.tasks.pairs.similarity_metrics import score_metrics

        return score_metrics(sums)

    def ends(self, metric: str) -> tuple[float, float] | None:
        """The best and the worst value of each metric."""
        known = {"spearman": (1.0, -1.0), "pearson": (1.0, -1.0), "mse": (0.0, self.span**2), "mae": (0.0, self.span)}
        return known.get(metric)

    def constant(self, truths: Sequence[Any]) -> Prediction:
        """The mean score, rounded as a rater would."""
        return Prediction(float(self._rounded(math.fsum(truths) / len(truths))), "ok")

    def score(self, objective: str | None, prediction: Prediction, truth: Any) -> float:
        """Minus the distance from the true score."""
        said = self.farthest(truth) if prediction.value is None else prediction.value
        return -float(abs(said - truth))

    def plots(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Plots:
        """Truth against answer of the rows that have one."""
        return Plots(
            points=tuple((t, p.value) for t, p in zip(truths, predictions, strict=True) if p.value is not None)
        )


def plain_number(number: float) -> int | float:
    """A whole number as an integer."""
    return int(number) if float(number).is_integer() else number


def written_number(number: float) -> str:
    """A number as a text that reads back as the same number.

    Examples:
        >>> [written_number(number) for number in (4.0, 3.5, 0.1 + 0.2)]
        ['4', '3.5', '0.30000000000000004']
    """
    return str(plain_number(number))


def _mean_length(cells: Sequence[Any]) -> float:
    """Mean length of a column's texts; 0 where most of its cells are none, or are numbers."""
    held = [cell for cell in cells if not missing(cell)]
    texts = [len(cell) for cell in held if isinstance(cell, str) and number_of(cell) is None]
    return sum(texts) / len(texts) if texts and 2 * len(texts) > len(held) else 0.0
