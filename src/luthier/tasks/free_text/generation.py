"""Free text: a summary, a subject line, a reply, held against what a person wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from luthier.errors import DataError
from luthier.tasks.free_text.generation_metrics import (
    GENERATION_METRICS,
    RowFigures,
    check_packages,
    corpus_metrics,
    row_figures,
    sums_of,
)
from luthier.tasks.json_objects import NoObject, is_whole, values_under
from luthier.tasks.prediction import Prediction
from luthier.tasks.quoting import short
from luthier.tasks.spellings import missing
from luthier.tasks.thoughts import MOST_ANSWERED, spoken
from luthier.tasks.types import (
    AnswerRead,
    Column,
    Floats,
    GuessedSettings,
    Judged,
    Measure,
    StartingSpec,
    TaskType,
    TypeSettings,
)

__all__ = ["FreeText", "FreeTextSettings"]

ALWAYS_READ = 20_000
"""Characters of a text that always count as an answer; ten times the longest that is expected where that is more."""

MOST_CONSTANTS, MOST_TRIED_ON, MOST_COMPARED = 20, 100, 200_000
"""Truths tried as a constant, truths each is tried on, and characters of the latter."""

FENCE = re.compile(r"```[^\n`]*\n([^`]*?)\s*```")
QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "‘": "’", "「": "」"}
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

LENGTHS = (20, 50, 100, 200, 500, 1_000, 5_000)
"""Bounds of the bars that show how long the texts of a table are."""

UNTELLING = ("label", "labels", "target", "truth", "reference", "references", "refs", "output", "answer", "text", "y")
"""Names of columns that do not say what their texts are."""


class FreeTextSettings(TypeSettings):
    """Settings of a task of type `generation`."""

    what: str = Field(default="answer", min_length=1, max_length=100)
    """What is written, in a word or two for the prompts that `init` writes: `subject line`, `summary`, `reply`."""
    longest_characters: int = Field(default=1_000, ge=1, le=100_000)
    """Length of the longest text that is expected; `max_tokens` is this, unless a spec says otherwise."""
    one_line: bool = False
    """Whether a text is a single line. Line breaks in truths and answers then count as spaces."""


class FreeText(TaskType):
    """Free text. A truth is a text, or a list of texts of which each is as good an answer."""

    Settings = FreeTextSettings
    settings: FreeTextSettings = FreeTextSettings()
    value_name: ClassVar[str] = "answer"
    value_column: ClassVar[Column] = "text"
    metrics: ClassVar[Mapping[str, Measure]] = GENERATION_METRICS
    headline = ("chrf1", "rouge_l", "exact_match")
    graded = True
    constant_note: ClassVar[str] = "The text nearest to the others"

    @classmethod
    def of(cls, labels: Sequence[str], settings: TypeSettings) -> Self:
        """The type of a task; what ends an answer follows from its settings."""
        made = super().of(labels, settings)
        assert isinstance(settings, FreeTextSettings)
        made.several_lines = not settings.one_line
        made.completion_stop = "\n" if settings.one_line else made.completion_stop
        made.answer_cue = settings.what[0].upper() + settings.what[1:]
        return made

    @property
    def answer_bytes(self) -> int:
        """The longest text; tokenizers make fewer tokens of one than it has characters, in nearly all scripts."""
        return self.settings.longest_characters

    def check_parts(self) -> None:
        """Whether the packages of the metrics are there.

        Raises:
            MissingPart: one is not installed.
        """
        check_packages()

    def read_truth(self, cell: object) -> str | list[str] | None:
        """The text in a cell, or the list of references in it, written as JSON or given as a list."""
        if hasattr(cell, "tolist"):
            cell = cell.tolist()
        if isinstance(cell, str) and cell.lstrip().startswith("["):
            cell = _json_list(cell) or cell
        if not isinstance(cell, list | tuple):
            return None if missing(cell) or isinstance(cell, dict | set) else self._plain(str(cell)) or None
        if not all(isinstance(one, str) for one in cell):
            return None
        texts = list(dict.fromkeys(filter(None, map(self._plain, cell))))
        return texts[0] if len(texts) == 1 else texts or None

    def allowed(self, cells: Sequence[object]) -> str:
        """What a truth is."""
        return (
            "A truth is a text that is not blank, or several references as a list, in JSON in a csv: "
            '["first", "second"]. Correct the rows, or leave them out.'
        )

    def read(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The whole answer without thoughts, and without a code fence or quotation marks around it."""
        said, why = self._spoken(text)
        if why is None and cut:
            why = f"the answer was cut: {short(said)}"
        return AnswerRead(None, why) if why is not None else self._value(said)

    def read_json(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The text under `answer`."""
        said, why = self._spoken(text)
        if why is not None:
            return AnswerRead(None, why)
        try:
            given = values_under(self.value_name, said)
        except NoObject:
            return AnswerRead(None, f"the answer is not the JSON that was asked for: {short(said)}")
        if cut and not is_whole(said):
            return AnswerRead(None, f"the answer was cut: {short(said)}")
        given = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in given]
        texts = {value if isinstance(value, str) else json.dumps(value) for value in given if _is_single(value)}
        if len(texts) != 1 or not all(map(_is_single, given)):
            return AnswerRead(None, f"the JSON states no {self.value_name} that is one text: {short(said)}")
        return self._value(texts.pop())

    def written(self, value: Any) -> str:
        """The text; several references as a JSON list."""
        if isinstance(value, str):
            # A text that would be read as a list of references is kept from that by standing in one.
            return value if self.read_truth(value) == value else json.dumps([value], ensure_ascii=False)
        return json.dumps(value, ensure_ascii=False)

    def cell(self, value: Any) -> Any:
        """The text as it is."""
        return value if isinstance(value, str) else super().cell(value)

    def recorded(self, record: Mapping[str, Any]) -> Any:
        """The text as it is: an answer is one text, also where it could be read as a list of references."""
        return record[self.value_name]

    def as_answer(self, value: Any, *, as_json: bool) -> str:
        """The text, or the first of several references."""
        text = references_of(value)[0]
        return json.dumps({self.value_name: text}, ensure_ascii=False) if as_json else text

    def question(self) -> str:
        """What is to be written, and that nothing else is."""
        lines = " in one line" if self.settings.one_line else ""
        what = self.settings.what
        return f"Write the {what} for each text. Answer with the {what} alone{lines}, without an introduction."

    def starting_specs(self) -> tuple[StartingSpec, ...]:
        """A prompt without and one with examples, which show length and tone better than a description does."""
        plain = {"technique": "prompt", "answer": {"method": "text"}}
        return (
            StartingSpec("zero-shot", "The prompt alone.", plain),
            StartingSpec(
                "few-shot",
                "The prompt with texts that people wrote in front, from the training rows.",
                plain,
                examples=4,
            ),
        )

    @classmethod
    def guess(cls, table: Mapping[str, Sequence[Any]], text: str, label: str) -> GuessedSettings:
        """How long the texts of the label column are, whether they are single lines, and what they are called."""
        truths = [truth for truth in map(cls().read_truth, table[label]) if truth is not None]
        texts = [one for truth in truths for one in references_of(truth)]
        if not texts:
            raise ValueError(f"column {label!r} holds no text at all; generation needs texts that people wrote")
        longest = max(map(len, texts))
        settings: dict[str, Any] = {"longest_characters": min(_rounded(1.5 * longest), 100_000)}
        reasons = [f"the longest text has {longest:,} characters; half as many again are allowed"]
        if not any("\n" in one for one in texts):
            settings["one_line"] = True
            reasons.append("no text has a line break: one line each")
        what = re.sub(r"[\W_]+", " ", label).strip()
        if what.casefold() not in UNTELLING and what:
            settings["what"] = what
            reasons.append(f"prompts ask for the {what}, as the column is called")
        if len(set(texts)) <= len(texts) // 2:
            reasons.append(
                f"{len(set(texts))} distinct texts in {len(texts):,}: if they are labels, --type classification fits"
            )
        return GuessedSettings(settings, tuple(reasons), _by_length(texts))

    def judge(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> Judged:
        """A row without an answer counts as an empty text, at distance 1.

        Raises:
            DataError: a truth is neither a text nor a list of some.
        """
        import numpy as np

        figures = [self._figures(truth, one.value) for truth, one in zip(truths, predictions, strict=True)]
        distances = [0.0 if row.exact else max(1 - row.chrf1, 1e-9) for row in figures]
        return Judged(distances=np.array(distances), sums=sums_of(figures))

    def from_sums(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """The metrics; see `generation_metrics.py`."""
        return corpus_metrics(sums)

    def ends(self, metric: str) -> tuple[float, float] | None:
        """Every metric is best where a row equals its reference and 0 where nothing is shared."""
        return (100.0, 0.0) if metric in ("chrf1", "chrf") else (1.0, 0.0) if metric in self.metrics else None

    def constant(self, truths: Sequence[Any]) -> Prediction:
        """Of some truths the one with the best mean chrF1 against others, looked for within a second."""
        tried = _spread(truths, MOST_CONSTANTS)
        longest = max(len(references_of(truth)[0]) for truth in tried)
        others = _spread(truths, max(5, min(MOST_TRIED_ON, MOST_COMPARED // (longest * len(tried)))))
        texts = list(dict.fromkeys(references_of(truth)[0] for truth in tried))
        best = max(texts, key=lambda text: sum(self._figures(truth, text).chrf1 for truth in others))
        return Prediction(best, "ok")

    def score_name(self, objective: str | None) -> str:
        """What `score` averages to."""
        return "chrF1 of a row, minus 1"

    def _figures(self, truth: Any, answer: str | None) -> RowFigures:
        return row_figures(references_of(truth), answer or "")

    def _spoken(self, text: str) -> tuple[str, str | None]:
        """What was said, and why it is no answer where it is none."""
        if len(text) > MOST_ANSWERED:
            return "", f"the answer has {len(text):,} characters: {short(text[:200])}"
        said = spoken(text)
        most = max(ALWAYS_READ, 10 * self.settings.longest_characters)
        if len(said) > most:
            return "", f"the answer has {len(said):,} characters, and at most {most:,} are read: {short(said[:200])}"
        return said, None

    def _value(self, said: str) -> AnswerRead:
        text = self._plain(said)
        return AnswerRead(text) if text else AnswerRead(None, "the answer is blank")

    def _plain(self, text: str) -> str:
        text = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        text = CONTROL.sub("", text).strip()
        fenced = FENCE.fullmatch(text)
        text = text if fenced is None else fenced[1].strip()
        if len(text) > 1 and QUOTES.get(text[0]) == text[-1] and not set(text[1:-1]) & {text[0], text[-1]}:
            text = text[1:-1].strip()
        return " ".join(text.split()) if self.settings.one_line else text


def references_of(truth: Any) -> tuple[str, ...]:
    """A truth as the texts it consists of.

    Raises:
        DataError: it is neither a text nor a list of texts.
    """
    texts = (truth,) if isinstance(truth, str) else tuple(truth) if isinstance(truth, list | tuple) else ()
    if not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{short(str(truth))} is no text and no list of texts, so no answer can be held against it.")
    return texts


def _is_single(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _json_list(text: str) -> list[str] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and found and all(isinstance(one, str) for one in found) else None


def _rounded(length: float) -> int:
    """Up to two digits that are not zero."""
    step = 10 ** max(1, len(str(int(length))) - 2)
    return int(-(-length // step) * step)


def _spread(values: Sequence[Any], most: int) -> list[Any]:
    return [values[len(values) * place // most] for place in range(most)] if len(values) > most else list(values)


def _by_length(texts: Sequence[str]) -> dict[str, int]:
    return {name: count for name, count in _bars(texts) if count}


def _bars(texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    lengths, above = [len(text) for text in texts], 0
    for bound in LENGTHS:
        yield f"{above + 1:,} to {bound:,} characters", sum(above < length <= bound for length in lengths)
        above = bound
    yield f"more than {above:,} characters", sum(length > above for length in lengths)
