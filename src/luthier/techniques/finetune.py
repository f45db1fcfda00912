"""The fine-tune technique: a prompt whose model was trained on the very turns it is asked with."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from luthier.errors import DataError, SpecError
from luthier.providers.exchange import Request
from luthier.spec import Conversation, Fitted, Probe
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task, is_blank
from luthier.techniques.prompt.prompt import Prompt
from luthier.techniques.prompt.settings import Style
from luthier.techniques.prompt.template import UnrenderedRow

__all__ = ["FineTune", "Tuned", "Tuning"]

Auto = Literal["auto"]


class Tuning(BaseModel):
    """How the job is to train. `auto` leaves a setting to the service; each service has bounds of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Auto | int = Field(default="auto", ge=1)
    """Passes over the training rows."""
    batch_size: Auto | int = Field(default="auto", ge=1)
    """Training rows per step."""
    learning_rate_multiplier: Auto | float = Field(default="auto", gt=0)
    """Times the learning rate the service would take."""
    seed: int | None = Field(default=7, ge=0)
    """Seed of the job; null lets the service draw one."""
    suffix: str | None = Field(default=None, min_length=1, max_length=64)
    """Becomes part of the tuned model's name, where the service puts it there."""
    training_type: Literal["Standard", "GlobalStandard", "Developer"] | None = None
    """At Azure: where it is trained, and how dear: in the region, anywhere, or on spare capacity."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What is searched over: epochs, batch size and learning-rate multiplier, `auto` where the service decides."""
        return self.model_dump(include={"epochs", "batch_size", "learning_rate_multiplier"})


class Tuned(BaseModel):
    """What a job made of the base model. `luthier tune` writes this block; hands off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """Name under which the service answers with the result."""
    job: str
    """The job that made it."""
    base_model: str
    """The model it was made from."""
    checkpoint_step: int | None = None
    """The step of the checkpoint this is; null for the end of the job."""
    run_id: str | None = None
    """MLflow run that watched the job."""


class FineTune(Prompt):
    """A prompt to a model that is fine-tuned on it: training rows are turned into the same turns that are asked.

    Without `tuned:` the spec is what `luthier tune` trains from; with it, it answers.

    Examples:
        >>> from luthier.providers.endpoint import openai
        >>> stars = Task("stars", type="rating", labels=[1, 2, 3, 4, 5])
        >>> spec = FineTune(stars, "Stars for: {{ text }}", answer="score", endpoint=openai("some-model"))
        >>> rows = Rows(inputs=({"text": "Lovely soup"},), labels=("5",), text="text")
        >>> spec.training_examples(rows)[0]["messages"][-1]
        {'role': 'assistant', 'content': '5'}
        >>> tuned = spec.with_tuned(Tuned(model="ft:some-model:me::abc", job="ftjob-1", base_model="some-model"))
        >>> tuned.endpoint.model, tuned.untuned() == spec
        ('ft:some-model:me::abc', True)
    """

    labels_only: ClassVar[bool] = True
    technique: Literal["fine-tune"] = "fine-tune"  # type: ignore[assignment]  # a literal of its own, as every technique
    tuning: Tuning = Tuning()
    """How the job is to train."""
    tuned: Tuned | None = None
    """What the job made; written by `luthier tune`, never by hand."""

    def __init__(self, task: Task | None = None, template: str | None = None, /, **data: Any) -> None:
        """A prompt to be fine-tuned.

        Args:
            task: the task.
            template: Jinja template of the user turn.
            data: `endpoint` with the base model, `tuning`, and everything a `Prompt` takes but examples.

        Raises:
            SpecError: a setting is unknown, missing or contradicts another.
        """
        super().__init__(task, template, **data)

    @model_validator(mode="after")
    def _fits_a_tuned_model(self) -> Self:
        if self.prompt.examples.count:
            raise ValueError(
                "prompt.examples: a fine-tuned model has learned from the training rows and is shown none; "
                "leave examples out, or use technique prompt"
            )
        if self.prompt.style == "completion":
            raise ValueError("prompt.style completion cannot be fine-tuned; services train on chat turns")
        return self

    @model_validator(mode="after")
    def _asks_the_result(self) -> Self:
        # Where the endpoint still names the base model, the result is meant. Another name is a deployment of it.
        if self.tuned is not None and self.endpoint is not None and self.endpoint.model == self.tuned.base_model:
            moved = self.endpoint.model_copy(update={"model": self.tuned.model})
            object.__setattr__(self, "endpoint", moved)
        return self

    @property
    def style(self) -> Style:
        """Always chat."""
        return "chat"

    @property
    def base_model(self) -> str:
        """The model that was, or is to be, trained."""
        if self.tuned is not None:
            return self.tuned.base_model
        return super().base_model

    def _digested(self) -> dict[str, Any]:
        # Once tuned, how it was trained is in the model's name.
        settings = self.model_dump(mode="json", exclude={"name", "task", "tuned"})
        if self.tuned is not None:
            del settings["tuning"]
        return settings

    def document(self) -> dict[str, Any]:
        """The spec as YAML has it: the endpoint names the base model, `tuned` what answers."""
        document = super().document()
        if self.tuned is not None and document["endpoint"]["model"] == self.tuned.model:
            document["endpoint"] = {**document["endpoint"], "model": self.tuned.base_model}
        return document

    def with_tuned(self, tuned: Tuned, **changes: Any) -> Self:
        """The same recipe, answered by what a job made of its base model."""
        return type(self).model_validate({**self.untuned()._fields(), "tuned": tuned, **changes})

    def untuned(self) -> Self:
        """The recipe as it was before its job: the endpoint names the base model."""
        if self.tuned is None:
            return self
        assert self.endpoint is not None
        base = self.endpoint.model_copy(update={"model": self.tuned.base_model})
        return type(self).model_validate({**self._fields(), "endpoint": base, "tuned": None})

    def as_prompt(self, name: str) -> Prompt:
        """The same words to the base model, which has learned nothing: what tuning is measured against."""
        before = self.untuned()
        wording = before.prompt.model_copy(update={"style": "chat"})
        kept = {"task", "endpoint", "answer", "decoding", "seed", "objective"}
        fields = {key: value for key, value in before._fields().items() if key in kept}
        return Prompt.model_validate({**fields, "name": name, "prompt": wording})

    def training_examples(self, rows: Rows) -> list[dict[str, Any]]:
        """The lines a job is trained on: each row's turns exactly as they are asked, and the answer wanted.

        Rows without a text are left out, as they are never asked.

        Raises:
            DataError: a row has no label, or the template cannot be filled with it.
        """
        adapter = self.adapter({})
        lines: list[dict[str, Any]] = []
        for number, (inputs, label) in enumerate(zip(rows.inputs, rows.labels, strict=True), start=1):
            if is_blank(inputs.get(self.task.text)):
                continue
            if label is None:
                raise DataError(f"row {number} has no label, so nothing can be learned from it; leave it out.")
            try:
                turns = adapter.request(inputs).body["messages"]
            except UnrenderedRow as fault:
                raise DataError(f"row {number}: {fault}") from fault
            said = adapter.answers[self.task.position(label)]
            if self.answer_mode == "json":
                said = json.dumps({self.task.kind.value_name: said}, ensure_ascii=False)
            lines.append({"messages": [*turns, {"role": "assistant", "content": said}]})
        return lines

    def check_ready(self) -> None:
        """Refuses to answer before there is a tuned model.

        Raises:
            SpecError: says what to type.
        """
        if self.tuned is None:
            raise SpecError(
                f"spec {self.name!r} is not tuned yet, so nothing answers. "
                "Type: luthier tune FILE --train TABLE --validation TABLE"
            )

    def probes(self) -> tuple[Probe, ...]:
        """What to try the endpoint with; nothing before there is a tuned model."""
        return super().probes() if self.tuned is not None else ()

    def notes(self) -> tuple[str, ...]:
        """As a prompt's, and whether there is a model yet."""
        assert self.endpoint is not None
        notes = super().notes()
        if self.tuned is None:
            notes += ("Not tuned yet: luthier tune FILE --train TABLE --validation TABLE.",)
        elif self.endpoint.model != self.tuned.model:
            notes += (f"Asks {self.endpoint.model}, taken to be a deployment of {self.tuned.model}.",)
        return notes

    def fit(self, rows: Rows | None) -> Conversation[Fitted]:
        """As a prompt's; what the model learned is at the service."""
        self.check_ready()
        return (yield from super().fit(rows))

    def predict(self, rows: Rows, fitted: Fitted) -> Conversation[list[Prediction]]:
        """As a prompt's, asked of the tuned model."""
        self.check_ready()
        return (yield from super().predict(rows, fitted))

    def first_requests(
        self, rows: Rows, train: Rows | None = None, fitted: Fitted | None = None
    ) -> tuple[list[Request], list[Request]]:
        """As a prompt's, asked of the tuned model."""
        self.check_ready()
        return super().first_requests(rows, train, fitted)
