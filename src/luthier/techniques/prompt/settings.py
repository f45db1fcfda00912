"""The blocks of a prompt spec, as in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from luthier.providers.endpoint import Endpoint
from luthier.spec.setting_paths import SHORT_FORMS, SettingsBlock
from luthier.techniques.prompt.template import compiled

__all__ = ["AnswerFormat", "AnswerMode", "Decoding", "Examples", "Method", "Select", "Style", "Wording"]

Method = Literal["text", "score", "json"]
Style = Literal["chat", "completion"]
Select = Literal["balanced", "random", "nearest", "searched"]

AnswerMode = Literal["text", "json", "walk", "first", "letters"]
"""How labels are read: from text, from JSON, by a walk over tokens, from the first token, or from a letter."""

MOST_EXAMPLES = 1000


class Examples(SettingsBlock):
    """Few-shot examples, chosen from the training rows when the spec is fitted."""

    short_form: ClassVar[str | None] = SHORT_FORMS["prompt.examples"]
    count: int | tuple[int, ...] = 0
    """Examples shown before the row; 0 is zero-shot. With `searched` also a list, as in [1, 3, 5]: then counts
    compete too."""
    select: Select = "balanced"
    """`balanced`: every label in turn; `random`: drawn without regard to labels; `nearest`: for each row the nearest
    ones by embedding; `searched`: of several balanced draws the one that answers training rows best."""
    seed: int | None = None
    """Seed of the draw; the `seed` of the spec when absent."""
    max_characters: int | None = Field(default=None, ge=1)
    """Show only training texts of at most this length, so that prompts stay short; of a label that has only longer
    ones, its shortest text. Texts of any length when absent."""
    endpoint: Endpoint | None = None
    """With `nearest`: the model that embeds, as in {provider: local, model: wordllama-256}."""
    samples: int = Field(default=30, ge=2, le=1000)
    """With `searched`: number of draws."""
    rows: int = Field(default=100, ge=20, le=10_000)
    """With `searched`: number of training rows the draws are scored on; none of them is shown as an example."""

    @field_validator("count", mode="before")
    @classmethod
    def _counts_are_whole(cls, given: Any) -> Any:
        several = isinstance(given, Sequence) and not isinstance(given, str)
        counts = list(given) if several else [given]
        for count in counts:
            if isinstance(count, bool) or not isinstance(count, int):
                raise ValueError(f"count is a whole number, or with select: searched a list of some; given: {given!r}")
            if not (1 if several else 0) <= count <= MOST_EXAMPLES:
                raise ValueError(
                    f"count is {count}; from {1 if several else 0} to {MOST_EXAMPLES} examples can be shown"
                )
        if several and (not counts or len(set(counts)) < len(counts)):
            raise ValueError(f"count lists different numbers of examples, as in [1, 3, 5]; given: {given!r}")
        return tuple(counts) if several else given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.count, tuple) and self.select != "searched":
            raise ValueError(
                f"count is a list, which only select: searched takes (given: {self.select}); give one number, "
                "or compare counts with a grid"
            )
        if self.select in ("nearest", "searched") and not self.most:
            raise ValueError(f"select: {self.select} needs a count of at least 1, as in count: 5")
        if self.select == "nearest" and self.endpoint is None:
            raise ValueError(
                "select: nearest needs a model that embeds; add endpoint: {provider: local, model: wordllama-256}, or "
                "{provider: openai, model: NAME}"
            )
        if self.select != "nearest" and self.endpoint is not None:
            raise ValueError(
                f"endpoint is for select: nearest, and select is {self.select}; leave it out or set select: nearest"
            )
        searching = sorted({"samples", "rows"} & self.model_fields_set)
        if searching and self.select != "searched":
            raise ValueError(
                f"{' and '.join(searching)} belong to select: searched, and select is {self.select}; "
                "leave them out or set select: searched"
            )
        return self

    @property
    def is_drawn(self) -> bool:
        """Whether a seed changes which examples are shown."""
        return self.most > 0 and self.select != "nearest"

    @property
    def counts(self) -> tuple[int, ...]:
        """Every count that may be used."""
        return self.count if isinstance(self.count, tuple) else (self.count,)

    @property
    def most(self) -> int:
        """The largest count."""
        return max(self.counts)


class Wording(SettingsBlock):
    """The text of the prompt."""

    template: str
    """Jinja template of the user turn, or of the text to complete; it names columns of the row."""
    system: str | None = None
    """Jinja template of the system turn, or of the beginning of the text to complete."""
    style: Style | None = None
    """`chat` for models that follow instructions, `completion` to let a model continue a text; `chat` when absent, and
    `completion` for the embedded model, which is too small to follow instructions."""
    examples: Examples = Examples()

    @model_validator(mode="before")
    @classmethod
    def _is_a_block(cls, given: Any) -> Any:
        if isinstance(given, str):
            raise ValueError('prompt is a block, as in prompt: {template: "Stars for: {{ text }}"}')
        return given

    @field_validator("template", "system")
    @classmethod
    def _compiles(cls, source: str | None) -> str | None:
        if source is not None:
            if not source.strip():
                raise ValueError("is empty")
            compiled(source)
        return source

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not compiled(self.template).columns:
            raise ValueError(
                "template names no column, so every row would be asked the same; write {{ text }} where the text goes"
            )
        return self


class AnswerFormat(SettingsBlock):
    """The form of the answer, and how a label is read from it."""

    short_form: ClassVar[str | None] = SHORT_FORMS["answer"]
    method: Method = "text"
    """`text`: read the label from text; `json`: enforce a schema; `score`: compare the labels' probabilities."""
    words: dict[str, str] = Field(default_factory=dict)
    """A word per label for the model to answer with; the labels when absent."""
    calibration_rows: int = Field(default=0, ge=0, le=10_000)
    """Number of training rows on which the model's prior for each label is measured, to divide by it; for `score`."""

    @field_validator("words", mode="before")
    @classmethod
    def _words_are_text(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError('words names one word per label, as in words: {"1": bad, "5": good}')
        words: dict[str, str] = {}
        for label, word in given.items():
            for said in (label, word):
                if isinstance(said, bool):
                    raise ValueError(
                        f"{said} is a boolean: YAML reads yes, no, on, off, true and false so. "
                        'Put labels and words in quotes, as in words: {"1": "yes", "0": "no"}'
                    )
            if word is None or not str(word).strip():
                raise ValueError(f"label {label} has an empty word")
            key = str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()
            if key in words:
                raise ValueError(f"label {key} has two words")
            words[key] = str(word).strip()
            if "\n" in words[key]:
                raise ValueError(f"the word of label {label} has a line break")
        folded = [word.casefold() for word in words.values()]
        repeated = sorted({word for word in words.values() if folded.count(word.casefold()) > 1})
        if repeated:
            raise ValueError(f"words gives {', '.join(map(repr, repeated))} to more than one label")
        return words

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.calibration_rows and self.method != "score":
            raise ValueError(
                f"calibration_rows needs probabilities per label, which method {self.method} does not give; "
                "set method: score, or leave calibration_rows out"
            )
        return self


class Decoding(SettingsBlock):
    """Decoding settings. Those that are null or absent are not sent, except `max_tokens`."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """0 for the likeliest answer; null for models that refuse the parameter, as reasoning models do."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of an answer; enough for the labels when absent. Reasoning models need about 2000."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Probability mass of the likeliest tokens to sample from."""
    seed: int | None = None
    """Seed for services that take one."""
    reasoning_effort: str | None = Field(default=None, pattern=r"^[a-z]+$")
    """Effort of a reasoning model: none, minimal, low, medium or high, as the service names them."""
