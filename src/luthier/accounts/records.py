"""What an account is offered and has, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Generic, TypeVar

from luthier.errors import UserError
from luthier.model_names import ModelName

__all__ = ["DeployedModel", "Listed", "OfferedModel"]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Listed(Generic[Item]):
    """What could be read of a list, which may break off between two pages.

    It cannot be iterated itself: `items` may be a part, `whole()` never is.

    Attributes:
        items: those that were read.
        failure: why the rest was not; `None` where there is no rest.

    Examples:
        >>> Listed(("a", "b")).whole()
        ('a', 'b')
    """

    items: tuple[Item, ...]
    failure: UserError | None = None

    def whole(self) -> tuple[Item, ...]:
        """The items, if they are all there are.

        Raises:
            UserError: the failure.
        """
        if self.failure is not None:
            raise self.failure
        return self.items


@dataclass(frozen=True)
class OfferedModel:
    """A model that a service lists for an account: one of its own, or a fine-tuned one of the account.

    Attributes:
        id: what a request or a job names it by.
        model: what it is.
        created: Unix time; `None` where the service does not say.
        owned_by: as the service says.
        name: at Azure, what a deployment names it by, beside its version; `None` elsewhere, and where it is the id.
        version: at Azure, the model's version.
        format: at Azure, who made the model, such as `OpenAI`.
        lifecycle: at Azure, such as `GenerallyAvailable` or `Deprecated`.
        retires: when it stops answering; `None` where the service announces no date.
        retirement_is_planned: whether that date is final; `None` where the service does not say.
        fine_tuning_until: when it can be fine-tuned no more.
        fine_tuning_kinds: how it can be fine-tuned, in the service's words; empty where it cannot, or is not told.
        context_tokens: how much it reads at once; `None` where the service does not say.
        capabilities: what else the service says of it, by its own names.
        skus: at Azure, how a deployment of it can be billed.
        sku_ends: days from which deployments billed so answer no more, where Azure gives a SKU one of its own.
    """

    id: str
    model: ModelName
    created: float | None = None
    owned_by: str | None = None
    name: str | None = None
    version: str | None = None
    format: str | None = None
    lifecycle: str | None = None
    retires: date | None = None
    retirement_is_planned: bool | None = None
    fine_tuning_until: date | None = None
    fine_tuning_kinds: tuple[str, ...] = ()
    context_tokens: int | None = None
    capabilities: Mapping[str, str] = field(default_factory=dict)
    skus: tuple[str, ...] = ()
    sku_ends: Mapping[str, date] = field(default_factory=dict)

    @property
    def can_be_tuned(self) -> bool | None:
        """Whether it can be fine-tuned; `None` where the service does not say."""
        if self.fine_tuning_kinds:
            return True
        return False if self.capabilities.get("fine_tune") == "false" else None


@dataclass(frozen=True)
class DeployedModel:
    """A deployment of an account, as its control plane tells.

    Attributes:
        name: what requests name.
        model: what answers.
        model_id: the service's own name of that model.
        version: the model's version, in the service's words.
        format: at Azure, who made the model, such as `OpenAI`.
        state: such as `Succeeded`; requests are answered in that state only.
        sku: how it is billed.
        capacity: thousands of tokens a minute; `None` where the service does not say.
        created: Unix time.
        tags: as the account's people set them.
        capabilities: what the service says of it, by its own names.
    """

    name: str
    model: ModelName
    model_id: str
    version: str | None
    format: str | None
    state: str
    sku: str | None = None
    capacity: int | None = None
    created: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, str] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether it can be asked."""
        return self.state == "Succeeded"
