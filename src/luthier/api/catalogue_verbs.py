"""The verbs about models that could be used: which there are, and all that is known of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from luthier.api.arguments import need_number, need_text, need_whole
from luthier.errors import UserError
from luthier.model_catalogue import (
    ASKED,
    FACTS,
    Catalogue,
    CatalogueModel,
    Chosen,
    ModelFilter,
    catalogue_models,
)
from luthier.model_catalogue.asking import endpoint_of
from luthier.model_names import near_names

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from luthier.accounts import ConfiguredAccount, Refreshed
    from luthier.providers.endpoint import Endpoint
    from luthier.reporting.table import Section
    from luthier.tuning.tuners.tuner import Hyperparameter

__all__ = ["ModelList", "ModelSheet", "catalogue", "describe_model", "refresh_catalogue"]


@dataclass(frozen=True, eq=False, repr=False)
class ModelList:
    """Models of the catalogue, cheapest first: a list that shows itself in a notebook.

    Attributes:
        chosen: the models, and how many were left out.
        task: what they were chosen for.
        today: the day they were chosen on.
        price_list: the price list's name and the day of its version.
    """

    chosen: Chosen
    task: str | None
    today: date
    price_list: str

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row per model and a column per fact, empty where a fact is not known."""
        import pandas as pd

        rows = [{"provider": one.provider, "model": one.id} | {name: one.value(name) for name in FACTS} for one in self]
        return pd.DataFrame(rows, columns=["provider", "model", *FACTS])

    @cached_property
    def facts(self) -> pd.DataFrame:
        """A row per fact: provider, model, fact, value, source, and the day it was seen."""
        import pandas as pd

        rows = [
            (one.provider, one.id, name, fact.value, fact.source, fact.seen)
            for one in self
            for name, fact in one.facts.items()
        ]
        return pd.DataFrame(rows, columns=["provider", "model", "fact", "value", "source", "seen"])

    def document(self) -> list[dict[str, Any]]:
        """As JSON values: each fact with its value, its source and the day it was seen."""
        from luthier.model_catalogue.suiting import techniques

        return [document_of(one) | {"by": list(techniques(one, self.task, self.today))} for one in self]

    def show(self, console: Console | None = None, first: int | None = None) -> None:
        """Prints the list, or its first models."""
        from luthier.reporting.terminal import show

        show(*self._sections(first), console=console)

    def _sections(self, first: int | None = None) -> list[Section]:
        from luthier.reporting.catalogue_report import list_sections

        return list_sections(self.chosen, self.task, self.today, self.notes, first)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the list: what was left out, and how fresh it is."""
        found = ["Prices are US dollars for a million tokens. Empty cells are not known."]
        if self.chosen.price_only:
            found.append(
                f"{self.chosen.price_only} more of which the price list has a price and nothing else: --everything"
            )
        if self.chosen.not_offered:
            found.append(f"{self.chosen.not_offered} more that your account was not offered: --everything")
        if self.chosen.retired:
            found.append(f"{self.chosen.retired} more have retired: --retired")
        found.append(f"Offline: {self.price_list}, and what others state on the days above.")
        return tuple(found)

    def __iter__(self) -> Iterator[CatalogueModel]:
        return iter(self.chosen.models)

    def __len__(self) -> int:
        return len(self.chosen.models)

    def __getitem__(self, place: int) -> CatalogueModel:
        return self.chosen.models[place]

    def __repr__(self) -> str:
        from luthier.reporting.terminal import text_of

        return text_of(*self._sections())

    def _repr_html_(self) -> str:
        from luthier.reporting.html import fragment

        return fragment(*self._sections())


@dataclass(frozen=True, eq=False, repr=False)
class ModelSheet:
    """All that is known of one model, at each provider that has it.

    Attributes:
        asked: the name that was given.
        models: one per provider.
    """

    asked: str
    models: Sequence[CatalogueModel] = field(default_factory=tuple)

    def document(self) -> list[dict[str, Any]]:
        """As JSON values: each fact with its value, its source and the day it was seen."""
        return [
            document_of(one)
            | {"endpoint": endpoint_of(one), "hyperparameters": [vars(knob) for knob in hyperparameters_of(one)]}
            for one in self.models
        ]

    def show(self, console: Console | None = None) -> None:
        """Prints the sheet."""
        from luthier.reporting.terminal import show

        show(*self._sections(), console=console)

    def _sections(self) -> list[Section]:
        from luthier.reporting.catalogue_report import sheet_section

        return [sheet_section(one, hyperparameters_of(one)) for one in self.models]

    def __iter__(self) -> Iterator[CatalogueModel]:
        return iter(self.models)

    def __repr__(self) -> str:
        from luthier.reporting.terminal import text_of

        return text_of(*self._sections())

    def _repr_html_(self) -> str:
        from luthier.reporting.html import fragment

        return fragment(*self._sections())


def catalogue(
    task: str | None = None,
    provider: str | None = None,
    *,
    fine_tunable: bool = False,
    log_probabilities: bool = False,
    json_mode: bool = False,
    decisions: bool = False,
    batch: bool = False,
    most_usd: float | None = None,
    least_context: int | None = None,
    retired: bool = False,
    everything: bool = False,
) -> ModelList:
    """Lists models, offline: what they cost, what they can do, until when, and where each fact is from.

    A fact that is not known is not had: `json_mode=True` leaves out models of which no source says that they have it.

    Args:
        task: `classification`, `rating`, `extraction`, `similarity`, `generation` or `embedding`, the file of a task,
            or `module:NAME` for a type of your own; any when absent.
        provider: one, or `all` those of the price list; the ones Luthier asks by name, and your own, when absent.
        fine_tunable: those that can be fine-tuned today.
        log_probabilities: those that give log-probabilities.
        json_mode: those with a JSON mode.
        decisions: those that answer typed questions with a probability per label.
        batch: those that a Batch API makes cheaper.
        most_usd: most US dollars for a million input tokens.
        least_context: fewest tokens of context.
        retired: also those that have retired.
        everything: also those of which the price list has a price and nothing else, and those that an account which
            was asked is not offered.

    Returns:
        Models, cheapest first. `frame` has a row per model, `facts` a row per fact with its source.

    Raises:
        UserError: there is no such task or provider.
        CatalogueFileError: your own `catalogue.yaml` is wrong.

    Examples:
        >>> free = catalogue("rating", "local", fine_tunable=True)
        >>> [(model.id, model.price) for model in free]
        [('wordllama-tunable', 0.0)]
    """
    from luthier.model_catalogue.price_list import price_list
    from luthier.model_catalogue.task_names import listed_for

    task = None if task is None else listed_for(need_text("task", task))
    wanted = ModelFilter(
        task=task,
        provider=None if provider is None else need_text("provider", provider),
        fine_tunable=fine_tunable,
        log_probabilities=log_probabilities,
        json_mode=json_mode,
        decisions=decisions,
        batch=batch,
        most_usd=need_number("most_usd", most_usd),
        least_context=None if least_context is None else need_whole("least_context", least_context),
        retired=retired,
        everything=everything,
    )
    today = date.today()
    listed = price_list()
    needed = None if provider == "all" else ASKED if provider is None else (provider,)
    chosen = Chosen.of(catalogue_models(providers=needed), wanted, today)
    return ModelList(chosen, task, today, f"{listed.source} of {listed.seen.isoformat()}")


def refresh_catalogue(provider: str | None = None, *, endpoint: Endpoint | None = None) -> list[Refreshed]:
    """Asks accounts for the models they are offered, and keeps their lists for the catalogue.

    Args:
        provider: whose accounts to ask; all that the working folder's endpoint files and the usual keys name when
            absent. The embedded server is among them.
        endpoint: the only account to ask.

    Returns:
        What came of each account; one that fails does not stop the others.

    Raises:
        UserError: there is no account of this provider.
    """
    from luthier.accounts import configured_endpoints, refresh_all

    if endpoint is not None:
        return refresh_all([endpoint])
    known = configured_endpoints()
    wanted = [one for one in known if provider in (None, "all") or _is_of(one, provider)]
    if not wanted:
        raise UserError(
            f"no account of {provider} is known here. Name its endpoint file: --endpoint FILE, or set the variable of "
            f"its key."
        )
    return refresh_all(wanted)


def _is_of(account: ConfiguredAccount, provider: str | None) -> bool:
    return account.endpoint is None or account.endpoint.provider == provider


def describe_model(name: str, provider: str | None = None) -> ModelSheet:
    """All that is known of a model, whatever it is called: at each provider, each fact with its source.

    Args:
        name: in the spelling of any provider; a fine-tuned model's name stands for its base.
        provider: one; all that have it when absent.

    Raises:
        UserError: no model is called so; the message has the names that are near.

    Examples:
        >>> sheet = describe_model("gpt-4.1-mini-2025-04-14", "openai")
        >>> [(model.provider, model.id) for model in sheet]
        [('openai', 'gpt-4.1-mini')]
    """
    known = catalogue_models()
    found = known.named(need_text("name", name), None if provider is None else need_text("provider", provider))
    if not found:
        raise UserError(_no_model(known, name, provider))
    return ModelSheet(name, tuple(found))


def document_of(model: CatalogueModel) -> dict[str, Any]:
    """A model as JSON values."""

    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else list(value) if isinstance(value, tuple) else value

    facts = {
        name: {"value": plain(fact.value), "source": fact.source, "seen": fact.seen.isoformat()}
        for name, fact in model.facts.items()
    }
    return {"provider": model.provider, "model": model.id, "names": list(model.names), "facts": facts}


def hyperparameters_of(model: CatalogueModel) -> Sequence[Hyperparameter]:
    """What can be set when a model is fine-tuned, with bounds, as far as it is known without asking the service."""
    from luthier.providers.endpoint import Endpoint
    from luthier.tuning.tuners import TUNERS, tuner_for

    if not model.value("fine_tuning") or model.provider not in TUNERS:
        return ()
    there = {name: value for name, value in endpoint_of(model).items() if name in ("provider", "base_url")}
    # Some services tell bounds per model to who has a key; this looks at no account.
    key = {} if model.provider == "local" else {"api_key_env": NO_KEY}
    return tuner_for(Endpoint.model_validate({**there, **key, "model": model.id})).hyperparameters(model.id)


NO_KEY = "LUTHIER_CATALOGUE_ASKS_WITHOUT_A_KEY"


def _no_model(known: Catalogue, name: str, provider: str | None) -> str:
    here = [model for model in known.models if provider in (None, model.provider)]
    near = near_names(name, (one for model in here for one in (model.id, *model.names)))
    where = "" if provider is None else f" at {provider}"
    meant = f" Did you mean {', '.join(near)}?" if near else " `luthier catalogue list --provider all` has them all."
    return f"the catalogue has no model {name!r}{where}.{meant}"
