"""Single predictions explained: each passage is left out once, and what that does to the prediction is its weight.

choose_rows --> ExplainedRows.rows: the texts without one passage each --> engine --> ExplainedRows.explanations
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from luthier.evaluation.explanations import Explanation
from luthier.providers.tokens import text_units
from luthier.responsible_ai.passages import MOST_PASSAGES, passages_of
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task

__all__ = ["ChosenRow", "ExplainedRows", "choose_rows", "costliest_questions"]

CONFIDENT = 0.8
"""Least probability of a wrong label that is called a confident mistake."""


@dataclass(frozen=True, slots=True)
class ChosenRow:
    """A row to be explained: its place among the rows, and why it was chosen."""

    place: int
    why: str


class ExplainedRows:
    """Rows that are to be explained, and what must be asked for that.

    A text of n passages takes n questions (none where n is 1, because nothing is left without it), at most
    `MOST_PASSAGES` = 14. With the question about the whole text, which is asked anyway, that makes at most 15. A
    technique that makes several calls for one answer makes as many for each of these.

    Args:
        task: the question.
        rows: the rows that the places of `chosen` are in.
        chosen: the rows to explain.

    Attributes:
        rows: the chosen rows without one passage each, other columns kept; it has no row where every text is one word.

    Examples:
        >>> task = Task("mood", labels=["good", "bad"])
        >>> rows = Rows(({"text": "Fine soup. Rude staff."},), ("bad",), "text")
        >>> explained = ExplainedRows(task, rows, [ChosenRow(0, "unsure")])
        >>> explained.rows.texts
        ('Rude staff.', 'Fine soup.')
        >>> whole, without = Prediction("bad", "ok", (0.4, 0.6)), [(0.1, 0.9), (0.8, 0.2)]
        >>> [one] = explained.explanations([whole], [Prediction(None, "ok", scores) for scores in without])
        >>> [round(weight, 2) for weight in one.weights["bad"]]
        [-0.3, 0.4]
    """

    def __init__(self, task: Task, rows: Rows, chosen: Sequence[ChosenRow]) -> None:
        self.task = task
        self.chosen = tuple(chosen)
        self._all = rows
        texts = rows.texts
        self._passages = [passages_of(texts[one.place] or "") for one in self.chosen]
        inputs, places = [], []
        for one, passages in zip(self.chosen, self._passages, strict=True):
            for text in _without_each(passages):
                inputs.append({**rows.inputs[one.place], rows.text: text})
                places.append(one.place)
        self.rows = Rows(
            inputs=tuple(inputs),
            labels=tuple(rows.labels[place] for place in places),
            text=rows.text,
            numbers=tuple(rows.number(place) for place in places),
            further=rows.further,
        )

    def explanations(self, whole: Sequence[Prediction], without: Sequence[Prediction]) -> tuple[Explanation, ...]:
        """The weights, once everything is answered.

        A row is left out if its whole text got no label. A passage has no weight if the text without it was refused or
        got no answer. Without any passage nothing is predicted, so the only passage of a text has the full weight.

        Args:
            whole: a prediction for each row that the chosen ones are among.
            without: a prediction for each of `rows`.

        Returns:
            One per chosen row, in that order.
        """
        found = []
        answers = iter(without)
        for one, passages in zip(self.chosen, self._passages, strict=True):
            left = [next(answers) for _ in _without_each(passages)]
            prediction = whole[one.place]
            if prediction.state != "ok":
                continue
            labels = self.task.labels or (prediction.value,)
            by_probability = prediction.scores is not None
            before = _probabilities(prediction, labels, by_probability)
            # The only passage of a text: without it there is nothing to predict a label from.
            after = [_probabilities(one_left, labels, by_probability) for one_left in left] or [[0.0] * len(labels)]
            assert before is not None
            weights = {
                label: tuple(None if p is None else float(before[at] - p[at]) for p in after)
                for at, label in enumerate(labels)
            }
            found.append(
                Explanation(
                    row=self._all.number(one.place),
                    why=one.why,
                    passages=passages,
                    weights=weights,
                    prediction=prediction.value,
                    truth=self._all.labels[one.place],
                    by_probability=by_probability,
                )
            )
        return tuple(found)


def choose_rows(
    task: Task,
    rows: Rows,
    predictions: Sequence[Prediction],
    most: int,
    *,
    members: Mapping[str, Sequence[int]] | None = None,
    seed: int = 7,
) -> tuple[ChosenRow, ...]:
    """The rows whose explanation is worth its price.

    First a row of each cohort or group, wrong ones before others, for at most a third of the places. Of the rest, half
    are wrong (far misses and confident mistakes first), a quarter unsure (smallest margin between the two likeliest
    labels) and a quarter right; where one kind runs out, the next one takes its places. Rows without a label, and
    texts that were chosen already, are passed over.

    Args:
        task: says how far a label is from the truth.
        rows: the rows; those without a truth count neither as wrong nor as right.
        predictions: one per row.
        most: most rows to choose.
        members: name of a cohort or group to the places of its rows.
        seed: the same seed chooses the same rows.
    """
    order = [int(place) for place in np.random.default_rng(seed).permutation(len(rows))]
    order = [place for place in order if predictions[place].state == "ok" and rows.texts[place] is not None]
    misses = {place: _miss(task, rows.labels[place], predictions[place]) for place in order}
    wrong = sorted((place for place in order if misses[place] > (0, 0)), key=lambda place: misses[place], reverse=True)
    right = [place for place in order if misses[place] == (0, 0)]
    unsure = sorted(
        (place for place in order if predictions[place].scores is not None), key=lambda p: _margin(predictions[p])
    )
    ranked = {place: at for at, place in enumerate([*wrong, *(place for place in order if misses[place] <= (0, 0))])}
    chosen: dict[str | None, ChosenRow] = {}

    def take(places: Iterable[int], why: str, until: int) -> None:
        for place in places:
            if len(chosen) >= min(until, most):
                return
            text = rows.texts[place]
            if text not in chosen:
                chosen[text] = ChosenRow(place, why or _named(misses[place]))

    for name, places in (members or {}).items():
        if len(chosen) >= most // 3:
            break
        take(sorted(ranked.keys() & set(places), key=ranked.__getitem__), name, len(chosen) + 1)
    left = most - len(chosen)
    take(wrong, "", len(chosen) + -(-left // 2))
    take(unsure, "unsure", len(chosen) + -(-left // 4))
    take(right, "right", most)
    take(wrong, "", most)
    take(unsure, "unsure", most)
    take(order, "drawn at random", most)
    return tuple(chosen.values())


def costliest_questions(rows: Rows, most: int) -> Rows:
    """What explaining so many rows asks at most, whichever rows they are; for a price before any answer.

    The rows with most passages decide how many questions there are, and the longest texts how long these are. No two
    questions are the same and the journal knows none of them, because those of the rows to come may be new as well.

    Args:
        rows: the rows to choose from.
        most: how many of them are explained.
    """
    places: dict[str, int] = {}
    for place, text in enumerate(rows.texts):
        if text is not None:
            places.setdefault(text, place)
    longest = sorted(places, key=text_units, reverse=True)
    counts: Counter[int] = Counter()
    for text in longest:
        if counts[MOST_PASSAGES] >= most:
            break  # no text has more passages than these
        passages = len(passages_of(text))
        counts[passages if passages > 1 else 0] += 1
    asked = [count for count in sorted(counts, reverse=True) for _ in range(counts[count])]
    inputs: list[Mapping[str, object]] = []
    labels: list[str | None] = []
    for text, questions in zip(longest[:most], asked, strict=False):
        for _ in range(questions):
            inputs.append({**rows.inputs[places[text]], rows.text: f"{len(inputs)} {text}"})
            labels.append(rows.labels[places[text]])
    return Rows(tuple(inputs), tuple(labels), rows.text, further=rows.further)


def _without_each(passages: Sequence[str]) -> Iterator[str]:
    """The text without each of its passages; nothing for a single one."""
    if len(passages) > 1:
        for place in range(len(passages)):
            yield "".join((*passages[:place], *passages[place + 1 :])).strip()


def _probabilities(prediction: Prediction, labels: Sequence[str], by_probability: bool) -> Sequence[float] | None:
    if by_probability:
        return prediction.scores
    if prediction.state in ("refused", "failed", "empty"):
        return None
    return [float(label == prediction.value) for label in labels]


def _miss(task: Task, truth: str | None, prediction: Prediction) -> tuple[float, float]:
    """How many labels a prediction is off, and how sure it was; zeros where it is right, negative without a truth."""
    if truth is None:
        return -1, 0
    if truth == prediction.value:
        return 0, 0
    distance = 1
    if task.ordered:
        distance = abs(task.ascending.index(truth) - task.ascending.index(prediction.value))
    return distance, max(prediction.scores or (0,))


def _named(miss: tuple[float, float]) -> str:
    distance, confidence = miss
    return "far miss" if distance >= 2 else "confident mistake" if confidence >= CONFIDENT else "mistake"


def _margin(prediction: Prediction) -> float:
    *_, second, first = sorted(prediction.scores or (0, 0))
    return first - second
