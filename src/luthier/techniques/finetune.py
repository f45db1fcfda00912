"""The fine-tune technique: a prompt whose model is trained on the turns it is asked with."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from luthier.errors import DataError, SpecError
from luthier.spec import Probe
from luthier.spec.setting_paths import SettingsBlock
from luthier.tasks.task import Rows, Task
from luthier.techniques.prompt.adapter import adapter_for
from luthier.techniques.prompt.prompt import Prompt
from luthier.techniques.prompt.settings import Style
from luthier.techniques.prompt.template import UnrenderedRow

__all__ = ["FineTune", "Tuned", "Tuning"]

Auto = Literal["auto"]


class Tuning(SettingsBlock):
    """Settings of the job. `auto` leaves a setting to the service; each service has its own limits."""

    epochs: Auto | Annotated[int, Field(ge=1)] = "auto"
    """Passes over the training rows."""
    batch_size: Auto | Annotated[int, Field(ge=1)] = "auto"
    """Training rows per step."""
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0)] = "auto"
    """Factor on the learning rate of the service."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Learning rate itself, at services that take no multiplier; the service's own when absent, as all below."""
    lr_scheduler: Literal["constant", "linear", "cosine"] | None = None
    """How the learning rate falls after the warmup."""
    warmup_ratio: float | None = Field(default=None, ge=0, le=1)
    """Share of the steps in which the learning rate rises to its full value."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Weight decay of the optimiser."""
    lora_rank: int | None = Field(default=None, ge=1)
    """Rank of the adapter's matrices."""
    lora_alpha: int | None = Field(default=None, ge=1)
    """Scale of the adapter; its output is multiplied by alpha / rank."""
    lora_dropout: float | None = Field(default=None, ge=0, lt=1)
    """Share of the adapter's inputs that are dropped in training."""
    evaluations: int | None = Field(default=None, ge=0)
    """How often the validation rows are measured while training."""
    saved_checkpoints: int | None = Field(default=None, ge=1)
    """How many checkpoints are saved while training."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Evaluations without a lower validation loss after which the service itself ends the job."""
    seed: int | None = Field(default=7, ge=0)
    """Seed of the job; null lets the service draw one."""
    suffix: str | None = Field(default=None, min_length=1, max_length=64)
    """Part of the name of the tuned model, for services that use it."""
    training_type: Literal["Standard", "GlobalStandard", "Developer"] | None = None
    """At Azure: trained in the region, anywhere, or on spare capacity; prices differ."""

    @model_validator(mode="after")
    def _evaluates_often_enough(self) -> Self:
        patience, evaluations = self.early_stopping_patience, self.evaluations
        if patience is not None and evaluations is not None and evaluations <= patience:
            raise ValueError(
                f"early_stopping_patience {patience} needs at least {patience + 1} evaluations, and evaluations is "
                f"{evaluations}; raise it, or leave it out"
            )
        return self

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What training is set to, by name: `auto` where the service decides, and only given ones of the others."""
        given = self.model_dump(exclude={"seed", "suffix", "training_type"})
        return {name: value for name, value in given.items() if value is not None}


class Tuned(SettingsBlock):
    """The result of a job. `luthier tune` writes this block; it is not for editing."""

    model: str
    """Name of the tuned model at the service."""
    job: str
    """The job that made it."""
    base_model: str
    """The model it was made from."""
    checkpoint_step: int | None = None
    """Step of the checkpoint; null for the end of the job."""
    run_id: str | None = None
    """MLflow run of the job."""


class FineTune(Prompt):
    """A prompt to a model that is fine-tuned on the same turns, written from training rows.

    Without `tuned:` the spec is for `luthier tune`; with it, it answers.

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

    technique: Literal["fine-tune"] = "fine-tune"  # type: ignore[assignment]  # a literal of its own, as every technique
    tuning: Tuning = Tuning()
    """Settings of the job."""
    tuned: Tuned | None = None
    """The result of the job; written by `luthier tune`, never by hand."""

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
        if self.endpoint is not None and self.endpoint.others:
            raise ValueError("a fine-tuned model answers at one endpoint; write endpoint: with it, not endpoints:")
        return self

    @model_validator(mode="after")
    def _asks_the_result(self) -> Self:
        # An endpoint with the base model's name means the tuned model; any other name is a deployment of it.
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
        """The model that is fine-tuned."""
        if self.tuned is not None:
            return self.tuned.base_model
        return super().base_model

    def _digested(self) -> dict[str, Any]:
        # Once tuned, the model's name stands for the settings of its training.
        settings = super()._digested()
        del settings["tuned"]
        if self.tuned is not None:
            del settings["tuning"]
        return settings

    def document(self) -> dict[str, Any]:
        """The spec as in YAML: the endpoint names the base model, `tuned` the model that answers."""
        document = super().document()
        if self.tuned is not None and document["endpoint"]["model"] == self.tuned.model:
            document["endpoint"] = {**document["endpoint"], "model": self.tuned.base_model}
        return document

    def with_tuned(self, tuned: Tuned, **changes: Any) -> Self:
        """The same recipe with the result of a job."""
        return type(self).model_validate({**self.untuned()._fields(), "tuned": tuned, **changes})

    def untuned(self) -> Self:
        """The recipe without its result: the endpoint names the base model."""
        if self.tuned is None:
            return self
        assert self.endpoint is not None
        base = self.endpoint.model_copy(update={"model": self.tuned.base_model})
        return type(self).model_validate({**self._fields(), "endpoint": base, "tuned": None})

    def as_prompt(self, name: str) -> Prompt:
        """The same prompt to the base model, to compare the tuned model with."""
        before = self.untuned()
        wording = before.prompt.model_copy(update={"style": "chat"})
        kept = {"task", "endpoint", "answer", "decoding", "seed", "objective"}
        fields = {key: value for key, value in before._fields().items() if key in kept}
        return Prompt.model_validate({**fields, "name": name, "prompt": wording})

    def training_examples(self, rows: Rows) -> list[dict[str, Any]]:
        """The training lines of a job: for each row the turns it is asked with, and the answer.

        Rows without a text are left out.

        Raises:
            DataError: a row has no label, or the template cannot be filled with it.
        """
        adapter = adapter_for(self, {})
        lines: list[dict[str, Any]] = []
        for number, (inputs, label) in enumerate(zip(rows.inputs, rows.labels, strict=True), start=1):
            if self.task.text_of(inputs) is None:
                continue
            if label is None:
                raise DataError(f"row {number} has no label, so nothing can be learned from it; leave it out.")
            try:
                turns = adapter.request(inputs).body["messages"]
            except UnrenderedRow as fault:
                raise DataError(f"row {number}: {fault}") from fault
            said = adapter.said(label)
            if self.answer_mode == "json" and self.task.labels:
                said = json.dumps({self.task.kind.value_name: said}, ensure_ascii=False)
            lines.append({"messages": [*turns, {"role": "assistant", "content": said}]})
        return lines

    def check_ready(self) -> None:
        """Refuses to answer without a tuned model.

        Raises:
            SpecError: says what to type.
        """
        if self.tuned is None:
            raise SpecError(
                f"spec {self.name!r} is not tuned yet, so nothing answers. "
                "Type: luthier tune FILE --train TABLE --validation TABLE"
            )

    def probes(self) -> tuple[Probe, ...]:
        """As a prompt's; none without a tuned model."""
        return super().probes() if self.tuned is not None else ()

    def notes(self) -> tuple[str, ...]:
        """As a prompt's, and whether there is a tuned model."""
        assert self.endpoint is not None
        notes = super().notes()
        if self.tuned is None:
            notes += ("Not tuned yet: luthier tune FILE --train TABLE --validation TABLE.",)
        elif self.endpoint.model != self.tuned.model:
            notes += (f"Asks {self.endpoint.model}, taken to be a deployment of {self.tuned.model}.",)
        return notes
