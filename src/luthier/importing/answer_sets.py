"""The answers of a training file as a closed set of labels: which label each stands for, and how it is written."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from luthier.errors import UserError
from luthier.tasks.labels.closed_set import ClosedSet
from luthier.tasks.spellings import number_of, spelling
from luthier.tasks.task import Task
from luthier.techniques.prompt.settings import Method
from luthier.truncation import one_line

__all__ = ["AnswerSet", "UnreadableRecipe", "answer_set", "task_of_labels"]

MOST_LABELS = 200
LONGEST_NAME = 40
LONGEST_LABEL = 64
MOST_WORDS = 6
"""Words of a label; what is longer is a sentence."""

MOST_RATINGS = 21
"""Labels of a scale that is completed: -10 to 10, or 0 to 100 in fives."""

LEAST_RATINGS = 3
"""Two numbers, such as 0 and 1, are names of classes."""

SHOWN = 3

RATING_WORDS = r"(?:stars?|ratings?|scores?|points?|[^\w\n])*"
ONE_RATING = re.compile(rf"{RATING_WORDS}?(?P<number>[+-]?\d+(?:\.\d+)?){RATING_WORDS}(?:(?:/|out of)\s*\d+\W*)?", re.I)


class UnreadableRecipe(UserError):
    """A training file is no recipe that Luthier has.

    Attributes:
        why: a clause that begins with "its".
        cure: what to do; empty where nothing helps.
    """

    def __init__(self, why: str, cure: str = "") -> None:
        super().__init__(f"the training lines are no recipe that can be taken over: {why}. {cure}".rstrip())
        self.why = why
        self.cure = cure


@dataclass(frozen=True)
class AnswerSet:
    """The answers of a file under a task.

    Attributes:
        task: the one that was given, else one made of the answers.
        json: whether the answers are the JSON that method `json` asks for.
        words: what each label is answered with; empty where these are the labels themselves.
        labels: the label of each answer, as it stands in the file.
    """

    task: Task
    json: bool
    words: Mapping[str, str]
    labels: Mapping[str, str]

    @property
    def written(self) -> tuple[str, ...]:
        """What a model answers with for each label, in the task's order."""
        return tuple(self.words.get(label, label) for label in self.task.labels)

    def method(self, *, compares: bool) -> Method:
        """How a label is read from an answer.

        Args:
            compares: whether the words can be compared by the probabilities of the next tokens.
        """
        return "json" if self.json else "score" if compares else "text"


def answer_set(said: Mapping[str, int], task: Task | None = None) -> AnswerSet:
    """The closed set that these answers are.

    Args:
        said: answers as they stand in the file, and how often.
        task: whose labels they must be; one is made of them when absent.

    Raises:
        UnreadableRecipe: they are free text, or no labels of the task.

    Examples:
        >>> answer_set({"4": 3, "1": 2, "5": 5}).task.labels
        ('1', '2', '3', '4', '5')
        >>> found = answer_set({'{"score": 1}': 2, '{"score": 2}': 2, '{"score": 4}': 1})
        >>> found.task.type, found.written[2]
        ('rating', '{"score": 3}')
    """
    if task is not None and not isinstance(task.kind, ClosedSet):
        raise UnreadableRecipe(
            f"its answers would be values of task {task.name!r}, whose type {task.type!r} has no labels",
            "Give a classification or a rating as --task, or none.",
        )
    json_values = _json_values(said)
    cores = json_values or {answer: answer.strip() for answer in said}
    ratings = {answer: found["number"] for answer in cores if (found := ONE_RATING.fullmatch(cores[answer]))}
    if len(ratings) == len(said):
        cores = ratings
    task = _made_task(said, cores) if task is None else task
    labels = _labels(task, said, cores)
    as_asked = json_values is not None and all(
        answer.strip() == _as_asked(task, json_values[answer]) for answer in json_values
    )
    shown = cores if as_asked else {answer: answer.strip() for answer in said}
    return AnswerSet(task, as_asked, _words(task, said, labels, shown, cores), labels)


def task_of_labels(labels: Sequence[str]) -> Task:
    """A task of these labels, all there are: a rating where they are a scale in order.

    Equal labels make equal tasks, so that models of one task can be compared wherever they come from.

    Examples:
        >>> task_of_labels(["1", "2", "3"]).name, task_of_labels(["good", "so-so", "bad"]).name
        ('rating-1-to-3', 'good-so-so-bad')
    """
    numbers = [number for number in map(number_of, labels) if number is not None]
    return _task("rating" if _scale(numbers) == list(labels) else "classification", labels)


def _task(kind: str, labels: Sequence[str]) -> Task:
    told = f"rating-{labels[0]}-to-{labels[-1]}" if kind == "rating" else "-".join(labels)
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", told).strip("-.")
    if len(plain) > LONGEST_NAME or not plain:
        digest = hashlib.sha256(json.dumps(labels).encode()).hexdigest()[:8]
        plain = f"{plain[: LONGEST_NAME - 9].rstrip('-.')}-{digest}".lstrip("-")
    return Task(plain, type=kind, labels=list(labels))


def _as_asked(task: Task, value: str) -> str:
    return json.dumps({task.kind.value_name: value}, ensure_ascii=False)


def _json_values(said: Mapping[str, int]) -> dict[str, str] | None:
    """What stands under the one key of every answer; `None` unless all are such objects with the same key."""
    values, keys = {}, set()
    for answer in said:
        try:
            given = json.loads(answer)
        except ValueError:
            return None
        if not isinstance(given, dict) or len(given) != 1:
            return None
        ((key, value),) = given.items()
        if not isinstance(value, str | int | float):
            return None
        keys.add(key)
        values[answer] = spelling(value)
    return values if len(keys) == 1 else None


def _made_task(said: Mapping[str, int], cores: Mapping[str, str]) -> Task:
    counted: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for answer, times in sorted(said.items(), key=lambda one: -one[1]):
        # Of spellings that differ in case the most frequent is the label.
        counted[spelled.setdefault(cores[answer].casefold(), cores[answer])] += times
    labels = sorted(counted)
    numbers = [number for number in map(number_of, labels) if number is not None]
    if not labels or "" in labels:
        raise UnreadableRecipe("its answers are empty")
    if len(labels) == 1:
        raise UnreadableRecipe(f"its answers are all {_quote(labels[0])}, and a task has two labels at least")
    scale = _scale(numbers) if labels == [spelling(number) for number in numbers] else None
    if scale is not None:
        return task_of_labels(scale)
    sentences = [label for label in labels if len(label) > LONGEST_LABEL or len(label.split()) > MOST_WORDS]
    many = len(labels) > MOST_LABELS or 2 * len(labels) > counted.total()
    if sentences or many or any("\n" in label for label in labels):
        said_so = f"{len(labels):,} different ones in {counted.total():,} lines, such as {_quote(labels[0])}"
        raise UnreadableRecipe(f"its answers are free text ({said_so}); imports know labels and ratings")
    if len(numbers) == len(labels) and len(labels) > 2:
        labels.sort(key=lambda label: number_of(label) or 0.0)
    return _task("classification", labels)


def _scale(numbers: Sequence[float]) -> list[str] | None:
    """The whole scale that some ratings are of; `None` for numbers that are names, such as codes."""
    if len(set(numbers)) < LEAST_RATINGS or not all((2 * number).is_integer() for number in numbers):
        return None
    # Halves are counted, so that all are whole numbers.
    halves = sorted(round(2 * number) for number in numbers)
    step = reduce(math.gcd, (half - halves[0] for half in halves))
    if (halves[-1] - halves[0]) // step >= MOST_RATINGS:
        return None
    return [spelling(half / 2) for half in range(halves[0], halves[-1] + 1, step)]


def _labels(task: Task, said: Mapping[str, int], cores: Mapping[str, str]) -> dict[str, str]:
    found, foreign = {}, []
    for answer in said:
        label = task.canonical_label(cores[answer])
        if label is None:
            label = task.kind.read(cores[answer]).value
        if label is None:
            foreign.append(answer)
        else:
            found[answer] = str(label)
    if foreign:
        shown = ", ".join(map(_quote, foreign[:SHOWN])) + (", ..." if len(foreign) > SHOWN else "")
        raise UnreadableRecipe(
            f"its answers ({shown}) are no labels of task {task.name!r} ({', '.join(task.labels[:10])})",
            "Import it with the task that it was trained for, or without --task: its answers then make one.",
        )
    return found


def _words(
    task: Task, said: Mapping[str, int], labels: Mapping[str, str], shown: Mapping[str, str], cores: Mapping[str, str]
) -> dict[str, str]:
    """A word per label, of several spellings the most frequent one; empty where all words are the labels."""
    words: dict[str, str] = {}
    pattern: tuple[str, str] | None = None
    for answer, _ in sorted(said.items(), key=lambda one: -one[1]):
        word, core = shown[answer], cores[answer]
        if words.setdefault(labels[answer], word) == word and word.count(core) == 1:
            pattern = pattern or (word, core)
    if any("\n" in word for word in words.values()):
        raise UnreadableRecipe("its answers have several lines; imports know labels and ratings")
    if all(word == label for label, word in words.items()):
        return {}
    for label in task.labels:
        # A label that no line has is written as the others are.
        words.setdefault(label, label if pattern is None else pattern[0].replace(pattern[1], label))
    if len({word.casefold() for word in words.values()}) < len(words):
        raise UnreadableRecipe("its answers for several labels are the same but for upper and lower case")
    return {label: words[label] for label in task.labels}


def _quote(answer: str) -> str:
    return repr(one_line(answer, 40))
