"""The blocks of a prompt spec as YAML has them, checked on the way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from luthier.providers.endpoint import Endpoint
from luthier.techniques.prompt.template import compiled

__all__ = ["AnswerFormat", "Decoding", "Examples", "Method", "Select", "Style", "Wording"]

Method = Literal["text", "score", "json"]
Style = Literal["chat", "completion"]
Select = Literal["balanced", "random", "nearest", "searched"]

MOST_EXAMPLES = 1000


class Examples(BaseModel):
    """Few-shot examples, chosen from the training rows when the spec is fitted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int | tuple[int, ...] = 0
    """Examples shown before the row; 0 is zero-shot. With `searched` also a list, as in [1, 3, 5]: then counts
    compete too."""
    select: Select = "balanced"
    """`balanced`: every label in turn; `random`: as the training rows fall; `nearest`: for each row those most like
    it by embedding; `searched`: of many balanced draws the one that answers training rows best."""
    seed: int | None = None
    """Seed of the choice, to try other examples; the spec's `seed` when absent."""
    max_characters: int | None = Field(default=None, ge=1)
    """Only training texts of at most this length are shown, so that prompts stay short; of a label that has only longer
    ones, its shortest text. Texts of any length when absent."""
    endpoint: Endpoint | None = None
    """With `nearest`: the model that embeds, as in {provider: local, model: wordllama-256}."""
    samples: int = Field(default=30, ge=2, le=1000)
    """With `searched`: how many draws are tried."""
    rows: int = Field(default=100, ge=20, le=10_000)
    """With `searched`: training rows the draws are judged on; none of them is shown as an example."""

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
        """Whether a seed changes what is shown."""
        return self.most > 0 and self.select != "nearest"

    @property
    def counts(self) -> tuple[int, ...]:
        """Every count that may be shown."""
        return self.count if isinstance(self.count, tuple) else (self.count,)

    @property
    def most(self) -> int:
        """The most examples that may be shown."""
        return max(self.counts)


class Wording(BaseModel):
    """What is said to the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str
    """Jinja template of the user turn, or of the text to complete; names columns of the row."""
    system: str | None = None
    """Jinja template of what stands once above all: the system turn, or the head of the text to complete."""
    style: Style | None = None
    """`chat` for instructed models, `completion` to let a model continue a text; by default `chat`, and
    `completion` for the embedded model, which is too small to be instructed."""
    examples: Examples = Examples()

    @model_validator(mode="before")
    @classmethod
    def _is_a_block(cls, given: Any) -> Any:
        if isinstance(given, str):
            raise ValueError('prompt is a block, as in prompt: {template: "Stars for: {{ text }}"}')
        return given

    @field_validator("examples", mode="before")
    @classmethod
    def _count_alone(cls, given: Any) -> Any:
        return {"count": given} if isinstance(given, int) and not isinstance(given, bool) else given

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


class AnswerFormat(BaseModel):
    """How the model is to answer, and how the answer is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = "text"
    """`text`: read what was written; `json`: enforce a schema; `score`: compare the labels' probabilities."""
    words: dict[str, str] = Field(default_factory=dict)
    """A word per label for the model to answer with; the labels themselves when absent."""
    calibration_rows: int = Field(default=0, ge=0, le=10_000)
    """Training rows used to measure, and take away, the model's bias towards some labels; for `score`."""

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


class Decoding(BaseModel):
    """How the model is to write. What is null or absent is not sent, save for `max_tokens`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """0 for the likeliest answer; null where the model refuses the parameter, as reasoning models do."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of an answer; made to fit the labels when absent. Reasoning models want about 2000."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Share of the likeliest tokens to draw from."""
    seed: int | None = None
    """Seed for services that take one."""
    reasoning_effort: str | None = Field(default=None, pattern=r"^[a-z]+$")
    """How long a reasoning model may think: none, minimal, low, medium, high, as the service names them."""
